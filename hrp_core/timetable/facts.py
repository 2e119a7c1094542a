"""What a decision is made from, and what it says: plain facts in, a run or a reason out.

What belongs here: frozen values. What does not: reading anything (`hrp_dagster.state`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time

from hrp_core.calendar import NEW_YORK


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """The newest daily plan of a session as the journal has it.

    Attributes:
        status: proposed, approved, sent, superseded, rejected or expired.
        working: orders of it that may still trade.
        approved_at: its newest approval; None without one.
    """

    plan_id: str
    status: str
    working: int = 0
    approved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeskState:
    """What is known of an installation, as plain facts.

    Attributes:
        unready: why nothing can be decided (no database yet); empty when all is well.
        simulated: whether `now` comes from the simulated gateway.
        dry_run: orders are withheld.
        preopen: plans are sent at 09:00 of E instead of in the evening.
        written: by asset, when each session's partition was written.
        provisional: sessions whose stored book is not, or not wholly, at official closes.
        running: jobs in progress.
        asked: run keys that were asked for.
        finished: (job, session) of runs that succeeded and left nothing to be gone on with.
        plans: newest daily plan by decision session.
        halted: why the latch is HALTED; empty when it is not.
        resumed: when the latch was opened last; None while it is not ACTIVE, and when it never was closed.
        looks: moments at which a look at the broker is owed.
        working: orders of ours that may still trade.
        looked: newest complete snapshot of the broker.
        trading_on: whether the trader's schedule runs.
    """

    unready: str = ""
    simulated: bool = False
    dry_run: bool = False
    preopen: bool = False
    written: Mapping[str, Mapping[date, datetime]] = field(default_factory=dict)
    provisional: frozenset[date] = frozenset()
    running: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    finished: frozenset[tuple[str, date]] = frozenset()
    plans: Mapping[date, PlanFacts] = field(default_factory=dict)
    halted: str = ""
    resumed: datetime | None = None
    looks: tuple[datetime, ...] = ()
    working: int = 0
    looked: datetime | None = None
    trading_on: bool = False

    def stored(self, asset: str, session: date, *, provisional: bool = False) -> datetime | None:
        """Return when the partition was written; None when it is not stored.

        Args:
            asset: name of the asset.
            session: the partition.
            provisional: whether a provisional NAV is one; nothing of the day builds on it.
        """
        if asset == "nav" and session in self.provisional and not provisional:
            return None
        return self.written.get(asset, {}).get(session)


@dataclass(frozen=True, slots=True)
class Run:
    """A job to start.

    Attributes:
        session: partition, or the day of a job without partitions.
        slot: the time it was due, such as "17:30"; "late" after downtime.
        attempt: 1 for the first try of a slot.
        only: assets of the job that run; empty for all.
        partitioned: whether `session` is a partition key.
    """

    job: str
    session: date
    slot: str
    attempt: int = 1
    only: tuple[str, ...] = ()
    partitioned: bool = True

    @property
    def key(self) -> str:
        """Job, session, slot and attempt: what is never asked for twice."""
        return f"{self.job}:{self.session}:{self.slot}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing to start; `reason` says why, for a person."""

    reason: str


def moment_of(day: date, at: time) -> datetime:
    """Return the moment of a New York time on `day`."""
    return datetime.combine(day, at, NEW_YORK)


def clock_text(moment: datetime) -> str:
    """Return a moment for a person: date and time in New York."""
    return f"{moment.astimezone(NEW_YORK):%Y-%m-%d %H:%M}"
