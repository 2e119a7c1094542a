"""The facade on a desk that has traded: answers, the notebook, deposits, status, the broker's prices."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from desk import FIRST, Desk
from typer.testing import CliRunner

from hrp_core.calendar import nyse
from hrp_core.execution import IBKRBroker, PositionTracker
from hrp_core.execution.config import ClientRole, broker_config
from hrp_core.execution.projection_tables import EXECUTED_TRADES, LIVE_POSITIONS
from hrp_core.platform import PlatformAPI
from hrp_core.settings import PROJECT_ROOT
from hrp_core.store import read_table, table
from hrp_dagster.cli.app import app

SECOND = nyse().next(FIRST)
NOTEBOOK = PROJECT_ROOT / "examples" / "desk.ipynb"


pytestmark = pytest.mark.desk("booked")


@pytest.fixture
def traded(desk: Desk) -> Desk:
    """A desk after its first book, at 17:45 of the second session."""
    return desk


def hrp(*arguments: str):
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_answers_are_the_journals_and_the_stores(traded: Desk) -> None:
    api, state = PlatformAPI(settings=traded.settings), traded.gateway.state()
    assert api.get_portfolio_value() == state.net_liquidation
    live = api.get_live_positions()
    assert list(live.columns) == list(LIVE_POSITIONS.column_names)
    assert dict(zip(live["symbol"], live["quantity"], strict=True)) == {
        position.symbol: position.shares for position in state.positions
    }
    again = api.get_live_positions(SECOND)
    names = [
        "symbol",
        "quantity",
        "entry_price",
        "current_price",
        "market_value",
        "cost_basis",
        "unrealized_pnl",
    ]
    assert again[names].to_dict("list") == live[names].to_dict("list")
    assert api.get_live_positions(FIRST).empty

    trades = api.get_executed_trades()
    assert (len(trades), list(trades.columns)) == (state.executions, list(EXECUTED_TRADES.column_names))
    assert len(api.get_executed_trades(start_date=SECOND, end_date=SECOND)) == len(trades)
    assert api.get_executed_trades(end_date=FIRST).empty
    assert api.get_executed_trades(start_date=nyse().next(SECOND)).empty
    symbol = trades["symbol"].iloc[0]
    assert api.get_executed_trades(symbol=symbol.lower())["symbol"].tolist() == [symbol]
    assert len(api.get_executed_trades(limit=2)) == 2

    strategies = api.get_deployed_strategies().set_index("strategy_id")
    assert strategies["model_version"].to_dict() == {"HYP-2026-001": "factor-v1", "HYP-2026-002": None}
    assert set(strategies["state"]) == {"deployed"}
    assert api.get_universe(SECOND)["session"].unique().tolist() == [SECOND]
    assert len(api.get_prices("AAPL", FIRST, SECOND)) == 2
    stored = api.get_model_predictions("momentum_12_1", as_of_date=FIRST)
    assert (
        len(stored) == len(api.get_model_predictions("momentum_12_1", start_date=FIRST, end_date=FIRST)) == 20
    )
    asked = ["AAPL", "xom", "NOSUCH"]
    scored = api.predict_model("momentum_12_1", asked, FIRST).set_index("symbol")
    kept = stored.set_index("symbol")["prediction"]
    assert scored["prediction"].dropna().to_dict() == {name: kept[name] for name in ("AAPL", "XOM")}
    assert sorted(scored["rank"].dropna()) == [1, 2]
    assert scored["prediction"].isna()["NOSUCH"]

    event = api.log_event("data_loaded", "me", "HYP-2026-001", {"why": "a test"})
    newest = api.get_lineage(hypothesis_id="HYP-2026-001").iloc[0]
    assert (newest["event_id"], newest["actor"]) == (event, "me")
    with pytest.raises(ValueError, match="no_such_event"):
        api.log_event("no_such_event", "me")
    count = api.query_readonly("SELECT count(*) AS n FROM executed_trades WHERE symbol = ?", [symbol])
    assert count["n"].tolist() == [1]


def test_positions_at_the_brokers_prices_are_stored_through_the_facade(traded: Desk) -> None:
    api = PlatformAPI(settings=traded.settings)
    with IBKRBroker(broker_config(traded.settings, ClientRole.DASHBOARD)) as broker:
        tracker = PositionTracker(broker, api)
        found = tracker.sync_positions()
        assert tracker.persist_positions() == len(found) == len(traded.gateway.state().positions)
    assert sum(
        (item.market_value or Decimal(0) for item in found), Decimal(0)
    ) + traded.gateway.state().cash == (traded.gateway.state().net_liquidation)
    live = api.get_live_positions().set_index("symbol")
    assert live["unrealized_pnl"].to_dict() == {item.symbol: item.unrealized_pnl for item in found}
    assert len(api.query_readonly("SELECT * FROM account_snapshots")) == 1


def test_a_deposit_and_a_withdrawal_of_30_percent_move_neither_drawdown_nor_return(traded: Desk) -> None:
    """D5: NAV moves by the flow; return and drawdown are what the broker's account, which has none, made."""
    broker = [traded.settings.sim_cash, traded.gateway.state().net_liquidation]
    session, amount = SECOND, str(broker[-1] * 3 / 10)
    flow = Decimal(0)
    for kind, sign in (("deposit", 1), ("withdrawal", -1)):
        traded.at(nyse().next(session), "12:00")
        recorded = hrp("cash", "record", kind, amount, "--reference", f"a {kind}")
        assert recorded["session"] == str(nyse().next(session))
        traded.run("book_job", session, only=["fills", "positions", "nav"])
        # Shown at once, provisionally; counted once, by the official NAV.
        looked = read_table(traded.store, table("nav")).iloc[-1]
        assert (looked["mark_source"], looked["flows"]) == ("broker_mark", sign * Decimal(amount))
        assert looked["nav"] == traded.gateway.state().net_liquidation + flow + looked["flows"]
        session = traded.next_day(session)
        flow += sign * Decimal(amount)
        broker.append(traded.gateway.state().net_liquidation)
        row = read_table(traded.store, table("nav")).iloc[-1]
        assert row["nav"] == broker[-1] + flow
        assert row["flows"] == sign * Decimal(amount)
    rows = read_table(traded.store, table("nav"))
    # The deposit earned nothing on its own day; on the next one the account was 30 % larger, all of it cash.
    deposit = Decimal(amount)
    returns = [
        broker[1] / broker[0] - 1,
        broker[2] / broker[1] - 1,
        (broker[3] - broker[2]) / (broker[2] + deposit),
    ]
    assert rows["daily_return"].tolist() == pytest.approx([float(value) for value in returns], abs=1e-12)
    wealth, peak, falls = 1.0, 1.0, []
    for value in returns:
        wealth *= 1 + float(value)
        peak = max(peak, wealth)
        falls.append(1 - wealth / peak)
    assert rows["drawdown"].tolist() == pytest.approx(falls, abs=1e-12)
    assert max(abs(value) for value in rows["daily_return"]) < 0.05
    assert CliRunner().invoke(app, ["db", "rebuild", "--json"]).exit_code == 0
    assert read_table(traded.store, table("nav"))["daily_return"].tolist() == rows["daily_return"].tolist()


@pytest.mark.desk("data")
def test_status_says_what_happens_next_through_the_day(desk: Desk) -> None:
    desk.at(FIRST, "18:30")
    first = hrp("status")
    assert (first["mode"], first["latch"], first["plan"]) == ("sim", "active", None)
    assert (first["decision_session"], first["execution_session"]) == (str(FIRST), str(SECOND))
    assert first["newest"]["prices"] == str(FIRST)
    assert first["next_step"].startswith(f"predictions_job of {FIRST}")
    desk.run("predictions_job", FIRST)
    planned = hrp("status")
    assert (planned["plan_status"], planned["orders"]) == ("approved", {"pending": 5})
    assert planned["next_step"].startswith(f"live_trader_job of {FIRST} (sends from")
    desk.run("live_trader_job", FIRST)
    assert hrp("status")["next_step"].startswith(f"orders execute at the open of {SECOND} (09:30")
    desk.at(SECOND, "12:00")
    assert hrp("status")["next_step"].startswith(f"book_job of {FIRST} after the close of {SECOND}")
    desk.run("book_job", FIRST, only=["fills", "positions", "nav"])
    looked = hrp("status")
    assert looked["next_step"].startswith(f"book_job of {FIRST} after the close of {SECOND}")
    assert (looked["valued_at"], looked["nav"], looked["newest"]["nav"]) == (None, None, None)
    assert Decimal(looked["provisional_nav"]) == desk.gateway.state().net_liquidation
    assert looked["provisional_at"].startswith(f"{SECOND} 12:00")
    desk.at(SECOND, "17:45")
    assert hrp("status")["next_step"].startswith(f"market_data_job of {SECOND}")
    desk.next_day(FIRST)
    done = hrp("status")
    assert (done["account"], done["valued_at"]) == (desk.server.account, str(SECOND))
    assert Decimal(done["nav"]) == desk.gateway.state().net_liquidation
    assert done["provisional_nav"] is None
    assert done["next_step"].startswith(f"predictions_job of {SECOND}")


def test_the_tables_of_the_command_line_have_the_columns_of_their_tables(traded: Desk) -> None:
    for command, name in (
        ("positions", "positions"),
        ("trades", "fills"),
        ("orders", "orders"),
        ("nav", "nav"),
    ):
        rows = hrp(command)
        assert rows, command
        assert {tuple(row) for row in rows} == {table(name).column_names}, command
    raw = CliRunner().invoke(app, ["nav", "--json"]).stdout
    assert "NaN" not in raw


def test_the_example_notebook_is_clean_and_runs(traded: Desk, tmp_path: Path) -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        required = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            required |= {"execution_count", "outputs"}
            assert (cell["execution_count"], cell["outputs"]) == (None, [])
        assert set(cell) == required
    result = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run_notebook.py")), str(NOTEBOOK)],
        env={
            **os.environ,
            "MPLBACKEND": "Agg",
            "MPLCONFIGDIR": str(tmp_path),
            "PYTHONPATH": str(PROJECT_ROOT),
            "HRP_HOME": str(traded.settings.home),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert f"portfolio {traded.gateway.state().net_liquidation:,.2f} USD" in result.stdout
    assert "content_hash" in result.stdout
    assert "not explained: nothing" in result.stdout
    assert "'total_checks'" in result.stdout
