"""Looking again: when a sent basket must be looked at once more, and which sessions were never covered whole.

What belongs here: what is owed, as pure functions, and the look itself. The broker forgets the evening's
executions and completed orders at midnight New York (F34), so that a look that was missed cannot be made up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from hrp_core.calendar import NEW_YORK, Calendar, nyse
from hrp_core.execution.broker import Broker
from hrp_core.execution.sync import SyncReport, sync_broker
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import ExternalPolicy, OrderStatus

SECOND_LOOK_AFTER = timedelta(minutes=10)
LAST_LOOK_AT = time(23, 15)


@dataclass(frozen=True, slots=True)
class CoverageGap:
    """An execution session whose executions were not all asked for.

    Attributes:
        session: execution session E.
        covered_until: until when they are known, New York time; None when nobody asked on that day.
        order_refs: our orders that could have traded in it.
    """

    session: date
    covered_until: datetime | None
    order_refs: tuple[str, ...]

    def __str__(self) -> str:
        known = "not at all" if self.covered_until is None else f"until {self.covered_until:%H:%M}"
        return f"executions of {self.session} are known {known} ({len(self.order_refs)} orders of ours)"


def looks_due(sent: Iterable[datetime], looked: datetime | None, now: datetime) -> tuple[datetime, ...]:
    """Return the moments at which a look was owed and has not been taken, oldest first.

    One look is owed ten minutes after the last order of an evening, one at 23:15 New York of the same day.

    Args:
        sent: when orders were sent, timezone-aware.
        looked: moment of the newest complete snapshot.
        now: timezone-aware.
    """
    newest: dict[date, datetime] = {}
    for moment in sent:
        local = moment.astimezone(NEW_YORK)
        newest[local.date()] = max(newest.get(local.date(), local), local)
    owed = [
        due
        for day, last in newest.items()
        for due in (last + SECOND_LOOK_AFTER, datetime.combine(day, LAST_LOOK_AT, NEW_YORK))
        if due >= last + SECOND_LOOK_AFTER
    ]
    return tuple(sorted(due for due in owed if due <= now and (looked is None or looked < due)))


def second_look(
    broker: Broker,
    journal: Journal,
    now: datetime,
    *,
    mode: str,
    external: ExternalPolicy = ExternalPolicy.HALT,
) -> SyncReport | None:
    """Look again if a look is owed; None when none is.

    Raises:
        IncompleteSnapshotError, ReconciliationBreakError, BrokerConnectionError: as `sync_broker`.
    """
    newest = journal.newest_snapshot()
    sent = [item.sent_at for item in journal.attempts() if item.status is not OrderStatus.NOT_SENT]
    if not looks_due(sent, None if newest is None else newest.asked_at, now):
        return None
    return sync_broker(broker, journal, now, mode=mode, external=external)


def coverage_gaps(
    journal: Journal, now: datetime, calendar: Calendar | None = None
) -> tuple[CoverageGap, ...]:
    """Return the finished sessions in which orders of ours could trade and which no snapshot covers whole."""
    calendar = calendar or nyse()
    gaps = []
    for session, order_refs in journal.execution_sessions().items():
        close = calendar.close(session)
        until = journal.covered_until(session)
        if now >= close and (until is None or until < close):
            gaps.append(CoverageGap(session, until, order_refs))
    return tuple(gaps)
