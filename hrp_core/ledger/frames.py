"""The journal's orders, fills and holdings as rows of tables.

What belongs here: projection, without any decision. What does not: storing the rows (`execution.projections`)
and valuing a session (`nav`).
"""

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

import pandas as pd

from hrp_core.ledger.allocation import EXTERNAL, FillPart
from hrp_core.ledger.book import Book, Holding
from hrp_core.ledger.types import Attempt, FrozenPlan, Intent, OrderStatus
from hrp_core.money import to_money

CROSS = "cross"
"""Order type of a trade among our own strategies, in `executed_trades`."""

_ORDER_COLUMNS = (
    "session",
    "plan_id",
    "intent_id",
    "order_ref",
    "allocations",
    "symbol",
    "con_id",
    "side",
    "quantity",
    "order_type",
    "limit_price",
    "reference_price",
    "status",
    "filled",
    "perm_id",
    "reason",
    "mode",
    "account",
)
_TRADE_COLUMNS = (
    "trade_id",
    "order_id",
    "broker_order_id",
    "hypothesis_id",
    "symbol",
    "side",
    "quantity",
    "order_type",
    "limit_price",
    "filled_price",
    "filled_quantity",
    "commission",
    "status",
    "submitted_at",
    "filled_at",
    "created_at",
    "mode",
    "account",
)
_LIVE_COLUMNS = (
    "symbol",
    "quantity",
    "entry_price",
    "current_price",
    "market_value",
    "cost_basis",
    "unrealized_pnl",
    "unrealized_pnl_pct",
    "hypothesis_id",
    "as_of_date",
    "updated_at",
    "mode",
    "account",
)
_SHARE_COLUMNS = (
    "strategy_id",
    "symbol",
    "quantity",
    "entry_price",
    "as_of_date",
    "updated_at",
    "mode",
    "account",
)
_FILL_COLUMNS = (
    "session",
    "exec_id",
    "intent_id",
    "order_ref",
    "strategy_id",
    "symbol",
    "side",
    "shares",
    "price",
    "commission",
    "executed_at",
    "mode",
    "account",
)


def orders_frame(plan: FrozenPlan, attempts: Mapping[str, Attempt]) -> pd.DataFrame:
    """Return one row per intent of a plan, with its state.

    Args:
        plan: as it stands in the journal.
        attempts: newest attempt by intent_id; an intent never sent has none.
    """
    rows = []
    for intent in plan.intents:
        attempt = attempts.get(intent.intent_id)
        rows.append(
            {
                "session": plan.session,
                "plan_id": plan.plan_id,
                "intent_id": intent.intent_id,
                "order_ref": None if attempt is None else attempt.order_ref,
                "allocations": json.dumps(dict(intent.allocations), sort_keys=True),
                "symbol": intent.contract.symbol,
                "con_id": intent.contract.con_id,
                "side": intent.side.value,
                "quantity": intent.quantity,
                "order_type": intent.order_type.value,
                "limit_price": intent.limit_price,
                "reference_price": intent.reference_price,
                "status": intent.status.value,
                "filled": intent.filled,
                "perm_id": None if attempt is None else attempt.perm_id,
                "reason": intent.reason,
                "mode": plan.mode,
                "account": plan.account,
            }
        )
    frame = pd.DataFrame(rows, columns=list(_ORDER_COLUMNS))
    # Nullable, and above 2**53 a float would lose digits.
    return frame.astype({"perm_id": "Int64"})


def fills_frame(
    book: Book, *, session: date, execution_session: date, mode: str, account: str
) -> pd.DataFrame:
    """Return one row per execution and strategy of the execution session of decision session `session`.

    Crosses whose price is known are rows as well, one per strategy, with exec_id and order_ref both the id of
    the cross; each of them sums to no shares of the account.
    """
    rows = [
        {
            "session": session,
            "exec_id": fill.exec_id,
            "intent_id": fill.intent_id,
            "order_ref": fill.order_ref,
            "strategy_id": fill.strategy_id,
            "symbol": fill.symbol,
            "side": fill.side.value,
            "shares": fill.shares,
            "price": fill.price,
            "commission": fill.commission,
            "executed_at": fill.executed_at,
            "mode": mode,
            "account": account,
        }
        for fill in (*book.fills, *book.crosses)
        if fill.session == execution_session
    ]
    return pd.DataFrame(rows, columns=list(_FILL_COLUMNS))


def trades_frame(
    book: Book,
    sent: Mapping[str, tuple[Attempt, Intent]],
    perm_ids: Mapping[str, int],
    *,
    mode: str,
    account: str,
) -> pd.DataFrame:
    """Return the rows of `executed_trades`: one per execution and strategy, at the price it traded at.

    Nothing is a trade before its execution is known: an order that was only submitted has no row, and an
    execution that was busted has none any more. `quantity` is what the order was to trade for the strategy,
    `filled_quantity` what this execution did. What strategies took from one another are trades of theirs at
    no commission, of order type ``cross``; over the strategies they sum to no shares.

    Args:
        book: with all its fills.
        sent: attempt and intent by orderRef; an order placed elsewhere has none.
        perm_ids: the broker's permanent order id by execution id.
        mode: sim, paper or live.
        account: the account at the broker.
    """
    rows = [
        {
            "trade_id": f"{fill.exec_id}/{fill.strategy_id}",
            "order_id": fill.order_ref or f"{EXTERNAL}-{perm_ids[fill.exec_id]}",
            "broker_order_id": str(perm_ids[fill.exec_id]) if perm_ids.get(fill.exec_id, 0) > 0 else None,
            "hypothesis_id": None if fill.strategy_id == EXTERNAL else fill.strategy_id,
            "symbol": fill.symbol,
            "side": fill.side.value,
            **_order_of(fill, sent.get(fill.order_ref)),
            "filled_price": fill.price,
            "filled_quantity": fill.shares,
            "commission": fill.commission,
            "filled_at": fill.executed_at,
            "created_at": fill.executed_at,
            "mode": mode,
            "account": account,
        }
        for fill in (*book.fills, *book.crosses)
    ]
    return pd.DataFrame(rows, columns=list(_TRADE_COLUMNS))


def live_positions_frame(
    book: Book,
    marks: Mapping[str, Decimal],
    *,
    as_of: date | None,
    updated_at: datetime | None,
    mode: str,
    account: str,
    commissions: Mapping[str, Decimal] | None = None,
) -> pd.DataFrame:
    """Return the rows of `live_positions`: one per name held now. A closed name has no row.

    Args:
        book: through everything the journal knows.
        marks: USD a share; a name without one has no value.
        as_of: session that shares and prices are of; None only for an empty book.
        updated_at: newest execution or mark in it.
        mode: sim, paper or live.
        account: the account at the broker.
        commissions: paid for the shares held, USD by symbol (`held_commissions`); part of the cost basis.
    """
    rows = []
    for symbol, holding in sorted(book.holdings.items()):
        mark = marks.get(symbol)
        paid = (commissions or {}).get(symbol, Decimal(0))
        basis = to_money(holding.shares * holding.average_price) + paid
        pnl = None if mark is None else to_money(holding.shares * mark) - basis
        rows.append(
            {
                "symbol": symbol,
                "quantity": holding.shares,
                "entry_price": holding.average_price,
                "current_price": mark,
                "market_value": None if mark is None else to_money(holding.shares * mark),
                "cost_basis": basis,
                "unrealized_pnl": pnl,
                "unrealized_pnl_pct": None if pnl is None else float(pnl / abs(basis)) if basis else 0.0,
                "hypothesis_id": sole_owner(book, symbol),
                "as_of_date": as_of,
                "updated_at": updated_at,
                "mode": mode,
                "account": account,
            }
        )
    return pd.DataFrame(rows, columns=list(_LIVE_COLUMNS))


def strategy_positions_frame(
    book: Book, *, as_of: date | None, updated_at: datetime | None, mode: str, account: str
) -> pd.DataFrame:
    """Return the rows of `strategy_positions`; the shares of a name sum to those of `live_positions`."""
    held: list[tuple[str, str, Holding]] = [
        (strategy_id, symbol, holding)
        for strategy_id, holdings in sorted(book.strategies.items())
        for symbol, holding in sorted(holdings.items())
    ]
    rows = [
        {
            "strategy_id": strategy_id,
            "symbol": symbol,
            "quantity": holding.shares,
            "entry_price": holding.average_price,
            "as_of_date": as_of,
            "updated_at": updated_at,
            "mode": mode,
            "account": account,
        }
        for strategy_id, symbol, holding in held
    ]
    return pd.DataFrame(rows, columns=list(_SHARE_COLUMNS))


def _order_of(fill: FillPart, order: tuple[Attempt, Intent] | None) -> dict[str, object]:
    """What is known of the order behind a fill; of a cross, or one placed elsewhere, only that it traded."""
    if order is None:
        return {
            "quantity": fill.shares,
            "order_type": CROSS if fill.is_cross else "external",
            "limit_price": None,
            "status": OrderStatus.FILLED.value,
            "submitted_at": None,
        }
    attempt, intent = order
    return {
        # Shares beyond the order's own quantity belong to no strategy of the order.
        "quantity": abs(dict(intent.allocations).get(fill.strategy_id, 0)) or fill.shares,
        "order_type": intent.order_type.value,
        "limit_price": intent.limit_price,
        "status": attempt.status.value,
        "submitted_at": attempt.sent_at,
    }


def sole_owner(book: Book, symbol: str) -> str | None:
    """Return the only strategy that holds a name; None when several do, or none."""
    owners = [strategy_id for strategy_id, held in book.strategies.items() if symbol in held]
    return owners[0] if len(owners) == 1 and owners[0] != EXTERNAL else None
