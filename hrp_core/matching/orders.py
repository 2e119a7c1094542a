"""Orders, fills and the events of the matching engine, as frozen values.

What belongs here: what the engine is told and what it answers. Amounts are integers in ten-thousandths of a
dollar (`_units`), moments are timezone-aware in New York time, sessions are dates.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    """Direction of an order, in the broker's words."""

    BUY = "BUY"
    SELL = "SELL"


class OrderState(StrEnum):
    """Where an order stands."""

    HELD = "held"  # accepted, waits for the open of its session
    WORKING = "working"  # its session is open
    FILLED = "filled"
    CANCELLED = "cancelled"  # by request, by expiry, or because it could not be paid for
    REJECTED = "rejected"  # never accepted

    @property
    def is_open(self) -> bool:
        """Whether the order can still trade."""
        return self in (OrderState.HELD, OrderState.WORKING)


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order as it arrives at the broker.

    Attributes:
        order_type: in the broker's words: MKT, LMT, MOC or LOC.
        tif: time in force: DAY, or OPG, which makes MKT and LMT orders for the opening auction alone.
        order_ref: the sender's reference, echoed everywhere.
        limit_price: USD a share, a multiple of the minimum tick; None for types without a limit.
    """

    symbol: str
    side: Side
    quantity: int
    order_type: str = "MKT"
    tif: str = "DAY"
    order_ref: str = ""
    limit_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the broker refuses or ends an order: its message code and text.

    Attributes:
        state: what a refused new order becomes. Real brokers reject in two shapes: never accepted
            (REJECTED), or an error and then CANCELLED (F8).
    """

    code: int
    reason: str
    state: OrderState = OrderState.REJECTED


@dataclass(frozen=True, slots=True)
class Order:
    """An order at the broker.

    Attributes:
        perm_id: the broker's permanent number, unique for ever.
        active_from: the moment from which it may trade.
        session: the one session it is good for.
        value_units: sum of price times shares over its fills.
        commission_units: commission over its fills.
        closed_at: when it was filled, cancelled or rejected.
        code: the broker's message code for a cancellation or rejection (202, 201, ...), else 0.
        reason: the text that goes with `code`.
        limit_units: limit price a share; None for types without a limit.
        cancel_too_late: it counts as cancelled and trades all the same, because the cancellation reached
            the exchange too late (scripted, F10).
    """

    perm_id: int
    order_ref: str
    symbol: str
    side: Side
    quantity: int
    order_type: str
    tif: str
    accepted_at: datetime
    active_from: datetime
    session: date
    state: OrderState
    filled: int = 0
    value_units: int = 0
    commission_units: int = 0
    closed_at: datetime | None = None
    code: int = 0
    reason: str = ""
    limit_units: int | None = None
    cancel_too_late: bool = False

    @property
    def remaining(self) -> int:
        """Shares not filled."""
        return self.quantity - self.filled


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution.

    Attributes:
        number: 1 for the account's first execution ever, then 2, and so on.
        exec_id: the broker's identifier; its last part counts corrections (01: the execution itself). A
            correction replaces the fill with the same identifier but for that part; with no shares it takes
            it back.
        price_units: a share.
        realized_units: profit or loss realized by it after commissions; None when it only opens or adds.
        cum_quantity: shares of the order filled, this fill included.
        cum_value_units: sum of price times shares of the order, this fill included.
    """

    number: int
    exec_id: str
    perm_id: int
    order_ref: str
    symbol: str
    side: Side
    time: datetime
    quantity: int
    price_units: int
    commission_units: int
    realized_units: int | None
    cum_quantity: int
    cum_value_units: int

    @property
    def stem(self) -> str:
        """The identifier without its last part: what an execution and its corrections have in common."""
        return self.exec_id.rpartition(".")[0]

    @property
    def is_correction(self) -> bool:
        """Whether it replaces an earlier fill."""
        return not self.exec_id.endswith(".01")


@dataclass(frozen=True, slots=True)
class OrderAccepted:
    """The broker has the order; `order.state` says whether it waits for the open or works already."""

    time: datetime
    order: Order


@dataclass(frozen=True, slots=True)
class OrderActivated:
    """The session of a held order has opened without filling it; it works until the close."""

    time: datetime
    order: Order


@dataclass(frozen=True, slots=True)
class OrderEdited:
    """Quantity or limit of an open order were changed at the broker by a person."""

    time: datetime
    order: Order


@dataclass(frozen=True, slots=True)
class OrderFilled:
    """An execution, or the correction of one; `order` stands as after it."""

    time: datetime
    order: Order
    fill: Fill


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """The order ended unfilled or partly filled; why is in `order.code` and `order.reason`."""

    time: datetime
    order: Order


@dataclass(frozen=True, slots=True)
class OrderRejected:
    """The order was not accepted; why is in `order.code` and `order.reason`.

    `order.state` is REJECTED, or CANCELLED where the refusal said so.
    """

    time: datetime
    order: Order


Event = OrderAccepted | OrderActivated | OrderEdited | OrderFilled | OrderCancelled | OrderRejected
