"""A desk that has traded, its book made as the assets make it: store, journal and the in-process broker."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
from order_support import (
    EVENING,
    SYMBOLS,
    BentBroker,
    D,
    E,
    F,
    at,
    connected,
    engine,
    freeze,
    manager,
    planned,
    sync,
)

from hrp_core.calendar import nyse
from hrp_core.execution.bookkeeping import session_nav, session_positions
from hrp_core.execution.broker import Broker, Quote, QuoteQuality
from hrp_core.execution.projections import project_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Contract
from hrp_core.settings import Settings
from hrp_core.store import Sessions, Store, migrate, read_table, replace_slice, table

MORNING, AFTERNOON, OFFICIAL = at(E, "09:45"), at(E, "16:15"), at(E, "17:45")
SESSIONS = nyse().between(date(2022, 11, 21), F)
# The tape: a name opens at its base plus the number of the session, and closes half a dollar higher.
OPEN = {symbol: Decimal(str(base + SESSIONS.index(E))) for symbol, base in SYMBOLS.items()}
CLOSE = {symbol: price + Decimal("0.5") for symbol, price in OPEN.items()}


class QuotingBroker(BentBroker):
    """Quotes some names as scripted; None is no price."""

    def __init__(self) -> None:
        super().__init__(engine())
        self.last: dict[str, Decimal | None] = {}
        self.bid_ask: dict[str, tuple[Decimal, Decimal]] = {}

    def quotes(self, contracts: Sequence[Contract], timeout: float) -> dict[str, Quote]:
        found = super().quotes(contracts, timeout)
        for name, last in self.last.items():
            bid, ask = self.bid_ask.get(name, (None, None))
            found[name] = Quote(name, bid, ask, last, Decimal(1), QuoteQuality.LIVE)
        return found


@dataclass
class Desk:
    settings: Settings
    store: Store
    journal: Journal
    broker: QuotingBroker

    def connect(self) -> AbstractContextManager[Broker]:
        return nullcontext(self.broker)

    def prices(self, through: date) -> None:
        """Store the closes of the broker's own tape."""
        days = [day for day in SESSIONS if day <= through]
        rows = [
            {"session": day, "symbol": symbol, "close": base + number + 0.5}
            for number, day in enumerate(days)
            for symbol, base in SYMBOLS.items()
        ]
        frame = pd.DataFrame(rows, columns=list(table("prices").column_names)).assign(source="test")
        self.write("prices", frame, days, EVENING)

    def write(self, name: str, frame: pd.DataFrame, days: Sequence[date], now: datetime) -> None:
        with self.store.write() as connection:
            replace_slice(connection, table(name), frame, Sessions(days), "run", None, now)

    def book(self, now: datetime, session: date = D) -> "pd.Series":
        """Make positions and NAV as their assets do; return the NAV."""
        held = session_positions(self.settings, self.store, self.journal, self.connect, session, now)
        project_book(self.store, self.journal, valued=held)
        self.write("positions", held, [session], now)
        nav = session_nav(self.store, self.journal, session, now)
        self.write("nav", nav, [session], now)
        return read_table(self.store, table("nav"), sessions=[session]).iloc[0]

    def at(self, moment: datetime) -> None:
        self.broker.advance(moment)
        sync(self.broker, self.journal)

    def rows(self, name: str, session: date = D) -> pd.DataFrame:
        return read_table(self.store, table(name), sessions=[session])


def traded_desk(home: Path, journal: Journal) -> Desk:
    """Return a desk that has sent orders for 10 AAPL and 20 KO, with the prices up to D."""
    settings = Settings(home=home)
    store = Store(settings.database_path)
    migrate(store)
    broker = QuotingBroker()
    connected(broker)
    sync(broker, journal)
    plan = freeze(journal, broker, planned("AAPL", 10), planned("KO", 20))
    manager(broker, journal).submit_plan(plan.plan_id)
    desk = Desk(settings, store, journal, broker)
    desk.prices(D)
    return desk
