"""What the adapter's tests share: moments of the simulated market, orders, and waiting for events."""

from collections.abc import Callable
from datetime import datetime

from hrp_core.calendar import NEW_YORK
from hrp_core.execution.broker import OrderEvent, OrderRequest
from hrp_core.execution.config import BrokerConfig
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.ledger.types import Contract
from hrp_core.portfolio.types import OrderSide, OrderType

EVENING = datetime(2022, 12, 5, 18, 30, tzinfo=NEW_YORK)
AFTER_OPEN = datetime(2022, 12, 6, 10, 0, tzinfo=NEW_YORK)
AFTER_MIDNIGHT = datetime(2022, 12, 7, 0, 1, tzinfo=NEW_YORK)

Connect = Callable[..., IBKRBroker]
ConfigFor = Callable[..., BrokerConfig]


def market_order(
    contract: Contract, ref: str = "S221205-1-abcdef-1", side: OrderSide = OrderSide.BUY, quantity: int = 10
) -> OrderRequest:
    """Return a market order."""
    return OrderRequest(ref, contract, side, quantity, OrderType.MARKET)


def place(broker: IBKRBroker, request: OrderRequest) -> None:
    """Place an order and return once the broker has it: whatever else is done to the broker comes after."""
    broker.place(request)
    broker.heartbeat()


def events_until(
    broker: IBKRBroker, last: Callable[[OrderEvent], bool], timeout: float = 10.0
) -> list[OrderEvent]:
    """Return the events up to the first that `last` accepts."""
    seen = []
    while (event := broker.next_event(timeout)) is not None:
        seen.append(event)
        if last(event):
            return seen
    raise AssertionError(f"the event did not come; seen: {seen}")


def events_so_far(broker: IBKRBroker) -> list[OrderEvent]:
    """Return every event that the broker sent before it answered a heartbeat."""
    broker.heartbeat()
    seen = []
    while (event := broker.next_event(0)) is not None:
        seen.append(event)
    return seen
