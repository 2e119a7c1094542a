"""`hrp doctor`: each failure is seeded for real, and the judgement names cause and fix.

Past 400 lines: one list of failures.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ops_support import EVENING, Serve
from typer.testing import CliRunner

from hrp_core.alerts import FILE_NAME as ALERTS_FILE
from hrp_core.alerts import AlertKind, AlertOutcome, Alerts, AlertSettings
from hrp_core.calendar import NEW_YORK
from hrp_core.doctor import Check, Outcome, examine_broker, examine_machine, examine_state
from hrp_core.doctor.machine import judge_packages
from hrp_core.execution.config import BrokerConfig, ClientRole, broker_config
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.writer_lock import WriterLock
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import LatchState
from hrp_core.models.tracking import Tracking
from hrp_core.settings import PROJECT_ROOT, Mode, Settings
from hrp_core.simgateway import GatewayServer
from hrp_core.store import Store, migrate
from hrp_dagster.cli.app import app

HOLD = PROJECT_ROOT / "tests" / "core" / "store" / "hold_database.py"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation as `hrp init` leaves it, with a strategy that needs no model."""
    folder = tmp_path / "strategies"
    folder.mkdir()
    (folder / "momentum.toml").write_text((PROJECT_ROOT / "strategies" / "momentum.toml").read_text())
    made = Settings(home=tmp_path / "home", strategies=folder, min_free_disk_gb=0)
    migrate(Store(made.database_path))
    Journal(made.journal_path).close()
    return made


def machine(settings: Settings, env_file: Path = Path("/nonexistent/.env")) -> dict[str, Check]:
    return {check.name: check for check in examine_machine(settings, env_file)}


def state(settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in examine_state(settings)}


def broker(settings: Settings, now: datetime = EVENING) -> dict[str, Check]:
    return {check.name: check for check in examine_broker(settings, now)}


def assert_failure(check: Check, found: str, fix: str) -> None:
    assert check.outcome is Outcome.FAILURE
    assert found in check.found
    assert fix in check.fix


@contextmanager
def sim(settings: Settings, serve: Serve) -> Iterator[GatewayServer]:
    with serve(settings.gateway_dir) as server:
        yield server


@contextmanager
def paper(
    settings: Settings, serve: Serve, patch: pytest.MonkeyPatch, **changes: str
) -> Iterator[tuple[Settings, GatewayServer]]:
    """Give paper settings that name a gateway as a real one is named."""
    with serve(settings.home / "elsewhere") as server:
        values = {
            "IBKR_PORT": str(server.info.port),
            "IBKR_ACCOUNT": server.info.account,
            "IBKR_PAPER_TRADING": "true",
            **changes,
        }
        for name, value in values.items():
            patch.setenv(name, value)
        as_paper = settings.model_copy(update={"mode": Mode.PAPER})
        migrate(Store(as_paper.database_path))
        Journal(as_paper.journal_path).close()
        yield as_paper, server


def run(home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hrp_dagster.cli", "doctor", "--json"],
        env={**os.environ, "HRP_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# --- the whole command


def test_on_an_empty_machine_it_runs_and_leads_to_init(tmp_path: Path) -> None:
    result = run(tmp_path / "nothing")
    assert result.returncode == 1, result.stderr
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert [checks[name]["outcome"] for name in ("python", "packages", "time zones")] == ["ok"] * 3
    for name in ("HRP_HOME", "database", "journal"):
        assert (checks[name]["outcome"], checks[name]["fix"]) == ("failure", "hrp init")
    assert "hrp gateway serve" in checks["gateway"]["fix"]
    assert all(check["fix"] for check in checks.values() if check["outcome"] in ("failure", "warning"))
    assert not (tmp_path / "nothing").exists()


def test_a_home_that_is_a_file_and_a_wrong_setting_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    checks = json.loads(run(tmp_path / "file").stdout)
    (home,) = [check for check in checks if check["name"] == "HRP_HOME"]
    assert home["outcome"] == "failure"
    assert "cannot be written" in home["found"]
    (wrong,) = json.loads(run(tmp_path, HRP_MODE="real").stdout)
    assert "HRP_MODE" in wrong["found"]


def test_a_healthy_installation_passes_and_dagster_is_looked_at(
    settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HRP_HOME", str(settings.home))
    monkeypatch.setenv("HRP_STRATEGIES", str(settings.strategies))
    monkeypatch.setenv("HRP_MIN_FREE_DISK_GB", "0")
    monkeypatch.setenv("DAGSTER_HOME", "relative")
    monkeypatch.setenv("HRP_DAGSTER_STATE", "")
    with sim(settings, serve):
        result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    told = " ".join(result.stdout.split())
    assert "0 failure" in told
    assert "DAGSTER_HOME=relative in this shell" in told
    assert f"export DAGSTER_HOME={PROJECT_ROOT}" in told
    assert "dagster daemon: does not run" in told


# --- the machine


def test_packages_that_are_missing_or_out_of_range_are_named() -> None:
    check = judge_packages(
        [
            "duckdb>=1",
            "no-such-package>=1",
            "numpy<1",
            "pyspark; extra == 'spark'",
            "tzdata; python_version<'3'",
        ]
    )
    assert_failure(check, "no-such-package is not installed", "make setup")
    assert "numpy" in check.found
    assert "is not <1" in check.found
    assert "pyspark" not in check.found


def test_a_full_disk_fails(settings: Settings) -> None:
    full = settings.model_copy(update={"min_free_disk_gb": 1e9})
    assert_failure(machine(full)["disk"], "HRP_MIN_FREE_DISK_GB", "old logs")


def test_a_settings_file_that_others_can_read_is_a_warning(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("")
    path.chmod(0o644)
    check = machine(settings, path)["settings file"]
    assert (check.outcome, check.fix) == (Outcome.WARNING, f"chmod 600 {path}")
    path.chmod(0o600)
    assert machine(settings, path)["settings file"].outcome is Outcome.OK


# --- the stored state


def test_a_database_locked_by_another_process_names_it(settings: Settings) -> None:
    command = [sys.executable, str(HOLD), str(settings.database_path), "write"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        found = state(settings)
        holder.send_signal(signal.SIGKILL)
    assert_failure(found["database"], f"by process {holder.pid}", "end the process")
    assert found["prices"].outcome is Outcome.SKIPPED


def test_a_database_of_an_older_schema_is_to_be_migrated(settings: Settings) -> None:
    with Store(settings.database_path).write() as connection:
        connection.execute("DELETE FROM schema_version WHERE version > 1")
    assert_failure(state(settings)["database"], "schema version 1", "hrp db migrate")


@pytest.mark.parametrize("damage", ["header", "page"])
def test_a_corrupt_journal_is_left_as_it_is_and_to_be_restored(settings: Settings, damage: str) -> None:
    path = settings.journal_path
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    start = 0 if damage == "header" else 4096
    content[start : start + 2000] = b"\x5a" * 2000
    path.write_bytes(content)
    found = state(settings)
    assert_failure(found["journal"], "journal.sqlite", "Restore a backup of the journal")
    assert found["trading"].outcome is Outcome.SKIPPED
    assert path.read_bytes() == bytes(content)


def test_a_journal_of_another_account_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBKR_ACCOUNT", "DU7654321")
    as_paper = settings.model_copy(update={"mode": Mode.PAPER})
    journal = Journal(as_paper.journal_path)
    journal.bind("paper", "DU1234567", EVENING)
    journal.close()
    assert_failure(state(as_paper)["journal"], "IBKR_ACCOUNT is DU7654321", "IBKR_ACCOUNT=DU1234567")


def test_a_halt_is_told_with_who_and_why(settings: Settings) -> None:
    journal = Journal(settings.journal_path)
    journal.set_latch(LatchState.HALTED, by="anna", reason="storm", now=EVENING)
    journal.close()
    check = state(settings)["trading"]
    assert (check.outcome, check.found) == (Outcome.WARNING, "halted by anna: storm")
    assert "hrp resume" in check.fix


def test_strategies_missing_broken_or_idle_are_told(settings: Settings) -> None:
    gone = settings.model_copy(update={"strategies": settings.home / "none"})
    assert_failure(state(gone)["strategies"], "there is no folder", "hrp init")
    file = settings.strategies / "momentum.toml"
    text = file.read_text()
    file.write_text(text + "\nnonsense = 1\n")
    assert_failure(state(settings)["strategies"], "nonsense", "correct the file")
    file.unlink()
    assert state(settings)["strategies"].outcome is Outcome.WARNING


def test_a_strategy_without_its_model_is_not_scoring_in_sim_and_a_failure_with_a_real_account(
    settings: Settings,
) -> None:
    ranker = PROJECT_ROOT / "strategies" / "ranker.toml"
    (settings.strategies / "ranker.toml").write_text(ranker.read_text())
    with_account = settings.model_copy(update={"mode": Mode.PAPER})
    assert "there is no registry" in state(settings)["models"].found
    assert_failure(state(with_account)["models"], "there is no registry", "hrp model train")
    Tracking(settings.home).set_up()
    check = state(settings)["models"]
    assert (check.outcome, "not scored yet" in check.found) == (Outcome.WARNING, True)
    assert "hrp model promote us_equity_ranker" in check.fix
    assert_failure(state(with_account)["models"], "us_equity_ranker", "hrp model promote us_equity_ranker")


@pytest.mark.parametrize(
    ("environment", "mode", "outcome", "found"),
    [
        ({}, Mode.SIM, Outcome.OK, "in sim alerts are logged only"),
        ({}, Mode.PAPER, Outcome.WARNING, "nobody is told"),
        ({}, Mode.LIVE, Outcome.WARNING, "nobody is told"),
        ({"HRP_ALERT_URLS": "mailto://u:hush@a.b, slack://hush/b/c"}, Mode.LIVE, Outcome.OK, "mailto, slack"),
        (
            {"RESEND_API_KEY": "hush", "NOTIFICATION_EMAIL": "a@b.c"},
            Mode.LIVE,
            Outcome.OK,
            "1 channel: resend",
        ),
        ({"RESEND_API_KEY": "hush"}, Mode.SIM, Outcome.WARNING, "RESEND_API_KEY is set alone"),
        ({"HRP_ALERT_URLS": "hush"}, Mode.LIVE, Outcome.WARNING, "1 of 1 entries"),
    ],
)
def test_who_is_told_is_named_by_scheme_and_nobody_is_a_warning(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    mode: Mode,
    outcome: Outcome,
    found: str,
) -> None:
    monkeypatch.setattr(AlertSettings, "from_env", lambda: AlertSettings())
    for name in ("HRP_ALERT_URLS", "RESEND_API_KEY", "NOTIFICATION_EMAIL"):
        monkeypatch.setenv(name, environment.get(name, ""))
    check = state(settings.model_copy(update={"mode": mode}))["alerts configured"]
    assert (check.outcome, found in check.found) == (outcome, True), check
    assert "hush" not in check.found + check.fix
    assert ("HRP_ALERT_URLS" in check.fix) == (outcome is Outcome.WARNING)


def test_an_alert_that_no_channel_took_is_a_warning(
    settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AlertSettings, "from_env", lambda: AlertSettings())
    for name in ("RESEND_API_KEY", "NOTIFICATION_EMAIL"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HRP_ALERT_URLS", "json://127.0.0.1:1/x")
    (settings.mode_dir / ALERTS_FILE).touch()
    # Without the simulated clock it is not known what is of the last two days.
    assert "not known" in state(settings)["alerts configured"].found
    with sim(settings, serve):
        told = Alerts.from_settings(settings).notify(
            AlertKind.HALT, "trading is halted", "-", next_step="-", key="1"
        )
        check = state(settings)["alerts configured"]
    assert told is AlertOutcome.FAILED
    assert check.outcome is Outcome.WARNING
    assert "1 channel: json; 1 alert could not be sent yet" in check.found
    assert "desk_alerts_sensor" in check.fix


def test_prices_that_stop_before_the_decision_session_are_counted(settings: Settings, serve: Serve) -> None:
    assert state(settings)["prices"].outcome is Outcome.SKIPPED
    with sim(settings, serve):
        assert state(settings)["prices"].found == "no session is stored"


# --- the broker


def test_a_gateway_that_does_not_run_is_to_be_started(settings: Settings, serve: Serve) -> None:
    assert_failure(broker(settings)["gateway"], "no simulated gateway", "hrp gateway serve")


def test_a_real_endpoint_where_nothing_listens_is_refused(
    settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with paper(settings, serve, monkeypatch) as (as_paper, server):
        server.stop()
        found = broker(as_paper)
    assert_failure(found["gateway"], "connection refused", "start TWS or IB Gateway")
    assert found["order entry"].outcome is Outcome.SKIPPED


def test_a_sound_paper_endpoint_passes_and_an_unknown_port_is_a_warning(
    settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with paper(settings, serve, monkeypatch) as (as_paper, server):
        found = broker(as_paper)
        orders = server.client().state().orders_received
    assert found["endpoint"].outcome is Outcome.WARNING
    assert [found[name].outcome for name in ("gateway", "login", "client id", "order entry")] == [
        Outcome.OK
    ] * 4
    assert orders == 0


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"IBKR_ACCOUNT": ""}, "account is required"),
        ({"IBKR_ACCOUNT": "U1234567"}, "paper account"),
        ({"IBKR_PORT": "7496"}, "live port"),
        ({"IBKR_PORT": "door"}, "IBKR_PORT"),
        ({"IBKR_PAPER_TRADING": "false"}, "need paper_trading=True"),
    ],
)
def test_settings_that_contradict_each_other_fail_before_anything_is_asked(
    changes: dict[str, str], found: str, settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with paper(settings, serve, monkeypatch, **changes) as (as_paper, server):
        checks = broker(as_paper)
        assert server.client().state().connections == 0
    assert_failure(checks["endpoint"], found, ".env")


def test_another_account_than_the_configured_one_is_named(
    settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with paper(settings, serve, monkeypatch, IBKR_ACCOUNT="DU0000001") as (as_paper, server):
        found = broker(as_paper)
        account = server.info.account
    assert_failure(found["login"], f"manages {account}", "correct IBKR_ACCOUNT")


def test_an_api_that_is_read_only_is_found_by_a_preview(settings: Settings, serve: Serve) -> None:
    with sim(settings, serve) as server:
        assert broker(settings)["order entry"].outcome is Outcome.OK
        server.client().fault("read_only")
        found = broker(settings)
        assert server.client().state().orders_received == 0
    assert_failure(found["order entry"], "321", "untick 'Read-Only API'")


def test_a_client_id_in_use_by_others_is_told_apart_from_our_own_sender(
    settings: Settings, serve: Serve
) -> None:
    with sim(settings, serve):
        config: BrokerConfig = broker_config(settings, ClientRole.WRITER)
        with IBKRBroker(config):
            assert_failure(broker(settings)["client id"], "in use", "IBKR_CLIENT_ID")
            with WriterLock(settings.broker_lock_path, purpose="sending"):
                check = broker(settings)["client id"]
    assert check.outcome is Outcome.SKIPPED
    assert "being sent" in check.found


def test_a_second_doctor_is_told_that_its_own_id_is_taken(settings: Settings, serve: Serve) -> None:
    with sim(settings, serve), IBKRBroker(broker_config(settings, ClientRole.DOCTOR)):
        assert_failure(broker(settings)["login"], "in use", "end the other `hrp doctor`")


@pytest.mark.parametrize(
    ("off", "outcome"), [(0, Outcome.OK), (30, Outcome.WARNING), (-3600, Outcome.FAILURE)]
)
def test_clocks_that_differ_are_measured(
    off: int, outcome: Outcome, settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with paper(settings, serve, monkeypatch) as (as_paper, server):
        now = server.client().state().now + timedelta(seconds=off)
        check = broker(as_paper, now)["broker clock"]
    assert check.outcome is outcome
    assert ("ntp" in check.fix) == (outcome is not Outcome.OK)


def test_an_unarmed_live_account_is_a_warning_that_says_how_to_arm(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: dict[str, Any] = {"IBKR_ACCOUNT": "U1234567", "IBKR_PORT": "4001", "IBKR_PAPER_TRADING": "false"}
    for name, value in {**values, "IBKR_HOST": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    live = settings.model_copy(update={"mode": Mode.LIVE})
    check = broker(live, datetime(2026, 1, 5, 12, tzinfo=NEW_YORK))["endpoint"]
    assert (check.outcome, "arm token is absent" in check.found) == (Outcome.WARNING, True)
    assert check.fix.startswith("hrp arm --account U1234567")
