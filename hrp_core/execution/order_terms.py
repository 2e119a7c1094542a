"""How each order type is written on the wire, and limit prices that the exchange accepts.

What belongs here: order type and time in force in the broker's words, rounding to the tick, and the check of
a request before it is sent. When a type may be sent is `send_window`.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from hrp_core.errors import RefusedError
from hrp_core.execution.broker import OrderRequest
from hrp_core.money import is_price
from hrp_core.portfolio.types import OrderSide, OrderType


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """An order type in the broker's words.

    Attributes:
        tif: always sent, or presets of TWS fill it in (F1).
    """

    order_type: str
    tif: str
    has_limit: bool


TERMS = {
    OrderType.MARKET: OrderTerms("MKT", "DAY", has_limit=False),
    OrderType.LIMIT: OrderTerms("LMT", "DAY", has_limit=True),
    OrderType.MARKET_ON_OPEN: OrderTerms("MKT", "OPG", has_limit=False),
    OrderType.LIMIT_ON_OPEN: OrderTerms("LMT", "OPG", has_limit=True),
    OrderType.MARKET_ON_CLOSE: OrderTerms("MOC", "DAY", has_limit=False),
    OrderType.LIMIT_ON_CLOSE: OrderTerms("LOC", "DAY", has_limit=True),
}

# From one dollar on no US stock is quoted finer than a cent, whatever tick the contract states (rule 612).
_CENT = Decimal("0.01")
# The largest 32-bit integer is the wire's "no value".
_LARGEST_QUANTITY = 2**31 - 1


def tick_of(price: Decimal, min_tick: Decimal) -> Decimal:
    """Return the price step at `price` of a contract with that smallest tick, USD (F25)."""
    return max(min_tick, _CENT) if price >= 1 else min_tick


def passive_price(price: Decimal, min_tick: Decimal, side: OrderSide) -> Decimal:
    """Return `price` on the tick, rounded to the passive side: a buy pays no more, a sale takes no less.

    Raises:
        RefusedError: it is no price, or a buy's rounds down to nothing.
    """
    if not is_price(price) or not is_price(min_tick):
        raise RefusedError(f"limit price {price} with tick {min_tick} is no price. Nothing was sent")
    tick = tick_of(price, min_tick)
    rounding = ROUND_FLOOR if side is OrderSide.BUY else ROUND_CEILING
    rounded = (price / tick).to_integral_value(rounding) * tick
    if rounded <= 0:
        raise RefusedError(f"limit price {price} is below one tick of {tick}. Nothing was sent")
    return rounded.quantize(tick)


def check_request(request: OrderRequest) -> None:
    """Check a request as every broker does before it sends.

    Raises:
        RefusedError: it cannot be sent as it stands; nothing was sent.
    """
    name = f"order {request.order_ref!r} ({request.contract.symbol})"
    terms = TERMS[request.order_type]
    if not (
        0 < len(request.order_ref) <= 30 and request.order_ref.isascii() and request.order_ref.isprintable()
    ):
        raise RefusedError(f"{name}: an orderRef has 1 to 30 printable ASCII characters. Nothing was sent")
    if not 0 < request.quantity < _LARGEST_QUANTITY:
        raise RefusedError(f"{name}: quantity {request.quantity} is not positive. Nothing was sent")
    if request.contract.con_id <= 0:
        raise RefusedError(f"{name}: the contract has no conId; qualify it first. Nothing was sent")
    if terms.has_limit:
        price = request.limit_price
        if price is None or not is_price(price):
            raise RefusedError(f"{name}: limit price {price} is no price. Nothing was sent")
        tick = tick_of(price, request.contract.min_tick)
        if price % tick:
            raise RefusedError(
                f"{name}: limit price {price} is no multiple of its tick {tick} (110). Nothing was sent"
            )
    elif request.limit_price is not None:
        raise RefusedError(f"{name}: a {request.order_type.value} order has no limit price. Nothing was sent")
    if request.tif != terms.tif or request.outside_rth:
        raise RefusedError(
            f"{name}: {request.order_type.value} orders are sent with time in force {terms.tif}, for regular "
            "hours only. Nothing was sent"
        )
