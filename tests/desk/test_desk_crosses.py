"""Two strategies that trade against each other, end to end: jobs, gateway, journal, tables, replay."""

import json
from pathlib import Path

import pytest
from desk import FIRST, Desk
from typer.testing import CliRunner

from hrp_core.calendar import nyse
from hrp_core.ledger.book import read_book
from hrp_core.replay import History, check_parity
from hrp_core.store import read_table, table
from hrp_dagster.cli.app import app

STRATEGY = """
id = "{name}"
name = "{name}"
model = "{model}"
method = "rank"
capital_weight = 0.5
state = "deployed"

[parameters]
top_pct = 0.25
"""
# What rose most in a week and in a day: they want other names, and swap some from day to day.
MODELS = {"T-SLOW": "ret_5", "T-FAST": "ret_1"}


@pytest.fixture
def opposed(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    folder = tmp_path / "strategies"
    folder.mkdir()
    for name, model in MODELS.items():
        (folder / f"{name}.toml").write_text(STRATEGY.format(name=name, model=model))
    monkeypatch.setenv("HRP_STRATEGIES", str(folder))
    return Desk(type(desk.settings)(), desk.server)


def stored(desk: Desk, name: str):
    return read_table(desk.store, table(name))


def test_strategies_cross_and_sum_to_the_account_in_every_session(opposed: Desk) -> None:
    session, crossed = FIRST, 0
    while crossed < 2:
        opposed.evening(session)
        plan = opposed.journal.latest_plan(session)
        assert plan is not None
        crossed += len(plan.crosses)
        session = opposed.next_day(session)
        positions = stored(opposed, "positions")
        mine = positions.loc[positions["session"] == nyse().previous(session)]
        parts = mine.loc[mine["strategy_id"] != ""].groupby("symbol")["shares"].sum()
        account = mine.loc[mine["strategy_id"] == ""].set_index("symbol")["shares"]
        assert parts.loc[parts != 0].to_dict() == account.to_dict()
        state = opposed.gateway.state()
        assert account.to_dict() == {each.symbol: each.shares for each in state.positions}
        assert stored(opposed, "nav")["nav"].iloc[-1] == state.net_liquidation
        assert session < nyse().offset(FIRST, 15), "the strategies never met"

    fills = stored(opposed, "fills")
    crosses = fills.loc[fills["order_ref"] == fills["exec_id"]]
    signed = crosses["shares"].where(crosses["side"] == "buy", -crosses["shares"])
    assert (signed.groupby(crosses["exec_id"]).sum() == 0).all()
    assert set(crosses["commission"]) == {0}
    # An execution that serves both strategies has a row for each.
    executed = fills.loc[fills["order_ref"] != fills["exec_id"], "exec_id"]
    assert executed.nunique() == opposed.gateway.state().executions

    book = read_book(opposed.journal)
    assert book.unallocated_cash == opposed.settings.sim_cash
    parity = check_parity(History.from_store(opposed.store), opposed.journal)
    assert parity.differences == ()
    assert parity.crosses == crosses["exec_id"].nunique() == crossed

    cross_id = crosses["exec_id"].iloc[0]
    result = CliRunner().invoke(app, ["explain", cross_id, "--json"])
    assert result.exit_code == 0, result.output
    tree = json.loads(result.stdout)
    assert tree["missing"] == []
    shown = CliRunner().invoke(app, ["explain", executed.iloc[0]])
    assert "verdict max_volume_pct" in shown.stdout  # the sample's limit, or that it has no volume
    assert max(map(len, shown.stdout.splitlines())) <= 80
    rebuilt = CliRunner().invoke(app, ["db", "rebuild", "--json"])
    assert rebuilt.exit_code == 0, rebuilt.output
    keys = ["session", "exec_id", "strategy_id"]
    once, again = (
        rows.astype(str).sort_values(keys, ignore_index=True) for rows in (fills, stored(opposed, "fills"))
    )
    assert again.equals(once)
