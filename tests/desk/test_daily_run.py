"""The daily run, end to end: jobs, gateway over a socket, journal, database."""

import sqlite3
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from desk import FIRST, Desk
from typer.testing import CliRunner

from hrp_core.calendar import nyse
from hrp_core.errors import IncompleteSnapshotError, NotReadyError, RefusedError
from hrp_core.ledger.types import OrderStatus
from hrp_core.market import SampleSource
from hrp_core.money import to_money
from hrp_core.replay import History, check_parity
from hrp_core.simgateway.server import GatewayServer
from hrp_core.store import read_table, table
from hrp_dagster.cli.app import app


def stored(desk: Desk, name: str):
    return read_table(desk.store, table(name))


@pytest.mark.desk("booked")
def test_nav_is_the_brokers_account_to_the_cent_and_replay_repeats_the_fills_past_a_halted_name(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = nyse().next(FIRST)
    assert stored(desk, "nav")["nav"].iloc[-1] == desk.gateway.state().net_liquidation
    desk.evening(session)
    decided, session = session, nyse().next(session)
    position = min(desk.gateway.state().positions, key=lambda held: held.symbol)
    marks = halted(desk, position.symbol, session, tmp_path, monkeypatch)
    desk.at(session, "17:45")
    desk.run("market_data_job", session)
    booked = desk.run("book_job", decided)
    named = f"{position.symbol} (close of {decided})"
    assert [booked.metadata[asset]["without_a_close"] for asset in ("positions", "nav")] == [named, named]
    for command in ("positions", "nav"):
        said = " ".join(CliRunner().invoke(app, [command]).stdout.split())
        assert f"{position.symbol} has no price of {session} and is valued at its close of {decided}" in said
    [nav] = stored(desk, "nav").tail(1).to_dict(orient="records")
    held = {each.symbol: each.shares for each in desk.gateway.state().positions}[position.symbol]
    assert nav["nav"] == desk.gateway.state().net_liquidation - held * (marks[session] - marks[decided])
    # Planning goes on, the name is kept, and a day later it is what it was.
    desk.evening(session)
    targets = stored(desk, "target_portfolio")
    kept = targets.loc[(targets["session"] == session) & (targets["symbol"] == position.symbol)].iloc[0]
    assert (kept["shares_target"], kept["price"]) == (held, None)
    session = desk.next_day(session)
    assert stored(desk, "nav")["nav"].iloc[-1] == desk.gateway.state().net_liquidation
    with desk.store.read() as connection:
        false = connection.execute("SELECT asset, claim FROM check_results WHERE NOT passed").fetchall()
    assert false == [("positions", "positions_are_at_their_close")]
    parity = check_parity(History.from_store(desk.store), desk.journal)
    assert (len(parity.sessions), parity.differences) == (3, ())
    assert parity.fills == desk.gateway.state().executions == len(stored(desk, "fills"))
    assert parity.fills > 5
    quality = stored(desk, "execution_quality")
    assert len(quality) == parity.fills
    assert quality["assumed_price"].tolist() == quality["price"].tolist()
    assert quality["assumed_commission"].tolist() == quality["commission"].tolist()
    assert quality["shortfall_bps"].notna().all()


@pytest.mark.desk("booked")
def test_a_planted_one_share_difference_is_found_and_named(desk: Desk) -> None:
    with sqlite3.connect(desk.settings.journal_path) as connection:
        # The journal only grows: whoever plants something has to take its guard away first.
        connection.execute("DROP TRIGGER executions_no_update")
        connection.execute("UPDATE executions SET shares = shares + 1 WHERE rowid = 1")
        [symbol] = connection.execute("SELECT symbol FROM executions WHERE rowid = 1").fetchone()
    [difference] = check_parity(History.from_store(desk.store), desk.journal).differences
    assert (difference.session, difference.kind, difference.symbol) == (FIRST, "fill", symbol)


@pytest.mark.desk("sent")
def test_a_fill_missing_from_the_brokers_answers_stops_the_book_and_is_named(desk: Desk) -> None:
    desk.gateway.fault("omit_execution", n=2)
    with pytest.raises(IncompleteSnapshotError, match=r"S221202-\d+-\w+-1 \(buy \w+\)"):
        desk.next_day(FIRST)
    assert desk.journal.latest_plan(FIRST) is not None
    with pytest.raises(NotReadyError, match="nav was never written"):
        stored(desk, "nav")


def test_other_sessions_are_refused_and_the_message_says_what_to_run(desk: Desk) -> None:
    for session in (nyse().previous(FIRST), nyse().next(FIRST)):
        for job, asset in (("predictions_job", "target_portfolio"), ("live_trader_job", "orders")):
            with pytest.raises(RefusedError, match=r"hrp (replay|gateway advance)") as refusal:
                desk.run(job, session, only=[asset])
            assert refusal.value.exit_code == 3
    assert desk.gateway.state().orders_received == 0


@pytest.mark.desk("planned")
def test_orders_are_refused_outside_the_send_window(desk: Desk) -> None:
    desk.at(nyse().next(FIRST), "09:26")
    with pytest.raises(RefusedError, match="may be sent from"):
        desk.run("live_trader_job", FIRST)
    assert desk.gateway.state().orders_received == 0
    assert {intent.status for intent in plan_of(desk).intents} == {OrderStatus.EXPIRED}


def test_a_run_range_of_a_traded_asset_is_refused(desk: Desk) -> None:
    from hrp_dagster.runs import run_job

    with pytest.raises(RefusedError, match="one session a run"):
        run_job(desk.settings, "predictions_job", nyse().previous(FIRST), through=FIRST)


@pytest.mark.desk("booked")
def test_a_strategy_without_a_complete_prediction_set_keeps_its_holdings(desk: Desk) -> None:
    second = nyse().next(FIRST)
    held = {position.symbol: position.shares for position in desk.gateway.state().positions}
    with desk.store.write() as connection:
        connection.execute(
            "UPDATE features SET momentum_12_1 = NULL WHERE session = ? AND symbol < 'C'", [second]
        )
    orders_before = desk.gateway.state().orders_received
    desk.evening(second)
    assert desk.gateway.state().orders_received == orders_before
    targets = stored(desk, "target_portfolio")
    targets = targets.loc[targets["session"] == second]
    assert dict(zip(targets["symbol"], targets["shares_target"], strict=True)) == held
    assert set(targets["reason"]) == {"hold_incomplete"}


@pytest.mark.desk("booked")
def test_a_held_name_whose_score_is_missing_is_held(desk: Desk) -> None:
    second = nyse().next(FIRST)
    held = {position.symbol: position.shares for position in desk.gateway.state().positions}
    symbol = min(held)
    with desk.store.write() as connection:
        connection.execute(
            "UPDATE features SET momentum_12_1 = NULL WHERE session = ? AND symbol = ?", [second, symbol]
        )
    desk.evening(second)
    targets = stored(desk, "target_portfolio")
    row = targets.loc[(targets["session"] == second) & (targets["symbol"] == symbol)].iloc[0]
    assert (row["reason"], row["shares_target"]) == ("hold_no_score", held[symbol])
    assert symbol not in {intent.contract.symbol for intent in plan_of(desk, second).intents}


def test_a_name_that_the_broker_does_not_know_stops_only_itself(desk: Desk) -> None:
    with desk.store.write() as connection:
        for name in ("universe", "prices", "features"):
            connection.execute(f"UPDATE {name} SET symbol = 'RENAMED' WHERE symbol = 'XOM'")
    desk.evening(FIRST)
    targets = stored(desk, "target_portfolio").set_index("symbol")
    assert (targets["reason"]["RENAMED"], targets["shares_target"]["RENAMED"]) == ("hold_locked", 0)
    assert len(plan_of(desk).intents) == desk.gateway.state().orders_received == 4
    assert any("knows no US stock contract" in note for note in plan_of(desk).notes)
    desk.next_day(FIRST)
    assert check_parity(History.from_store(desk.store), desk.journal).differences == ()


def test_ib_settings_are_never_read_in_sim(
    desk: Desk, tape, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = desk.gateway.state().now - timedelta(hours=1)
    with GatewayServer(tmp_path / "other", tape, start=start, cash=Decimal(1_000_000)) as other:
        for name, value in {
            "IBKR_HOST": other.host,
            "IBKR_PORT": str(other.port),
            "IBKR_ACCOUNT": other.account,
            "IBKR_PAPER_TRADING": "true",
        }.items():
            monkeypatch.setenv(name, value)
        desk.evening(FIRST)
        desk.next_day(FIRST)
        state = other.client().state()
        assert (state.bytes_received, state.connections) == (0, 0)
    assert desk.gateway.state().executions > 0


@pytest.mark.desk("planned")
def test_a_day_without_a_plan_still_has_a_book(desk: Desk) -> None:
    second = desk.next_day(FIRST)
    assert second == nyse().next(FIRST)
    assert stored(desk, "fills").empty
    assert stored(desk, "nav")["nav"].iloc[0] == desk.settings.sim_cash


def halted(
    desk: Desk, symbol: str, session: date, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[date, Decimal]:
    """Let the source deliver no row of a name for a session; return the name's closes, USD a share."""
    prices = SampleSource().load(date(2021, 1, 4), SampleSource().last_session())
    gone = (prices["symbol"] == symbol) & (prices["session"] == session)
    files = folder / "prices"
    files.mkdir()
    prices.loc[~gone].drop(columns="source").to_parquet(files / "prices.parquet", index=False)
    monkeypatch.setenv("HRP_PRICE_SOURCE", "files")
    monkeypatch.setenv("HRP_PRICE_FILES", str(files))
    of_name = prices.loc[prices["symbol"] == symbol]
    return {day: to_money(close) for day, close in zip(of_name["session"], of_name["close"], strict=True)}


def plan_of(desk: Desk, session=FIRST):
    plan = desk.journal.latest_plan(session)
    assert plan is not None
    return plan
