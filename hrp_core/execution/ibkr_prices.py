"""What IB's quotes, bars and previews of orders mean in our types, as pure functions.

What belongs here: prices and amounts that are information only; nothing of them is in the book. Orders,
executions and positions are in `ibkr_translate`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import BrokerError
from hrp_core.execution.broker import OrderPreview, Quote, QuoteQuality
from hrp_core.execution.ibkr_translate import UNSET_DOUBLE
from hrp_core.money import is_price, to_money

if TYPE_CHECKING:
    from hrp_core.market import Bar

# Tick types by the field of a quote. Delayed prices have types of their own.
_TICKS = {1: "bid", 2: "ask", 4: "last", 9: "close"}
_DELAYED_TICKS = {66: "bid", 67: "ask", 68: "last", 75: "close"}
_QUALITIES = {
    1: QuoteQuality.LIVE,
    2: QuoteQuality.FROZEN,
    3: QuoteQuality.DELAYED,
    4: QuoteQuality.DELAYED,  # delayed and frozen
}


@dataclass(frozen=True, slots=True)
class RawTick:
    """One tickPrice message: IB's tick type and a price that may be none."""

    kind: int
    price: float


@dataclass(frozen=True, slots=True)
class RawDataType:
    """One marketDataType message: 1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""

    kind: int


@dataclass(frozen=True, slots=True)
class RawHalt:
    """One message about a trading halt: 0 is none, 1 a general one, 2 a volatility halt, -1 not said."""

    value: float


def to_quote(symbol: str, rows: Iterable[RawTick | RawDataType | RawHalt]) -> Quote:
    """Return the quote that the messages of one request make; a later price replaces an earlier one.

    IB says so when prices are not live. An unknown type counts as delayed, and one delayed price makes the
    whole quote delayed: nothing that may be old prices an order.
    """
    prices: dict[str, Decimal | None] = {}
    quality = QuoteQuality.LIVE
    delayed = halted = False
    for row in rows:
        if isinstance(row, RawHalt):
            halted = row.value > 0
        elif isinstance(row, RawDataType):
            quality = _QUALITIES.get(row.kind, QuoteQuality.DELAYED)
            delayed |= quality is QuoteQuality.DELAYED
        elif row.kind in _TICKS:
            prices[_TICKS[row.kind]] = _to_price(row.price)
        elif row.kind in _DELAYED_TICKS:
            prices[_DELAYED_TICKS[row.kind]] = _to_price(row.price)
            delayed = True
    return Quote(
        symbol,
        bid=prices.get("bid"),
        ask=prices.get("ask"),
        last=prices.get("last"),
        close=prices.get("close"),
        quality=QuoteQuality.DELAYED if delayed else quality,
        is_halted=halted,
    )


def to_bar(raw: Any) -> "Bar":
    """Return a raw daily bar; IB writes an unknown volume as -1."""
    from hrp_core.market import Bar

    return Bar(
        session=datetime.strptime(raw.date, "%Y%m%d").replace(tzinfo=NEW_YORK).date(),
        open=raw.open,
        high=raw.high,
        low=raw.low,
        close=raw.close,
        volume=raw.volume if raw.volume >= 0 else math.nan,
    )


def has_figures(state: Any) -> bool:
    """Return whether the state of a previewed order has its margins: the first answer has none."""
    return _figure(state.initMarginChange) is not None


def to_preview(state: Any) -> OrderPreview:
    """Return the preview that the state of a previewed order carries.

    Raises:
        BrokerError: a figure is missing.
    """
    margin_before, margin_change = _figure(state.initMarginBefore), _figure(state.initMarginChange)
    equity_before, equity_change = _figure(state.equityWithLoanBefore), _figure(state.equityWithLoanChange)
    if margin_before is None or margin_change is None or equity_before is None or equity_change is None:
        raise BrokerError(
            "the broker's preview of an order lacks its margin or equity; nothing is known of its cost: ask "
            "again, or check the order in TWS"
        )
    commission = _figure(state.commission)
    return OrderPreview(
        margin_before=margin_before,
        margin_change=margin_change,
        equity_before=equity_before,
        equity_change=equity_change,
        # IB gives a range instead where it depends on the venue.
        commission=_figure(state.maxCommission) if commission is None else commission,
        warning=state.warningText,
    )


# Far above any share price, far below what Decimal can no longer give four places.
_MOST_A_SHARE = 1e12


def _figure(value: str | float) -> Decimal | None:
    """Return an amount of a preview, which the library hands on as text or number; None where IB has none."""
    number = float(value) if value != "" else math.inf
    return None if not math.isfinite(number) or abs(number) >= UNSET_DOUBLE else to_money(number)


def _to_price(value: float) -> Decimal | None:
    """Return a raw price; None for NaN, -1, 0, IB's "no value" (F32), and what no share ever cost."""
    return to_money(value) if is_price(value) and value < _MOST_A_SHARE else None
