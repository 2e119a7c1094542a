"""What a week of ticks leaves behind in Dagster's state, and how long one evaluation takes.

Every schedule and sensor is evaluated for real; what it answered is stored as often as it ticks in a week
left alone in sim, where schedules tick once a minute, and purged as `retention` in dagster.yaml says. What
runs leave behind is measured by the test that walks through November.
"""

import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report import Measurement, report
from hrp_core.calendar import NEW_YORK
from hrp_core.settings import Settings
from hrp_core.simgateway.files import GatewayInfo
from hrp_core.store import Store, migrate
from hrp_dagster.environment import dagster_state, prepare_environment

if TYPE_CHECKING:
    from dagster._core.scheduler.instigation import TickData

DAYS = 7
SIMULATED = datetime(2022, 12, 2, 17, 0, tzinfo=NEW_YORK)
LIMIT_MEGABYTES = 60.0
LIMIT_SECONDS = 2.0


def main() -> int:
    """Measure, print, and return 1 when a claim fails."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HRP_HOME"] = folder
        settings = Settings()
        prepare_environment(settings)
        migrate(Store(settings.database_path))
        settings.gateway_dir.mkdir(parents=True, exist_ok=True)
        GatewayInfo("127.0.0.1", 1, 2, "token", 1, "DU1", SIMULATED).write(settings.gateway_file)
        seconds, megabytes, ticks = _week(settings)
    return report(
        [
            Measurement("slowest evaluation of a schedule or sensor", seconds, "s", LIMIT_SECONDS, "limit"),
            Measurement(
                f"Dagster's state after a week of ticks left alone in sim ({ticks} ticks)",
                megabytes,
                "MB",
                LIMIT_MEGABYTES,
                "limit",
            ),
        ]
    )


def _week(settings: Settings) -> tuple[float, float, int]:
    import dagster as dg
    from dagster._core.definitions.run_request import InstigatorType
    from dagster._core.scheduler.instigation import TickData, TickStatus
    from dagster._core.storage.schedules.schema import JobTickTable
    from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage

    from hrp_dagster.definitions import build_defs
    from hrp_dagster.resources.platform import Platform

    repository = build_defs(settings).get_repository_def()
    resources = {"platform": Platform(home=str(settings.home))}
    with dg.DagsterInstance.get() as instance:
        storage = instance.schedule_storage
        assert isinstance(storage, SqlScheduleStorage)
        answers: list[tuple[str, InstigatorType, int, str]] = []
        slowest = 0.0
        for schedule in repository.schedule_defs:
            started = time.perf_counter()
            with dg.build_schedule_context(
                instance=instance,
                scheduled_execution_time=SIMULATED,
                repository_def=repository,
                resources=resources,
            ) as context:
                said = schedule.evaluate_tick(context).skip_message or ""
            slowest = max(slowest, time.perf_counter() - started)
            every = 60 if schedule.cron_schedule == "* * * * *" else 86_400
            answers.append((schedule.name, InstigatorType.SCHEDULE, every, said))
        for sensor in repository.sensor_defs:
            said = "no run has failed"
            if sensor.name != "job_failure_sensor":
                started = time.perf_counter()
                with dg.build_sensor_context(
                    instance=instance,
                    repository_def=repository,
                    sensor_name=sensor.name,
                    resources=resources,
                ) as context:
                    said = sensor.evaluate_tick(context).skip_message or ""
                slowest = max(slowest, time.perf_counter() - started)
            every = sensor.minimum_interval_seconds or 30
            answers.append((sensor.name, InstigatorType.SENSOR, every, said))

        start, ticks = datetime.now(UTC) - timedelta(days=DAYS), 0
        for day in range(DAYS):
            for name, kind, every, said in answers:
                origin, selector = f"{name:0<40}"[:40], f"{name:1<40}"[:40]
                rows = [
                    _row(
                        TickData(
                            instigator_origin_id=origin,
                            instigator_name=name,
                            instigator_type=kind,
                            status=TickStatus.SKIPPED,
                            timestamp=(start + timedelta(days=day, seconds=second)).timestamp(),
                            selector_id=selector,
                            skip_reason=said,
                        )
                    )
                    for second in range(0, 86_400, every)
                ]
                # In one transaction: a commit a tick, as the daemon makes, takes an hour here.
                with storage.connect() as connection:
                    connection.execute(JobTickTable.insert(), rows)
                ticks += len(rows)
                kept = instance.get_tick_retention_settings(kind)[TickStatus.SKIPPED]
                before = start + timedelta(days=day + 1 - kept)
                instance.purge_ticks(origin, selector, before.timestamp(), [TickStatus.SKIPPED])
    size = sum(path.stat().st_size for path in Path(dagster_state(settings)).rglob("*") if path.is_file())
    return slowest, size / 1e6, ticks


def _row(tick: "TickData") -> dict[str, object]:
    """Return the row that Dagster's `create_tick` writes."""
    from dagster._serdes import serialize_value

    return {
        "job_origin_id": tick.instigator_origin_id,
        "selector_id": tick.selector_id,
        "status": tick.status.value,
        "type": tick.instigator_type.value,
        "timestamp": datetime.fromtimestamp(tick.timestamp, UTC),
        "tick_body": serialize_value(tick),
    }


if __name__ == "__main__":
    raise SystemExit(main())
