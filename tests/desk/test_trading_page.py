"""The Trading page over a whole desk: what it shows is what is stored, and its buttons do what they say."""

import importlib.util
from decimal import Decimal
from pathlib import Path

import pytest
from desk import FIRST, Desk
from streamlit.testing.v1 import AppTest
from test_trained_strategy import MODEL, promote, train

from hrp_core.calendar import nyse
from hrp_core.ledger.types import LatchState
from hrp_core.platform import PlatformAPI

SECOND = nyse().next(FIRST)


def page() -> AppTest:
    spec = importlib.util.find_spec("hrp_core.dashboard.app")
    assert spec is not None
    assert spec.origin is not None
    shown = AppTest.from_file(spec.origin, default_timeout=120).run()
    assert not shown.exception
    return shown


def press(shown: AppTest, label: str) -> AppTest:
    [button] = [each for each in shown.button if each.label == label]
    after = button.click().run()
    assert not after.exception
    return after


def metrics(shown: AppTest) -> dict[str, str]:
    return {each.label.removesuffix(", USD"): each.value for each in shown.metric}


def facts(shown: AppTest) -> dict[str, str]:
    """What the table of the state says, as a person reads it."""
    return {str(key): str(text).replace("\\", "") for key, text in shown.table[0].value.iloc[:, 0].items()}


def cards(shown: AppTest) -> dict[str, dict[str, str]]:
    """What the cards say, by model."""
    found = [
        {str(key): str(text).replace("\\", "") for key, text in each.value.iloc[:, 0].items()}
        for each in shown.table[1:]
    ]
    return {card["Model"]: card for card in found}


def text_of(shown: AppTest) -> str:
    parts = [*shown.caption, *shown.error, *shown.warning, *shown.success, *shown.markdown]
    return "\n".join(str(each.value) for each in parts).replace("\\", "")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home in which nothing was ever done."""
    monkeypatch.setenv("HRP_HOME", str(tmp_path / "empty"))


def test_an_installation_that_has_nothing_yet_shows_a_whole_page(empty: None) -> None:
    shown = page()
    assert metrics(shown) == {
        "Portfolio value": "0.00",
        "Unrealised P&L": "0.00",
        "Open positions": "0",
        "Cash": "0.00",
    }
    assert not shown.error
    found = facts(shown)
    assert (found["Mode"], found["Account"], found["Latch"]) == ("sim", "–", "ACTIVE")
    assert found["Trade gate"] == "no verdict yet"
    assert "hrp gateway serve" in found["Next"]
    said = text_of(shown)
    for sentence in ("Nothing is held.", "Nothing has traded yet.", "No predictions are stored"):
        assert sentence in said
    assert "Momentum 12-1" in said


def test_the_buttons_without_a_gateway_say_what_to_start_and_leave_the_page_whole(empty: None) -> None:
    shown = press(page(), "Sync positions")
    [error] = shown.error
    assert "Positions were not synced" in error.value
    assert "hrp gateway serve" in error.value
    assert len(shown.metric) == 4
    [error] = press(shown, "Run drift check").error
    assert "Drift was not checked" in error.value
    assert "hrp gateway serve" in error.value


@pytest.mark.desk("booked")
def test_what_is_shown_after_a_day_is_the_account_at_the_broker(desk: Desk) -> None:
    shown, state = page(), desk.gateway.state()
    api = PlatformAPI(desk.settings)
    live = api.get_live_positions()
    assert metrics(shown) == {
        "Portfolio value": f"{state.net_liquidation:,.2f}",
        "Unrealised P&L": f"{sum(live['unrealized_pnl'], Decimal(0)):,.2f}",
        "Open positions": str(len(state.positions)),
        "Cash": f"{state.cash:,.2f}",
    }
    found = facts(shown)
    assert (found["Account"], found["Latch"]) == (desk.server.account, "ACTIVE")
    assert found["Trade gate"].startswith(f"GO of session {FIRST}")
    assert found["Sessions"] == f"decision {SECOND}, execution {nyse().next(SECOND)}"
    positions, best, trades = (each.value for each in shown.dataframe)
    assert dict(zip(positions["Symbol"], positions["Shares"], strict=True)) == {
        item.symbol: item.shares for item in state.positions
    }
    assert positions["Value"].sum() == pytest.approx(float(state.net_liquidation - state.cash), abs=1e-6)
    assert len(trades) == state.executions
    assert (trades["Value"] - trades["Shares"] * trades["Price"]).abs().max() == 0
    # The sample has no opens: there the simulated broker executes at the official close.
    assert set(trades["Executed"]) == {f"{SECOND} 16:00"}
    assert best["Rank"].tolist() == [1, 2, 3, 4, 5]
    momentum, ranker = cards(shown).values()
    assert (momentum["Version"], momentum["Drift"]) == ("factor-v1", "not checked: a factor is not trained")
    assert (ranker["Version"], ranker["Drift"]) == ("–", "no version in production")
    assert not shown.error


@pytest.mark.desk("sent")
def test_sync_positions_asks_the_broker_and_stores_what_it_says(desk: Desk) -> None:
    desk.at(SECOND, "16:05")  # executed, and no book yet: only the broker knows
    shown = page()
    assert metrics(shown)["Open positions"] == "0"
    after = press(shown, "Sync positions")
    state = desk.gateway.state()
    assert len(state.positions) == 5
    assert f"{len(state.positions)} positions synced with the broker and stored" in after.success[0].value
    assert metrics(after)["Open positions"] == str(len(state.positions))
    assert metrics(after)["Cash"] == f"{state.cash:,.2f}"
    api = PlatformAPI(desk.settings)
    live = api.get_live_positions()
    assert dict(zip(live["symbol"], live["quantity"], strict=True)) == {
        item.symbol: item.shares for item in state.positions
    }
    desk.run("book_job", FIRST, only=["fills", "positions", "nav"])
    said = text_of(looked := page())
    value = f"{state.net_liquidation:,.2f}"
    assert f"Provisional, at the broker's prices of {SECOND} 16:05: {value}" in said
    assert "The first book writes the first value" in said
    [positions, *_] = (each.value for each in looked.dataframe)
    assert positions["Value"].sum() == pytest.approx(float(state.net_liquidation - state.cash), abs=1e-6)
    assert len(api.query_readonly("SELECT * FROM account_snapshots WHERE run_id = 'position-tracker'")) == 1


def test_a_latch_that_is_not_open_stands_on_top_with_its_reason(desk: Desk) -> None:
    now = desk.settings.clock().now()
    desk.journal.set_latch(LatchState.HALTED, by="me", reason="a $5 look, and a *$6* one", now=now)
    shown = page()
    [error] = shown.error
    said = error.value.replace("\\", "")
    assert said.startswith("Trading is halted: nothing is sent (a $5 look, and a *$6* one)")
    assert "hrp resume" in said
    assert facts(shown)["Latch"].startswith("HALTED: a $5 look")


def test_a_wrong_strategy_file_costs_its_part_of_the_page_only(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "strategies"
    folder.mkdir()
    (folder / "wrong.toml").write_text('id = "HYP-2026-009"\nname = "No model"\n', encoding="utf-8")
    monkeypatch.setenv("HRP_STRATEGIES", str(folder))
    shown = page()
    [error] = shown.error
    assert "wrong.toml" in error.value.replace("\\", "")
    assert len(shown.metric) == 4
    [_, error] = press(shown, "Run drift check").error
    assert "wrong.toml" in error.value.replace("\\", "")


def test_run_drift_check_judges_the_model_in_production_and_records_it(desk: Desk) -> None:
    version = str(train(desk)["version"])
    promote(desk, version)
    desk.at(FIRST, "18:30")
    desk.run("predictions_job", FIRST, only=("predictions",))
    shown = page()
    card = cards(shown)[MODEL]
    assert (card["Version"], card["Drift"]) == (version, "never checked")
    assert card["Deployed"].startswith(str(FIRST))
    after = press(shown, "Run drift check")
    [said] = [*after.warning, *after.success]
    assert f"version {version}, session {FIRST}:" in said.value
    api = PlatformAPI(desk.settings)
    report = api.get_drift_report(MODEL, version)
    assert report is not None
    assert report.session == FIRST
    stored = api.query_readonly("SELECT * FROM model_drift_checks")
    assert len(stored) == len(report.checks) > 0
    assert cards(after)[MODEL]["Drift"].startswith(f"{report.status.value}, session {FIRST}")
