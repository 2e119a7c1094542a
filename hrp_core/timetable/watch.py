"""What is watched between the ticks: downtime, fills, and names whose prices are old.

What belongs here: pure decisions about them. What does not: the job table's own ticks (`ticks`).
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from hrp_core.calendar import NEW_YORK, Calendar, nyse
from hrp_core.timetable.facts import DeskState, Run, Skip, clock_text, moment_of
from hrp_core.timetable.rows import AN_HOUR, EVERY_TEN_MINUTES, LAST_TICK, SYNC_JOB, TRADER, row_of

# A look back of two weeks: whoever was away for longer is better served by `hrp data load`.
CATCH_UP_SESSIONS = 10
FILLS_EVERY = timedelta(minutes=15)


def catch_up(
    now: datetime, state: DeskState, calendar: Calendar | None = None
) -> tuple[tuple[Run, ...], tuple[date, ...]]:
    """Return what is asked for after downtime, and what can no longer be done.

    Market data of a past session can still be loaded and its book still be closed from the journal; its
    orders cannot be sent any more (F21). One run is asked for at a time and tried once an hour: features
    build on the sessions before.

    Args:
        now: timezone-aware.
        state: what is known of the installation.
        calendar: default the New York Stock Exchange.

    Returns:
        Runs to ask for (at most one), and the decision sessions that were never traded, oldest first.
    """
    calendar = calendar or nyse()
    local = now.astimezone(NEW_YORK)
    features = state.written.get("features", {})
    if state.unready or not features:
        return (), ()
    over = [
        session
        for session in _recent(calendar, local)
        if session >= min(features) and local > moment_of(session, LAST_TICK)
    ]
    begun = min(state.plans, default=None)
    untraded = tuple(
        session
        for session in over
        if begun is not None and session >= begun and _is_untraded(session, local, state, calendar)
    )
    for job, wanted in (
        ("market_data_job", [day for day in over if day not in features]),
        ("book_job", _open_books(over, begun, state, calendar)),
    ):
        if wanted and job in state.running:
            break
        runs = [Run(job, day, "late", 1 + (local - moment_of(day, LAST_TICK)) // AN_HOUR) for day in wanted]
        if fresh := [run for run in runs if run.key not in state.asked]:
            return (fresh[0],), untraded
    return (), untraded


def fills_wanted(now: datetime, state: DeskState, calendar: Calendar | None = None) -> Run | Skip:
    """Decide whether the broker is asked for fills: a look is owed, or orders work while the market is open.

    Args:
        now: timezone-aware.
        state: what is known of the installation.
        calendar: default the New York Stock Exchange.
    """
    calendar = calendar or nyse()
    local = now.astimezone(NEW_YORK)
    if state.unready:
        return Skip(state.unready)
    if SYNC_JOB in state.running or "book_job" in state.running:
        return Skip("the broker is being asked right now")
    # Positions follow the fills of an open by minutes (F13), so that a look in between finds a contradiction.
    if "open_monitor_job" in state.running and _opens(local, calendar):
        return Skip("the open is being watched, and its fills are journaled as they come")
    # A look that was missed by an hour is not made up: the broker's lists may be of another day (F34).
    looks = [moment for moment in state.looks if local - moment <= AN_HOUR]
    if looks:
        owed = looks[-1].astimezone(NEW_YORK)
        attempt = 1 + (local - owed) // EVERY_TEN_MINUTES
        run = Run(SYNC_JOB, owed.date(), f"{owed:%H:%M:%S}", attempt, partitioned=False)
    elif not state.working:
        return Skip("no order of ours is working and no look is owed")
    elif (reason := _closed(local, calendar)) is not None:
        return Skip(f"{state.working} orders of ours wait: {reason}")
    elif state.looked is not None and now - state.looked < FILLS_EVERY:
        return Skip(
            f"{state.working} orders of ours work; the broker was asked at {clock_text(state.looked)}"
        )
    else:
        floor = local - timedelta(
            minutes=local.minute % 15, seconds=local.second, microseconds=local.microsecond
        )
        run = Run(SYNC_JOB, local.date(), f"{floor:%H:%M}", partitioned=False)
    if run.key in state.asked:
        return Skip(f"{run.key} was asked for already")
    return run


def may_be_released(session: date, now: datetime, calendar: Calendar | None = None) -> bool:
    """Return whether a plan of `session` that somebody lets go at `now` is still sent by the timetable."""
    calendar = calendar or nyse()
    morning = next(slot for slot in row_of(TRADER).slots if slot.released)
    return now <= moment_of(calendar.next(session), morning.until)


def newest_expected(now: datetime, calendar: Calendar | None = None) -> date:
    """Return the newest session whose prices must be stored by now: its evening is over at 20:00."""
    calendar = calendar or nyse()
    local = now.astimezone(NEW_YORK)
    session = calendar.decision_session(local)
    return session if local > moment_of(session, LAST_TICK) else calendar.previous(session)


def stale_symbols(
    newest: Mapping[str, date], expected: date, allowed: int = 0, calendar: Calendar | None = None
) -> dict[str, int]:
    """Return by how many sessions each stale symbol is behind.

    Args:
        newest: newest session with a price, by symbol.
        expected: the session whose prices should be there.
        allowed: sessions a name may be behind.
        calendar: default the New York Stock Exchange.
    """
    calendar = calendar or nyse()
    behind = {
        symbol: len(calendar.between(session, expected)) - 1
        for symbol, session in newest.items()
        if session < expected
    }
    return {symbol: count for symbol, count in sorted(behind.items()) if count > allowed}


def _recent(calendar: Calendar, local: datetime) -> list[date]:
    last = calendar.decision_session(local)
    return calendar.between(calendar.offset(last, 1 - CATCH_UP_SESSIONS), last)


def _is_untraded(session: date, local: datetime, state: DeskState, calendar: Calendar) -> bool:
    """Return whether no plan of the session was sent and none will be."""
    plan = state.plans.get(session)
    if plan is not None and plan.status == "sent":
        return False
    if state.dry_run and state.stored("orders", session) is not None:
        return False
    morning = moment_of(calendar.next(session), row_of(TRADER, preopen=True).slots[-1].until)
    return not state.preopen or local > morning


def _open_books(over: Sequence[date], begun: date | None, state: DeskState, calendar: Calendar) -> list[date]:
    """Return the book sessions whose execution session is over and stored, and that have no NAV."""
    return [
        decided
        for execution in over
        if begun is not None
        and (decided := calendar.previous(execution)) >= begun
        and state.stored("nav", decided) is None
        and state.stored("features", execution) is not None
    ]


def _opens(local: datetime, calendar: Calendar) -> bool:
    """Return whether the market opened less than a quarter of an hour ago."""
    day = local.date()
    return calendar.is_session(day) and timedelta(0) <= local - calendar.open(day) < FILLS_EVERY


def _closed(local: datetime, calendar: Calendar) -> str | None:
    """Return why nothing can fill now; None while the market is open or has closed minutes ago."""
    day = local.date()
    if not calendar.is_session(day):
        return f"the market opens on {calendar.next_session_from(day)}"
    if local < calendar.open(day):
        return f"the market opens at {calendar.open(day):%H:%M}"
    if local > calendar.close(day) + FILLS_EVERY:
        return f"the market closed at {calendar.close(day):%H:%M}"
    return None
