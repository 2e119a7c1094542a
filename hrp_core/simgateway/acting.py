"""Doing what a script asks for at once: a person's orders, corrections, the line to the broker, a restart.

What belongs here: which calls on the brokerage and which messages make up each act.
"""

from hrp_core.errors import DataError, RefusedError
from hrp_core.matching import NewOrder, Order, OrderRejected, Side
from hrp_core.money import from_units
from hrp_core.simgateway.brokerage import Brokerage
from hrp_core.simgateway.faults import Fault, order_number
from hrp_core.simgateway.faults.acts import (
    BustExecution,
    ConnectivityRestored,
    CorrectExecution,
    HumanCancel,
    HumanDuplicate,
    HumanEdit,
    HumanOrder,
    Notice,
    Restart,
)
from hrp_core.simgateway.faults.lasting import ConnectivityLost
from hrp_core.simgateway.hub import Hub
from hrp_core.simgateway.store import Ownership

_LOST = "Connectivity between IB and Trader Workstation has been lost."
_RESTORED = {
    "1101": "Connectivity between IB and Trader Workstation has been restored - data lost.",
    "1102": "Connectivity between IB and Trader Workstation has been restored - data maintained.",
}


def act(hub: Hub, fault: Fault) -> None:
    """Do what `fault` does at once; nothing for one that only waits for its occasions.

    Raises:
        DataError: it names something that does not exist.
        RefusedError: the account, the order or the execution does not allow it.
    """
    brokerage, engine = hub.brokerage, hub.brokerage.engine
    match fault:
        case ConnectivityLost():
            hub.announce(1100, _LOST)
        case ConnectivityRestored(code=code):
            brokerage.faults.lift(ConnectivityLost)
            hub.announce(int(code), _RESTORED[code])
        case Notice(code=code, text=text):
            hub.announce(code, text)
        case Restart(next_order_id=next_order_id):
            for client_id in brokerage.known_clients if next_order_id else ():
                brokerage.set_next_order_id(client_id, next_order_id)
            hub.drop_all()
        case CorrectExecution(n=n, price=price):
            hub.publish(brokerage.record(engine.correct(n, price)))
        case BustExecution(n=n):
            hub.publish(brokerage.record(engine.correct(n, None)))
        case HumanOrder():
            limit = fault.limit or None
            _place(
                hub,
                NewOrder(
                    fault.symbol,
                    Side(fault.side),
                    fault.quantity,
                    fault.type,
                    fault.tif,
                    limit_price=limit,
                ),
            )
        case HumanEdit(order=number, quantity=quantity, limit=limit):
            order = _open_order(brokerage, number)
            events = engine.edit(order.perm_id, quantity=quantity or None, limit_price=limit or None)
            hub.publish(brokerage.record(events))
        case HumanCancel(order=number):
            order = _open_order(brokerage, number)
            hub.publish(brokerage.record(engine.cancel(order.perm_id)))
        case HumanDuplicate(order=number):
            order = _open_order(brokerage, number)
            _place(hub, _copy(order))


def _place(hub: Hub, new: NewOrder) -> None:
    brokerage = hub.brokerage
    if new.symbol not in brokerage.engine.tape:
        raise DataError(f"no stock is called {new.symbol!r} at the simulated exchange")
    events = brokerage.place_new(new, Ownership(0, 0, outside_rth=False))
    order = events[0].order
    if isinstance(events[0], OrderRejected):
        raise RefusedError(f"the simulated broker refused the order: {order.reason}")
    client = hub.binding_client
    if client is not None:
        hub.bind_manual_orders(client)


def _open_order(brokerage: Brokerage, number: int) -> Order:
    for order in brokerage.engine.open_orders:
        if order_number(order.perm_id) == number:
            return order
    raise DataError(f"order {number} is not open; `hrp gateway state` lists the open orders")


def _copy(order: Order) -> NewOrder:
    return NewOrder(
        order.symbol,
        order.side,
        order.quantity,
        order.order_type,
        order.tif,
        order.order_ref,
        None if order.limit_units is None else from_units(order.limit_units),
    )
