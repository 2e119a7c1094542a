"""One schedule a job of the timetable.

What belongs here: turning rows of the timetable into cron and ticks into decisions. What does not: the
decisions (`hrp_core.timetable`) and the facts they rest on (`hrp_dagster.state`).

In paper and live a schedule fires at the times of its row. In sim the wall clock says nothing about the
simulated time, so that it fires every minute, and the simulated clock decides.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from hrp_core.calendar import WallClock
from hrp_core.errors import NotReadyError
from hrp_core.settings import Mode, Settings
from hrp_core.timetable import TIMETABLE, TRADER, Days, Row, row_of, should_run
from hrp_dagster.resources.platform import Platform
from hrp_dagster.state import TRADER_SCHEDULE, desk_state
from hrp_dagster.ticks import answer

ZONE = "America/New_York"
CLEANUP = "cleanup_job"
Job = dg.JobDefinition | UnresolvedAssetJobDefinition
_DAYS_OF_WEEK = {Days.SESSIONS: "1-5", Days.SATURDAYS: "6", Days.ALL: "*"}


def crons(row: Row) -> list[str]:
    """Return the cron lines of a row: every try of every slot, New York time."""
    minutes: dict[int, list[int]] = {}
    for slot in row.slots:
        first, last = (at.hour * 60 + at.minute for at in (slot.at, slot.until))
        step = last - first + 1 if row.every is None else row.every // timedelta(minutes=1)
        for minute in range(first, last + 1, step):
            minutes.setdefault(minute // 60, []).append(minute % 60)
    days = _DAYS_OF_WEEK[row.days]
    return [f"{','.join(map(str, sorted(listed)))} {hour} * * {days}" for hour, listed in minutes.items()]


def build_schedules(settings: Settings, jobs: Iterable[Job]) -> Sequence[dg.ScheduleDefinition]:
    """Return the schedules of the timetable's rows whose jobs exist, but for those that sensors start.

    Args:
        settings: the mode decides how often they fire.
        jobs: the jobs of the code location.
    """
    return [_schedule(job, settings) for job in jobs if job.name in TIMETABLE and job.name != "preflight_job"]


def _schedule(job: Job, settings: Settings) -> dg.ScheduleDefinition:
    row = row_of(job.name, preopen=settings.send_at == "preopen")
    # The history of runs ages by the computer's clock, in sim too.
    by_gateway = settings.mode is Mode.SIM and job.name != CLEANUP

    @dg.schedule(
        name=TRADER_SCHEDULE if job.name == TRADER else f"{job.name.removesuffix('_job')}_schedule",
        job=job,
        cron_schedule="* * * * *" if by_gateway else crons(row),
        execution_timezone=ZONE,
        default_status=(
            dg.DefaultScheduleStatus.STOPPED if job.name == TRADER else dg.DefaultScheduleStatus.RUNNING
        ),
        description=_description(row, by_gateway),
    )
    def tick(
        context: dg.ScheduleEvaluationContext, platform: dg.ResourceParam[Platform]
    ) -> dg.RunRequest | dg.SkipReason:
        current = platform.settings()
        try:
            now = (platform.clock() if by_gateway or job.name != CLEANUP else WallClock()).now()
        except NotReadyError as error:
            return dg.SkipReason(str(error))
        decided = should_run(
            job.name,
            now,
            desk_state(current, context.instance, now),
            None if by_gateway else context.scheduled_execution_time,
        )
        return answer(decided, current, now)

    return tick


def _description(row: Row, by_gateway: bool) -> str:
    times = ", ".join(f"{slot.at:%H:%M}" for slot in row.slots if not slot.released)
    tries = ""
    if row.every is not None:
        tries = f", then every {row.every // timedelta(minutes=1)} minutes until done"
    if any(slot.released for slot in row.slots):
        tries += "; at night for an hour after its plan was approved or trading resumed"
    clock = "of the simulated clock, looked at every minute" if by_gateway else "New York time"
    return f"{row.job} at {times}{tries}, {clock}. Each tick says why it starts nothing."
