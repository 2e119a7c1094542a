"""The simulated IB Gateway as a server: two loopback ports on one event loop.

What belongs here: starting and ending it, in a thread of its own (tests) or in the foreground (command
line). What it answers is decided in the modules it puts together.
"""

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from hrp_core.errors import BrokerError
from hrp_core.matching import Tape
from hrp_core.simgateway.brokerage import Brokerage, Opening
from hrp_core.simgateway.control import GatewayClient
from hrp_core.simgateway.control_server import ControlSession
from hrp_core.simgateway.files import INFO_FILE, STATE_FILE, FolderLock, GatewayInfo
from hrp_core.simgateway.hub import Hub
from hrp_core.simgateway.session import ClientSession
from hrp_core.simgateway.store import GatewayStore

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 30.0


class GatewayServer:
    """A simulated brokerage account that speaks the broker's protocol on a loopback port.

    A context manager runs it in a thread of its own; `serve_forever` runs it in the foreground. Everything
    is kept in `gateway.sqlite` under `folder`; `gateway.json` beside it says where it listens and what time
    it is there. `start`, `cash`, `account` and `seed` are what a new account begins with; an existing one
    goes on from its file.

    Args:
        folder: the gateway's folder; made when missing.
        tape: the market's prices. The clock cannot pass their end.
        start: where the clock of a new gateway begins, timezone-aware.
        cash: opening cash of a new account, USD.
        port: the broker's port; 0 takes a free one.
        control_port: the control port; 0 takes a free one.
        account: account of a new gateway; None chooses a random paper account.
        seed: names the run of a new gateway; part of every execution id.
        participation_bps: hundredths of a percent of a name's average daily volume that a new account may
            trade in a session; 0 is no limit, and without volume on the tape there is none either.
    """

    def __init__(
        self,
        folder: Path,
        tape: Tape,
        *,
        start: datetime,
        cash: Decimal,
        port: int = 0,
        control_port: int = 0,
        account: str | None = None,
        seed: int = 0,
        participation_bps: int = 0,
    ) -> None:
        self.folder = folder
        self.gateway_file = folder / INFO_FILE
        self._tape = tape
        self._opening = Opening(start, cash, seed, account, participation_bps)
        self._ports = (port, control_port)
        self._executor: ThreadPoolExecutor | None = None
        self._finished: Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._info: GatewayInfo | None = None

    @property
    def info(self) -> GatewayInfo:
        """Endpoint and account of the running gateway; its `now` is that of the start.

        Raises:
            BrokerError: it is not running.
        """
        if self._info is None:
            raise BrokerError("this simulated gateway is not running; enter its context or call start()")
        return self._info

    @property
    def host(self) -> str:
        """Where it listens."""
        return self.info.host

    @property
    def port(self) -> int:
        """The broker's port."""
        return self.info.port

    @property
    def account(self) -> str:
        """The simulated account."""
        return self.info.account

    def client(self) -> GatewayClient:
        """Return a client of the control channel."""
        return GatewayClient(self.gateway_file)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Run in a thread; return once it listens.

        Raises:
            HrpError: it cannot start; the message says why.
        """
        if self._executor is not None:
            raise BrokerError("this simulated gateway is running already")
        started: Future[GatewayInfo] = Future()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="simulated-gateway")
        self._finished = self._executor.submit(lambda: asyncio.run(self._serve(started.set_result)))
        either: list[Future[Any]] = [started, self._finished]
        wait(either, _START_TIMEOUT, FIRST_COMPLETED)
        if not started.done():
            self.stop()
            raise BrokerError(f"the simulated gateway did not start within {_START_TIMEOUT:g} s")

    def stop(self) -> None:
        """End the thread; calling it again does nothing.

        Raises:
            HrpError: the gateway could not start, had failed since, or does not end.
        """
        executor, self._executor = self._executor, None
        if executor is None or self._finished is None:
            return
        self._request_stop()
        executor.shutdown(wait=False)
        try:
            self._finished.result(_STOP_TIMEOUT)
        except TimeoutError:
            raise BrokerError("the simulated gateway does not end; its thread is stuck") from None
        executor.shutdown(wait=True)

    def serve_forever(self, on_ready: Callable[[GatewayInfo], None] | None = None) -> None:
        """Run in the foreground of the main thread until SIGTERM, SIGINT or `stop` on the control channel.

        Args:
            on_ready: called once it listens.

        Raises:
            HrpError: it cannot start, or cannot go on; the message says why.
        """

        def ready(info: GatewayInfo) -> None:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stopped)
            if on_ready is not None:
                on_ready(info)

        asyncio.run(self._serve(ready))

    def _request_stop(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            # Between the check and the call the loop may end by itself: after a failure, or because the
            # control channel was told to stop it. Then there is nothing left to ask.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopped)

    def _stopped(self) -> None:
        if self._stop is not None:
            self._stop.set()

    def _failed(self, error: BaseException) -> None:
        self._failure = error
        self._stopped()

    async def _serve(self, ready: Callable[[GatewayInfo], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._failure = None
        with ExitStack() as cleanup:
            lock = FolderLock(self.folder)
            lock.acquire()
            cleanup.callback(lock.release)
            store = cleanup.enter_context(closing(GatewayStore(self.folder / STATE_FILE)))
            brokerage = Brokerage(store, self._tape, self._opening)
            await self._listen(Hub(brokerage, self._write_clock, self._failed), self._stop, ready)
        if self._failure is not None:
            raise BrokerError(f"the simulated gateway cannot go on: {self._failure}") from self._failure

    async def _listen(self, hub: Hub, stop: asyncio.Event, ready: Callable[[GatewayInfo], None]) -> None:
        loop = asyncio.get_running_loop()
        token = secrets.token_urlsafe(24)
        control_sessions: set[ControlSession] = set()
        port, control_port = self._ports
        broker = await loop.create_server(lambda: ClientSession(hub), HOST, port)
        try:
            control = await loop.create_server(
                lambda: ControlSession(hub, token, stop.set, control_sessions), HOST, control_port
            )
            try:
                self._info = GatewayInfo(
                    host=HOST,
                    port=broker.sockets[0].getsockname()[1],
                    control_port=control.sockets[0].getsockname()[1],
                    token=token,
                    pid=os.getpid(),
                    account=hub.brokerage.account,
                    now=hub.brokerage.now,
                )
                self._info.write(self.gateway_file)
                log.info("simulated gateway listens on %s:%d", HOST, self._info.port)
                ready(self._info)
                await stop.wait()
            finally:
                control.close()
                for session in list(control_sessions):
                    session.close()
        finally:
            self._info = None
            broker.close()
            hub.close()
            # One more turn lets the transports tell their sessions, so that nothing is left to warn about.
            await asyncio.sleep(0)

    def _write_clock(self, now: datetime) -> None:
        info = self.info
        GatewayInfo(info.host, info.port, info.control_port, info.token, info.pid, info.account, now).write(
            self.gateway_file
        )
