"""When an order of each type trades, and for which session an arriving order is good.

What belongs here: the table of order types, the exchange's day and its cut-offs, what is refused at the door.
New order types are new rows.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from hrp_core.calendar import NEW_YORK, Calendar
from hrp_core.matching.account import Account
from hrp_core.matching.instruments import MIN_TICK
from hrp_core.matching.orders import NewOrder, Order, OrderState, Refusal, Side
from hrp_core.matching.tape import Tape
from hrp_core.money import from_units

# The broker's codes for what is refused at the door.
REJECTED, UNKNOWN_CONTRACT, UNSUPPORTED_TYPE, BAD_PRICE = 201, 200, 387, 110

CANCEL_WINDOW = timedelta(minutes=5)
"""Orders that arrive this soon after a close are cancelled; later ones queue for the next open."""

OPEN_CUT_OFF = timedelta(minutes=2)
CLOSE_CUT_OFF = timedelta(minutes=10)
"""Orders for the opening auction are refused from 09:28, those for the closing auction from ten minutes
before the close (15:50; 12:50 on half days)."""


@dataclass(frozen=True, slots=True)
class FillRule:
    """At which official prices of its session an order type may trade on daily data.

    Attributes:
        at_open: at the opening price.
        in_range: at its limit, when the session's low or high reaches it.
        at_close: at the closing price.
        has_limit: it needs a limit price.
    """

    at_open: bool
    in_range: bool
    at_close: bool
    has_limit: bool


FILL_RULES: dict[tuple[str, str], FillRule] = {
    # A market order takes the opening price; where the tape has none, the first price it has: the close.
    ("MKT", "DAY"): FillRule(at_open=True, in_range=False, at_close=True, has_limit=False),
    ("LMT", "DAY"): FillRule(at_open=True, in_range=True, at_close=True, has_limit=True),
    # Market-on-open and limit-on-open: what the opening auction does not fill is cancelled there.
    ("MKT", "OPG"): FillRule(at_open=True, in_range=False, at_close=False, has_limit=False),
    ("LMT", "OPG"): FillRule(at_open=True, in_range=False, at_close=False, has_limit=True),
    ("MOC", "DAY"): FillRule(at_open=False, in_range=False, at_close=True, has_limit=False),
    ("LOC", "DAY"): FillRule(at_open=False, in_range=False, at_close=True, has_limit=True),
}
"""Order types by (order type, time in force), in the broker's words."""

ORDER_TYPES = tuple(dict.fromkeys(order_type for order_type, _ in FILL_RULES))


def marketable(side: Side, limit_units: int | None, price_units: int) -> bool:
    """Return whether an order with that limit (None: without one) trades at `price_units`."""
    if limit_units is None:
        return True
    return price_units <= limit_units if side is Side.BUY else price_units >= limit_units


def price_in_range(side: Side, limit_units: int, low_units: int | None, high_units: int | None) -> int | None:
    """Return the price at which the session's range fills a limit order; None where it does not.

    The limit itself, or, when the whole session lay on the better side of it, the end of the range nearest
    to it. None as well where the tape has no low or no high.
    """
    if low_units is None or high_units is None:
        return None
    if side is Side.BUY:
        return min(limit_units, high_units) if low_units <= limit_units else None
    return max(limit_units, low_units) if high_units >= limit_units else None


@dataclass(frozen=True, slots=True)
class Arrival:
    """What becomes of an order that arrives now.

    Attributes:
        session: the session it is good for.
        active_from: the moment it may trade from.
        state: HELD before the open, WORKING during the session, CANCELLED just after the close.
    """

    session: date
    active_from: datetime
    state: OrderState


def arrival(now: datetime, calendar: Calendar) -> Arrival:
    """Return the session and first state of an order that arrives at `now`."""
    local = now.astimezone(NEW_YORK)
    session = calendar.next_session_from(local.date())
    if session == local.date():
        close = calendar.close(session)
        if calendar.open(session) <= local < close:
            return Arrival(session, local, OrderState.WORKING)
        if local >= close:
            session = calendar.next(session)
            if local < close + CANCEL_WINDOW:
                return Arrival(session, calendar.open(session), OrderState.CANCELLED)
    return Arrival(session, calendar.open(session), OrderState.HELD)


def too_late(now: datetime, rule: FillRule, session: date, calendar: Calendar) -> Refusal | None:
    """Return why an auction order that arrives at `now` misses its auction; None when it does not (F29)."""
    if not rule.at_close:
        auction, cut_off = "opening", calendar.open(session) - OPEN_CUT_OFF
    elif not rule.at_open:
        auction, cut_off = "closing", calendar.close(session) - CLOSE_CUT_OFF
    else:
        return None
    if now < cut_off:
        return None
    return Refusal(
        201,
        f"Order rejected - reason:orders for the {auction} auction of {session} had to arrive before "
        f"{cut_off.astimezone(NEW_YORK):%H:%M:%S} US/Eastern",
    )


def refusal_of(
    new: NewOrder,
    session: date,
    now: datetime,
    tape: Tape,
    calendar: Calendar,
    *,
    held: int,
    selling: int,
) -> Refusal | None:
    """Return why an order that arrives at `now` for `session` is refused; None when it is not.

    Args:
        new: the order.
        session: the session it would be good for.
        now: when it arrives.
        tape: the prices, and so the listed names.
        calendar: sessions of the exchange.
        held: shares of the name in the account.
        selling: shares of the name in open sales.
    """
    if new.symbol not in tape:
        return Refusal(UNKNOWN_CONTRACT, "No security definition has been found for the request")
    if new.order_type not in ORDER_TYPES:
        return Refusal(
            UNSUPPORTED_TYPE,
            f"Unsupported order type for this exchange and security type: {new.order_type}",
        )
    rule = FILL_RULES.get((new.order_type, new.tif))
    if rule is None:
        return Refusal(
            REJECTED,
            f"Order rejected - reason:time in force {new.tif} is not supported for {new.order_type}",
        )
    limit = new.limit_price
    if rule.has_limit and (limit is None or limit <= 0 or limit % MIN_TICK != 0):
        return Refusal(
            BAD_PRICE, "The price does not conform to the minimum price variation for this contract."
        )
    if new.side is Side.SELL and new.quantity > held - selling:
        return Refusal(
            REJECTED,
            f"Order rejected - reason:a cash account cannot go short: {held} shares of {new.symbol} "
            f"held, {selling} already being sold, {new.quantity} more to sell",
        )
    return too_late(now, rule, session, calendar)


def unaffordable(order: Order, shares: int, cost_units: int, account: Account) -> Refusal | None:
    """Return why an execution of `shares` is impossible in a cash account; None when it is possible.

    Args:
        order: the order.
        shares: shares of the execution.
        cost_units: price and commission of a purchase.
        account: the account as it stands at that moment.
    """
    held = account.shares(order.symbol)
    if order.side is Side.SELL and shares > held:
        return Refusal(
            REJECTED,
            f"Order rejected - reason:a cash account cannot go short: {held} shares of {order.symbol} held, "
            f"{shares} to sell",
        )
    if order.side is Side.BUY and cost_units > account.cash_units:
        return Refusal(
            REJECTED,
            f"Order rejected - reason:insufficient funds: {from_units(cost_units)} USD needed, "
            f"{from_units(account.cash_units)} USD available in a cash account",
        )
    return None


def price_of(
    order: Order, session: date, at: Literal["open", "close"], tape: Tape, calendar: Calendar
) -> int | None:
    """Return the price a share at which `order` trades at the open or the close; None when it does not."""
    rule = FILL_RULES[order.order_type, order.tif]
    limit = order.limit_units if rule.has_limit else None
    # Of an order that came after the open nobody knows whether the range was reached before it came.
    if at == "close" and rule.in_range and limit is not None and order.active_from <= calendar.open(session):
        low, high = (tape.price_units(session, order.symbol, name) for name in ("low", "high"))
        units = price_in_range(order.side, limit, low, high)
        if units is not None:
            return units
    if not (rule.at_open if at == "open" else rule.at_close):
        return None
    units = tape.price_units(session, order.symbol, at)
    return units if units is not None and marketable(order.side, limit, units) else None
