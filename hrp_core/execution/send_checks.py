"""What is looked at once more before a basket is sent, beyond its window.

What belongs here: pure judgements on the frozen plan, its approval, the latch, the ledger, the broker's cash
and prices. What does not: sending.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import numpy as np

from hrp_core.errors import RefusedError
from hrp_core.execution.reconciliation import suspense_limit
from hrp_core.ledger.book import Book
from hrp_core.ledger.types import (
    Approval,
    BookedCross,
    FrozenPlan,
    Intent,
    Latch,
    LatchState,
    OrderStatus,
    PlanStatus,
    TradingHaltedError,
)
from hrp_core.money import is_price, to_units
from hrp_core.portfolio.construction import fraction
from hrp_core.portfolio.netting import INCREASE
from hrp_core.portfolio.risk import BY_CODE, Basket, frozen_limits
from hrp_core.portfolio.risk.rules import duplicates
from hrp_core.portfolio.types import OrderSide, Purpose, SymbolAction

_AT_THE_BROKER = frozenset(
    {OrderStatus.SUBMITTED, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED, OrderStatus.HELD}
)

# The rules that look at a single order's price and size; those of the whole basket were applied in planning.
_AGAIN = ("price_collar", "max_order_pct")


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


def require_sound_plan(plan: FrozenPlan) -> None:
    """Refuse a daily plan whose inputs are of another session, or that orders a contract and leg twice.

    Raises:
        RefusedError: names what is wrong.
    """
    stated = plan.inputs.get("session")
    if stated is not None and stated != plan.session.isoformat():
        raise RefusedError(
            f"plan {plan.plan_id} was decided from inputs of session {stated}, not of {plan.session}: "
            "nothing was sent. Run predictions_job again"
        )
    twice = duplicates([(intent.contract.con_id, intent.leg) for intent in plan.intents])
    if twice.any():
        named = ", ".join(sorted({plan.intents[place].contract.symbol for place in np.flatnonzero(twice)}))
        raise RefusedError(
            f"plan {plan.plan_id} orders {named} twice in the same leg: nothing was sent. Run "
            "predictions_job again"
        )


def over_limits(
    plan: FrozenPlan, intents: Sequence[Intent], quotes: Mapping[str, Decimal] | None = None
) -> dict[str, str]:
    """Return the entries that the limits frozen with the plan do not allow, with why, by intent id.

    The rules and their functions are those of planning (docs/risk-rules.md). Exits are never held back. What
    planning did not see, a single order, is judged by the weight of its name too, on top of what is held; and
    none may sell more than there is.

    Args:
        plan: with its limits; one that states none (a flatten, an exit by hand) is not judged here.
        intents: of the plan.
        quotes: what the broker says of a name (`send_quotes.entry_quotes`), USD a share by symbol; names
            without one are compared with nothing.
    """
    entries = [intent for intent in intents if intent.leg == INCREASE]
    stated = cast("Mapping[str, Any] | None", plan.inputs.get("limits"))
    if stated is None or not entries:
        return {}
    limits = frozen_limits(stated)
    reference = np.array([to_units(intent.reference_price or 0) for intent in entries], dtype=np.int64)
    price = np.array(
        [to_units(intent.limit_price or intent.reference_price or 0) for intent in entries], dtype=np.int64
    )
    seen = {symbol: to_units(quote) for symbol, quote in (quotes or {}).items() if is_price(quote)}
    quoted = np.array(
        [seen.get(intent.contract.symbol, own) for intent, own in zip(entries, reference, strict=True)],
        dtype=np.int64,
    )
    nothing = np.zeros_like(price)
    codes, held = _AGAIN, nothing
    if plan.purpose is Purpose.MANUAL:
        codes, shares = (*_AGAIN, "max_position_pct"), cast(int, plan.inputs["ledger_shares"])
        held = np.full_like(price, shares)
    basket = Basket(
        held=held,
        after=held + np.array([intent.quantity for intent in entries], dtype=np.int64),
        price=reference,
        value_price=reference,
        order_price=price,
        reference=reference,
        traded_value=np.full(price.shape, np.nan),
        sector=None,
        working=nothing,
        base_units=max(int(to_units(plan.equity) * fraction(limits.capital)), 0),
    )
    found = {
        intent.intent_id: "restricted: the name is on the restricted list, and may be sold but not bought"
        for intent in entries
        if intent.contract.symbol in limits.restricted
    }
    # No plan decides on it: it is an order by hand, with the wrong side or too many shares.
    found |= {
        intent.intent_id: "long_only: the account holds fewer shares than the order sells"
        for intent in entries
        if intent.side is OrderSide.SELL
    }
    for judged in (basket, replace(basket, order_price=quoted)):
        for rule in (BY_CODE[code] for code in codes):
            ruling = None if rule.judge is None else rule.judge(judged, limits)
            if ruling is None:
                continue
            for place in np.flatnonzero(ruling.allowed < judged.purchase).tolist():
                missing = ruling.missing is not None and ruling.missing[place]
                why = ruling.missing_reason if missing else ruling.reason
                found.setdefault(entries[place].intent_id, f"{rule.code}: {why}")
    return found


def controlled(
    plan: FrozenPlan, intents: Sequence[Intent], controls: Mapping[str, SymbolAction]
) -> dict[str, str]:
    """Return the orders in names that were restricted after the plan was frozen, with why, by intent id.

    A person's decision, or the lock of the check before the open, holds from the moment it is made. A flatten
    is a later decision about all names.

    Args:
        plan: whose intents they are.
        intents: about to be sent.
        controls: in force, by symbol.
    """
    if plan.purpose is Purpose.FLATTEN:
        return {}
    found: dict[str, str] = {}
    for intent in intents:
        action = controls.get(intent.contract.symbol)
        if action is SymbolAction.FREEZE or (action is not None and intent.leg == INCREASE):
            found[intent.intent_id] = f"the name is under {action.value}; plan again to leave it out"
    return found


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
