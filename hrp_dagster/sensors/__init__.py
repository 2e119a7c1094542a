"""Sensors: what is watched between the jobs of the day.

What belongs here: one module a kind of sensor, each a thin wrapper of a pure decision. No evaluation opens a
connection to a broker, and each says what it saw when it starts nothing.
"""

from collections.abc import Sequence

import dagster as dg

from hrp_dagster.sensors.alerts import check_failure_sensor, desk_alerts_sensor, job_failure_sensor
from hrp_dagster.sensors.data import data_freshness_sensor, drift_sensor
from hrp_dagster.sensors.day import fills_sensor, missed_sessions_sensor, preflight_sensor

ALL_SENSORS: Sequence[dg.SensorDefinition] = (
    data_freshness_sensor,
    drift_sensor,
    fills_sensor,
    missed_sessions_sensor,
    preflight_sensor,
    desk_alerts_sensor,
    job_failure_sensor,
    check_failure_sensor,
)
