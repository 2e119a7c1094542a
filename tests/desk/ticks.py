"""Ticks of the real schedules and sensors, launched in this process as the daemon would launch them."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from desk import Desk

from hrp_core.errors import HrpError
from hrp_core.settings import Settings
from hrp_core.timetable import TIMETABLE, Days
from hrp_dagster.definitions import build_defs
from hrp_dagster.resources.platform import Platform
from hrp_dagster.runs import keeping_instance, run_job
from hrp_dagster.state import TRADER_SCHEDULE

# What the daemon hands events to; the tests hand them over themselves.
EVENT_SENSORS = ("job_failure_sensor",)
CATCH_UP_SENSOR = "missed_sessions_sensor"


@dataclass
class Floor:
    """The code location's schedules and sensors, and what their ticks did."""

    settings: Settings
    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition
    definitions: dg.Definitions
    resources: Mapping[str, object]
    launched: list[tuple[datetime, str, date | None]] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    cursors: dict[str, str | None] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def tick(self, now: datetime, *, everything: bool = True, only: Collection[str] = ()) -> None:
        """Evaluate what ticks at `now`, in the order of the day, and run what is asked for.

        Args:
            now: the simulated time; in sim each schedule ticks every minute.
            everything: else only what has a slot at this minute, and the sensor of missed sessions.
            only: names of the schedules and sensors; empty for those that `everything` says.
        """
        for schedule in sorted(self.repository.schedule_defs, key=_place):
            if only and schedule.name not in only:
                continue
            if not everything and not _is_due(schedule.job_name, now):
                continue
            context = dg.build_schedule_context(
                instance=self.instance,
                scheduled_execution_time=now,
                repository_def=self.repository,
                resources=self.resources,
            )
            # Else each evaluation opens Dagster's storage anew, as the daemon does.
            context._instance = self.instance
            with context:
                data = schedule.evaluate_tick(context)
            self._launch(now, schedule.name, schedule.job_name, data.run_requests, data.skip_message)
        for sensor in self.repository.sensor_defs:
            if only and sensor.name not in only:
                continue
            if sensor.name in EVENT_SENSORS or not (everything or sensor.name == CATCH_UP_SENSOR):
                continue
            with dg.build_sensor_context(
                instance=self.instance,
                cursor=self.cursors.get(sensor.name),
                repository_def=self.repository,
                sensor_name=sensor.name,
                resources=self.resources,
            ) as context:
                data = sensor.evaluate_tick(context)
            self.cursors[sensor.name] = data.cursor
            job = sensor.job_name if sensor.has_jobs and len(sensor.targets) == 1 else None
            self._launch(now, sensor.name, job, data.run_requests, data.skip_message)

    def _launch(
        self,
        now: datetime,
        source: str,
        job: str | None,
        requests: object,
        skip_message: str | None,
    ) -> None:
        asked: list[dg.RunRequest] = list(requests or ())  # pyright: ignore[reportArgumentType]
        # Nothing stays silent: a tick starts something or says why not.
        assert asked or skip_message, source
        if skip_message:
            self.reasons[source] = skip_message
        for request in asked:
            name = request.job_name or job
            assert name is not None
            session = date.fromisoformat(request.tags["hrp/session"])
            self.launched.append((now, name, session))
            try:
                run_job(
                    self.settings,
                    name,
                    session if request.partition_key else None,
                    only=[key.path[-1] for key in request.asset_selection or ()] or None,
                    # As the daemon: whoever selects assets gets their checks too.
                    checked=True,
                    tags=request.tags,
                    definitions=self.definitions,
                )
            except HrpError as error:
                # A failed run ends itself, not the day.
                self.failed.append(f"{now} {name} {session}: {error}")

    def of(self, job: str) -> list[date]:
        """Return the sessions a job was launched for, in order."""
        return [session for _, name, session in self.launched if name == job and session is not None]


def _place(schedule: dg.ScheduleDefinition) -> int:
    order = ("market_data_schedule", "book_schedule", "predictions_schedule", "live_trader_schedule")
    return order.index(schedule.name) if schedule.name in order else len(order)


def _is_due(job: str, now: datetime) -> bool:
    row = TIMETABLE[job]
    return row.days is Days.SESSIONS and any(slot.at == now.time() for slot in row.slots)


@contextmanager
def floor(desk: Desk) -> Iterator[Floor]:
    """Open the floor of a desk, with the trader's schedule turned on as a person does it."""
    definitions = build_defs(desk.settings)
    with keeping_instance() as instance:
        origin = RemoteInstigatorOrigin(
            repository_origin=RemoteRepositoryOrigin(
                code_location_origin=InProcessCodeLocationOrigin(
                    LoadableTargetOrigin(module_name="hrp_dagster.definitions")
                ),
                repository_name="__repository__",
            ),
            instigator_name=TRADER_SCHEDULE,
        )
        instance.add_instigator_state(
            InstigatorState(
                origin,
                InstigatorType.SCHEDULE,
                InstigatorStatus.RUNNING,
                ScheduleInstigatorData("* * * * *"),
            )
        )
        yield Floor(
            desk.settings,
            instance,
            definitions.get_repository_def(),
            definitions,
            {"platform": Platform(home=str(desk.settings.home))},
        )
