"""Trades that a person records: those that the broker made and will never report again.

What belongs here: when such a trade may enter the journal, and when it is refused. What does not: executions
as the broker reports them (`sync`), which need nobody's help.
"""

import hashlib
from collections.abc import Callable, Collection
from datetime import datetime
from decimal import Decimal

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import DataError, RefusedError
from hrp_core.execution.orders import Order
from hrp_core.execution.projections import project_book
from hrp_core.ledger.allocation import EXTERNAL
from hrp_core.ledger.book import read_book, read_carve_out
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Contract, Execution, ExternalPolicy
from hrp_core.money import is_price, to_money
from hrp_core.portfolio.types import OrderSide
from hrp_core.store import EventType, Store, log_event


def record_trade(
    store: Store,
    journal: Journal,
    order: Order,
    filled_price: Decimal,
    filled_quantity: int | None = None,
    commission: Decimal | None = None,
    hypothesis_id: str | None = None,
    *,
    strategies: Callable[[], Collection[str]],
    actor: str,
    now: datetime,
) -> str:
    """Return the id of a trade in `executed_trades`, after recording it where that is the truth.

    The table is a projection of the journal, and executions are the broker's word: a row written beside them
    would make ledger and account differ, or count the trade twice when the broker reports it. So:

    - A trade of an order sent from here is there already, or comes with `hrp sync`. The trade is looked up;
      one that the journal does not know is refused.
    - A trade of an order placed elsewhere enters the journal as an adopted execution, if nothing else can
      explain what the broker holds: it is of an earlier day (the broker lists the executions of today by
      itself), and the newest snapshot of the account shows at least these shares more, or fewer, than the
      ledger. It belongs to the account and to no strategy, unless `hypothesis_id`, or that of the order,
      names one: then its shares are that strategy's, and the next plan trades them with its own.

    Recording the same trade again changes nothing and returns the same id.

    Args:
        store: `executed_trades` is written again from the journal.
        journal: bound to the account.
        order: what was ordered. Of an order placed elsewhere `broker_order_id` (the permanent id, which TWS
            shows as Perm ID) and `filled_at` are needed.
        filled_price: USD a share.
        filled_quantity: shares; default: what the order says is filled, else the whole order.
        commission: USD; None = not known.
        hypothesis_id: strategy whose part of the trade is meant, or to which the shares of a trade made
            elsewhere go; default: the order's own, if it has one.
        strategies: returns the ids of the strategies that may be given a trade; asked only when one is named.
        actor: who records it.
        now: from the clock.

    Raises:
        DataError: (a ValueError) price, quantity or commission makes no sense.
        RefusedError: it contradicts what the broker said, or nothing says yet that it happened.
        NotReadyError: the journal was never bound to an account.
    """
    quantity = filled_quantity if filled_quantity is not None else order.filled_quantity or order.quantity
    if not is_price(filled_price):
        raise DataError("filled_price must be positive")
    if quantity <= 0 or quantity != int(quantity):
        raise DataError("filled_quantity must be a positive whole number of shares")
    if commission is not None and not Decimal(str(commission)).is_finite():
        raise DataError("commission must be a finite number of USD")
    price = to_money(filled_price)
    journal.binding()
    ref = _own_order_ref(journal, order)
    if ref is not None:
        return _known_trade(journal, ref, price, int(quantity), hypothesis_id)
    strategy_id = hypothesis_id or order.hypothesis_id
    item = _external(journal, order, price, int(quantity), commission, now)
    trade_id = f"{item.exec_id}/{strategy_id or EXTERNAL}"
    if any(known.exec_id == item.exec_id for known in journal.executions()):
        _require_same_owner(journal, item, strategy_id or EXTERNAL)
        project_book(store, journal)
        return trade_id
    _require_unexplained(journal, item)
    if strategy_id is not None:
        _require_may_own(journal, item, strategy_id, strategies())
    journal.record_trade(item, strategy_id, by=actor, now=now)
    project_book(store, journal)
    details = {"trade_id": trade_id, "symbol": order.symbol, "shares": item.shares, "price": str(price)}
    log_event(
        store,
        EventType.ORDER_FILLED,
        actor,
        hypothesis_id=strategy_id,
        details={**details, "recorded_by_hand": True},
        now=now,
    )
    return trade_id


def _own_order_ref(journal: Journal, order: Order) -> str | None:
    """Return the orderRef under which the order was sent from here, or None."""
    for attempt in journal.attempts():
        named = order.order_id in (attempt.order_ref, attempt.intent_id)
        if named or (order.broker_order_id is not None and attempt.perm_id == order.broker_order_id):
            return attempt.order_ref
    return None


def _known_trade(
    journal: Journal, order_ref: str, price: Decimal, quantity: int, strategy_id: str | None
) -> str:
    fills = journal.executions_of([order_ref])
    total = sum(fill.shares for fill in fills)
    meant = [fill for fill in fills if (fill.price, fill.shares) == (price, quantity)]
    if not meant and total == quantity:
        spent = sum((fill.price * fill.shares for fill in fills), Decimal(0))
        meant = [fills[-1]] if to_money(spent / total) == price else []
    if not meant:
        known = ", ".join(f"{fill.shares} at {fill.price}" for fill in fills) or "none"
        raise RefusedError(
            f"{order_ref} was sent from here, and its trades are what the broker reports ({known}), not "
            f"{quantity} at {price}; nothing was recorded. Bring the journal up to date with `hrp sync`"
        )
    parts = [part for part in read_book(journal).fills if part.exec_id == meant[-1].exec_id]
    found = [part for part in parts if strategy_id in (None, part.strategy_id)]
    if not found:
        raise RefusedError(
            f"{meant[-1].exec_id} belongs to {', '.join(part.strategy_id for part in parts) or 'no book'}, "
            f"not to {strategy_id}; nothing was recorded"
        )
    return f"{found[0].exec_id}/{found[0].strategy_id}"


def _external(
    journal: Journal,
    order: Order,
    price: Decimal,
    quantity: int,
    commission: Decimal | None,
    now: datetime,
) -> Execution:
    """Return a trade made elsewhere as an execution.

    Raises:
        RefusedError: something that identifies it is missing, or the broker will report it by itself.
    """
    perm_id, filled_at = order.broker_order_id, order.filled_at
    what = f"{order.side.value} {quantity} {order.symbol}"
    if perm_id is None or perm_id <= 0:
        raise RefusedError(
            f"{what} was not sent from here and has no broker_order_id; nothing was recorded. Give the "
            "permanent id that TWS shows as Perm ID, or place the order through OrderManager"
        )
    if filled_at is None or filled_at.tzinfo is None:
        raise RefusedError(
            f"{what} (permId {perm_id}) does not say when it traded; nothing was recorded. Set filled_at to "
            "the moment in the broker's statement, with its time zone"
        )
    traded, today = filled_at.astimezone(NEW_YORK).date(), now.astimezone(NEW_YORK).date()
    if traded >= today:
        raise RefusedError(
            f"{what} (permId {perm_id}) is of {traded}, and the broker still lists the executions of that "
            "day; nothing was recorded. Run `hrp sync` with HRP_EXTERNAL_ORDERS=adopt"
        )
    if not nyse().is_session(traded):
        raise RefusedError(
            f"{what} (permId {perm_id}): the exchange did not trade on {traded}; correct filled_at"
        )
    if journal.external_orders().get(perm_id) is ExternalPolicy.CARVE_OUT:
        raise RefusedError(
            f"order {perm_id} was carved out of the book and stays out of it; nothing was recorded"
        )
    contracts = [fill.contract for fill in journal.executions()]
    contracts += [intent.contract for plan in journal.plans() for intent in plan.intents]
    known = [contract for contract in contracts if contract.symbol == order.symbol]
    content = f"{perm_id} {order.side.value} {quantity} {price} {filled_at.isoformat()}"
    return Execution(
        # Without a dot: a recorded trade has no revisions.
        exec_id=f"RECORDED-{perm_id}-{hashlib.sha256(content.encode()).hexdigest()[:12]}",
        account=journal.binding()[1],
        order_ref="",
        perm_id=perm_id,
        contract=known[-1] if known else Contract(order.symbol, 0),
        side=order.side,
        shares=quantity,
        price=price,
        executed_at=filled_at,
        commission=None if commission is None else to_money(Decimal(str(commission))),
    )


def _require_may_own(
    journal: Journal, item: Execution, strategy_id: str, strategies: Collection[str]
) -> None:
    """Refuse a strategy that is not deployed, or that does not hold what it would have sold.

    Raises:
        RefusedError: with the strategies that there are, or what it holds.
    """
    if strategy_id not in strategies:
        raise RefusedError(
            f"there is no strategy {strategy_id}; nothing was recorded. It can be given to "
            f"{', '.join(sorted(strategies)) or 'none: no strategy is deployed'}, or to no strategy by "
            "leaving hypothesis_id out"
        )
    symbol = item.contract.symbol
    holding = read_book(journal).strategies.get(strategy_id, {}).get(symbol)
    held = 0 if holding is None else holding.shares
    if item.side is OrderSide.SELL and held < item.shares:
        raise RefusedError(
            f"{strategy_id} holds {held} {symbol} and cannot have sold {item.shares}; nothing was recorded. "
            "See who holds them with `hrp positions`, or leave hypothesis_id out"
        )


def _require_same_owner(journal: Journal, item: Execution, owner: str) -> None:
    """Refuse to give a trade that is recorded to somebody else: the plans since then counted on it.

    Raises:
        RefusedError: with the owner.
    """
    given = journal.order_allocations().get(item.exec_id)
    recorded = EXTERNAL if given is None else given.shares[0][0]
    if recorded != owner:
        raise RefusedError(
            f"trade {item.exec_id} is recorded as {recorded}'s and stays so; it was not given to {owner}"
        )


def _require_unexplained(journal: Journal, item: Execution) -> None:
    """Refuse a trade that the account does not show.

    Raises:
        RefusedError: with the shares of both sides.
    """
    symbol, signed = item.contract.symbol, item.side.sign * item.shares
    snapshot = journal.newest_snapshot()
    if snapshot is None or snapshot.asked_at <= item.executed_at:
        raise RefusedError(
            f"nothing was asked of the broker since {item.executed_at:%Y-%m-%d %H:%M %Z}, so nothing shows "
            f"that {symbol} was traded; run `hrp reconcile`, then record it again"
        )
    intents = journal.sent([attempt.order_ref for attempt in journal.live_attempts()])
    own = [ref for ref, (_, intent) in intents.items() if intent.contract.symbol == symbol]
    if own:
        raise RefusedError(
            f"our own order {own[0]} in {symbol} may still be what traded; nothing was recorded. Let it end, "
            "or decide its fate with `hrp orders resolve`"
        )
    books = (read_book(journal), read_carve_out(journal))
    ledger = sum(book.holdings[symbol].shares for book in books if symbol in book.holdings)
    missing = snapshot.shares.get(symbol, 0) - ledger
    if missing * signed <= 0 or abs(missing) < abs(signed):
        raise RefusedError(
            f"the broker held {snapshot.shares.get(symbol, 0)} {symbol} at "
            f"{snapshot.asked_at:%Y-%m-%d %H:%M} and the ledger holds {ledger}: {signed:+d} shares do not "
            "explain a difference; nothing was recorded. Compare with the broker's statement"
        )
