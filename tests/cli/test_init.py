"""`hrp init`: what is missing is made, what is there stays, a second run changes nothing."""

import json
from pathlib import Path

import pytest
from ops_support import Serve
from typer.testing import CliRunner

from hrp_core.execution.broker import OrderRequest
from hrp_core.execution.config import BrokerConfig
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.ledger.journal import Journal
from hrp_core.portfolio.types import OrderSide, OrderType
from hrp_core.settings import PROJECT_ROOT, Settings
from hrp_dagster.cli.app import app


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name an installation in a folder, none of which exists yet."""
    monkeypatch.setenv("HRP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HRP_STRATEGIES", str(tmp_path / "strategies"))
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    for name in ("DAGSTER_HOME", "HRP_DAGSTER_STATE"):
        monkeypatch.setenv(name, "")
    return tmp_path


def init(*arguments: str, code: int = 0) -> dict[str, dict[str, object]]:
    result = CliRunner().invoke(app, ["init", *arguments, "--json"])
    assert result.exit_code == code, result.output
    return {step["name"]: step for step in json.loads(result.stdout)}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_made_once_and_a_second_run_changes_nothing(place: Path) -> None:
    made = init()
    assert [name for name, step in made.items() if not step["changed"]] == ["account"]
    assert all(step["done"] for step in made.values())
    env = place / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    assert env.read_text() == (PROJECT_ROOT / ".env.example").read_text()
    assert sorted(path.name for path in (place / "strategies").iterdir()) == ["momentum.toml", "ranker.toml"]
    before = files(place)
    again = CliRunner().invoke(app, ["init"])
    assert again.exit_code == 0
    assert "nothing was changed" in again.stdout
    assert files(place) == before


def test_a_settings_file_is_never_overwritten(place: Path) -> None:
    (place / ".env").write_text("HRP_CAPITAL=0.5\n")
    assert init()["settings file"]["changed"] is False
    assert (place / ".env").read_text() == "HRP_CAPITAL=0.5\n"


@pytest.mark.parametrize(
    ("mode", "lines"),
    [
        ("paper", ["HRP_MODE=paper"]),
        ("live", ["HRP_MODE=live", "IBKR_PORT=7496", "IBKR_PAPER_TRADING=false"]),
    ],
)
def test_a_new_settings_file_names_the_mode_and_the_account_is_asked_for(
    mode: str, lines: list[str], place: Path
) -> None:
    account = init("--mode", mode, code=1)["account"]
    assert account["done"] is False
    assert "account is required" in str(account["told"])
    active = [line for line in (place / ".env").read_text().splitlines() if line and line[0] != "#"]
    assert active == lines


def test_a_paper_account_is_bound_opened_and_reconciled_once(
    place: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(place / "elsewhere") as server:
        monkeypatch.setenv("IBKR_PORT", str(server.info.port))
        monkeypatch.setenv("IBKR_ACCOUNT", server.info.account)
        told = init("--mode", "paper")["account"]
        assert told["changed"] is True
        assert "100,000.00 USD" in str(told["told"])
        connections = server.client().state().connections
        assert init()["account"]["changed"] is False
        assert server.client().state().connections == connections
        number = server.info.account
    journal = Journal(place / "home" / "paper" / "journal.sqlite")
    assert journal.binding() == ("paper", number)
    assert [flow.kind.value for flow in journal.cash_flows()] == ["opening"]
    journal.close()


def test_an_account_that_is_already_in_use_is_refused_and_says_what_to_do(
    place: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(place / "elsewhere") as server:
        monkeypatch.setenv("IBKR_PORT", str(server.info.port))
        monkeypatch.setenv("IBKR_ACCOUNT", server.info.account)
        config = BrokerConfig("127.0.0.1", server.info.port, 7, server.info.account, simulated=True)
        with IBKRBroker(config) as broker:
            apple = broker.qualify(["AAPL"])["AAPL"]
            broker.place(OrderRequest("by hand", apple, OrderSide.BUY, 5, OrderType.MARKET))
            broker.heartbeat()
        account = init("--mode", "paper", code=1)["account"]
    assert "in use" in str(account["told"])
    assert "close its positions and orders by hand" in str(account["told"])
