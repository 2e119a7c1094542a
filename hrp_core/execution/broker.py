"""The Broker protocol: the only face of a broker that the rest of the system sees.

Plain and synchronous: implementations own their threads and event loops. Three implementations exist:
the IBKR adapter over a socket, and the in-process `SimBroker` on the same matching engine as the simulated
gateway. What a library caches locally is never an answer; every list is asked for, on this connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, Self

from hrp_core.errors import BrokerConnectionError
from hrp_core.ledger.types import Contract, Execution, OrderId, OrderStatus
from hrp_core.money import is_price
from hrp_core.portfolio.types import OrderSide, OrderType

if TYPE_CHECKING:
    from hrp_core.market import Bar


class NotSentError(BrokerConnectionError):
    """The connection cannot carry an order, and not one byte of this one was written to it."""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order to place, every field explicit.

    Attributes:
        limit_price: USD a share, on the contract's tick; None for types without a limit.
        tif: the time in force that belongs to the order type (`order_terms.TERMS`).
        order_id: a number that `Broker.next_order_id` gave; None: the connection takes the next one itself.
    """

    order_ref: str
    contract: Contract
    side: OrderSide
    quantity: int
    order_type: OrderType
    limit_price: Decimal | None = None
    tif: str = "DAY"
    outside_rth: bool = False
    order_id: OrderId | None = None


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An open or completed order as the broker answered it.

    Attributes:
        quantity: whole shares ordered; 0 where the broker does not say, as IB does for a completed order that
            was not filled whole.
    """

    order_ref: str
    perm_id: int
    contract: Contract
    side: OrderSide
    quantity: int
    filled: int
    status: OrderStatus
    raw_status: str = ""
    client_id: int | None = None
    order_id: int | None = None


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """Shares of one contract in the configured account, as the broker answered."""

    contract: Contract
    shares: int
    average_cost: Decimal


@dataclass(frozen=True, slots=True)
class AccountValues:
    """The account's own figures, USD. A cross-check only; nothing in the book comes from it."""

    account: str
    net_liquidation: Decimal
    cash: Decimal


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """Something the broker said about one of our orders while connected.

    Exactly one of three shapes: a status (with `status`, and `perm_id` once known), an error (`code`,
    `message`, and `status` where the code table says what the code means for the order), or an `execution` (a
    commission arrives as the execution with its commission filled in).
    """

    order_ref: str
    perm_id: int = 0
    status: OrderStatus | None = None
    code: int | None = None
    message: str = ""
    execution: Execution | None = None


@dataclass(frozen=True, slots=True)
class BrokerSnapshot:
    """Return values of explicit requests on one connection, asked in this order.

    Attributes:
        asked_at: broker time of the request; executions cover [midnight New York, asked_at].
    """

    account: str
    asked_at: datetime
    open_orders: tuple[BrokerOrder, ...]
    completed_orders: tuple[BrokerOrder, ...]
    executions: tuple[Execution, ...]
    positions: tuple[BrokerPosition, ...]
    values: AccountValues


class QuoteQuality(StrEnum):
    """What the prices of a quote are worth."""

    LIVE = "live"
    FROZEN = "frozen"  # as they stood when the market closed
    DELAYED = "delayed"
    NONE = "none"  # there is no price


@dataclass(frozen=True, slots=True)
class Quote:
    """What the broker says a stock is quoted at, USD a share; None where it gave no price (F32).

    Whatever is no finite positive price (NaN, -1, 0) becomes None, whoever makes the quote, and a quote
    without any price has the quality NONE.

    Attributes:
        last: the newest trade.
        close: the official close of the session before.
        is_halted: the broker says that trading in it is halted.
    """

    symbol: str
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    close: Decimal | None
    quality: QuoteQuality
    is_halted: bool = False

    def __post_init__(self) -> None:
        for name in ("bid", "ask", "last", "close"):
            if self.quality is QuoteQuality.NONE or not is_price(getattr(self, name)):
                object.__setattr__(self, name, None)
        if self.bid is None and self.ask is None and self.last is None and self.close is None:
            object.__setattr__(self, "quality", QuoteQuality.NONE)

    def order_price(self, side: OrderSide) -> Decimal | None:
        """Return what an order may be priced from: the other side of the market, else the last trade.

        None where there is neither, and always for a delayed quote (F31).
        """
        if self.quality is QuoteQuality.DELAYED:
            return None
        other_side = self.ask if side is OrderSide.BUY else self.bid
        return self.last if other_side is None else other_side


@dataclass(frozen=True, slots=True)
class OrderPreview:
    """What an order would do to the account if it were placed, USD.

    Attributes:
        margin_before: initial margin of the account now; `margin_change` is what the order adds.
        equity_before: equity with loan value now; `equity_change` is what the order costs.
        commission: at most; None where the broker does not say.
        warning: what the broker adds in words.
    """

    margin_before: Decimal
    margin_change: Decimal
    equity_before: Decimal
    equity_change: Decimal
    commission: Decimal | None
    warning: str = ""


class Broker(Protocol):
    """A connected account at a broker."""

    @property
    def account(self) -> str:
        """The one account every order and filter names."""
        ...

    def connect(self) -> None:
        """Connect and check the account.

        Raises:
            BrokerConnectionError: with cause and fix.
        """
        ...

    def disconnect(self) -> None:
        """End the connection; calling it again does nothing."""
        ...

    def is_connected(self) -> bool:
        """Return whether the connection stands."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def heartbeat(self) -> datetime:
        """Return the broker's clock (New York time).

        Raises:
            BrokerConnectionError: not connected, or connected to something that does not answer (F19).
        """
        ...

    def qualify(self, symbols: Sequence[str]) -> dict[str, Contract]:
        """Return the contract of each symbol that the broker knows as a US stock; unknown ones are absent."""
        ...

    def used_order_id(self) -> OrderId | None:
        """Return the highest order id this client has used, before this connection and over it.

        None for a reader, which has no orders.

        Raises:
            BrokerConnectionError: not connected.
        """
        ...

    def next_order_id(self) -> OrderId:
        """Return the id for one order that is about to be placed; each call gives a higher one.

        Raises:
            NotSentError: (a BrokerConnectionError) not connected.
        """
        ...

    def place(self, request: OrderRequest) -> None:
        """Hand one order to the broker and return; what becomes of it arrives as events.

        Raises:
            RefusedError: the request cannot be sent as it stands; nothing was sent.
            NotSentError: (a BrokerConnectionError) the connection is not fit for an order; nothing was sent.
            BrokerConnectionError: the connection ended; the order may or may not be at the broker.
            BrokerError: an order with this orderRef is at the broker already; it was not sent again.
        """
        ...

    def cancel(self, order_ref: str) -> None:
        """Ask for the cancellation of one of this client's open orders.

        Raises:
            BrokerError: no open order of this client carries `order_ref`.
        """
        ...

    def cancel_everything(self) -> None:
        """Ask for the cancellation of every open order of the account, also of those placed elsewhere.

        Raises:
            BrokerConnectionError: not connected; nothing was asked.
        """
        ...

    def next_event(self, timeout: float) -> OrderEvent | None:
        """Return the next order event, waiting at most `timeout` seconds; None when there is none."""
        ...

    def quotes(self, contracts: Sequence[Contract], timeout: float) -> dict[str, Quote]:
        """Return a quote of each contract by symbol, all asked for at once.

        Every contract has its quote: one without a price has the quality NONE. A late answer is no answer.

        Args:
            contracts: what to quote.
            timeout: seconds to wait for all of them together.

        Raises:
            BrokerConnectionError: not connected, or the connection ended meanwhile.
            BrokerError: the broker gives no prices at all: too many requests, or another session of the same
                login has them (10197).
        """
        ...

    def bars(self, contract: Contract, start: date, end: date) -> Sequence["Bar"]:
        """Return the daily bars of the sessions from `start` to `end`, both included, in order; empty = none.

        Official trades of regular hours, adjusted for the splits up to now and not for dividends; completed
        sessions only.

        Raises:
            BrokerConnectionError: not connected, or the connection ended meanwhile.
            BrokerError: the broker answered with an error, or not at all.
        """
        ...

    def what_if(self, request: OrderRequest) -> OrderPreview:
        """Ask what an order would cost. It is not placed, and carries no orderRef.

        Raises:
            RefusedError: the request cannot be sent as it stands; nothing was sent.
            BrokerConnectionError: not connected, or the connection ended meanwhile.
            BrokerError: the broker would reject the order; the message has its code and reason.
        """
        ...

    def snapshot(self) -> BrokerSnapshot:
        """Ask for open orders, completed orders, executions, positions and account values.

        Raises:
            IncompleteSnapshotError: an end marker is missing.
            BrokerConnectionError: not connected, or the connection ended in the middle.
        """
        ...
