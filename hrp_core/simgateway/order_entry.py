"""From an order as a client wrote it to an order for the market, or to the error it is answered with.

What belongs here: what can be seen from the order itself. What depends on account and market is the engine's.
"""

from hrp_core.matching import Instrument, NewOrder, Side
from hrp_core.simgateway.place_order import PlaceOrder
from hrp_core.simgateway.requests import RequestError

_OUTSIDE_RTH = (
    "Order Event Warning:Attribute 'Outside Regular Trading Hours' is ignored based on the order type and "
    "destination. PlaceOrder is now being processed."
)


def translated(request: PlaceOrder, instrument: Instrument) -> tuple[NewOrder, list[tuple[int, str]]]:
    """Return the order for the market, and the (code, text) notices that come with it.

    Raises:
        RequestError: it is no order here.
    """
    notices: list[tuple[int, str]] = []
    if request.unsupported:
        raise _unsupported(f"orders with {', '.join(request.unsupported)}")
    if request.action not in ("BUY", "SELL"):
        raise RequestError(
            321, f"Error validating request.-'bF' : cause - Invalid action '{request.action}'."
        )
    if request.quantity <= 0:
        raise RequestError(434, "The order size cannot be zero.")
    if request.quantity != request.quantity.to_integral_value():
        raise RequestError(10243, "Fractional-sized order cannot be placed via API.")
    if not request.tif:
        notices.append((10349, "Order TIF was set to DAY based on order preset."))
    if request.outside_rth:
        notices.append((2109, _OUTSIDE_RTH))
    new = NewOrder(
        symbol=instrument.symbol,
        side=Side(request.action),
        quantity=int(request.quantity),
        order_type=request.order_type,
        tif=request.tif or "DAY",
        order_ref=request.order_ref,
        limit_price=request.limit_price if request.order_type in ("LMT", "LOC") else None,
    )
    return new, notices


def _unsupported(what: str) -> RequestError:
    return RequestError(
        321, f"Error validating request.-'bZ' : cause - the simulated gateway does not support {what}."
    )
