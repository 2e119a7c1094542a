"""Faults that wait for their occasion: connections, messages, answers, orders, fills.

What belongs here: one small class for each, which says what it is and what it applies to. The place that
acts on it asks the book for its class.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from hrp_core.simgateway.faults.base import (
    REQUEST_NAMES,
    About,
    Fault,
    MessageFault,
    OrderFault,
    RequestFault,
    amount,
    number,
    text,
)
from hrp_core.simgateway.wire import MESSAGE_NAMES

# --- connections


@dataclass(frozen=True, kw_only=True)
class DropBeforeAck(OrderFault):
    """F5."""

    name: ClassVar[str] = "drop_before_ack"
    summary: ClassVar[str] = "the order is taken, then its connection ends without a word about it"
    rows: ClassVar[str] = "F5"


@dataclass(frozen=True, kw_only=True)
class DropAfterAck(OrderFault):
    """F5."""

    name: ClassVar[str] = "drop_after_ack"
    summary: ClassVar[str] = "the order is taken and acknowledged, then its connection ends"
    rows: ClassVar[str] = "F5"


@dataclass(frozen=True, kw_only=True)
class DropMidFrame(OrderFault):
    """F5."""

    name: ClassVar[str] = "drop_mid_frame"
    summary: ClassVar[str] = (
        "the order is taken, and its connection ends in the middle of the first message about it"
    )
    rows: ClassVar[str] = "F5"


@dataclass(frozen=True, kw_only=True)
class LoseRequest(RequestFault):
    """F5."""

    name: ClassVar[str] = "lose_request"
    summary: ClassVar[str] = "the request never reaches the broker, and its connection ends"
    rows: ClassVar[str] = "F5"
    request: str = text("name of the request", "placeOrder", tuple(sorted(REQUEST_NAMES.values())))


@dataclass(frozen=True, kw_only=True)
class DropMessage(MessageFault):
    """F5, F2."""

    name: ClassVar[str] = "drop_message"
    summary: ClassVar[str] = "the connection ends at a message: before it, after it, or in the middle of it"
    rows: ClassVar[str] = "F2, F5"
    at: str = text("before, middle or after", "before", ("before", "middle", "after"))


@dataclass(frozen=True, kw_only=True)
class Silence(RequestFault):
    """F2."""

    name: ClassVar[str] = "silence"
    summary: ClassVar[str] = "the request is served, and never answered"
    rows: ClassVar[str] = "F2, F5"


@dataclass(frozen=True, kw_only=True)
class HalfOpen(RequestFault):
    """F19."""

    name: ClassVar[str] = "half_open"
    summary: ClassVar[str] = (
        "from the request on, its connection neither hears nor says anything, and does not close"
    )
    rows: ClassVar[str] = "F19"


# --- messages


@dataclass(frozen=True, kw_only=True)
class Omit(MessageFault):
    """F15."""

    name: ClassVar[str] = "omit"
    summary: ClassVar[str] = "the message is not sent"
    rows: ClassVar[str] = "F2, F15, F17"


@dataclass(frozen=True, kw_only=True)
class Duplicate(MessageFault):
    """F15."""

    name: ClassVar[str] = "duplicate"
    summary: ClassVar[str] = "the message is sent twice"
    rows: ClassVar[str] = "F15"


@dataclass(frozen=True, kw_only=True)
class Delay(MessageFault):
    """F15, F17."""

    name: ClassVar[str] = "delay"
    summary: ClassVar[str] = (
        "the message is held back until another one has gone or the clock has moved; lost with its connection"
    )
    rows: ClassVar[str] = "F15, F17"
    until: str = text(
        "name of the message it follows, or `advance`",
        "advance",
        ("advance", *sorted(MESSAGE_NAMES.values())),
    )


@dataclass(frozen=True, kw_only=True)
class Reorder(MessageFault):
    """F15."""

    name: ClassVar[str] = "reorder"
    summary: ClassVar[str] = "the message changes places with the one that follows it on its connection"
    rows: ClassVar[str] = "F15"


@dataclass(frozen=True, kw_only=True)
class UnsetCommission(OrderFault):
    """F17."""

    name: ClassVar[str] = "unset_commission"
    summary: ClassVar[str] = "a commission report carries the largest double instead of an amount"
    rows: ClassVar[str] = "F17"


# --- answers


@dataclass(frozen=True, kw_only=True)
class MissingEnd(RequestFault):
    """F2."""

    name: ClassVar[str] = "missing_end"
    summary: ClassVar[str] = "the answer has its data and no end marker"
    rows: ClassVar[str] = "F2"


@dataclass(frozen=True, kw_only=True)
class LyingEnd(RequestFault):
    """F12."""

    name: ClassVar[str] = "lying_end"
    summary: ClassVar[str] = "the answer has its end marker and no data"
    rows: ClassVar[str] = "F2, F12"


@dataclass(frozen=True, kw_only=True)
class StaleOpenOrders(RequestFault):
    """Rule 1."""

    name: ClassVar[str] = "stale_open_orders"
    summary: ClassVar[str] = "orders that ended today are listed as open and unfilled"
    rows: ClassVar[str] = "F15"


@dataclass(frozen=True, kw_only=True)
class PositionLag(Fault):
    """F13."""

    name: ClassVar[str] = "position_lag"
    summary: ClassVar[str] = (
        "positions and portfolio leave out the fills of the last minutes of the gateway's clock"
    )
    rows: ClassVar[str] = "F13"
    minutes: int = number("minutes", 3, least=1)


@dataclass(frozen=True, kw_only=True)
class OmitExecution(Fault):
    """F6."""

    name: ClassVar[str] = "omit_execution"
    summary: ClassVar[str] = (
        "the n-th execution of the account is never reported; positions, cash and orders are right"
    )
    rows: ClassVar[str] = "F6"
    n: int = number("1 for the first execution ever", least=1)


# --- quotes


@dataclass(frozen=True, kw_only=True)
class QuoteFault(Fault):
    """A fault of the quotes of one name, until it is lifted."""

    symbol: str = text("whose quotes")

    def concerns(self, about: About) -> bool:
        """Match the symbol."""
        return self.symbol == about.symbol


@dataclass(frozen=True, kw_only=True)
class PriorClose(QuoteFault):
    """F33."""

    name: ClassVar[str] = "prior_close"
    summary: ClassVar[str] = (
        "quotes of a name have another prior close, as after a split or a renaming overnight"
    )
    rows: ClassVar[str] = "F33"
    price: Decimal = amount("the prior close, USD a share")  # noqa: RUF009


@dataclass(frozen=True, kw_only=True)
class Halted(QuoteFault):
    """F27."""

    name: ClassVar[str] = "halted"
    summary: ClassVar[str] = "quotes of a name say that its trading is halted; its orders trade all the same"
    rows: ClassVar[str] = "F27"


# --- orders and fills


@dataclass(frozen=True, kw_only=True)
class Reject(OrderFault):
    """F8, F27."""

    name: ClassVar[str] = "reject"
    summary: ClassVar[str] = "a new order is rejected"
    rows: ClassVar[str] = "F8, F9, F25, F27, F28"
    code: int = number("the error code", 201, least=1)
    reason: str = text("the error text", "Order rejected - reason:scripted")
    shape: str = text(
        "inactive: status Inactive, then the error; cancelled: the error, then status Cancelled",
        "inactive",
        ("inactive", "cancelled"),
    )


@dataclass(frozen=True, kw_only=True)
class RefuseAllOrders(Fault):
    """F27."""

    name: ClassVar[str] = "refuse_all_orders"
    summary: ClassVar[str] = "every new order is rejected with 201, until it is lifted"
    rows: ClassVar[str] = "F27"


@dataclass(frozen=True, kw_only=True)
class ReadOnly(Fault):
    """F22."""

    name: ClassVar[str] = "read_only"
    summary: ClassVar[str] = "orders, previews and cancellations are answered with 321, until it is lifted"
    rows: ClassVar[str] = "F22"


@dataclass(frozen=True, kw_only=True)
class PartialFill(OrderFault):
    """F11."""

    name: ClassVar[str] = "partial_fill"
    summary: ClassVar[str] = (
        "when the order could trade it gets some shares only; with count=2 the rest expires at the close"
    )
    rows: ClassVar[str] = "F11"
    shares: int = number("shares it gets", 1, least=1)


@dataclass(frozen=True, kw_only=True)
class SplitFill(OrderFault):
    """F11."""

    name: ClassVar[str] = "split_fill"
    summary: ClassVar[str] = "the order is filled in several executions"
    rows: ClassVar[str] = "F11, F16"
    pieces: int = number("executions", 2, least=2)


@dataclass(frozen=True, kw_only=True)
class FillAfterCancel(OrderFault):
    """F10."""

    name: ClassVar[str] = "fill_after_cancel"
    summary: ClassVar[str] = (
        "a cancellation is confirmed, comes too late at the exchange, and the order fills"
    )
    rows: ClassVar[str] = "F10"


@dataclass(frozen=True, kw_only=True)
class ConnectivityLost(Fault):
    """F6, F18."""

    name: ClassVar[str] = "connectivity_lost"
    summary: ClassVar[str] = (
        "1100 to every client; orders are taken and trade, requests are answered, and nothing is pushed, "
        "until connectivity_restored"
    )
    rows: ClassVar[str] = "F6, F7, F18"
