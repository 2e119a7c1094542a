"""One desk for a schedule: a market with flat prices, an account that holds one name, and a target.

What belongs here: making such a desk (once, then copied), what happens to it between two runs, and reading
the account's truth from the gateway's own file. What goes wrong, and the judgement, are in `crash_matrix`.
"""

import atexit
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import pandas as pd
from crash_child import STRATEGY, Installation, permitted

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import IncompleteSnapshotError
from hrp_core.execution.bookkeeping import session_fills
from hrp_core.execution.config import ClientRole
from hrp_core.execution.trading import send_session
from hrp_core.ledger.journal import Journal
from hrp_core.matching import Tape
from hrp_core.settings import Mode, Settings
from hrp_core.simgateway import GatewayServer
from hrp_core.simgateway.control import GatewayClient
from hrp_core.store import Store, migrate, table
from hrp_core.store.slices import Sessions, replace_slice

C, D, E, F, G = (date(2022, 12, day) for day in (14, 15, 16, 19, 20))
"""The session in which the template traded, that of the schedule, and those after it."""
PRICES = {"AAPL": 101.7, "KO": 51.3, "MSFT": 203.9, "PEP": 77.7}
BOUGHT_BEFORE = ("KO",)
WANTED = ("AAPL", "MSFT")
WANTED_LATER = ("AAPL", "PEP")
"""What the rewritten target wants instead."""
ORDERS = 3
FIRST_ORDER = len(BOUGHT_BEFORE) + 1
"""Number at the gateway of the first order of the schedule: what its faults are aimed at."""


def at(day: date, clock: str) -> datetime:
    """Return a moment in New York."""
    return datetime.combine(day, time.fromisoformat(clock), NEW_YORK)


@dataclass(frozen=True)
class BrokerTruth:
    """What the gateway's own file says became of everything it ever took.

    Attributes:
        orders: (orderRef, symbol, side, filled, state) of each order, oldest first.
        fills: shares signed by side, by execution id.
        shares: positions by symbol.
    """

    orders: tuple[tuple[str, str, str, int, str], ...]
    fills: Mapping[str, int]
    shares: Mapping[str, int]

    @property
    def taken(self) -> tuple[str, ...]:
        """The orderRefs of the orders that were not rejected."""
        return tuple(order[0] for order in self.orders if order[4] != "rejected")


class Desk:
    """A running desk.

    Attributes:
        installation: for the runs under test: impatient.
        judge: the same desk where nothing is to be waited for in vain: the machine may be busy.
    """

    def __init__(self, home: Path, gateway: GatewayServer) -> None:
        settings = settings_of(home)
        self.installation = Installation(settings)
        patient = settings.model_copy(update={"send_ack_timeout": 20.0, "lock_timeout": 30.0})
        self.judge = Installation(patient, timeout=30.0)
        self.control: GatewayClient = gateway.client()
        self._journal: Journal | None = None

    @property
    def settings(self) -> Settings:
        """The desk's settings."""
        return self.installation.settings

    @property
    def journal(self) -> Journal:
        """The order journal, opened where it is not."""
        if self._journal is None:
            self._journal = Journal(self.settings.journal_path)
        return self._journal

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def advance(self, moment: datetime) -> None:
        """Move the clock, unless it stands there already."""
        if self.settings.clock().now() < moment:
            self.control.advance(moment)

    def book(self, session: date) -> None:
        """Ask for the fills of `session` as book_job does, and once more where an answer was cut short.

        Raises:
            ReconciliationBreakError: ledger and broker disagree.
            IncompleteSnapshotError: the answers never added up.
        """
        for left in (2, 1, 0):
            try:
                session_fills(
                    self.settings,
                    Store(self.settings.database_path),
                    self.journal,
                    lambda: self.judge.broker(),
                    session,
                    self.settings.clock().now(),
                )
                return
            except IncompleteSnapshotError:
                if not left:
                    raise

    def want(self, names: tuple[str, ...], *sessions: date) -> None:
        """Store the signals of `sessions`: what the upstream jobs do."""
        write_signals(Store(self.settings.database_path), names, *sessions)

    def put_journal_back(self, copy: Path) -> None:
        """Restore an older journal, as a person would from a backup."""
        self.close()
        for suffix in ("-wal", "-shm"):
            self.settings.journal_path.with_name(f"journal.sqlite{suffix}").unlink(missing_ok=True)
        shutil.copyfile(copy, self.settings.journal_path)

    def truth(self) -> BrokerTruth:
        """Read what the gateway's file says."""
        with closing(sqlite3.connect(self.settings.gateway_dir / "gateway.sqlite")) as file:
            orders = file.execute(
                "SELECT order_ref, symbol, side, filled, state FROM orders ORDER BY perm_id"
            ).fetchall()
            fills = file.execute(
                "SELECT exec_id, CASE side WHEN 'BUY' THEN quantity ELSE -quantity END FROM executions"
            ).fetchall()
            shares = file.execute("SELECT symbol, shares FROM positions WHERE shares != 0").fetchall()
        return BrokerTruth(tuple(tuple(row) for row in orders), dict(fills), dict(shares))


@contextmanager
def open_desk(home: Path) -> Iterator[Desk]:
    """Copy the template to `home` and run its gateway."""
    shutil.copytree(_template(), home, dirs_exist_ok=True)
    with _gateway(home) as gateway:
        desk = Desk(home, gateway)
        try:
            yield desk
        finally:
            desk.close()


def copy_of(journal: Journal, to: Path) -> Path:
    """Return a consistent copy of a journal that may be in use."""
    with closing(sqlite3.connect(journal.path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
    return to


def settings_of(home: Path) -> Settings:
    """Return the settings of a desk, none of them from the environment of whoever runs this."""
    return Settings(
        _env_file=None,  # pyright: ignore[reportCallIssue]
        home=home,
        mode=Mode.SIM,
        database=home / "sim" / "hrp.duckdb",
        dry_run=False,
        send_ack_timeout=0.5,
        lock_timeout=5.0,
        send_at="evening",
        external_orders="halt",
        ib_library="ib_insync",
        max_in_flight=20,
    )


def write_signals(store: Store, names: tuple[str, ...], *sessions: date) -> None:
    """Store signals that want `names` and nothing else."""
    rows = [
        {
            "session": session,
            "strategy_id": STRATEGY.strategy_id,
            "symbol": symbol,
            "signal": 1.0 if symbol in names else 0.0,
            "prediction": 1.0 if symbol in names else -1.0,
            "method": "rank",
        }
        for session in sessions
        for symbol in PRICES
    ]
    _replace(store, "signals", rows, sessions)


@lru_cache(maxsize=1)
def _template() -> Path:
    """Return a desk on the evening of D that has traded once: it holds the names bought before."""
    home = Path(tempfile.mkdtemp(prefix="crash-template-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    settings = settings_of(home)
    store = Store(settings.database_path)
    migrate(store)
    sessions = nyse().between(date(2022, 12, 12), G)
    prices = [
        {"session": day, "symbol": name, "open": price, "close": price, "source": "crash"}
        for day in sessions
        for name, price in PRICES.items()
    ]
    _replace(store, "prices", prices, sessions)
    members = [
        {"session": day, "symbol": name, "in_universe": True, "reason": "member"}
        for day in sessions
        for name in PRICES
    ]
    _replace(store, "universe", members, sessions)
    write_signals(store, BOUGHT_BEFORE, C)
    write_signals(store, WANTED, D, E, F)
    with _gateway(home) as gateway:
        desk = Desk(home, gateway)
        desk.judge.plan(desk.journal, C)
        writer = lambda: desk.judge.broker(ClientRole.WRITER)  # noqa: E731
        send_session(desk.settings, desk.journal, writer, C, desk.settings.clock(), permitted)
        desk.advance(at(D, "17:45"))
        desk.book(C)
        desk.advance(at(D, "18:30"))
        desk.close()
    return home


def _gateway(home: Path) -> GatewayServer:
    settings = settings_of(home)
    return GatewayServer(
        settings.gateway_dir, _tape(), start=at(C, "18:30"), cash=Decimal(100_000), account="DU1234567"
    )


@lru_cache(maxsize=1)
def _tape() -> Tape:
    rows = [
        {"session": day, "symbol": name, "open": price, "close": price}
        for day in nyse().between(date(2022, 12, 12), date(2022, 12, 21))
        for name, price in PRICES.items()
    ]
    return Tape.from_frame(pd.DataFrame(rows).assign(high=None, low=None, volume=None))


def _replace(store: Store, name: str, rows: Sequence[Mapping[str, object]], sessions: Sequence[date]) -> None:
    declared = table(name)
    frame = pd.DataFrame(rows).reindex(columns=list(declared.column_names))
    with store.write() as connection:
        replace_slice(connection, declared, frame, Sessions(sessions), "crash matrix", None, at(C, "18:00"))
