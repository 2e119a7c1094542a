"""What `make demo`, `make dev` and the README's commands do, as whole processes with default settings."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from select import select

import pytest
from process_support import all_gone, descendants

from hrp_core.alerts import FILE_NAME, AlertKind, AlertOutcome, Alerts
from hrp_core.calendar import WallClock
from hrp_core.execution.explain import Node, explain
from hrp_core.ledger.journal import Journal
from hrp_core.settings import PROJECT_ROOT, Settings
from hrp_core.store import Store
from hrp_dagster.demo import start_fresh

pytestmark = pytest.mark.slow

HRP = [sys.executable, "-m", "hrp_dagster.cli"]


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HRP_", "IBKR_", "DAGSTER_"))
    }
    return {**kept, "HRP_HOME": str(home), "COLUMNS": "80", **more}


def hrp(home: Path, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HRP, *arguments],
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="module")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State after `hrp demo` with nothing set."""
    home = tmp_path_factory.mktemp("demo")
    result = hrp(home, "demo", "--json")
    assert result.returncode == 0, result.stderr
    (home / "demo.json").write_text(result.stdout)
    return home


def test_the_demo_trades_ten_sessions_and_replay_repeats_them(demo_home: Path) -> None:
    result = json.loads((demo_home / "demo.json").read_text())
    assert len(result["sessions"]) == len(result["navs"]) == result["traded"] == 10
    assert result["nav"] == result["broker_net_liquidation"]
    assert (result["replay"]["sessions"], result["replay"]["differences"]) == (10, [])
    assert result["replay"]["fills"] > 10
    assert result["positions"]


def test_a_second_demo_says_what_exists_and_trades_nothing(demo_home: Path) -> None:
    result = hrp(demo_home, "demo")
    assert result.returncode == 0, result.stderr
    assert "Nothing was left to trade" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_every_fill_of_the_demo_leads_back_to_its_model_and_its_features(demo_home: Path) -> None:
    settings = Settings(home=demo_home)
    store, journal = Store(settings.database_path), Journal(settings.journal_path)
    fills = journal.executions()
    assert fills
    for fill in fills:
        found = explain(store, journal, fill.exec_id)
        assert found.missing == ()
        nodes = list(walk(found.root))
        assert any(node.kind == "model" and node.details["model_version"] for node in nodes), fill.exec_id
        assert any(node.name.startswith("features ") for node in nodes), fill.exec_id


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def test_the_check_stands_by_itself(demo_home: Path) -> None:
    result = hrp(demo_home, "replay", "--check")
    assert (result.returncode, result.stdout.strip()[-14:]) == (0, "0 differences."), result.stderr


def test_a_backtest_runs_over_history(demo_home: Path) -> None:
    dates = ("--start", "2008-01-02", "--end", "2009-12-31")
    factor = str(PROJECT_ROOT / "strategies" / "momentum.toml")
    result = hrp(demo_home, "replay", *dates, "--strategy", factor, "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["sessions"] == 505
    assert 0.05 < summary["max_drawdown"] < 0.6
    refused = hrp(demo_home, "replay", *dates)
    assert refused.returncode == 1
    assert "replayed only where it was run" in refused.stderr


def test_a_session_that_is_not_the_decision_session_is_refused_with_exit_3(demo_home: Path) -> None:
    with running_gateway(demo_home):
        result = hrp(demo_home, "job", "run", "live-trader", "--session", "2022-12-01")
        assert result.returncode == 3
        assert "only 2022-12-16 may be planned and traded" in result.stderr
        assert "hrp replay --start 2022-12-01" in result.stderr


def test_an_asset_can_be_materialized_from_any_folder(demo_home: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "dagster", "asset", "materialize", "-m", "hrp_dagster.definitions"),
        *("--select", "features", "--partition", "2022-12-15"),
    ]
    result = subprocess.run(
        command,
        env=environment(demo_home),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "RUN_SUCCESS" in result.stderr


def read_until(process: subprocess.Popen[bytes], text: bytes, timeout: float) -> bytes:
    """Return what the process printed up to `text`; the wait ends with its output, not with a sleep."""
    assert process.stdout is not None
    seen = b""
    while text not in seen:
        ready, _, _ = select([process.stdout], [], [], timeout)
        chunk = os.read(process.stdout.fileno(), 65536) if ready else b""
        assert chunk, f"{text!r} was not printed:\n{seen.decode(errors='replace')}"
        seen += chunk
    return seen


def server_info(port: int) -> dict[str, str]:
    """Ask the UI for its version; it says that it serves a moment before it listens."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=30) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            threading.Event().wait(0.2)
    raise AssertionError(f"nothing listens on port {port}")


class running_gateway:  # noqa: N801
    """The gateway of an installation, served by a process of its own."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def __enter__(self) -> None:
        self._process = subprocess.Popen(
            [*HRP, "gateway", "serve"], env=environment(self._home), stdout=subprocess.PIPE
        )
        read_until(self._process, b"Simulated gateway on", 60)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev_serves_the_ui_and_leaves_no_process_behind(demo_home: Path, number: signal.Signals) -> None:
    port = 3900 + number
    process = subprocess.Popen(
        [*HRP, "dev", "--port", str(port)],
        env=environment(demo_home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        read_until(process, b"Serving dagster-webserver", 120)
        children = descendants(process.pid)
        assert len(children) >= 3
        assert "dagster_webserver_version" in server_info(port)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == 0
        assert all_gone(children)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


def test_a_fresh_start_forgets_what_was_told_of_the_sessions_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dagster_home = tmp_path / "dagster"
    dagster_home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home))
    settings = Settings(home=tmp_path / "home")
    alerts = Alerts(settings.mode_dir / FILE_NAME, (), WallClock())
    told = partial(alerts.notify, AlertKind.DRIFT, "ranker", "drift", next_step="look", key="drift")
    assert (told(), told()) == (AlertOutcome.NO_CHANNEL, AlertOutcome.REPEATED)
    start_fresh(settings)
    assert told() is AlertOutcome.NO_CHANNEL
