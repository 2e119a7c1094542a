"""What is looked at once more before a basket is sent, beyond its approval and its window.

What belongs here: pure judgements on the frozen plan, the ledger and the broker's cash. What does not:
sending.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from hrp_core.errors import RefusedError
from hrp_core.execution.reconciliation import suspense_limit
from hrp_core.ledger.book import Book
from hrp_core.ledger.types import BookedCross, FrozenPlan, Intent, OrderStatus
from hrp_core.portfolio.types import OrderSide

_AT_THE_BROKER = frozenset(
    {OrderStatus.SUBMITTED, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED, OrderStatus.HELD}
)


def require_same_ledger(plan: FrozenPlan, book: Book, crosses: Sequence[BookedCross] = ()) -> None:
    """Refuse a daily plan that was decided on other holdings than those of now.

    No order of a plan trades before its window closes, so that the holdings can only have changed by
    something the plan has not seen: a correction, a bust, a sale by hand.

    Args:
        plan: as frozen.
        book: as of now.
        crosses: those that count in the book. The plan's own may be among them: an order for the close may
            be sent after the open, when they have moved shares between its strategies.

    Raises:
        RefusedError: a strategy's or the account's shares differ from those frozen with the plan.
    """
    frozen = plan.inputs.get("ledger")
    if frozen is None:
        return
    then = cast(Mapping[str, Any], frozen)
    state = book.state()
    mine = {name: dict(held) for name, held in state.strategy_shares.items()}
    for cross in crosses:
        for name, shares in cross.shares if cross.plan_id == plan.plan_id else ():
            held = mine.setdefault(name, {})
            held[cross.symbol] = held.get(cross.symbol, 0) - shares
    mine = {name: kept for name, held in mine.items() if (kept := {s: n for s, n in held.items() if n})}
    if then["shares"] == dict(state.shares) and then["strategy_shares"] == mine:
        return
    changed = sorted(
        symbol
        for symbol in {*then["shares"], *state.shares}
        if then["shares"].get(symbol, 0) != state.shares.get(symbol, 0)
    )
    raise RefusedError(
        f"plan {plan.plan_id} was decided on other holdings than those of now "
        f"({', '.join(changed) or 'of its strategies'}): nothing was sent. Run predictions_job again"
    )


def cash_shortfall(ledger: Decimal, broker: Decimal, net_liquidation: Decimal) -> str:
    """Return why purchases wait: the broker has less cash than the ledger, beyond the suspense limit.

    Args:
        ledger: USD.
        broker: USD.
        net_liquidation: of the account, USD; the limit is a share of it.
    """
    if ledger - broker <= suspense_limit(net_liquidation):
        return ""
    return (
        f"the broker's cash is {ledger - broker} USD below the ledger's: purchases wait until "
        "`hrp reconcile` and `hrp cash record` have explained it"
    )


def sales_missing(plan: FrozenPlan, intents: Sequence[Intent]) -> str:
    """Return why purchases wait for sales, or nothing.

    A basket may spend what its own sales bring. When it does, it is sent only while every sale is at the
    broker.

    Args:
        plan: with the cash it was decided on.
        intents: the plan's, as they stand now.
    """
    purchases = sum(
        (
            intent.quantity * (intent.limit_price or intent.reference_price or Decimal(0))
            for intent in intents
            if intent.side is OrderSide.BUY
        ),
        Decimal(0),
    )
    if purchases <= plan.cash:
        return ""
    missing = sorted(
        intent.contract.symbol
        for intent in intents
        if intent.side is OrderSide.SELL and intent.status not in _AT_THE_BROKER
    )
    if not missing:
        return ""
    return f"purchases need the money of sales that are not at the broker: {', '.join(missing)}"
