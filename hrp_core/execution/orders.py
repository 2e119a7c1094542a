"""The public order: what a user hands to the order manager and gets back.

What belongs here: the `Order` value and its validation. What the system itself trades are the intents of a
frozen plan in the journal; submitting an `Order` makes a plan of one intent.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from hrp_core.errors import BrokerError, DataError
from hrp_core.ledger.types import OrderStatus
from hrp_core.money import is_price, to_money
from hrp_core.portfolio.types import OrderSide, OrderType

__all__ = ["BrokerNotConnectedError", "Order", "OrderSide", "OrderStatus", "OrderType"]

_LIMIT_TYPES = frozenset({OrderType.LIMIT, OrderType.LIMIT_ON_OPEN, OrderType.LIMIT_ON_CLOSE})


class BrokerNotConnectedError(BrokerError, ValueError):
    """The broker is not connected; connect it first."""


@dataclass(slots=True)
class Order:
    """One order for US stock.

    Attributes:
        symbol: upper-case ticker.
        quantity: whole shares, positive.
        limit_price: USD a share; for the limit types only.
        hypothesis_id: strategy whose order it is; None for an order of nobody's strategy.
        order_id: ours, unique.
        broker_order_id: the broker's permanent id, once acknowledged.
        submitted_at: when it was handed to the broker, timezone-aware.
        filled_at: newest execution.
        filled_price: average over its executions, USD a share, six places.
        commission: USD over its executions; None until every one of them has its commission.

    Raises:
        DataError: (a ValueError) a field is missing or makes no sense.
    """

    symbol: str
    side: OrderSide
    quantity: int
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    hypothesis_id: str | None = None
    order_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: OrderStatus = OrderStatus.PENDING
    broker_order_id: int | None = None
    submitted_at: datetime | None = None
    filled_at: datetime | None = None
    filled_price: Decimal | None = None
    filled_quantity: int = 0
    commission: Decimal | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        self.symbol = self.symbol.strip().upper()
        if not self.symbol:
            raise DataError("symbol is required")
        self.side, self.order_type = OrderSide(self.side), OrderType(self.order_type)
        if self.quantity <= 0:
            raise DataError("quantity must be positive")
        if self.quantity != int(self.quantity):
            # The broker's API refuses fractions (F26); rounding here would trade something else than asked.
            raise DataError("quantity must be a whole number of shares")
        self.quantity = int(self.quantity)
        if self.order_type in _LIMIT_TYPES and self.limit_price is None:
            raise DataError("Limit orders require limit_price")
        if self.limit_price is not None:
            if not is_price(self.limit_price):
                raise DataError("limit_price must be positive")
            if self.order_type not in _LIMIT_TYPES:
                raise DataError(f"a {self.order_type.value} order has no limit_price")
            self.limit_price = to_money(self.limit_price)
