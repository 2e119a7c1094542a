"""One tick of one job: run it, or say why not.

What belongs here: `should_run`, a pure function of the calendar and of facts that somebody else gathered.
What does not: what is watched between the ticks (`watch`).
"""

from datetime import date, datetime

from hrp_core.calendar import NEW_YORK, Calendar, nyse
from hrp_core.timetable.facts import DeskState, Run, Skip, clock_text, moment_of
from hrp_core.timetable.rows import (
    AN_HOUR,
    LAST_TICK,
    MORNING,
    OFFICIAL_BOOK,
    PREFLIGHT,
    TRADER,
    Days,
    Keyed,
    Row,
    Slot,
    row_of,
)


def should_run(
    job: str,
    now: datetime,
    state: DeskState,
    scheduled: datetime | None = None,
    calendar: Calendar | None = None,
) -> Run | Skip:
    """Decide one tick of one job.

    The session follows from the scheduled time, so that a tick that fires late means what it meant on time;
    whether it may still be done is judged at `now`.

    Args:
        job: name of a job in the timetable.
        now: timezone-aware.
        state: what is known of the installation.
        scheduled: when the tick was due; default `now`.
        calendar: default the New York Stock Exchange.

    Returns:
        The run to start, or the reason why there is none.
    """
    calendar = calendar or nyse()
    row = row_of(job, preopen=state.preopen)
    now = now.astimezone(NEW_YORK)
    due = now if scheduled is None else scheduled.astimezone(NEW_YORK)
    if state.unready:
        return Skip(state.unready)
    if reason := _no_day_for(row, due.date(), calendar):
        return Skip(reason)
    slot, reason = _slot_at(row, due, state, now)
    if slot is None:
        return Skip(reason)
    session = _session_of(row, due, calendar)
    opens, closes = moment_of(due.date(), slot.at), moment_of(due.date(), slot.until)
    if reason := _too_late(row, session, due, now, closes, calendar):
        return Skip(reason)
    if reason := _done(row, slot, session, opens, state):
        return Skip(reason)
    if job in state.running:
        return Skip(f"{job} still running")
    inputs = due.date() if row.keyed is Keyed.BOOK else session
    if reason := _waits_for(row, slot, inputs, state, due, calendar):
        return Skip(reason)
    if reason := _refused(row, session, state):
        return Skip(reason)
    if slot.released and (reason := _not_released(row, session, due, opens, state)):
        return Skip(reason)
    attempt = 1 if row.every is None else 1 + (due - opens) // row.every
    partitioned = row.keyed is not Keyed.DAY and job not in MORNING
    run = Run(job, session, f"{slot.at:%H:%M}", attempt, slot.only, partitioned)
    if run.key in state.asked:
        return Skip(_asked_already(row, run, opens, closes, now, state))
    return run


def _no_day_for(row: Row, day: date, calendar: Calendar) -> str:
    """Return why the job does not run on `day`; empty when it does."""
    if row.days is Days.SATURDAYS and day.weekday() != 5:
        return f"{row.job} runs on Saturdays; {day} is a {day:%A}"
    if row.days is not Days.SESSIONS or calendar.is_session(day):
        return ""
    kind = f"{day:%A}" if day.weekday() >= 5 else "holiday"
    return f"{day} is a {kind}; next session {calendar.next_session_from(day)}"


def _slot_at(row: Row, due: datetime, state: DeskState, now: datetime) -> tuple[Slot | None, str]:
    """Return the slot that `due` falls into, or why it falls into none."""
    inside = [
        slot
        for slot in row.slots
        if moment_of(due.date(), slot.at) <= due <= moment_of(due.date(), slot.until)
    ]
    if inside:
        return inside[-1], ""
    ahead = [slot for slot in row.slots if moment_of(due.date(), slot.at) > due]
    if not ahead:
        return None, (
            f"{row.job} is not started after {row.slots[-1].until:%H:%M}; {_stands(now, state)}, "
            "and what may still be done is asked for by missed_sessions_sensor"
        )
    advice = "; run `hrp gateway advance`" if state.simulated else ""
    return None, f"{row.job} starts at {ahead[0].at:%H:%M}; {_stands(now, state)}{advice}"


def _stands(now: datetime, state: DeskState) -> str:
    return f"{'simulated clock' if state.simulated else 'the clock'} stands at {clock_text(now)}"


def _session_of(row: Row, due: datetime, calendar: Calendar) -> date:
    if row.keyed is Keyed.DAY:
        return due.date()
    return calendar.book_session(due) if row.keyed is Keyed.BOOK else calendar.decision_session(due)


def _too_late(
    row: Row, session: date, due: datetime, now: datetime, closes: datetime, calendar: Calendar
) -> str:
    """Return why a tick that fired late is not followed; empty when it is."""
    if now <= closes:
        return ""
    late = f"the tick of {clock_text(due)} fired late, at {clock_text(now)}"
    if row.keyed is Keyed.DECISION and (current := calendar.decision_session(now)) != session:
        return f"{late}: the decision session is {current} by now, {session} is not traded any more"
    return f"{late}, after {closes:%H:%M} of its day; missed_sessions_sensor asks for what may still be done"


def _done(row: Row, slot: Slot, session: date, opens: datetime, state: DeskState) -> str:
    """Return what says that the slot is done; empty when it is not."""
    if row.job == TRADER:
        return _traded(session, state)
    if not slot.done:
        finished = (row.job, session) in state.finished
        return f"{row.job} of {session} has run already" if finished else ""
    written = state.stored(slot.done, session, provisional=slot.provisional)
    if written is None or (slot.fresh and written < opens):
        return ""
    what = "prices" if slot.done == "features" else slot.done
    when = f" since {clock_text(written)}" if slot.fresh else ""
    return f"{what} of {session} are stored already{when}"


def _traded(session: date, state: DeskState) -> str:
    plan = state.plans.get(session)
    if plan is not None and plan.status == "sent":
        return f"plan {plan.plan_id} is sent already"
    if state.dry_run and state.stored("orders", session) is not None:
        return f"orders of {session} are recorded already (dry run: nothing is sent)"
    return ""


def _waits_for(
    row: Row, slot: Slot, session: date, state: DeskState, due: datetime, calendar: Calendar
) -> str:
    """Return which input is not there yet; empty when all are."""
    if slot.only:
        return ""
    for need in row.needs:
        of, since = session, None
        if need.closes_book:
            of, since = calendar.book_session(due), moment_of(due.date(), OFFICIAL_BOOK)
            if not state.plans or of < min(state.plans):
                continue
        if need.job in state.running:
            return f"{need.job} still running"
        written = state.stored(need.asset, of)
        if written is None or (since is not None and written < since):
            return f"{need.job} of {of} is not done yet"
    return ""


def _refused(row: Row, session: date, state: DeskState) -> str:
    """Return the rule that forbids the run; empty when none does."""
    plan = state.plans.get(session)
    if row.keyed is Keyed.BOOK and (not state.plans or session < min(state.plans)):
        return f"nothing was planned by {session}: there is no book yet"
    # All orders count, not the daily plan's alone: a flatten waits for the same open.
    works = state.working or (plan is not None and plan.working)
    if row.job in MORNING and not works:
        return f"no order of {session} is at the broker"
    if row.job == PREFLIGHT and not state.written.get("universe"):
        return "no universe of the last weeks is stored; market_data_job or `hrp data load` stores one"
    if row.job != TRADER:
        return ""
    if state.halted:
        return f"trading is halted: {state.halted}; a person resumes it with `hrp resume --reason`"
    if plan is None:
        return f"session {session} has no plan; predictions_job freezes one"
    if plan.status == "proposed":
        return f"plan {plan.plan_id} waits for approval: `hrp plan show`, then `hrp plan approve`"
    if plan.status != "approved":
        return f"plan {plan.plan_id} is {plan.status} and is not sent"
    return ""


def _not_released(row: Row, session: date, due: datetime, opens: datetime, state: DeskState) -> str:
    """Return why a job is not tried after its evening; empty for an hour after somebody let it go on."""
    plan = state.plans.get(session)
    acts = [act for act in (state.resumed, plan.approved_at if plan else None) if act is not None]
    acted = max(acts, default=None)
    if acted is None or not moment_of(session, LAST_TICK) <= acted <= due:
        return (
            f"{row.job} is tried after {LAST_TICK:%H:%M} only once its plan is approved, or trading resumed, "
            "after that"
        )
    if due - max(acted, opens) > AN_HOUR:
        return (
            f"{row.job} was tried for an hour after it was let go on at {clock_text(acted)}; run it by hand"
        )
    return ""


def _asked_already(
    row: Row, run: Run, opens: datetime, closes: datetime, now: datetime, state: DeskState
) -> str:
    start = f"attempt {run.attempt} of {run.job} of {run.session} was made; "
    if row.every is None:
        return f"{start}there is no other one"
    following = opens + run.attempt * row.every
    if following > closes:
        return f"{start}it was the last one"
    return f"{start}the next one is at {following:%H:%M}, {_stands(now, state)}"
