"""The database of a desk that traded, rebuilt from its journal by the command."""

import json

from desk import FIRST, Desk
from typer.testing import CliRunner

from hrp_core.store import partition_versions, read_table, table
from hrp_dagster.cli.app import app

PROJECTIONS = ("executed_trades", "live_positions", "strategy_positions")
BOOK = ("orders", "fills", "positions", "nav")


def stored(desk: Desk, *names: str) -> dict[str, list[str]]:
    with desk.store.read() as connection:
        return {
            name: sorted(map(str, connection.execute(f"SELECT * FROM {name}").fetchall())) for name in names
        }


def versions(desk: Desk, *names: str) -> list[tuple[object, ...]]:
    with desk.store.read() as connection:
        return [
            (item.asset, item.session, item.content_hash, item.rows)
            for name in names
            for item in partition_versions(connection, name)
        ]


def rebuild() -> dict[str, object]:
    result = CliRunner().invoke(app, ["db", "rebuild", "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_tables_of_a_traded_desk_come_back_equal_from_the_journal(desk: Desk) -> None:
    second = FIRST
    for _ in range(2):
        desk.evening(second)
        second = desk.next_day(second)
    before = stored(desk, *PROJECTIONS, "fills", "positions", "nav")
    hashes = versions(desk, "fills", "positions", "nav")
    account = {position.symbol: position.shares for position in desk.gateway.state().positions}
    with desk.store.read() as connection:
        live = dict(connection.execute("SELECT symbol, quantity FROM live_positions").fetchall())
        worth = connection.execute("SELECT sum(market_value) FROM live_positions").fetchone()
        trades = connection.execute("SELECT count(*) FROM executed_trades").fetchone()
    assert live == account
    assert worth == (read_table(desk.store, table("nav"))["market_value"].iloc[-1],)
    assert trades == (desk.gateway.state().executions,)

    summary = rebuild()
    assert (summary["first"], summary["emptied"]) == (str(FIRST), [])
    assert stored(desk, *PROJECTIONS, "fills", "positions", "nav") == before
    assert versions(desk, "fills", "positions", "nav") == hashes
    assert set(read_table(desk.store, table("orders"))["status"]) == {"filled"}

    everything, all_hashes = stored(desk, *PROJECTIONS, *BOOK), versions(desk, *BOOK)
    with desk.store.write() as connection:
        for name in (*PROJECTIONS, *BOOK):
            connection.execute(f"DELETE FROM {name}")
        connection.execute(
            "DELETE FROM partition_versions WHERE asset IN ('orders', 'fills', 'positions', 'nav')"
        )
    assert rebuild() == summary
    assert (stored(desk, *PROJECTIONS, *BOOK), versions(desk, *BOOK)) == (everything, all_hashes)
    shown = CliRunner().invoke(app, ["db", "rebuild"])
    assert shown.exit_code == 0, shown.output
    assert f"sessions {FIRST} to" in " ".join(shown.stdout.split())
    assert "executed_trades" in shown.stdout
