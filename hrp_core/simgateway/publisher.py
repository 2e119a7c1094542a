"""From what happened to an order to the messages its owner gets, in the order the real broker sends them.

What belongs here: which messages tell of an event, and in which sequence. Their fields are laid out in
`order_messages`.
"""

from hrp_core.matching import (
    Event,
    OrderAccepted,
    OrderActivated,
    OrderCancelled,
    OrderEdited,
    OrderFilled,
    OrderRejected,
    OrderState,
)
from hrp_core.simgateway.messages import Fields, error
from hrp_core.simgateway.order_messages import (
    BrokerOrder,
    commission_report,
    execution_details,
    open_order,
    order_status,
)

_LIVE = -1  # request id of an execution that nobody asked for


def order_messages(event: Event, order: BrokerOrder, version: int, *, hide_execution: bool) -> list[Fields]:
    """Return the messages about `event` for the order's owner.

    Args:
        event: what happened.
        order: the order of the event, with its owner.
        version: server version of the owner's connection.
        hide_execution: leave out the execution of a fill (a scripted fault).
    """
    match event:
        case OrderAccepted():
            messages = [open_order(order, version), order_status(order)]
            if order.order.state is OrderState.HELD:
                messages.append(error(order.order_id, 399, _held_text(order), version))
            return messages
        case OrderActivated() | OrderEdited():
            return [open_order(order, version), order_status(order)]
        case OrderFilled(fill=fill):
            if fill.is_correction:
                return [execution_details(_LIVE, order, fill, version), commission_report(fill)]
            status = order_status(order, fill.price_units)
            if hide_execution:
                return [open_order(order, version), status]
            return [
                execution_details(_LIVE, order, fill, version),
                open_order(order, version),
                status,
                commission_report(fill),
            ]
        case OrderRejected() if order.order.state is not OrderState.REJECTED:
            # The other shape of a reject: first the error, then Cancelled (F8).
            return [
                error(order.order_id, order.order.code, order.order.reason, version),
                order_status(order),
            ]
        case OrderCancelled() | OrderRejected():
            return [
                order_status(order),
                error(order.order_id, order.order.code, order.order.reason, version),
            ]


def _held_text(order: BrokerOrder) -> str:
    held = order.order
    venue = (
        f"{order.instrument.primary_exchange}.NMS"
        if order.instrument.primary_exchange == "NASDAQ"
        else "NYSE"
    )
    return (
        f"Order Message:\n{held.side.value} {held.quantity} {held.symbol} {venue}\n"
        "Warning: Your order will not be placed at the exchange until "
        f"{held.active_from:%Y-%m-%d %H:%M:%S} US/Eastern."
    )
