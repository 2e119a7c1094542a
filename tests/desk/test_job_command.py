"""`hrp job run`: the promised results, statuses, flags and exit codes, on a real desk."""

import json
from typing import Any

import pytest
from desk import FIRST, Desk
from typer.testing import CliRunner, Result

from hrp_core.calendar import nyse
from hrp_core.errors import HrpError
from hrp_dagster.cli.app import app
from hrp_dagster.cli.job import JobName
from hrp_dagster.jobs import ALL_JOBS

SECOND = nyse().next(FIRST)


def hrp(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def job(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Return (exit code, what was printed) of `hrp job run … --json`."""
    result = hrp("job", "run", *arguments, "--json")
    error = result.exception
    code = error.exit_code if isinstance(error, HrpError) else result.exit_code
    assert error is None or isinstance(error, HrpError | SystemExit), repr(error)
    return code, json.loads(result.stdout)


def one_strategy(desk: Desk, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, *, count: int = 1) -> None:
    """Leave only the factor strategy, or none."""
    folder = tmp_path / "strategies"
    folder.mkdir()
    text = (desk.settings.strategies / "momentum.toml").read_text(encoding="utf-8")
    if count:
        (folder / "momentum.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("HRP_STRATEGIES", str(folder))


def test_every_job_of_dagster_can_be_run_by_hand_and_the_help_names_it() -> None:
    assert {name.dagster_name for name in JobName} == {each.name for each in ALL_JOBS}
    shown = hrp("job", "run", "--help").stdout
    assert [name.value for name in JobName if f" {name.value}" not in shown] == []


def test_the_evening_and_the_next_day_as_commands(desk: Desk, tmp_path, monkeypatch) -> None:
    one_strategy(desk, tmp_path, monkeypatch)
    desk.at(FIRST, "18:30")
    # Jobs that are about now, and about no session.
    code, tidied = job("cleanup")
    assert (code, tidied["status"], tidied["session"], tidied["assets"]) == (0, "success", None, {})
    assert job("preflight")[0] == 0
    assert "takes no --session" in hrp("job", "run", "sync", "--session", str(FIRST)).output

    code, done = job("predictions")
    assert (code, done["status"], done["session"]) == (0, "success", str(FIRST))
    assert (done["predictions_generated"], done["strategies_processed"], done["errors"]) == (20, 1, {})

    code, said = job("live-trader", "--dry-run")
    assert (code, said["status"], said["would_run"]) == (0, "ready", True)
    assert said["assets"][-1] == "orders"
    assert desk.gateway.state().orders_received == 0

    code, dry = job("live-trader", "--trading-dry-run")
    assert (code, dry["status"], dry["orders_submitted"], dry["positions_synced"]) == (0, "dry_run", 0, 0)
    assert desk.gateway.state().orders_received == 0

    code, sent = job("live-trader")
    assert (code, sent["status"], sent["orders_submitted"], sent["errors"]) == (0, "success", 5, {})
    assert desk.gateway.state().orders_received == 5
    code, again = job("live-trader")
    assert (code, again["status"], again["orders_submitted"]) == (0, "success", 0)

    # The sample has no opens: its orders fill at the close.
    for clock, filled in (("09:45", 0), ("16:15", 5)):
        desk.at(SECOND, clock)
        code, said = job("book", "--dry-run")
        assert (code, said["assets"]) == (0, ["fills", "positions", "nav"])
        assert "the NAV would be provisional" in said["reasons"][0]
        code, looked = job("book")
        assert (code, looked["status"], looked["provisional"]) == (0, "success", True)
        assert (looked["executions"], looked["positions"]) == (filled, filled)
        assert list(looked["assets"]) == ["fills", "positions", "nav"]
        if filled:
            valued = looked["assets"]["positions"]
            assert valued["provisional"] is True
            assert (valued["marks"], valued["mark_time"]) == (
                "5 at broker mark",
                f"{SECOND} {clock} New York",
            )
        assert float(looked["nav"]) == float(desk.gateway.state().net_liquidation)
        said = f"* provisional, at the broker's prices of {SECOND} {clock} New York"
        assert said in CliRunner().invoke(app, ["nav"]).stdout
    shown = CliRunner().invoke(app, ["positions"]).stdout
    assert f"Positions at the broker's prices of {SECOND} 16:15, provisional" in shown
    desk.at(SECOND, "17:45")
    assert job("market-data")[0] == 0
    code, booked = job("book")
    assert (code, booked["status"], booked["session"]) == (0, "success", str(FIRST))
    assert (booked["executions"], booked["positions"], booked["provisional"]) == (5, 5, False)
    assert float(booked["nav"]) == float(desk.gateway.state().net_liquidation)
    desk.at(SECOND, "18:30")
    assert job("predictions")[0] == 0
    code, second = job("live-trader")
    assert (code, second["status"], second["positions_synced"]) == (0, "success", 5)


def test_one_strategys_failure_is_a_partial_failure_that_names_it(desk: Desk) -> None:
    desk.at(FIRST, "18:30")
    code, done = job("predictions")
    assert (code, done["status"], done["strategies_processed"]) == (1, "partial_failure", 1)
    assert list(done["errors"]) == ["HYP-2026-002"]
    code, sent = job("live-trader")
    assert (code, sent["status"], sent["orders_submitted"]) == (0, "success", 5)
    code, drift = job("drift-monitor")
    assert (code, drift["status"], drift["models_checked"]) == (0, "insufficient", 1)
    assert (drift["models_with_drift"], drift["rollbacks_triggered"]) == ([], {})


def test_a_desk_without_strategies_has_nothing_to_do(desk: Desk, tmp_path, monkeypatch) -> None:
    one_strategy(desk, tmp_path, monkeypatch, count=0)
    desk.at(FIRST, "18:30")
    for name, status in (
        ("predictions", "no_deployed_strategies"),
        ("live-trader", "no_strategies"),
        ("drift-monitor", "no_models"),
    ):
        code, done = job(name)
        assert (code, done["status"]) == (0, status)
        assert job(name, "--dry-run")[1]["status"] == status


@pytest.mark.desk("planned")
def test_what_a_rule_refuses_is_blocked_with_exit_code_3_also_in_the_preview(desk: Desk) -> None:
    desk.at(SECOND, "09:26")
    said = job("live-trader", "--dry-run")[1]
    assert (said["status"], said["would_run"]) == ("blocked", False)
    assert "may be sent from" in said["reasons"][-1]
    code, done = job("live-trader")
    assert (code, done["status"], done["orders_submitted"]) == (3, "blocked", 0)
    assert "may be sent from" in done["errors"]["job"]
    code, done = job("live-trader", "--session", str(SECOND))
    assert (code, done["status"]) == (3, "blocked")
    assert desk.gateway.state().orders_received == 0


def test_a_missing_input_is_data_not_ready(desk: Desk) -> None:
    desk.at(FIRST, "18:30")
    code, done = job("live-trader")
    assert (code, done["status"]) == (1, "data_not_ready")
    assert "run predictions_job" in done["errors"]["job"]
    assert job("live-trader", "--dry-run")[1]["status"] == "data_not_ready"
    with desk.store.write() as connection:
        connection.execute("DELETE FROM prices WHERE session < '2022-11-25'")
    code, done = job("predictions")
    assert (code, done["status"], done["predictions_generated"]) == (1, "data_not_ready", 0)
    assert "120 rows up to 2022-12-02, 1000 are needed" in done["errors"]["job"]
    assert job("predictions", "--dry-run")[1]["reasons"] == [done["errors"]["job"]]


def test_data_of_more_than_three_sessions_ago_is_not_scored(desk: Desk) -> None:
    with desk.store.write() as connection:
        for name in ("prices", "features"):
            connection.execute(f"DELETE FROM {name} WHERE session > '2022-11-28'")
    desk.at(FIRST, "18:30")
    message = job("predictions")[1]["errors"]["job"]
    assert "features end on 2022-11-28, more than 3 sessions before 2022-12-02" in message
    assert "prices end on 2022-11-28" in message


def test_a_broker_that_is_gone_is_a_failure(desk: Desk) -> None:
    desk.at(FIRST, "18:30")
    desk.server.stop()
    code, done = job("predictions")
    assert (code, done["status"]) == (1, "failure")
    assert done["errors"]["job"]


def test_a_dry_run_changes_nothing(desk: Desk) -> None:
    desk.at(FIRST, "18:30")
    home = desk.settings.home

    def content() -> dict[str, bytes]:
        kept = ("hrp.duckdb", "journal.sqlite", "mlflow.db")
        return {str(path): path.read_bytes() for path in home.rglob("*") if path.name in kept}

    before = content()
    for name in ("market-data", "predictions", "live-trader", "drift-monitor", "book"):
        result = hrp("job", "run", name, "--dry-run")
        assert result.exit_code == 0, result.output
        assert "Nothing was done" in " ".join(result.output.split())
    assert content() == before
    assert desk.gateway.state().connections == 0


@pytest.mark.parametrize(
    "arguments", [("predictions", "--trading-dry-run"), ("live-trader", "--auto-rollback"), ("everything",)]
)
def test_a_flag_of_another_job_is_a_usage_error(desk: Desk, arguments: tuple[str, ...]) -> None:
    assert hrp("job", "run", *arguments).exit_code == 2


def test_a_result_is_also_printed_for_people(desk: Desk, tmp_path, monkeypatch) -> None:
    one_strategy(desk, tmp_path, monkeypatch)
    desk.at(FIRST, "18:30")
    shown = " ".join(hrp("job", "run", "predictions").output.split())
    assert f"predictions of {FIRST}: success (run " in shown
    assert "predictions generated: 20" in shown
