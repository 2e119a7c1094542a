"""When each job of the day may run: pure decisions of the calendar and of facts that somebody else gathered.

What belongs here: the job table, `should_run`, what is asked for after downtime, when the broker is asked for
fills, and which names are stale. What does not: reading anything (`hrp_dagster.state`), and running.
"""

from hrp_core.timetable.facts import DeskState, PlanFacts, Run, Skip, moment_of
from hrp_core.timetable.rows import (
    EVERY_TEN_MINUTES,
    LAST_TICK,
    OFFICIAL_BOOK,
    PROVISIONAL_BOOK,
    SYNC_JOB,
    TIMETABLE,
    TRADER,
    Days,
    Keyed,
    Need,
    Row,
    Slot,
    row_of,
)
from hrp_core.timetable.ticks import should_run
from hrp_core.timetable.watch import catch_up, fills_wanted, may_be_released, newest_expected, stale_symbols

__all__ = [
    "EVERY_TEN_MINUTES",
    "LAST_TICK",
    "OFFICIAL_BOOK",
    "PROVISIONAL_BOOK",
    "SYNC_JOB",
    "TIMETABLE",
    "TRADER",
    "Days",
    "DeskState",
    "Keyed",
    "Need",
    "PlanFacts",
    "Row",
    "Run",
    "Skip",
    "Slot",
    "catch_up",
    "fills_wanted",
    "may_be_released",
    "moment_of",
    "newest_expected",
    "row_of",
    "should_run",
    "stale_symbols",
]
