"""The commands by which a person stops, changes and decides, on a whole installation."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from desk import FIRST, Desk
from typer.testing import CliRunner

from hrp_core.calendar import nyse
from hrp_core.errors import HrpError, RefusedError
from hrp_core.ledger.book import read_book
from hrp_core.ledger.types import LatchState
from hrp_core.settings import PROJECT_ROOT
from hrp_core.store import read_lineage
from hrp_dagster.cli.app import app


def hrp(desk: Desk, *arguments: str, code: int = 0, environment: Mapping[str, str] | None = None) -> str:
    result = CliRunner().invoke(
        app, arguments, env={"HRP_HOME": str(desk.settings.home), **(environment or {})}
    )
    if isinstance(result.exception, HrpError):
        assert result.exception.exit_code == code, result.exception
        return result.stdout if code == 1 else str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout if code in (0, 1) else " ".join(result.stderr.split())


@pytest.mark.desk("booked")
def test_halt_flatten_and_resume_end_flat_and_reconciled(desk: Desk) -> None:
    second = nyse().next(FIRST)
    desk.evening(second)
    hrp(desk, "flatten", "--reason", "out", code=3)
    stopped = json.loads(hrp(desk, "halt", "--reason", "storm", "--json"))
    assert stopped["complete"]
    assert desk.journal.latch().state is LatchState.HALTED
    assert "latch_halted" in hrp(desk, "job", "run", "live-trader", code=3)
    offer = json.loads(hrp(desk, "flatten", "--reason", "out", "--json"))
    assert offer["positions"] == {
        symbol: shares for symbol, shares in sorted(read_shares(desk).items()) if shares
    }
    told = hrp(desk, "flatten", "--reason", "out", "--confirm", offer["code"])
    assert max(map(len, told.splitlines())) <= 80
    hrp(desk, "flatten", "--reason", "out", "--confirm", offer["code"], code=3)
    shown = hrp(desk, "orders")
    assert max(map(len, shown.splitlines())) <= 80
    working = [row for row in json.loads(hrp(desk, "orders", "--json")) if row["status"] == "submitted"]
    assert {row["symbol"] for row in working} == offer["positions"].keys()
    assert all("flatten" in row["plan_id"] and row["order_ref"] in shown for row in working)
    desk.next_day(second)
    assert json.loads(hrp(desk, "reconcile", "--json"))["status"] == "reconciled"
    assert read_shares(desk) == {}
    hrp(desk, "resume", code=2)
    resumed = hrp(desk, "resume", "--reason", "calm")
    assert "active again" in resumed
    assert "has no plan; predictions_job freezes one" in " ".join(resumed.split())
    assert desk.journal.latch().state is LatchState.ACTIVE


def read_shares(desk: Desk) -> dict[str, int]:
    return dict(read_book(desk.journal).state().shares)


@pytest.mark.desk("sent")
def test_a_halt_without_any_gateway_is_set_and_says_what_to_do(desk: Desk) -> None:
    desk.server.stop()
    told = " ".join(hrp(desk, "halt", "--all", "--reason", "storm", code=1).split())
    assert "cancel them there" in told
    assert desk.journal.latch().state is LatchState.HALTED
    desk.server.start()
    assert "Cancelled orders: 0" not in hrp(desk, "halt", "--reason", "again")


@pytest.mark.desk("planned")
def test_plan_commands_show_change_and_decide(desk: Desk) -> None:
    shown = hrp(desk, "plan", "show")
    assert max(map(len, shown.splitlines())) <= 80
    plan = json.loads(hrp(desk, "plan", "show", "--json"))
    symbol = plan["orders"][0]["symbol"]
    hrp(desk, "plan", "drop", "NOPE", "--reason", "earnings", code=3)
    after = json.loads(hrp(desk, "plan", "drop", symbol, "--reason", "earnings", "--json"))
    assert symbol not in [order["symbol"] for order in after["orders"]]
    assert len(after["orders"]) == len(plan["orders"]) - 1
    assert [row["reasons"] for row in after["names"] if row["symbol"] == symbol] == [["drop_person"]]
    assert "decided again since" in hrp(desk, "plan", "approve", "--hash", plan["hash"][:12], code=3)
    assert max(map(len, hrp(desk, "plan", "diff").splitlines())) <= 80
    follows = " ".join(hrp(desk, "plan", "approve", "--hash", after["hash"][:8]).split())
    assert "live_trader_schedule is off: send plan" in follows
    assert f"`hrp job run live-trader --session {FIRST}`" in follows
    assert "what is not sent by Mon 2022-12-05 09:25 New York expires" in follows
    hrp(desk, "plan", "reject", "--reason", "no")
    with pytest.raises(RefusedError, match="is rejected, not approved"):
        desk.run("live_trader_job", FIRST)
    assert desk.gateway.state().orders_received == 0
    events = read_lineage(desk.store)["event_type"].tolist()
    assert {"plan_changed", "plan_rejected"} <= set(events)


@pytest.mark.desk("planned")
def test_a_plan_changed_by_drop_is_what_is_sent(desk: Desk) -> None:
    plan = json.loads(hrp(desk, "plan", "show", "--json"))
    hrp(desk, "plan", "drop", plan["orders"][0]["symbol"], "--reason", "earnings")
    desk.run("live_trader_job", FIRST)
    assert desk.gateway.state().orders_received == len(plan["orders"]) - 1


def test_strategy_and_symbol_commands_change_what_the_next_plan_reads(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "strategies"
    shutil.copytree(PROJECT_ROOT / "strategies", folder)
    places = {"HRP_STRATEGIES": str(folder)}
    hrp(desk, "strategy", "pause", "HYP-2026-001", "--reason", "drawdown", environment=places)
    hrp(desk, "strategy", "add", "HYP-2026-009", environment=places)
    listed = json.loads(hrp(desk, "strategy", "list", "--json", environment=places))
    assert {row["id"]: row["state"] for row in listed} == {
        "HYP-2026-001": "paused",
        "HYP-2026-002": "deployed",
        "HYP-2026-009": "draft",
    }
    hrp(desk, "strategy", "deploy", "HYP-2026-009", "--reason", "x", code=2, environment=places)
    hrp(desk, "strategy", "retire", "HYP-2026-002", "--reason", "x", environment=places)
    hrp(desk, "strategy", "retire", "HYP-2026-002", "--reason", "x", code=3, environment=places)
    hrp(desk, "symbol", "freeze", "aapl", "--reason", "merger")
    hrp(desk, "symbol", "no-buy", "KO", "--until", "2022-12-09", "--reason", "merger")
    hrp(desk, "symbol", "exit", "MSFT", "--until", "2022-11-30", "--reason", "over", code=2)
    hrp(desk, "symbol", "clear", "AAPL", "--reason", "over")
    (row,) = json.loads(hrp(desk, "symbol", "list", "--json"))
    assert (row["symbol"], row["action"], row["until"]) == ("KO", "no-buy", "2022-12-09")
    assert desk.journal.symbol_controls(FIRST).keys() == {"KO"}


def test_only_live_is_armed_and_the_account_must_be_typed(desk: Desk) -> None:
    order = ["arm", "--account", "U1234567", "--max-notional", "50000", "--expires", "8h"]
    assert "HRP_MODE is sim" in hrp(desk, *order, code=3)
    live = {
        "HRP_MODE": "live",
        "IBKR_ACCOUNT": "U1234567",
        "IBKR_PORT": "7496",
        "IBKR_PAPER_TRADING": "false",
    }
    assert "Not armed" in hrp(desk, "arm", environment=live)
    hrp(desk, "arm", "--account", "U1234567", code=2, environment=live)
    token = json.loads(hrp(desk, *order, "--json", environment=live))
    assert (token["state"], token["token"]["max_notional"]) == ("valid", "50000.0000")
    hrp(desk, "disarm", "--reason", "done", environment=live)
    assert "Not armed" in hrp(desk, "arm", environment=live)
