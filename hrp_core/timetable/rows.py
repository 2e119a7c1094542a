"""The job table: which jobs there are, when each is due, what it waits for, and what says that it is done.

What belongs here: data. What does not: deciding (`ticks`, `watch`). All times are New York times.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import time, timedelta
from enum import StrEnum

EVERY_TEN_MINUTES = timedelta(minutes=10)
AN_HOUR = timedelta(hours=1)
LAST_TICK = time(20)
OFFICIAL_BOOK = time(17, 45)
PREFLIGHT = "preflight_job"
SYNC_JOB = "sync_job"
TRADER = "live_trader_job"


class Keyed(StrEnum):
    """What a run is for."""

    DECISION = "decision"  # decision session D, a partition
    BOOK = "book"  # book session B, a partition
    DAY = "day"  # the calendar day; not a partition


class Days(StrEnum):
    """On which days a job runs."""

    SESSIONS = "sessions"
    SATURDAYS = "saturdays"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Slot:
    """One time of the day at which a job is due.

    Attributes:
        at: first try.
        until: last moment of a try, included.
        done: asset whose stored partition says that it is done; empty: a successful run says so.
        fresh: whether only a partition written since `at` counts.
        provisional: whether a NAV at the broker's prices counts as one.
        only: assets of the job that run; empty for all.
        released: only for an hour after somebody let trading go on since the last tick of the evening (a plan
            was approved, a latch opened): nobody need wait for the next evening, and nothing is tried all
            night.
    """

    at: time
    until: time
    done: str = ""
    fresh: bool = False
    provisional: bool = False
    only: tuple[str, ...] = ()
    released: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """What must be stored, and no longer running, before a job may start.

    Attributes:
        closes_book: it is wanted of the book session instead, written since the official slot of the book.
            While nothing was planned by that session there is no book, and nothing is wanted.
    """

    job: str
    asset: str
    closes_book: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One job of the timetable.

    Attributes:
        every: between two tries; None for one try.
        slots: in the order of the day.
        needs: for BOOK jobs they are looked up for the execution session, else for the session itself.
    """

    job: str
    keyed: Keyed
    slots: tuple[Slot, ...]
    needs: tuple[Need, ...] = ()
    every: timedelta | None = EVERY_TEN_MINUTES
    days: Days = Days.SESSIONS


PROVISIONAL_BOOK = ("fills", "positions", "nav")
"""What of the book can be had before the official closes are stored."""

MORNING = ("preopen_job", "open_monitor_job")
"""Jobs about the orders of a decision session that make no partition of it."""


def _provisional(at: time, until: time) -> Slot:
    return Slot(at, until, done="nav", fresh=True, provisional=True, only=PROVISIONAL_BOOK)


_MARKET_DATA = Need("market_data_job", "features")
# The loss limits are judged on the NAV of the session: a plan made without it would buy nothing.
_BOOK = Need("book_job", "nav", closes_book=True)
_PREDICTIONS = Need("predictions_job", "target_portfolio")
# Orders for the open are taken until five minutes before it. Between the two slots of the night TWS and IB
# Gateway restart and the broker resets its servers (F21).
_TRADER_EVENING = (
    Slot(time(1), time(9, 20), released=True),
    Slot(time(18, 30), LAST_TICK),
    Slot(time(20, 10), time(23, 30), released=True),
)
_TRADER_PREOPEN = Slot(time(9), time(9, 20))

TIMETABLE: Mapping[str, Row] = {
    row.job: row
    for row in (
        Row("preopen_job", Keyed.DECISION, (Slot(time(8, 45), time(9, 20)),)),
        # Tried again, past the end of the watch too, until what the open left was decided about; the last try
        # lies before the close of a half day.
        Row("open_monitor_job", Keyed.DECISION, (Slot(time(9, 25), time(12, 50)),)),
        Row(
            PREFLIGHT,
            Keyed.DAY,
            (Slot(time(14), time(17)),),
            every=timedelta(minutes=30),
        ),
        Row("market_data_job", Keyed.DECISION, (Slot(time(17, 30), LAST_TICK, done="features"),)),
        Row(
            "book_job",
            Keyed.BOOK,
            (
                # Before the official closes are stored: what was filled, and what it is worth at the broker.
                _provisional(time(9, 45), time(10, 15)),
                _provisional(time(16, 15), time(16, 45)),
                Slot(OFFICIAL_BOOK, LAST_TICK, done="nav", fresh=True),
                Slot(time(20, 15), time(20, 45), done="nav", fresh=True),
            ),
            needs=(_MARKET_DATA,),
        ),
        Row(
            "predictions_job",
            Keyed.DECISION,
            (Slot(time(18, 15), LAST_TICK, done="target_portfolio"),),
            needs=(_MARKET_DATA, _BOOK),
        ),
        Row(TRADER, Keyed.DECISION, _TRADER_EVENING, needs=(_PREDICTIONS,)),
        Row(
            "drift_monitor_job",
            Keyed.DECISION,
            # predictions_job wrote it for the trade gate; the monitor looks again in the evening.
            (Slot(time(19), LAST_TICK, done="model_drift", fresh=True),),
            needs=(Need("predictions_job", "predictions"),),
        ),
        Row(
            "training_job",
            Keyed.DAY,
            (Slot(time(10), time(20)),),
            every=None,
            days=Days.SATURDAYS,
        ),
        Row("cleanup_job", Keyed.DAY, (Slot(time(4, 10), time(23, 50)),), every=None, days=Days.ALL),
    )
}


def row_of(job: str, *, preopen: bool = False) -> Row:
    """Return the timetable row of a job.

    Args:
        job: name of a job in the timetable.
        preopen: plans are sent in the morning of E.
    """
    row = TIMETABLE[job]
    return replace(row, slots=(_TRADER_PREOPEN,)) if preopen and job == TRADER else row
