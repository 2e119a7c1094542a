"""Sensors that tell of data: stale prices and drift.

What belongs here: facts in, alerts out. What does not: what is worth telling (`hrp_core.execution.notices`).
"""

from collections.abc import Sequence

import dagster as dg

from hrp_core.alerts import Alerts
from hrp_core.errors import NotReadyError
from hrp_core.execution.notices import Notice, drift_notices, stale_notices
from hrp_core.settings import Settings
from hrp_dagster.resources.platform import Platform
from hrp_dagster.state import evaluation_store

_FIVE_MINUTES = 300


def tell(settings: Settings, notices: Sequence[Notice]) -> str:
    """Send each notice, once a day, and return what came of it in words."""
    alerts = Alerts.from_settings(settings)
    told = [
        f"{notice.title}: "
        + alerts.notify(
            notice.kind,
            notice.title,
            notice.body,
            next_step=notice.next_step,
            key=notice.key,
            day=notice.day,
        ).value
        for notice in notices
    ]
    return "; ".join(told)


@dg.sensor(
    minimum_interval_seconds=_FIVE_MINUTES,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Names of the universe without a price of the newest finished evening, counted in sessions.",
)
def data_freshness_sensor(platform: dg.ResourceParam[Platform]) -> dg.SkipReason:
    """Tell of stale names."""
    settings = platform.settings()
    try:
        notices = stale_notices(evaluation_store(settings), platform.clock().now())
    except NotReadyError as error:
        return dg.SkipReason(str(error))
    return dg.SkipReason(tell(settings, notices) or "every name has its price")


@dg.sensor(
    minimum_interval_seconds=_FIVE_MINUTES,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Drift of a model in production, and drift checks that could not run.",
)
def drift_sensor(platform: dg.ResourceParam[Platform]) -> dg.SkipReason:
    """Tell of what the newest look at drift found."""
    settings = platform.settings()
    try:
        notices = drift_notices(evaluation_store(settings))
    except NotReadyError as error:
        return dg.SkipReason(str(error))
    return dg.SkipReason(tell(settings, notices) or "the newest look found no drift")
