"""The desk of the tests: what a test does with one installation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

import dagster as dg

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.ledger.journal import Journal
from hrp_core.settings import Settings
from hrp_core.simgateway.control import GatewayClient
from hrp_core.simgateway.server import GatewayServer
from hrp_core.store import Store
from hrp_dagster.runs import JobRun, run_job

FIRST = date(2022, 12, 2)


@dataclass(frozen=True)
class Desk:
    """One installation under test, with its gateway running."""

    settings: Settings
    server: GatewayServer

    @property
    def gateway(self) -> GatewayClient:
        return self.server.client()

    @property
    def journal(self) -> Journal:
        return Journal(self.settings.journal_path)

    @property
    def store(self) -> Store:
        return Store(self.settings.database_path)

    def run(
        self,
        job: str,
        session: date | None = None,
        *,
        only: Sequence[str] | None = None,
        definitions: dg.Definitions | None = None,
    ) -> JobRun:
        return run_job(self.settings, job, session, only=only, definitions=definitions)

    def at(self, session: date, clock: str) -> None:
        """Move the simulated clock forward to a New York time of `session`."""
        moment = datetime.combine(session, time.fromisoformat(clock), NEW_YORK)
        if self.gateway.state().now < moment:
            self.gateway.advance(moment)

    def evening(self, session: date, jobs: Sequence[str] = ("predictions_job", "live_trader_job")) -> None:
        """Trade one decision session whose market data is stored."""
        self.at(session, "18:30")
        for job in jobs:
            self.run(job, session)

    def next_day(self, session: date) -> date:
        """Let the orders of `session` execute and close the book; return the new session."""
        following = nyse().next(session)
        self.at(following, "17:45")
        self.run("market_data_job", following)
        self.run("book_job", session)
        return following


# How far an installation has come, each step from the one before it (see the fixture `desk`).
STEPS = {
    "planned": lambda desk: desk.evening(FIRST, jobs=["predictions_job"]),
    "sent": lambda desk: desk.run("live_trader_job", FIRST),
    "booked": lambda desk: desk.next_day(FIRST),
}
