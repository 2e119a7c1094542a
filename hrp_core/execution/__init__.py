"""Execution: the broker, the order manager, and the agreement between ledger and broker.

What belongs here: everything between a frozen plan and the account. The names of the public contract are
importable from this package; the IBKR adapter and the tracker are loaded when they are first asked for.
"""

from typing import TYPE_CHECKING

from hrp_core.execution.order_manager import OrderManager
from hrp_core.execution.orders import Order, OrderSide, OrderStatus, OrderType
from hrp_core.execution.submit_report import SubmitReport

if TYPE_CHECKING:
    from hrp_core.execution.config import BrokerConfig
    from hrp_core.execution.ibkr import IBKRBroker
    from hrp_core.execution.positions import Position, PositionTracker

__all__ = [
    "BrokerConfig",
    "IBKRBroker",
    "Order",
    "OrderManager",
    "OrderSide",
    "OrderStatus",
    "OrderType",
    "Position",
    "PositionTracker",
    "SubmitReport",
]


def __getattr__(name: str) -> object:
    if name == "BrokerConfig":
        from hrp_core.execution.config import BrokerConfig

        return BrokerConfig
    if name == "IBKRBroker":
        from hrp_core.execution.ibkr import IBKRBroker

        return IBKRBroker
    if name in ("Position", "PositionTracker"):
        from hrp_core.execution import positions

        return getattr(positions, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
