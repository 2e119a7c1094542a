"""Sensors that tell of what went wrong: failed jobs, failed checks, and the desk's own records.

What belongs here: what Dagster knows of runs and checks, and passing on the rest. What does not: what is
worth telling of the desk (`hrp_core.execution.notices`), and channels (`hrp_core.alerts`).
"""

from datetime import UTC, datetime

import dagster as dg

from hrp_core.alerts import AlertKind, Alerts
from hrp_core.errors import NoGoError, NotReadyError
from hrp_core.execution.notices import journal_notices, store_notices
from hrp_core.ledger.journal import Journal
from hrp_core.timetable import TRADER
from hrp_dagster.resources.platform import Platform
from hrp_dagster.sensors.data import tell
from hrp_dagster.state import SESSION_TAG, evaluation_store

_MINUTE = 60
_PAGE = 50
_LONGEST_MESSAGE = 1000


@dg.sensor(
    minimum_interval_seconds=_MINUTE,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "A halted latch, orders that are unknown or rejected, a break between ledger and broker, a no-go of "
        "the trade gate. Also sends again what could not be sent."
    ),
)
def desk_alerts_sensor(platform: dg.ResourceParam[Platform]) -> dg.SkipReason:
    """Tell of what stands in the journal and the database."""
    settings = platform.settings()
    try:
        now = platform.clock().now()
        notices = store_notices(evaluation_store(settings))
    except NotReadyError as error:
        return dg.SkipReason(str(error))
    # Opening a journal makes the file: an evaluation must leave nothing behind.
    if settings.journal_path.exists():
        journal = Journal(settings.journal_path)
        try:
            notices += journal_notices(journal, now)
        finally:
            journal.close()
    said = tell(settings, notices) or "nothing to tell"
    pending = str(Alerts.from_settings(settings).send_pending())
    return dg.SkipReason(f"{said}; {pending}" if pending else said)


@dg.run_failure_sensor(
    minimum_interval_seconds=_MINUTE,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A job failed, whoever started it from Dagster.",
)
def job_failure_sensor(
    context: dg.RunFailureSensorContext, platform: dg.ResourceParam[Platform]
) -> dg.SkipReason | None:
    """Tell of the failure once a job and session and day, with the error's own next step."""
    run = context.dagster_run
    session = run.tags.get("dagster/partition") or run.tags.get(SESSION_TAG)
    message = context.failure_event.message or "no message"
    for event in context.get_step_failure_events():
        error = event.step_failure_data.error
        if error is not None:
            # The step's own exception is the cause; the outer one only says that a step failed.
            cause = error.cause or error
            if cause.cls_name == NoGoError.__name__:
                return dg.SkipReason("desk_alerts_sensor tells of the gate that said no, with its reasons")
            message = cause.message
    Alerts.from_settings(platform.settings()).notify(
        AlertKind.ORDER_ERROR if run.job_name == TRADER else AlertKind.JOB_FAILURE,
        f"{run.job_name} failed" + (f" for {session}" if session else ""),
        message.strip()[:_LONGEST_MESSAGE],
        next_step=f"the message says it; the log is in Dagster under run {run.run_id[:8]}",
        key=f"failed:{run.job_name}:{session}",
    )
    return None


@dg.sensor(
    minimum_interval_seconds=_MINUTE,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asset checks that did not pass, in the runs since the last look.",
)
def check_failure_sensor(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """Tell of failed checks; the cursor is the newest change of a run that was looked at."""
    instance = context.instance
    since = datetime.fromisoformat(context.cursor) if context.cursor else None
    if since is None:
        newest = instance.get_run_records(limit=1, order_by="update_timestamp")
        start = newest[0].update_timestamp if newest else datetime.fromtimestamp(0, UTC)
        return dg.SensorResult(
            skip_reason="from now on failed checks are told", cursor=_utc(start).isoformat()
        )
    records = instance.get_run_records(
        # The filter is exclusive and to the microsecond.
        filters=dg.RunsFilter(updated_after=since),
        limit=_PAGE,
        order_by="update_timestamp",
        ascending=True,
    )
    if not records:
        return dg.SkipReason("no run has changed since the last look")
    alerts, told = Alerts.from_settings(platform.settings()), []
    for record in records:
        run = record.dagster_run
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
            if entry.dagster_event is None:
                continue
            check = entry.dagster_event.asset_check_evaluation_data
            if check.passed:
                continue
            session = run.tags.get("dagster/partition", "")
            name = f"{check.asset_key.to_user_string()}: {check.check_name}"
            alerts.notify(
                AlertKind.CHECK_FAILURE,
                f"{name} does not hold {f'for {session}' if session else ''}".strip(),
                check.description or "the check's metadata has the threshold, what was seen, and the rows",
                next_step=f"open the check in Dagster (run {run.run_id[:8]}), mend the data, materialize the "
                "asset again",
                key=f"check:{name}:{session}",
            )
            told.append(name)
    return dg.SensorResult(
        skip_reason="; ".join(told) or f"{len(records)} runs have changed, and no check failed",
        cursor=_utc(records[-1].update_timestamp).isoformat(),
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
