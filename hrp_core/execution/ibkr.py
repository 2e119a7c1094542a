"""The IBKR adapter: a broker account behind the plain, synchronous `Broker` protocol.

What belongs here: the thread that the client library lives on, and the way from a synchronous call to it.
What is said to IB is in `ibkr_session`, how in `ibkr_connection`, what it answers in `ibkr_receiver` and
`ibkr_translate`.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from hrp_core.errors import BrokerConnectionError
from hrp_core.execution.broker import (
    BrokerSnapshot,
    NotSentError,
    OrderEvent,
    OrderPreview,
    OrderRequest,
    Quote,
)
from hrp_core.execution.config import BrokerConfig, ClientRole
from hrp_core.execution.ibkr_connection import ClientIdInUseError
from hrp_core.execution.ibkr_loop import LoopThread, Pacer, since_boot
from hrp_core.execution.ibkr_session import Session
from hrp_core.ledger.types import Contract, OrderId

if TYPE_CHECKING:
    from hrp_core.market import Bar

_Result = TypeVar("_Result")
# TWS frees the client id of a process that ended badly when it notices (F20).
_CLIENT_ID_PATIENCE = 3.0
_CLIENT_ID_PAUSE = 0.2


class IBKRBroker:
    """A connected account at Interactive Brokers, or at the simulated gateway.

    Every call blocks its caller until it is answered or has timed out, and may come from any thread, also
    from one that runs an event loop. All of the library runs on one thread that `connect` starts and
    `disconnect` ends.

    Args:
        config: endpoint, client id and the one account.
        pacer: spacing of outgoing messages; the default keeps below IB's 50 a second.
        uptime: seconds of a clock that only rises and goes on while the machine sleeps.
    """

    def __init__(
        self,
        config: BrokerConfig,
        *,
        pacer: Pacer | None = None,
        uptime: Callable[[], float] = since_boot,
    ) -> None:
        self._config = config
        self._uptime = uptime
        self._pacer = pacer or Pacer()
        self._events: queue.SimpleQueue[OrderEvent | None] = queue.SimpleQueue()
        self._guard = threading.RLock()
        self._thread: LoopThread | None = None
        self._session: Session | None = None

    @property
    def account(self) -> str:
        """The one account every order and filter names."""
        return self._config.account

    @property
    def config(self) -> BrokerConfig:
        """Endpoint, client id and account."""
        return self._config

    def connect(self) -> None:
        """Connect and check the account; does nothing on a healthy connection, replaces an unhealthy one.

        Never takes longer than `config.timeout`, give or take the closing of the socket.

        Raises:
            BrokerConnectionError: (a ConnectionError) with cause and fix.
        """
        with self._guard:
            if self._session is not None and self._session.is_healthy:
                return
            self.disconnect()
            thread = LoopThread(f"ibkr-{self._config.client_id}")
            try:
                self._session = thread.run(self._open)
            except BaseException:
                thread.stop()
                raise
            self._thread = thread

    def disconnect(self) -> None:
        """End the connection and its thread; calling it again does nothing."""
        with self._guard:
            thread, session = self._thread, self._session
            self._thread = self._session = None
            if thread is None or session is None:
                return
            try:
                thread.run(session.close)
            finally:
                thread.stop()

    def is_connected(self) -> bool:
        """Return whether the socket stands and the login is done."""
        session = self._session
        return session is not None and session.is_ready

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *exc: object) -> None:
        self.disconnect()

    def heartbeat(self) -> datetime:
        """Return the broker's clock (New York time).

        Raises:
            BrokerConnectionError: not connected, or connected to something that does not answer.
        """
        return self._run(lambda session: session.heartbeat())

    def qualify(self, symbols: Sequence[str]) -> dict[str, Contract]:
        """Return the contract of each symbol that the broker knows as exactly one US stock.

        Unknown and ambiguous ones are absent, with a line in the log.

        Raises:
            BrokerError: the broker answered with another error, or not at all.
        """
        return self._run(lambda session: session.qualify(symbols))

    def used_order_id(self) -> OrderId | None:
        """Return the highest order id this client has used, before this connection and over it.

        None for a reader, which has no orders.

        Raises:
            BrokerConnectionError: not connected.
        """
        if self._config.role is not ClientRole.WRITER:
            return None
        return OrderId(self._config.client_id, self._require_session().used_order_number)

    def next_order_id(self) -> OrderId:
        """Return the id for one order that is about to be placed; each call gives a higher one.

        Raises:
            NotSentError: (a BrokerConnectionError) not connected.
        """
        if self._session is None:
            raise NotSentError(f"not connected to {self._config.endpoint}; nothing was sent. Connect first")
        return OrderId(self._config.client_id, self._run(lambda session: session.next_order_number()))

    def place(self, request: OrderRequest) -> None:
        """Hand one order to the broker and return; what becomes of it arrives as events.

        Raises:
            RefusedError: the request cannot be sent as it stands; nothing was sent.
            NotSentError: (a BrokerConnectionError) not connected, or not fit for an order; nothing was sent.
            BrokerConnectionError: the connection ended meanwhile; the order may be at the broker.
            BrokerError: an order with this orderRef is at the broker already; it was not sent again.
        """
        if self._session is None:
            raise NotSentError(f"not connected to {self._config.endpoint}; nothing was sent. Connect first")
        self._run(lambda session: session.place(request))

    def cancel(self, order_ref: str) -> None:
        """Ask for the cancellation of one of this client's open orders.

        Raises:
            BrokerError: no open order of this client carries `order_ref`.
            RefusedError: connected as a reader.
        """
        self._run(lambda session: session.cancel(order_ref))

    def cancel_everything(self) -> None:
        """Ask for the cancellation of every open order of the login, whoever placed it."""
        self._run(lambda session: session.cancel_everything())

    def next_event(self, timeout: float) -> OrderEvent | None:
        """Return the next order event, waiting at most `timeout` seconds; None when there is none.

        Events that came before a connection ended are still delivered; after them there is no waiting.
        """
        deadline = time.monotonic() + timeout
        while True:
            wait = max(0.0, deadline - time.monotonic()) if self.is_connected() else 0.0
            try:
                event = self._events.get(timeout=wait) if wait else self._events.get_nowait()
            except queue.Empty:
                return None
            # None only wakes whoever waits for a connection that has just ended.
            if event is not None:
                return event

    def quotes(self, contracts: Sequence[Contract], timeout: float) -> dict[str, Quote]:
        """Return a quote of each contract by symbol, all asked for at once; see `Broker.quotes`."""
        return self._run(lambda session: session.quotes(contracts, timeout))

    def bars(self, contract: Contract, start: date, end: date) -> "list[Bar]":
        """Return the daily bars of the sessions from `start` to `end`; see `Broker.bars`.

        Raises:
            BrokerError: the broker answered with an error, or not at all.
        """
        return self._run(lambda session: session.bars(contract, start, end))

    def what_if(self, request: OrderRequest) -> OrderPreview:
        """Ask what an order would cost. It is not placed, and carries no orderRef. Readers may ask, too.

        Raises:
            RefusedError: the request cannot be sent as it stands; nothing was sent.
            BrokerError: the broker would reject the order, or did not answer.
        """
        return self._run(lambda session: session.what_if(request))

    def snapshot(self) -> BrokerSnapshot:
        """Ask for open orders, completed orders, executions, positions and account values.

        Raises:
            IncompleteSnapshotError: an end marker is missing, or a message could not be decoded.
            BrokerConnectionError: not connected, or the connection ended in the middle.
        """
        return self._run(lambda session: session.snapshot())

    async def _open(self) -> Session:
        now = asyncio.get_running_loop().time
        deadline = now() + self._config.timeout
        patient_until = min(deadline, now() + _CLIENT_ID_PATIENCE)
        while True:
            session = Session(self._config, self._pacer, self._events.put, self._uptime)
            try:
                await session.open(deadline)
                return session
            except ClientIdInUseError:
                if now() + _CLIENT_ID_PAUSE >= patient_until:
                    raise
                await asyncio.sleep(_CLIENT_ID_PAUSE)

    def _run(self, work: Callable[[Session], Coroutine[Any, Any, _Result]]) -> _Result:
        thread, session = self._thread, self._require_session()
        if thread is None:
            raise self._not_connected()
        return thread.run(lambda: work(session))

    def _require_session(self) -> Session:
        session = self._session
        if session is None:
            raise self._not_connected()
        return session

    def _not_connected(self) -> BrokerConnectionError:
        return BrokerConnectionError(
            f"not connected to {self._config.endpoint}; nothing was sent. Call connect() first"
        )
