"""One socket to TWS or IB Gateway: handshake, health, paced requests, close.

What belongs here: everything about the connection that does not depend on what is asked. An answer without
its end marker, or a message that cannot be decoded, makes the connection unhealthy for good: a late answer
cannot be told from the next one's. Coroutines on the library's thread only.
"""

import asyncio
import importlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from hrp_core.errors import BrokerConnectionError, BrokerError, IncompleteSnapshotError, SettingsError
from hrp_core.execution.broker import NotSentError, OrderEvent
from hrp_core.execution.config import BrokerConfig, IbLibrary
from hrp_core.execution.ib_codes import Code, CodeKind
from hrp_core.execution.ibkr_loop import Pacer
from hrp_core.execution.ibkr_receiver import Receiver
from hrp_core.execution.ibkr_requests import RequestError
from hrp_core.ledger.types import OrderId

log = logging.getLogger(__name__)

# From here on times carry their zone; before, it would have to be guessed.
_MIN_SERVER_VERSION = 174
_CLIENT_ID_IN_USE = 326
_CLOSE_SECONDS = 1.0


def load_library(name: IbLibrary) -> Any:
    """Import the client library; the only place that does. Call it on a thread whose event loop is set.

    Of either, client and decoder are used as they are. They ask for the thread's event loop at import.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        library = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise SettingsError(
            f"HRP_IB_LIBRARY={name}, and {name} is not installed; nothing was sent. Install it with `pip "
            f"install 'hrp-dagster[{name}]'`, or set HRP_IB_LIBRARY=ib_insync"
        ) from error
    # Without a handler Python would print the library's own view of an error next to ours.
    library_log = logging.getLogger(name)
    if not library_log.handlers:
        library_log.addHandler(logging.NullHandler())
    return library


class ClientIdInUseError(BrokerConnectionError):
    """Another connection uses the client id (326)."""


class Connection:
    """One connection. Make it, `open` it once, `close` it; there is no reconnecting.

    Args:
        config: endpoint and account.
        pacer: spaces what is sent.
        emit: takes each order event, and None when the socket has ended; called on the library's thread.
    """

    def __init__(self, config: BrokerConfig, pacer: Pacer, emit: Callable[[OrderEvent | None], None]) -> None:
        self.config = config
        self.library = load_library(config.library)
        self.is_ready = False
        self.ib_is_reachable = True
        self.executions_are_due = False
        self._unhealthy = ""
        self._pacer = pacer
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._one_at_a_time = asyncio.Lock()
        self._refused: asyncio.Future[BrokerConnectionError] = self._loop.create_future()
        self._socket_closed = asyncio.Event()
        self.receiver = Receiver(config.account, config.client_id, emit, self._session_error)
        self.client = self.library.client.Client(self.receiver)
        self.client.MaxRequests = 0  # our pacer is stricter and smoother than the library's throttle
        self.client.conn.disconnected += self._socket_lost
        self.receiver.on_duplicate_id = lambda: self.client.reqIds(1)
        self._decode_errors = _DecodeErrors(f"{config.library}.Decoder", self.mark_unhealthy)

    async def open(self, deadline: float) -> None:
        """Connect, check the server and the account, and let the broker answer once.

        Args:
            deadline: moment of the loop's clock by which it must be done.

        Raises:
            BrokerConnectionError: there is no usable connection; the message says cause and fix.
        """
        try:
            self._decode_errors.watch()
            async with asyncio.timeout_at(deadline):
                await self._handshake()
                self._check_server()
                self.is_ready = True
        except Exception as error:
            # Whatever it was, it ends as one kind of error with a cause, and leaves no socket.
            await self.close()
            raise self.explain(error) from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the connection and leave nothing behind."""
        self.is_ready = False
        self._decode_errors.unwatch()
        self.receiver.fail_all("the connection was closed")
        transport = self.client.conn.transport
        try:
            self.client.disconnect()
        except OSError:
            transport.abort()  # the peer was quicker
        if transport is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._socket_closed.wait()
        except TimeoutError:
            log.debug("%s does not read any more; its socket is dropped", self.config.endpoint)
        finally:
            if not self._socket_closed.is_set():
                # Unsent data would keep a half-open socket alive for minutes, and so would an interrupt here.
                transport.abort()

    def mark_unhealthy(self, reason: str) -> None:
        """Note that nothing this connection says from now on can be trusted."""
        if not self._unhealthy:
            self._unhealthy = reason
            log.error("the connection to %s is unhealthy: %s", self.config.endpoint, reason)

    def check_healthy(self, kind: type[BrokerError] = BrokerError) -> None:
        """Raise when this connection must not be used.

        Raises:
            BrokerConnectionError: it has ended, or is ending.
            BrokerError: (or `kind`) it stands but cannot be trusted any more.
        """
        transport = self.client.conn.transport
        # A closing socket counts as gone: the library would drop the message without a word.
        if not self.is_ready or transport is None or transport.is_closing():
            raise BrokerConnectionError(
                f"not connected to {self.config.endpoint}; nothing was sent. Connect again"
            )
        if self._unhealthy:
            raise kind(f"{self._unhealthy}; this connection is not used any more, connect again")

    @property
    def is_healthy(self) -> bool:
        """Whether the connection stands and can be trusted."""
        return self.is_ready and not self._unhealthy

    def next_id(self) -> int:
        """Return the next request or order id, past every order id seen (F4)."""
        self.client.updateReqId(self.receiver.highest_order_id + 1)
        return self.client.getReqId()

    def take_id(self, wanted: OrderId | None) -> int:
        """Return the number to send an order under, so that no later request gets it.

        Raises:
            NotSentError: the broker has seen the number used since it was given out; nothing was sent.
        """
        if wanted is None:
            return self.next_id()
        if wanted.number <= self.receiver.highest_order_id:
            raise NotSentError(
                f"order id {wanted.number} was used meanwhile ({self.receiver.highest_order_id} was seen)"
            )
        self.client.updateReqId(wanted.number + 1)
        return wanted.number

    async def slot(self) -> None:
        """Wait until the pacing allows one more message."""
        delay = self._pacer.reserve(self._loop.time())
        if delay > 0:
            await asyncio.sleep(delay)

    async def ask(
        self, key: int | str, name: str, send: Callable[[], None], then: Callable[[], None] | None = None
    ) -> list[Any]:
        """Send a request, wait for its end marker and return the rows received for it.

        Args:
            key: what the answer carries: the request's id, or the kind of request where it carries none.
            name: what messages call it.
            send: sends it.
            then: ends the subscription that some requests leave behind.

        Raises:
            IncompleteSnapshotError: the end marker did not come in time (F2).
            RequestError: the broker answered with an error.
            BrokerConnectionError: the connection ended.
        """
        if isinstance(key, int):
            await self.slot()
            return await self.ask_now(key, name, send, then)
        async with self._one_at_a_time:
            await self.slot()
            return await self.ask_now(key, name, send, then)

    async def ask_now(
        self, key: int | str, name: str, send: Callable[[], None], then: Callable[[], None] | None = None
    ) -> list[Any]:
        """Do as `ask` does, for a caller that has its slot: nothing else runs before the request is sent."""
        self.check_healthy(IncompleteSnapshotError)
        request = self.receiver.begin(key, name)
        try:
            send()
            async with asyncio.timeout(self.config.timeout):
                await request.future
            if then is not None:
                await self.slot()
                self.check_healthy(IncompleteSnapshotError)
                then()
            return request.rows
        except TimeoutError:
            reason = f"the broker did not finish answering {name} within {self.config.timeout:g} s"
            self.mark_unhealthy(reason)
            raise IncompleteSnapshotError(
                f"{reason}; what it knows is unknown, so nothing may be decided from it. Connect again"
            ) from None
        except asyncio.CancelledError:
            if isinstance(key, str):
                self.mark_unhealthy(f"the wait for {name} was given up")
            raise
        finally:
            self.receiver.requests.pop(key, None)

    async def _handshake(self) -> None:
        config = self.config
        await self.slot()  # for startApi, which the library sends by itself
        connecting = asyncio.ensure_future(
            self.client.connectAsync(config.host, config.port, config.client_id, 0)
        )
        try:
            await asyncio.wait({connecting, self._refused}, return_when=asyncio.FIRST_COMPLETED)
            if self._refused.done():
                raise self._refused.result()
            connecting.result()
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

    def _check_server(self) -> None:
        config = self.config
        version = self.client.serverVersion()
        if version < _MIN_SERVER_VERSION:
            raise BrokerConnectionError(
                f"the server at {config.endpoint} speaks version {version}; before version "
                f"{_MIN_SERVER_VERSION} its times have no zone. Update TWS or IB Gateway to a current release"
            )
        accounts = self.client.getAccounts()
        if accounts != [config.account]:
            raise BrokerConnectionError(
                f"the login at {config.endpoint} manages {', '.join(accounts)}, not exactly the configured "
                f"account {config.account}; no order was sent. Log in to that account, or correct "
                + ("HRP_HOME" if config.simulated else "IBKR_ACCOUNT, IBKR_HOST and IBKR_PORT")
            )

    def _socket_lost(self, message: str) -> None:
        """Note the end of the socket, whoever ended it."""
        endpoint = self.config.endpoint
        self._socket_closed.set()
        if self.is_ready:
            log.warning("the connection to %s was lost", endpoint)
        self.is_ready = False
        self._refuse(
            f"{endpoint} closed the connection during the handshake"
            + (f" ({message})" if message else "")
            + ". "
            + self._fix("It does not accept this client; its API settings must trust this machine's address")
        )
        self.receiver.fail_all(f"the connection to {endpoint} was lost")
        self._emit(None)

    def _session_error(self, code: Code, text: str) -> None:
        """Take an error that names no request and no order."""
        match code.kind:
            case CodeKind.INFO:
                log.debug("broker message %s: %s", code.code, text)
                return
            case CodeKind.CONNECTION_LOST:
                self.ib_is_reachable = False
            case CodeKind.CONNECTION_RESTORED:
                self.ib_is_reachable = True
                self.executions_are_due = True
            case CodeKind.CONFIG | CodeKind.REQUEST:
                # A refused request without an id gets an error without one, and no end marker (F22).
                for key, request in self.receiver.requests.items():
                    if isinstance(key, str):
                        request.fail(RequestError(request.name, code, text))
            case _:
                pass
        log.warning("broker message %s (%s): %s", code.code, code.name, text)
        if code.code == _CLIENT_ID_IN_USE:
            self._refuse(
                f"client id {self.config.client_id} is in use at {self.config.endpoint} (326): another "
                "process of this installation, or one that ended badly, holds it. End that process, or wait "
                "until the broker frees the id; it is never changed by itself: it keeps two writers apart",
                ClientIdInUseError,
            )
        elif code.kind is CodeKind.CONFIG:
            self._refuse(
                f"{self.config.endpoint} refused the connection: error {code.code}, {text} ({code.text})"
            )

    def _refuse(self, text: str, kind: type[BrokerConnectionError] = BrokerConnectionError) -> None:
        """Let a handshake under way fail at once; the library would wait for its whole timeout."""
        if not self._refused.done():
            self._refused.set_result(kind(text))

    def explain(self, error: Exception) -> BrokerConnectionError:
        """Return the error that says why there is no connection, and what to do."""
        where = self.config.endpoint
        if isinstance(error, BrokerConnectionError):
            return error
        if isinstance(error, TimeoutError):
            return BrokerConnectionError(
                f"{where} accepts connections but did not answer within {self.config.timeout:g} s. "
                + self._fix("It may be starting, hung, or waiting for a click")
            )
        if isinstance(error, ConnectionRefusedError):
            return BrokerConnectionError(
                f"nothing listens on {where}: connection refused. {self._fix('It is not running')}"
            )
        if isinstance(error, OSError):
            return BrokerConnectionError(
                f"cannot reach {where}: {error}. {self._fix('Host, network or firewall may be wrong')}"
            )
        return BrokerConnectionError(f"the connection to {where} is not usable: {error}")

    def _fix(self, cause: str) -> str:
        if self.config.simulated:
            return f"{cause}: start the simulated gateway again with `hrp gateway serve`"
        return (
            f"{cause}: start TWS or IB Gateway, log in, tick 'Enable ActiveX and Socket Clients' in its API "
            f"settings, and compare its socket port with {self.config.port}"
        )


class _DecodeErrors(logging.Handler):
    """Hears the library's decoder give up on a message, which it only logs.

    The logger is one for the whole process; what another connection's thread logs is not about this one.
    """

    def __init__(self, logger: str, on_error: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._on_error = on_error
        self._thread = threading.get_ident()
        self._logger = logging.getLogger(logger)

    def watch(self) -> None:
        """Start to listen.

        Raises:
            BrokerError: the process has switched such records off, so a lost message would go unnoticed.
        """
        self._logger.disabled = False  # a logging configuration may have switched off loggers it did not name
        if not self._logger.isEnabledFor(logging.ERROR):
            raise BrokerError(
                f"ERROR records of the logger {self._logger.name} are switched off, so messages that cannot "
                "be decoded would be lost unseen; leave them on"
            )
        self._logger.addHandler(self)

    def unwatch(self) -> None:
        """Stop to listen; calling it again does nothing."""
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        if record.thread == self._thread:
            cause = f": {record.exc_info[1]}" if record.exc_info else ""
            self._on_error(f"a message of the broker could not be decoded ({record.getMessage()}{cause})")
