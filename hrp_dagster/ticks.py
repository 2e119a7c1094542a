"""What a tick of a schedule or sensor hands to Dagster: the request for a run, or the reason for none.

What belongs here: turning a decision into that, after a last look outside. What does not: the decision
(`hrp_core.timetable`), and what is looked at (`hrp_core.execution.obstacles`).
"""

from datetime import datetime

import dagster as dg

from hrp_core.alerts import AlertKind, Alerts
from hrp_core.execution.obstacles import obstacle
from hrp_core.settings import Settings
from hrp_core.timetable import Run, Skip
from hrp_dagster.state import run_request


def answer(
    decided: Run | Skip, settings: Settings, now: datetime, *, job_name: str | None = None
) -> dg.RunRequest | dg.SkipReason:
    """Return what a tick answers; a run that would only find the broker or the prices missing is not started.

    Such a tick uses up no attempt: the next one looks again. The same trouble with the broker is told
    once a day.

    Args:
        decided: what the timetable says.
        settings: of the mode.
        now: from the clock.
        job_name: for sensors with several jobs.
    """
    if isinstance(decided, Skip):
        return dg.SkipReason(decided.reason)
    found = obstacle(settings, decided, now)
    if found is None:
        return run_request(decided, settings, job_name=job_name)
    waits = f"{decided.job} of {decided.session} waits: {found.reason}"
    if found.broker:
        Alerts.from_settings(settings).notify(
            AlertKind.JOB_FAILURE,
            f"{decided.job} waits",
            f"{waits}. Each tick looks again until its time is over, and what builds on it waits too.",
            next_step="what the message says; a session whose evening ends like this is not traded",
            key=f"waits:{found.reason}",
        )
    return dg.SkipReason(waits)
