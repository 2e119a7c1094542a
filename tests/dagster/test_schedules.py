"""The real schedules and sensors without a desk: what they are, and what they say where nothing is set up."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pytest

from hrp_core.calendar import NEW_YORK
from hrp_core.settings import Mode, Settings
from hrp_core.simgateway.files import GatewayInfo
from hrp_core.store import Store, migrate
from hrp_core.timetable import TIMETABLE, Run, row_of
from hrp_dagster.definitions import build_defs
from hrp_dagster.environment import prepare_environment
from hrp_dagster.history import clean_history
from hrp_dagster.jobs import ALL_JOBS
from hrp_dagster.resources.platform import Platform
from hrp_dagster.schedules import build_schedules, crons
from hrp_dagster.sensors import ALL_SENSORS
from hrp_dagster.sensors.alerts import check_failure_sensor, job_failure_sensor
from hrp_dagster.state import UNFINISHED_TAG, desk_state, run_tags


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HRP_HOME", str(tmp_path / "home"))
    for name in ("DAGSTER_HOME", "HRP_DAGSTER_STATE"):
        monkeypatch.setenv(name, "")
    settings = Settings()
    prepare_environment(settings)
    return settings


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as opened:
        yield opened


def set_clock(settings: Settings, text: str) -> None:
    """Write the clock file as the simulated gateway writes it."""
    now = datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)
    settings.gateway_dir.mkdir(parents=True, exist_ok=True)
    GatewayInfo("127.0.0.1", 1, 2, "token", 1, "DU1", now).write(settings.gateway_file)


def platform(settings: Settings) -> dict[str, object]:
    return {"platform": Platform(home=str(settings.home))}


def said(instance: dg.DagsterInstance, settings: Settings) -> dict[str, str]:
    """Evaluate everything once; nothing may be started."""
    repository = build_defs(settings).get_repository_def()
    found: dict[str, str] = {}
    for schedule in repository.schedule_defs:
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime(2022, 11, 24, 4, 10, tzinfo=NEW_YORK),
            repository_def=repository,
            resources=platform(settings),
        ) as context:
            data = schedule.evaluate_tick(context)
        assert not data.run_requests, schedule.name
        found[schedule.name] = data.skip_message or ""
    for sensor in repository.sensor_defs:
        if sensor.name == job_failure_sensor.name:
            continue
        with dg.build_sensor_context(
            instance=instance,
            repository_def=repository,
            sensor_name=sensor.name,
            resources=platform(settings),
        ) as context:
            data = sensor.evaluate_tick(context)
        assert not data.run_requests, sensor.name
        found[sensor.name] = data.skip_message or ""
    return found


def test_on_an_empty_installation_every_tick_says_what_to_run(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    reasons = said(instance, settings)
    assert len(reasons) == 9 + 7
    for name, reason in reasons.items():
        if name != check_failure_sensor.name:
            assert "make demo" in reason or "hrp demo" in reason or "hrp db migrate" in reason, name
    assert not settings.journal_path.exists()
    assert not settings.database_path.exists()


def test_with_a_clock_and_no_database_the_reason_names_make_demo(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    set_clock(settings, "2022-12-02T17:30")
    assert said(instance, settings)["market_data_schedule"] == (
        "nothing is set up here yet; run `make demo`, or `hrp init` for an installation of your own"
    )


def test_on_a_simulated_holiday_every_schedule_says_so(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    migrate(Store(settings.database_path))
    set_clock(settings, "2022-11-24T18:30")
    reasons = said(instance, settings)
    for name in ("market_data", "predictions", "live_trader", "book", "drift_monitor"):
        assert reasons[f"{name}_schedule"] == "2022-11-24 is a holiday; next session 2022-11-25"
    assert "runs on Saturdays" in reasons["training_schedule"]


def test_on_a_saturday_training_is_asked_for_once(settings: Settings, instance: dg.DagsterInstance) -> None:
    migrate(Store(settings.database_path))
    set_clock(settings, "2022-12-03T10:00")
    schedule = build_defs(settings).get_repository_def().get_schedule_def("training_schedule")

    def tick() -> tuple[list[dg.RunRequest], str | None]:
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime(2022, 12, 3, 10, tzinfo=NEW_YORK),
            resources=platform(settings),
        ) as context:
            data = schedule.evaluate_tick(context)
        return list(data.run_requests or ()), data.skip_message

    [request], _ = tick()
    assert (request.run_key, request.partition_key) == ("training_job:2022-12-03:10:00:1", None)
    # Whatever came of it: a run that carries the tags has been made.
    some_job.execute_in_process(instance=instance, tags=request.tags)
    assert tick() == ([], "attempt 1 of training_job of 2022-12-03 was made; there is no other one")


def test_a_broken_database_fails_the_tick_instead_of_looking_calm(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    set_clock(settings, "2022-12-02T17:30")
    settings.database_path.write_bytes(b"no database " * 1000)
    with pytest.raises(dg.DagsterError, match="Error occurred"):
        said(instance, settings)


@pytest.mark.parametrize("mode", [Mode.PAPER, Mode.LIVE])
def test_only_the_trader_has_to_be_turned_on(mode: Mode) -> None:
    schedules = {each.name: each for each in build_schedules(Settings(mode=mode), ALL_JOBS)}
    off = [
        name for name, each in schedules.items() if each.default_status is dg.DefaultScheduleStatus.STOPPED
    ]
    assert off == ["live_trader_schedule"]
    assert {each.execution_timezone for each in schedules.values()} == {"America/New_York"}
    assert all(sensor.default_status is dg.DefaultSensorStatus.RUNNING for sensor in ALL_SENSORS)


def test_the_trader_fires_in_the_morning_when_plans_are_sent_before_the_open() -> None:
    schedules = {
        each.name: each for each in build_schedules(Settings(mode=Mode.PAPER, send_at="preopen"), ALL_JOBS)
    }
    assert schedules["live_trader_schedule"].cron_schedule == ["0,10,20 9 * * 1-5"]


@pytest.mark.parametrize("job", sorted(TIMETABLE))
def test_the_cron_of_a_job_fires_at_every_try_of_its_slots(job: str) -> None:
    row = row_of(job)
    fired = set()
    for line in crons(row):
        minutes, hour, _, _, _ = line.split()
        fired |= {time(int(hour), int(minute)) for minute in minutes.split(",")}
    tries = set()
    for slot in row.slots:
        moment = datetime.combine(datetime(2022, 12, 2, tzinfo=NEW_YORK), slot.at)
        while moment.time() <= slot.until:
            tries.add(moment.time())
            if row.every is None:
                break
            moment += row.every
    assert fired == tries


# --- alerts of runs and checks --------------------------------------------------------------------------


@dg.op
def breaks() -> None:
    raise RuntimeError("account DU1234567 cannot be reached; start the gateway")


@dg.job
def broken_job() -> None:
    breaks()


@dg.asset
def thing() -> int:
    return 1


@dg.asset_check(asset=thing)
def thing_is_two() -> dg.AssetCheckResult:
    # A warning is told like an error: nobody else would look.
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description="it is 1")


def test_a_failed_run_is_told_with_the_error_that_stopped_it(
    settings: Settings, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    set_clock(settings, "2022-12-02T18:40")
    result = broken_job.execute_in_process(
        instance=instance, raise_on_error=False, tags={"hrp/session": "2022-12-02"}
    )
    event = next(each for each in result.all_events if each.event_type_value == "PIPELINE_FAILURE")
    context = dg.build_run_status_sensor_context(
        sensor_name=job_failure_sensor.name,
        dagster_event=event,
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        partition_key=None,
        resources=platform(settings),
    ).for_run_failure()
    job_failure_sensor(context)
    assert "HRP job failure: broken_job failed for 2022-12-02 (no_channel)" in caplog.text
    stored = (settings.mode_dir / "alerts.sqlite").read_bytes()
    assert b"account DU***67 cannot be reached; start the gateway" in stored
    assert b"DU1234567" not in stored


def test_a_failed_check_is_told_once(
    settings: Settings, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    set_clock(settings, "2022-12-02T18:40")
    repository = build_defs(settings).get_repository_def()

    def look(cursor: str | None) -> tuple[str, str | None]:
        with dg.build_sensor_context(
            instance=instance,
            cursor=cursor,
            repository_def=repository,
            sensor_name=check_failure_sensor.name,
            resources=platform(settings),
        ) as context:
            data = check_failure_sensor.evaluate_tick(context)
        return data.skip_message or "", data.cursor

    _, cursor = look(None)
    assert look(cursor)[0] == "no run has changed since the last look"
    dg.materialize([thing, thing_is_two], instance=instance)
    message, cursor = look(cursor)
    assert message == "thing: thing_is_two"
    assert look(cursor)[0] == "no run has changed since the last look"
    assert caplog.text.count("HRP check failure: thing: thing_is_two does not hold (no_channel)") == 1


# --- the history of runs ---------------------------------------------------------------------------------


@dg.op
def thing_op() -> None:
    """Do nothing."""


@dg.job
def some_job() -> None:
    thing_op()


@dg.job(name="open_monitor_job")
def watch() -> None:
    thing_op()


def test_a_run_that_succeeded_and_left_its_work_unfinished_is_not_finished(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    migrate(Store(settings.database_path))
    now = datetime(2022, 12, 5, 9, 46, tzinfo=NEW_YORK)
    run = Run("open_monitor_job", date(2022, 12, 2), "09:25")
    watch.execute_in_process(
        instance=instance, tags={**run_tags(run), UNFINISHED_TAG: "the clock stands still"}
    )
    state = desk_state(settings, instance, now)
    assert (state.finished, state.asked) == (frozenset(), {run.key})
    watch.execute_in_process(instance=instance, tags=run_tags(replace(run, attempt=3)))
    assert desk_state(settings, instance, now).finished == {("open_monitor_job", run.session)}


@dg.job(name="live_trader_job")
def trader() -> None:
    thing_op()


def test_old_runs_go_and_those_that_sent_orders_stay(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    gone = [some_job.execute_in_process(instance=instance).run_id for _ in range(3)]
    trader.execute_in_process(instance=instance)
    now = datetime.now(UTC)
    assert clean_history(instance, now, keep_days=1).deleted == 0
    assert len(instance.get_runs()) == 4
    cleaned = clean_history(instance, now + timedelta(days=2), keep_days=1)
    assert (cleaned.deleted, cleaned.kept) == (3, 1)
    assert cleaned.bytes_after < cleaned.bytes_before
    [kept] = instance.get_runs()
    assert kept.job_name == "live_trader_job"
    assert instance.all_logs(kept.run_id)
    assert not any(instance.all_logs(run_id) for run_id in gone)
