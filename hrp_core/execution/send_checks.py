"""What is looked at once more before a basket is sent, beyond its window.

What belongs here: pure judgements on the frozen plan, its approval, the latch, the ledger and the broker's
cash. What does not: sending.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from hrp_core.errors import RefusedError
from hrp_core.execution.reconciliation import suspense_limit
from hrp_core.ledger.book import Book
from hrp_core.ledger.types import (
    Approval,
    FrozenPlan,
    Intent,
    Latch,
    LatchState,
    OrderStatus,
    PlanStatus,
    TradingHaltedError,
)
from hrp_core.portfolio.types import OrderSide, Purpose

_AT_THE_BROKER = frozenset(
    {OrderStatus.SUBMITTED, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED, OrderStatus.HELD}
)


def require_latch(plan: FrozenPlan, latch: Latch) -> None:
    """Refuse a plan that the latch does not let pass; while REDUCING, exits of any plan may go.

    Raises:
        TradingHaltedError: trading is halted, or it is not and the plan flattens.
    """
    if plan.purpose is Purpose.FLATTEN:
        if latch.state is not LatchState.HALTED:
            raise TradingHaltedError(
                f"plan {plan.plan_id} flattens, which is done while trading is halted; the latch is "
                f"{latch.state.value}. Nothing was sent. Run `hrp halt --reason ...` first"
            )
    elif latch.state is LatchState.HALTED:
        raise TradingHaltedError(
            f"trading is halted by {latch.by}: {latch.reason}. Nothing was sent; a person ends it with "
            "`hrp resume --reason ...`"
        )


def require_approved(plan: FrozenPlan, approvals: Sequence[Approval]) -> None:
    """Refuse a plan whose present content nobody, and no rule of its mode, has approved.

    Raises:
        RefusedError: it is not approved.
    """
    if plan.status is not PlanStatus.APPROVED:
        raise RefusedError(
            f"plan {plan.plan_id} is {plan.status.value}, not approved; nothing was sent. See it with "
            "`hrp plan show`; a PROPOSED one is approved with `hrp plan approve`"
        )
    if not approvals or not approvals[-1].approved or approvals[-1].plan_hash != plan.inputs_hash:
        raise RefusedError(f"plan {plan.plan_id} has no approval of its present content; nothing was sent")


def require_same_ledger(plan: FrozenPlan, book: Book) -> None:
    """Refuse a daily plan that was decided on other holdings than those of now.

    No order of a plan trades before its window closes, so that the holdings can only have changed by
    something the plan has not seen: a correction, a bust, a sale by hand.

    Raises:
        RefusedError: a strategy's or the account's shares differ from those frozen with the plan.
    """
    frozen = plan.inputs.get("ledger")
    if frozen is None:
        return
    then = cast(Mapping[str, Any], frozen)
    state = book.state()
    mine = {name: dict(held) for name, held in state.strategy_shares.items()}
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
