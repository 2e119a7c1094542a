"""A gateway on a small made-up market, and the unpatched client library on a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.matching import Tape
from hrp_core.simgateway import GatewayServer

WAIT = 10.0


class LibraryThread:
    """Runs ib_insync as a user must: one thread, one loop made and set there, imported there."""

    def __init__(self) -> None:
        self.ib_insync: Any = None
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            import ib_insync

            self.ib_insync = ib_insync
            ready.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert ready.wait(WAIT * 3)
        self._clients: list[Any] = []

    def run(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Await what `make` returns, on the library's loop."""

        async def bounded() -> Any:
            return await asyncio.wait_for(make(), WAIT)

        return asyncio.run_coroutine_threadsafe(bounded(), self._loop).result(WAIT + 2)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function` on the library's loop."""

        async def call() -> Any:
            return function(*args)

        return self.run(call)

    def client(self) -> "Client":
        return Client(self)

    def connect(self, gateway: GatewayServer, client_id: int = 1) -> "Client":
        client = self.client()
        client.connect(gateway.port, client_id)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.disconnect()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT)
        self._loop.close()


class Client:
    """One `ib_insync.IB`, with its errors and events recorded."""

    def __init__(self, library: LibraryThread) -> None:
        self.library = library
        self.ib = library.call(library.ib_insync.IB)
        self.errors: list[tuple[int, int, str]] = []
        self.seen: list[str] = []
        self.ib.errorEvent += lambda id_, code, text, _contract: self.errors.append((id_, code, text))
        self.ib.orderStatusEvent += lambda trade: self.seen.append(trade.orderStatus.status)
        self.ib.execDetailsEvent += lambda _trade, fill: self.seen.append(f"fill {fill.execution.execId}")
        self.ib.commissionReportEvent += lambda _t, fill, _r: self.seen.append(
            f"commission {fill.execution.execId}"
        )

    def connect(self, port: int, client_id: int, timeout: float = 4) -> None:
        self.library.run(lambda: self.ib.connectAsync("127.0.0.1", port, clientId=client_id, timeout=timeout))

    def disconnect(self) -> None:
        self.library.call(self.ib.disconnect)

    def ask(self, name: str, *args: Any) -> Any:
        """Await `IB.<name>Async(*args)`."""
        return self.library.run(lambda: getattr(self.ib, f"{name}Async")(*args))

    def call(self, name: str, *args: Any) -> Any:
        return self.library.call(getattr(self.ib, name), *args)

    def stock(self, symbol: str) -> Any:
        contract = self.library.ib_insync.Stock(symbol, "SMART", "USD")
        (qualified,) = self.ask("qualifyContracts", contract)
        return qualified

    def place(self, symbol: str, side: str, quantity: float, ref: str = "", **fields: Any) -> Any:
        """Place a market order and return once the gateway has answered everything sent so far."""
        order = self.library.ib_insync.Order(
            action=side, totalQuantity=quantity, orderType="MKT", tif="DAY", orderRef=ref
        )
        for name, value in fields.items():
            setattr(order, name, value)
        trade = self.call("placeOrder", self.stock(symbol), order)
        self.sync()
        return trade

    def send(self, symbol: str = "AAPL", ref: str = "one") -> Any:
        """Send a market order for 10 shares without waiting for any answer."""
        order = self.library.ib_insync.Order(
            action="BUY", totalQuantity=10, orderType="MKT", tif="DAY", orderRef=ref
        )
        return self.call("placeOrder", self.stock(symbol), order)

    def until_ended(self, act: Callable[[], Any]) -> Any:
        """Do `act` and return what it returned once the connection has ended."""
        gone = self.library.call(self.end_of_connection)
        result = act()
        self.library.run(lambda: gone)
        return result

    def is_unanswered(self, name: str, *args: Any) -> bool:
        """Return whether `IB.<name>Async(*args)` gets no answer."""

        async def ask() -> bool:
            try:
                await asyncio.wait_for(getattr(self.ib, f"{name}Async")(*args), 0.3)
            except TimeoutError:
                return True
            return False

        return self.library.run(ask)

    def end_of_connection(self) -> asyncio.Future[None]:
        """Return what is done when the connection has ended; call it on the library's loop."""
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ib.disconnectedEvent += lambda: gone.set_result(None)
        return gone

    def sync(self) -> None:
        """Return once everything the gateway has sent so far has been decoded."""
        self.ask("reqCurrentTime")


@pytest.fixture
def library() -> Iterator[LibraryThread]:
    thread = LibraryThread()
    yield thread
    thread.close()


def new_york(day: str, clock: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time.fromisoformat(clock), NEW_YORK)


@pytest.fixture
def at() -> Callable[[str, str], datetime]:
    """A moment in New York from a day and a time of day."""
    return new_york


@pytest.fixture
def tape() -> Tape:
    """2022-12-01 to 2022-12-16: AAPL opens at 100.5 + n and closes at 101 + n; KO has closes only."""
    sessions = nyse().between(date(2022, 12, 1), date(2022, 12, 16))
    count = np.arange(len(sessions), dtype=float)
    nothing = np.full(len(sessions), np.nan)

    def columns(aapl: np.ndarray, ko: np.ndarray) -> np.ndarray:
        return np.column_stack([aapl, ko])

    return Tape(
        tuple(sessions),
        ("AAPL", "KO"),
        open=columns(100.5 + count, nothing),
        high=columns(102 + count, nothing),
        low=columns(99 + count, nothing),
        close=columns(101 + count, 60 + count / 10),
        volume=columns(1_000_000 + count, nothing),
    )


@pytest.fixture
def serve(tmp_path: Path, tape: Tape) -> Callable[..., Any]:
    """Start a gateway in the test's folder; calling it again after leaving the context restarts it."""

    @contextmanager
    def start(folder: Path = tmp_path / "sim", **arguments: Any) -> Iterator[GatewayServer]:
        settings: dict[str, Any] = {
            "start": new_york("2022-12-05", "16:30"),
            "cash": Decimal(100_000),
            **arguments,
        }
        with GatewayServer(folder, settings.pop("tape", tape), **settings) as server:
            yield server

    return start


@pytest.fixture
def gateway(serve: Callable[..., Any]) -> Iterator[GatewayServer]:
    with serve() as server:
        yield server
