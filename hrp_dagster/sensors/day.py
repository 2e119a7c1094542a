"""Sensors that start jobs: fills, what was missed, and the preflight.

What belongs here: facts in, request out. What does not: the decisions (`hrp_core.timetable`).
"""

import dagster as dg

from hrp_core.alerts import AlertKind, Alerts
from hrp_core.errors import NotReadyError
from hrp_core.timetable import catch_up, fills_wanted, may_be_released, should_run
from hrp_dagster.jobs import book_job, market_data_job
from hrp_dagster.operations import preflight_job, sync_job
from hrp_dagster.resources.platform import Platform
from hrp_dagster.state import desk_state
from hrp_dagster.ticks import answer

_MINUTE = 60


@dg.sensor(
    job=sync_job,
    minimum_interval_seconds=_MINUTE,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Asks the broker for fills: ten minutes after the last order of an evening, at 23:15, and every "
        "fifteen minutes while orders work in an open market. Holds no connection."
    ),
)
def fills_sensor(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    """Request a look at the broker when one is owed or orders can fill."""
    settings = platform.settings()
    try:
        now = platform.clock().now()
    except NotReadyError as error:
        return dg.SkipReason(str(error))
    return answer(fills_wanted(now, desk_state(settings, context.instance, now)), settings, now)


@dg.sensor(
    job=preflight_job,
    minimum_interval_seconds=5 * _MINUTE,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "At 14:00 of a session, hours before the orders: would the broker take one? Then every half hour "
        "until it would, or 17:00."
    ),
)
def preflight_sensor(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    """Request a preflight on the afternoon of each session."""
    settings = platform.settings()
    try:
        now = platform.clock().now()
    except NotReadyError as error:
        return dg.SkipReason(str(error))
    decided = should_run(preflight_job.name, now, desk_state(settings, context.instance, now))
    return answer(decided, settings, now)


@dg.sensor(
    jobs=[market_data_job, book_job],
    minimum_interval_seconds=_MINUTE,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "After downtime: asks for market data and books of past sessions, oldest first, and reports sessions "
        "that were not traded. Those are never traded later."
    ),
)
def missed_sessions_sensor(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    """Request what may still be done; report what may not."""
    settings = platform.settings()
    try:
        now = platform.clock().now()
    except NotReadyError as error:
        return dg.SkipReason(str(error))
    state = desk_state(settings, context.instance, now)
    if state.unready:
        return dg.SkipReason(state.unready)
    runs, untraded = catch_up(now, state)
    if state.trading_on:
        alerts = Alerts.from_settings(settings)
        for session in untraded:
            plan = state.plans.get(session)
            why = "it has no plan" if plan is None else f"plan {plan.plan_id} is {plan.status}"
            later, step = "They are not sent later; the next session decides anew from what is held.", ""
            if plan is not None and plan.status in ("proposed", "approved") and may_be_released(session, now):
                later = "Until the morning a person can still let them go, or run the trader by hand."
                step = ", then `hrp plan approve` or `hrp resume`, which say what happens next"
            alerts.notify(
                AlertKind.MISSED_SESSION,
                f"session {session} was not traded",
                f"No orders of session {session} were sent: {why}. {later}",
                next_step=f"look at the runs of {session} in Dagster, and at `hrp orders`{step}",
                key=f"missed:{session}",
                day=session,
            )
    if runs:
        return answer(runs[0], settings, now, job_name=runs[0].job)
    listed = ", ".join(map(str, untraded)) or "none"
    return dg.SkipReason(f"nothing is left to catch up with; sessions not traded lately: {listed}")
