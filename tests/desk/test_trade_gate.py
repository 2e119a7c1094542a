"""Each condition of the trade gate, broken alone on a whole desk: no order leaves; mended, it goes on.

Longer than most files: one table of breaks over one desk, which takes half a minute to make.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import copytree

import dagster as dg
import pytest
from desk import FIRST, Desk
from ticks import Floor, floor

from hrp_core.calendar import nyse
from hrp_core.errors import NotReadyError, RefusedError
from hrp_core.execution.notices import store_notices
from hrp_core.ledger.types import LatchState
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.tracking import Tracking
from hrp_core.store import read_table, table
from hrp_dagster.runs import run_job
from hrp_dagster.sensors.alerts import job_failure_sensor
from hrp_dagster.sensors.data import tell
from hrp_dagster.state import TRADER_SCHEDULE

MODEL = "us_equity_ranker"


@pytest.fixture(scope="module")
def planned(
    first_evening: Path, tmp_path_factory: pytest.TempPathFactory, open_desk: Callable
) -> Iterator[Desk]:
    """A desk at 18:30 of the first session, its plan frozen, a trained model in production."""
    home = tmp_path_factory.mktemp("planned") / "home"
    copytree(first_evening, home)
    with open_desk(home) as desk:
        config = {"model_name": MODEL, "learner": "ridge", "since": "2018-01-02", "folds": 2}
        trained = run_job(desk.settings, "training_job", config={"trained_model": config})
        ModelRegistry(Tracking(home)).promote(
            MODEL,
            str(trained.metadata["trained_model"]["version"]),
            actor="test",
            reason="first",
            store=desk.store,
            now=desk.settings.clock().now(),
        )
        desk.evening(FIRST, jobs=["predictions_job"])
        yield desk


@contextmanager
def rows_changed(desk: Desk, name: str, sql: str) -> Iterator[None]:
    """Change a table of the database for the length of the block."""
    with desk.store.write() as connection:
        connection.execute(f"CREATE TABLE kept AS FROM {name}")
        connection.execute(sql)
    try:
        yield
    finally:
        with desk.store.write() as connection:
            connection.execute(f"DELETE FROM {name}")
            connection.execute(f"INSERT INTO {name} FROM kept")
            connection.execute("DROP TABLE kept")


def changed(name: str, sql: str) -> Callable[[Desk], AbstractContextManager[None]]:
    return lambda desk: rows_changed(desk, name, sql)


def latched(state: LatchState) -> Callable[[Desk], AbstractContextManager[None]]:
    @contextmanager
    def set_latch(desk: Desk) -> Iterator[None]:
        now = desk.settings.clock().now()
        desk.journal.set_latch(state, by="test", reason="a look first", now=now)
        try:
            yield
        finally:
            desk.journal.set_latch(LatchState.ACTIVE, by="test", reason="looked", now=now)

    return set_latch


@contextmanager
def gateway_down(desk: Desk) -> Iterator[None]:
    desk.server.stop()
    try:
        yield
    finally:
        desk.server.start()


@contextmanager
def clock_behind(desk: Desk) -> Iterator[None]:
    """Our clock is two minutes slow; in sim it is read from the file that the gateway wrote."""
    path = desk.settings.gateway_file
    kept = path.read_text(encoding="utf-8")
    slow = desk.settings.clock().now() - timedelta(minutes=2)
    path.write_text(json.dumps({**json.loads(kept), "now": slow.isoformat()}), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(kept, encoding="utf-8")


def journaled(name: str, change: str, back: str) -> Callable[[Desk], AbstractContextManager[None]]:
    """Change a table of the journal for the length of the block."""

    @contextmanager
    def changed_journal(desk: Desk) -> Iterator[None]:
        def update(assignment: str) -> None:
            with closing(sqlite3.connect(desk.settings.journal_path)) as connection, connection:
                # The journal only grows: whoever plants something has to take its guards away meanwhile.
                guards = connection.execute(
                    "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", [name]
                ).fetchall()
                for guard, _ in guards:
                    connection.execute(f"DROP TRIGGER {guard}")
                connection.execute(f"UPDATE {name} SET {assignment}")
                for _, sql in guards:
                    connection.execute(sql)

        update(change)
        try:
            yield
        finally:
            update(back)

    return changed_journal


unapproved = journaled("plans", "status = 'proposed'", "status = 'approved'")
# As if the plan had never been made: one for another purpose is no daily plan.
unplanned = journaled("plans", "purpose = 'flatten'", "purpose = 'daily'")


@contextmanager
def account_in_use(desk: Desk) -> Iterator[None]:
    """Since the close the broker was seen to hold something: an empty ledger is not reconciled by itself."""
    seen = desk.journal.newest_snapshot()
    assert seen is not None
    desk.journal.record([], now=seen.asked_at, snapshot=replace(seen, shares={"AAPL": 1}))
    try:
        yield
    finally:
        desk.journal.record([], now=seen.asked_at, snapshot=seen)


def setting(name: str, value: str) -> Callable[[Desk], AbstractContextManager[None]]:
    @contextmanager
    def changed_setting(_: Desk) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, value)
            yield

    return changed_setting


def reconciled_as(status: str) -> Callable[[Desk], AbstractContextManager[None]]:
    @contextmanager
    def run(desk: Desk) -> Iterator[None]:
        mode, account = desk.journal.binding()
        now = desk.settings.clock().now()
        with desk.store.write() as connection:
            connection.execute(
                "INSERT INTO reconciliation_runs VALUES ('planted', ?, ?, ?, 1, 0, '[]', 'test', ?, ?)",
                [FIRST, now, status, mode, account],
            )
        try:
            yield
        finally:
            with desk.store.write() as connection:
                connection.execute("DELETE FROM reconciliation_runs")

    return run


@contextmanager
def of_another_account(desk: Desk) -> Iterator[None]:
    """The gateway goes on with its account, and the journal is of another one, which was reconciled."""
    renamed = journaled(
        "meta",
        "value = value || 'X' WHERE key = 'account'",
        "value = rtrim(value, 'X') WHERE key = 'account'",
    )
    with renamed(desk), reconciled_as("reconciled")(desk):
        yield


@contextmanager
def strategy_paused(desk: Desk) -> Iterator[None]:
    """A person pauses a strategy after the plan was frozen."""
    folder = desk.settings.home / "strategies"
    copytree(desk.settings.strategies, folder, dirs_exist_ok=True)
    path = folder / "momentum.toml"
    path.write_text(path.read_text().replace('state = "deployed"', 'state = "paused"'))
    with setting("HRP_STRATEGIES", str(folder))(desk):
        yield


# What breaks; a word after the code tells two of one code apart. Two kinds are below: what lets exits go
# refuses no run (`REDUCES`), and without a plan there is none to refuse.
BREAKS: dict[str, tuple[str, Callable[[Desk], AbstractContextManager[None]]]] = {
    "data_missing": (
        "blocked",
        changed(
            "partition_versions",
            f"DELETE FROM partition_versions WHERE asset = 'features' AND session = '{FIRST}'",
        ),
    ),
    "check_missing": (
        "blocked",
        changed("check_results", "UPDATE check_results SET content_hash = 'other' WHERE asset = 'prices'"),
    ),
    "check_failed": (
        "no_go",
        changed("check_results", "UPDATE check_results SET passed = false WHERE asset = 'signals'"),
    ),
    "plan_outdated": (
        "no_go",
        changed("signals", f"UPDATE signals SET signal = 1 WHERE session = '{FIRST}'"),
    ),
    "plan_outdated strategies": ("no_go", strategy_paused),
    "plan_outdated limits": ("no_go", setting("HRP_RESTRICTED", "AAPL")),
    "evidence_failed": ("blocked", setting("HRP_STRATEGIES", "/nowhere")),
    "not_approved": ("no_go", unapproved),
    "model_unresolved": ("no_go", changed("model_deployments", "DELETE FROM model_deployments")),
    "model_unresolved rolled back": (
        "no_go",
        changed("model_deployments", "UPDATE model_deployments SET status = 'rolled_back'"),
    ),
    "no_predictions": (
        "no_go",
        changed("predictions", f"UPDATE predictions SET prediction = NULL WHERE session = '{FIRST}'"),
    ),
    "drift_missing": ("blocked", changed("model_drift_checks", "DELETE FROM model_drift_checks")),
    "drift_error": (
        "blocked",
        changed("model_drift_checks", "UPDATE model_drift_checks SET status = 'error'"),
    ),
    "drift_detected": (
        "no_go",
        changed(
            "model_drift_checks", "UPDATE model_drift_checks SET status = 'drift' WHERE subject LIKE 'pred%'"
        ),
    ),
    "drift_insufficient": ("no_go", setting("HRP_DRIFT_GRACE_SESSIONS", "0")),
    "reconciliation_missing": ("blocked", account_in_use),
    "reconciliation_halted": ("no_go", reconciled_as("halted")),
    "broker_unreachable": ("blocked", gateway_down),
    "wrong_account": ("no_go", of_another_account),
    "clocks_differ": ("blocked", clock_behind),
    "latch_halted": ("no_go", latched(LatchState.HALTED)),
    "window_closed": ("no_go", setting("HRP_SEND_AT", "preopen")),
}


def stored_verdict(desk: Desk) -> tuple[str, list[str]]:
    row = read_table(desk.store, table("trade_gate"), sessions=[FIRST]).iloc[0]
    return row["verdict"], sorted({reason["code"] for reason in json.loads(row["reasons"])})


def judged(desk: Desk) -> tuple[str, list[str]]:
    desk.run("live_trader_job", FIRST, only=["trade_gate"])
    return stored_verdict(desk)


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_condition_sends_nothing_and_mended_it_goes_on(planned: Desk, name: str) -> None:
    verdict, break_it = BREAKS[name]
    code, _, what = name.partition(" ")
    (planned.settings.mode_dir / "alerts.sqlite").unlink(missing_ok=True)
    with break_it(planned):
        with pytest.raises(RefusedError, match=f"{verdict} to plan .*{code}.*{what}") as refusal:
            planned.run("live_trader_job", FIRST)
        assert refusal.value.exit_code == 3
        assert stored_verdict(planned) == (verdict, [code])
        assert told_anew(planned).count("no-go verdict") == 1
        assert told_anew(planned) == []
    assert planned.gateway.state().orders_received == 0
    assert judged(planned) == ("go", [])


def told(desk: Desk) -> list[str]:
    """Return the kinds of the alerts that a person has had."""
    path = desk.settings.mode_dir / "alerts.sqlite"
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as alerts:
        return [kind for (kind,) in alerts.execute("SELECT kind FROM alerts ORDER BY kind")]


def told_anew(desk: Desk) -> list[str]:
    """Let the desk's records be told, as desk_alerts_sensor does; return what is new of them."""
    before = told(desk)
    tell(desk.settings, store_notices(desk.store))
    return sorted((Counter(told(desk)) - Counter(before)).elements())


# What lets exits go, of which the first session has none.
REDUCES: dict[str, Callable[[Desk], AbstractContextManager[None]]] = {
    "reconciliation_reduce_only": reconciled_as("reduce_only"),
    "latch_reducing": latched(LatchState.REDUCING),
}


@pytest.mark.parametrize("code", REDUCES)
def test_a_condition_for_exits_lets_nothing_else_go(planned: Desk, code: str) -> None:
    with REDUCES[code](planned):
        run = planned.run("live_trader_job", FIRST)
        assert stored_verdict(planned) == ("reduce_only", [code])
    assert "only exits" in str(run.metadata["orders"]["stopped_early"])
    assert planned.gateway.state().orders_received == 0
    assert judged(planned) == ("go", [])


def test_without_a_plan_nothing_is_sent_and_the_verdict_says_why(planned: Desk) -> None:
    with unplanned(planned):
        with pytest.raises(NotReadyError, match=f"session {FIRST} has no plan; run predictions_job"):
            planned.run("live_trader_job", FIRST)
        assert stored_verdict(planned) == ("blocked", ["no_plan"])
    assert planned.gateway.state().orders_received == 0
    assert judged(planned) == ("go", [])


def test_a_verdict_is_good_for_one_plan_its_contents_and_half_an_hour(planned: Desk) -> None:
    for name, sql, why in (
        ("trade_gate", "UPDATE trade_gate SET plan_hash = 'another'", "was not judged"),
        ("trade_gate", "UPDATE trade_gate SET account = 'DU1'", "was judged for sim account DU1"),
        ("trade_gate", "DELETE FROM trade_gate", "has no verdict"),
        (
            "partition_versions",
            "UPDATE partition_versions SET content_hash = 'changed' WHERE asset = 'signals'",
            "other contents of signals",
        ),
    ):
        assert judged(planned) == ("go", [])
        with rows_changed(planned, name, sql), pytest.raises(RefusedError, match=why):
            planned.run("live_trader_job", FIRST, only=["orders"])
    judged(planned)
    planned.gateway.advance(planned.gateway.state().now + timedelta(minutes=31))
    with pytest.raises(RefusedError, match="expired at 2022-12-02 19:00"):
        planned.run("live_trader_job", FIRST, only=["orders"])
    assert planned.gateway.state().orders_received == 0


def test_two_ticks_of_the_trader_without_a_go_are_one_alert_and_mended_the_next_one_sends(
    planned: Desk,
) -> None:
    def tick(ticking: Floor) -> None:
        """Move on to the next try of the trader and hand over the failures as the daemon does."""
        planned.gateway.advance(planned.gateway.state().now + timedelta(minutes=10))
        known = {run.run_id for run in failed_runs(ticking.instance)}
        ticking.tick(planned.gateway.state().now, only=(TRADER_SCHEDULE, "desk_alerts_sensor"))
        for run in failed_runs(ticking.instance):
            if run.run_id not in known:
                tell_failure(ticking, run)

    # Each condition was told on this day already.
    (planned.settings.mode_dir / "alerts.sqlite").unlink()
    before = told(planned)
    with floor(planned) as ticking:
        with BREAKS["check_failed"][1](planned):
            for _ in range(2):
                tick(ticking)
        assert [job for _, job, _ in ticking.launched] == ["live_trader_job"] * 2
        assert len(ticking.failed) == 2
        assert planned.gateway.state().orders_received == 0
        after = told(planned)
        assert sorted([*before, "no-go verdict"]) == after
        tick(ticking)
    plan = planned.journal.latest_plan(FIRST)
    assert plan is not None
    assert planned.gateway.state().orders_received == len(plan.intents) > 5
    assert told(planned) == after


def failed_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return list(instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])))


def tell_failure(ticking: Floor, run: dg.DagsterRun) -> None:
    found = ticking.instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    [record] = found.records
    event = record.event_log_entry.dagster_event
    assert event is not None
    context = dg.build_run_status_sensor_context(
        sensor_name=job_failure_sensor.name,
        dagster_event=event,
        dagster_instance=ticking.instance,
        dagster_run=run,
        partition_key=None,
        resources=dict(ticking.resources),
    ).for_run_failure()
    job_failure_sensor(context)


@pytest.mark.desk("sent")
def test_the_day_after_downtime_trades_once_the_book_was_reconciled(desk: Desk) -> None:
    session = desk.next_day(FIRST)
    before = desk.gateway.state().orders_received
    for _ in range(2):
        session = nyse().next(session)
        desk.at(session, "17:45")
        desk.run("market_data_job", session)
    closed = nyse().previous(session)
    with pytest.raises(NotReadyError, match=f"run book_job of {closed} first"):
        desk.evening(session)
    desk.run("book_job", closed, only=["fills", "positions", "nav"])
    with pytest.raises(RefusedError, match=r"blocked to plan .*reconciliation_missing"):
        desk.evening(session)
    assert desk.gateway.state().orders_received == before
    desk.run("book_job", closed, only=["reconciliation"])
    desk.run("live_trader_job", session)
    plan = desk.journal.latest_plan(session)
    assert plan is not None
    assert desk.gateway.state().orders_received == before + len(plan.intents)
    with desk.store.read() as connection:
        broken = connection.execute("SELECT claim, observed FROM check_results WHERE NOT passed").fetchall()
    assert broken == []
