"""The judgement before the open: what still holds of a basket that waits at the broker.

What belongs here: findings and what follows from them, as a pure function of what is known. Asking the broker
and acting on the judgement is `preopen`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from hrp_core.calendar import Calendar
from hrp_core.execution.broker import Quote
from hrp_core.execution.reconciliation import ClassifiedBreak
from hrp_core.execution.withdrawal import SentOrder
from hrp_core.ledger.types import BreakClass, Intent, Latch, LatchState, OrderStatus
from hrp_core.portfolio.types import OrderSide, Purpose

PRICE_TOLERANCE = Decimal("0.01")
"""Share by which the broker's prior close may differ from the stored one before it is another price basis."""

ACTION_LOCK_SESSIONS = 5
"""Sessions, the coming one included, for which a name is locked after its price basis changed."""

_NOT_SENT = frozenset({OrderStatus.PENDING, OrderStatus.EXPIRED})
_LOST = frozenset(
    {OrderStatus.REJECTED, OrderStatus.CANCELLED, OrderStatus.UNKNOWN, OrderStatus.EXPIRED_UNSEEN}
)


class OneSidedPolicy(StrEnum):
    """What to do about a basket of which one side is not at the broker (`HRP_ONE_SIDED_POLICY`)."""

    LEAVE = "leave"
    CANCEL_ENTRIES = "cancel-entries"  # orders that increase a position; what reduces one always stays


class ConcernKind(StrEnum):
    """What a check before the open can find."""

    NOT_AT_BROKER = "not_at_broker"  # an order of the basket was rejected, cancelled, or is of unknown fate
    NOT_SENT = "not_sent"
    NO_PRICE = "no_price"  # one of the two closes is missing, so that nothing was compared
    CORPORATE_ACTION = "corporate_action"  # the price basis of the decision is not today's
    TRADING_HALTED = "trading_halted"  # the name's, at the exchange
    ONE_SIDED = "one_sided"
    DIFFERENCE = "difference"  # ledger and broker differ, in a way that has a known cause
    CONTRADICTION = "contradiction"  # they differ and nothing explains it
    LATCH = "latch"  # orders wait that the latch does not let trade


@dataclass(frozen=True, slots=True)
class Concern:
    """One finding, in words; `symbol` is empty where it concerns the account."""

    kind: ConcernKind
    message: str
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class SymbolLock:
    """A name in which nothing may be ordered for a while.

    Attributes:
        until: last session of the lock.
    """

    symbol: str
    until: date
    reason: str


@dataclass(frozen=True, slots=True)
class Basket:
    """What is known before the open of `execution_session`.

    Attributes:
        intents: of every plan decided on the session before that was approved or sent.
        orders: those of them that were sent, with their newest attempt.
        held: symbols of the account's positions.
        quotes: the broker's, by symbol.
        closes: our stored closes of the decision session, USD a share, by symbol.
        splits: new shares for one old one, of splits that take effect on the execution session, by symbol.
        breaks: what ledger and broker differ in.
        latch: as it stands.
    """

    execution_session: date
    intents: tuple[Intent, ...]
    orders: tuple[SentOrder, ...]
    held: tuple[str, ...]
    quotes: Mapping[str, Quote]
    closes: Mapping[str, Decimal]
    splits: Mapping[str, Fraction]
    breaks: tuple[ClassifiedBreak, ...]
    latch: Latch = field(default_factory=lambda: Latch(LatchState.ACTIVE))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found, and what is to be done.

    Attributes:
        cancel: symbol and reason, by orderRef.
        halt: why trading is to be halted; empty when it is not.
    """

    concerns: tuple[Concern, ...]
    locks: tuple[SymbolLock, ...]
    cancel: Mapping[str, tuple[str, str]]
    halt: str


def judge_preopen(basket: Basket, policy: OneSidedPolicy, calendar: Calendar) -> Judgement:
    """Judge what was found before the open; nothing is asked and nothing is done.

    - A name whose split takes effect on the execution session, or whose prior close at the broker is more
      than 1 % off the stored one, has another price basis than its order: the order is cancelled, the name
      locked (F33). A share difference that the split explains is part of that.
    - A name whose trading is halted at the exchange: its order would fill at the reopening, hours later. It
      is cancelled, the name locked for the session.
    - A difference between ledger and broker that nothing explains halts trading and takes the basket back.
    - What the latch does not let trade is cancelled: whoever closed it may not have reached the broker.
    """
    concerns = [*_missing_orders(basket)]
    reasons: dict[str, str] = {}
    until: dict[str, date] = {}
    halted_until = basket.execution_session
    action_until = calendar.offset(basket.execution_session, ACTION_LOCK_SESSIONS - 1)
    live = [order for order in basket.orders if order.is_live]
    for symbol in sorted({order.symbol for order in live} | set(basket.held)):
        quote = basket.quotes.get(symbol)
        action = _changed_basis(basket, symbol, quote)
        if action is not None:
            concerns.append(action)
            if action.kind is ConcernKind.CORPORATE_ACTION:
                reasons[symbol], until[symbol] = action.message, action_until
        if quote is not None and quote.is_halted:
            message = f"{symbol}: the broker says that its trading is halted"
            concerns.append(Concern(ConcernKind.TRADING_HALTED, message, symbol))
            reasons.setdefault(symbol, message)
            until.setdefault(symbol, halted_until)
    for item in basket.breaks:
        if item.cause is BreakClass.CORPORATE_ACTION:
            reasons.setdefault(item.symbol, item.message)
            until[item.symbol] = action_until
            concerns.append(Concern(ConcernKind.CORPORATE_ACTION, item.message, item.symbol))
        elif item.cause is not BreakClass.UNKNOWN:
            concerns.append(
                Concern(ConcernKind.DIFFERENCE, f"{item.cause.value}: {item.message}", item.symbol)
            )
        # Shares on the new basis of a name that is taken back anyway need no second reason.
        elif item.symbol not in reasons:
            concerns.append(Concern(ConcernKind.CONTRADICTION, item.message, item.symbol))
    halt = "; ".join(item.message for item in concerns if item.kind is ConcernKind.CONTRADICTION)
    cancel = {
        order.attempt.order_ref: (order.symbol, reasons.get(order.symbol) or f"trading is halted: {halt}")
        for order in live
        if order.symbol in reasons or halt
    }
    barred = [
        order for order in live if order.attempt.order_ref not in cancel and _is_barred(order, basket.latch)
    ]
    if barred:
        latch = basket.latch
        message = f"trading is {latch.state.value} by {latch.by}: {latch.reason}"
        concerns.append(Concern(ConcernKind.LATCH, f"{message}; {len(barred)} orders waited for the open"))
        cancel |= {order.attempt.order_ref: (order.symbol, message) for order in barred}
    gone = {order.intent.intent_id for order in live if order.attempt.order_ref in cancel}
    alone = one_sided(basket.intents, gone)
    if alone is not None:
        other = OrderSide.SELL if alone is OrderSide.BUY else OrderSide.BUY
        entries = [
            order
            for order in live
            if order.intent.leg == "increase" and order.attempt.order_ref not in cancel
        ]
        message = (
            f"every {other.value} order of the basket is gone while {alone.value} orders wait for the open: "
            + (
                f"the {len(entries)} entries are cancelled"
                if policy is OneSidedPolicy.CANCEL_ENTRIES
                else "left as it is (HRP_ONE_SIDED_POLICY=leave)"
            )
        )
        concerns.append(Concern(ConcernKind.ONE_SIDED, message))
        if policy is OneSidedPolicy.CANCEL_ENTRIES:
            cancel |= {order.attempt.order_ref: (order.symbol, message) for order in entries}
    locks = tuple(SymbolLock(symbol, until[symbol], reason) for symbol, reason in sorted(reasons.items()))
    return Judgement(tuple(concerns), locks, cancel, halt)


def _is_barred(order: SentOrder, latch: Latch) -> bool:
    """Return whether the latch says that an order at the broker should not be there."""
    if latch.state is LatchState.HALTED:
        return order.purpose is not Purpose.FLATTEN
    return latch.state is LatchState.REDUCING and order.intent.leg == "increase"


def one_sided(intents: Sequence[Intent], gone: set[str]) -> OrderSide | None:
    """Return the side that stands alone at the broker: all orders of the other one are gone.

    Args:
        intents: of the basket; ones that were never sent, and can still be, belong to no side.
        gone: intent ids that are about to be cancelled.
    """
    sides: dict[OrderSide, list[bool]] = {}
    for intent in intents:
        if intent.status is not OrderStatus.PENDING:
            there = intent.intent_id not in gone and intent.status not in _LOST | _NOT_SENT
            sides.setdefault(intent.side, []).append(there)
    if len(sides) < 2:
        return None
    there = {side: any(found) for side, found in sides.items()}
    if all(there.values()) or not any(there.values()):
        return None
    return next(side for side, found in there.items() if found)


def _missing_orders(basket: Basket) -> list[Concern]:
    found: list[Concern] = []
    for intent in basket.intents:
        symbol = intent.contract.symbol
        told = f"{intent.side.value} {intent.quantity} {symbol}"
        why = f": {intent.reason}" if intent.reason else ""
        if intent.status in _LOST:
            message = f"{told} is {intent.status.value}{why}"
            found.append(Concern(ConcernKind.NOT_AT_BROKER, message, symbol))
        elif intent.status in _NOT_SENT:
            found.append(Concern(ConcernKind.NOT_SENT, f"{told} is {intent.status.value}{why}", symbol))
    return found


def _changed_basis(basket: Basket, symbol: str, quote: Quote | None) -> Concern | None:
    ours, theirs = basket.closes.get(symbol), None if quote is None else quote.close
    factor = basket.splits.get(symbol)
    if factor is not None:
        message = (
            f"{symbol}: {factor} new shares for one old one take effect on "
            f"{basket.execution_session}; the order's quantity is on the old basis"
        )
        return Concern(ConcernKind.CORPORATE_ACTION, message, symbol)
    if ours is None or theirs is None:
        who = "our stored prices" if ours is None else "the broker's quotes"
        return Concern(ConcernKind.NO_PRICE, f"{symbol}: {who} have no close to compare with", symbol)
    if abs(theirs - ours) <= PRICE_TOLERANCE * ours:
        return None
    message = (
        f"{symbol}: the broker's prior close is {theirs}, the stored close {ours} "
        f"({theirs / ours - 1:+.1%}): a split, a renaming or a wrong price; look at the exchange's notices"
    )
    return Concern(ConcernKind.CORPORATE_ACTION, message, symbol)
