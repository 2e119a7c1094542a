"""Trades and positions in the store are what the journal says, however often and in whatever state before."""

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from order_support import ACCOUNT, EVENING, SYMBOLS, BentBroker, D, E, F, at, freeze, manager, planned, sync

from hrp_core.calendar import nyse
from hrp_core.errors import DataError, NotReadyError
from hrp_core.execution.bookkeeping import session_nav, session_positions
from hrp_core.execution.broker import Broker
from hrp_core.execution.projection_tables import EXECUTED_TRADES, LIVE_POSITIONS, STRATEGY_POSITIONS
from hrp_core.execution.projections import project_book, rebuild
from hrp_core.execution.sync import sync_broker
from hrp_core.ledger.book import read_book
from hrp_core.ledger.frames import fills_frame
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import ExternalPolicy
from hrp_core.matching import NewOrder, Side
from hrp_core.settings import Settings
from hrp_core.store import (
    Sessions,
    Store,
    Table,
    migrate,
    partition_versions,
    read_table,
    replace_slice,
    table,
)
from hrp_core.store.schema import stored_columns

NOW_TABLES = (EXECUTED_TRADES, LIVE_POSITIONS, STRATEGY_POSITIONS)
SESSION_TABLES = tuple(map(table, ("orders", "fills", "positions", "nav")))
LATER = at(F, "17:45")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "hrp.duckdb")
    migrate(store)
    return store


def nobody() -> AbstractContextManager[Broker]:
    """The broker is not asked for what the store and the journal say."""
    raise AssertionError("the broker was asked")


def load_prices(store: Store, through: date = F) -> None:
    """Store the closes of the broker's own tape."""
    sessions = nyse().between(date(2022, 11, 21), through)
    rows = [
        {"session": session, "symbol": symbol, "close": base + number + 0.5}
        for number, session in enumerate(sessions)
        for symbol, base in SYMBOLS.items()
    ]
    declared = table("prices")
    frame = pd.DataFrame(rows, columns=list(declared.column_names)).assign(source="test")
    with store.write() as connection:
        replace_slice(connection, declared, frame, Sessions(sessions), "prices", None, EVENING)


def trade(broker: BentBroker, journal: Journal) -> None:
    """Buy two names, the next evening sell one of them."""
    plan = freeze(journal, broker, planned("AAPL", 10), planned("KO", 20))
    manager(broker, journal).submit_plan(plan.plan_id)
    broker.advance(at(E, "17:45"))
    sync(broker, journal)
    plan = freeze(journal, broker, planned("KO", -20), session=E)
    manager(broker, journal).submit_plan(plan.plan_id)
    broker.advance(LATER)
    sync(broker, journal)


def rows(store: Store, declared: Table) -> list[dict[str, object]]:
    frame = read_table(store, declared).astype(object)
    return [
        {str(name): None if pd.isna(value) else value for name, value in zip(frame, row, strict=True)}
        for row in frame.itertuples(index=False)
    ]


def contents(store: Store) -> dict[str, object]:
    """Every row, and the content hash of every partition."""
    found: dict[str, object] = {item.name: rows(store, item) for item in (*NOW_TABLES, *SESSION_TABLES)}
    with store.read() as connection:
        for item in SESSION_TABLES:
            found[f"versions of {item.name}"] = [
                (version.session, version.content_hash, version.rows)
                for version in partition_versions(connection, item.name)
            ]
    return found


def test_the_columns_are_those_of_the_database(store: Store) -> None:
    with store.read() as connection:
        for declared in NOW_TABLES:
            stored = stored_columns(connection, declared.name)
            assert stored == {column.name: column.type for column in declared.columns}


def test_an_order_that_was_only_submitted_is_no_trade(
    broker: BentBroker, journal: Journal, store: Store
) -> None:
    plan = freeze(journal, broker, planned("AAPL", 10))
    manager(broker, journal).submit_plan(plan.plan_id)
    assert project_book(store, journal) == {
        "executed_trades": 0,
        "live_positions": 0,
        "strategy_positions": 0,
    }


def test_an_execution_is_a_trade_at_its_price_and_a_position_at_the_official_close(
    broker: BentBroker, journal: Journal, store: Store
) -> None:
    load_prices(store, through=E)
    plan = freeze(journal, broker, planned("AAPL", 10))
    manager(broker, journal).submit_plan(plan.plan_id)
    broker.advance(at(E, "17:45"))
    sync(broker, journal)
    project_book(store, journal)
    [execution] = journal.executions()
    [traded] = rows(store, EXECUTED_TRADES)
    assert traded == {
        "trade_id": f"{execution.exec_id}/HYP-2026-001",
        "order_id": execution.order_ref,
        "broker_order_id": str(execution.perm_id),
        "hypothesis_id": "HYP-2026-001",
        "symbol": "AAPL",
        "side": "buy",
        "quantity": 10,
        "order_type": "market",
        "limit_price": None,
        "filled_price": execution.price,
        "filled_quantity": 10,
        "commission": execution.commission,
        "status": "filled",
        "submitted_at": journal.attempt(execution.order_ref).sent_at,
        "filled_at": execution.executed_at,
        "created_at": execution.executed_at,
        "mode": "sim",
        "account": ACCOUNT,
    }
    [held] = rows(store, LIVE_POSITIONS)
    close = execution.price + Decimal("0.5")
    # Ten shares rose by half a dollar, and the commission of a dollar is part of what they cost.
    assert (held["current_price"], held["unrealized_pnl"]) == (close, Decimal(4))
    assert held["cost_basis"] == 10 * execution.price + 1
    assert held["unrealized_pnl_pct"] == pytest.approx(4 / float(str(held["cost_basis"])))
    assert (held["quantity"], held["entry_price"], held["hypothesis_id"]) == (
        10,
        execution.price,
        "HYP-2026-001",
    )
    assert (held["as_of_date"], held["updated_at"]) == (E, nyse().close(E))
    [of_strategy] = rows(store, STRATEGY_POSITIONS)
    assert (of_strategy["strategy_id"], of_strategy["quantity"]) == ("HYP-2026-001", 10)


def test_without_a_price_of_the_session_a_position_has_no_value_instead_of_an_older_one(
    broker: BentBroker, journal: Journal, store: Store
) -> None:
    load_prices(store, through=E)
    trade(broker, journal)
    project_book(store, journal)
    [held] = rows(store, LIVE_POSITIONS)
    assert (held["as_of_date"], held["current_price"], held["market_value"], held["unrealized_pnl_pct"]) == (
        F,
        None,
        None,
        None,
    )


def test_a_closed_name_disappears_and_its_trades_stay(
    broker: BentBroker, journal: Journal, store: Store
) -> None:
    load_prices(store)
    trade(broker, journal)
    project_book(store, journal)
    assert [row["symbol"] for row in rows(store, LIVE_POSITIONS)] == ["AAPL"]
    assert sorted((row["symbol"], row["side"]) for row in rows(store, EXECUTED_TRADES)) == [
        ("AAPL", "buy"),
        ("KO", "buy"),
        ("KO", "sell"),
    ]


def test_a_commission_is_null_until_reported(broker: BentBroker, journal: Journal, store: Store) -> None:
    def without_commissions(snapshot):
        return replace(
            snapshot, executions=tuple(replace(item, commission=None) for item in snapshot.executions)
        )

    broker.bend = without_commissions
    plan = freeze(journal, broker, planned("AAPL", 10))
    manager(broker, journal).submit_plan(plan.plan_id)
    broker.advance(at(E, "17:45"))
    sync(broker, journal)
    project_book(store, journal)
    [traded] = rows(store, EXECUTED_TRADES)
    assert traded["commission"] is None
    journal.record_commission(journal.executions()[0].exec_id, Decimal("1.25"), LATER)
    project_book(store, journal)
    assert [row["commission"] for row in rows(store, EXECUTED_TRADES)] == [Decimal("1.25")]


def test_a_busted_execution_is_no_trade_any_more(broker: BentBroker, journal: Journal, store: Store) -> None:
    load_prices(store)
    trade(broker, journal)
    first = journal.executions()[0]
    journal.record_bust(first.exec_id, "busted", LATER)
    project_book(store, journal)
    assert first.exec_id not in {str(row["trade_id"]).split("/")[0] for row in rows(store, EXECUTED_TRADES)}


def test_an_adopted_order_is_a_trade_of_no_strategy(
    broker: BentBroker, journal: Journal, store: Store
) -> None:
    sync(broker, journal)
    broker.engine.place(NewOrder("AAPL", Side.BUY, 5))
    broker.advance(at(E, "17:45"))
    sync_broker(broker, journal, broker.now(), mode="sim", external=ExternalPolicy.ADOPT)
    [execution] = journal.executions()
    project_book(store, journal)
    [traded] = rows(store, EXECUTED_TRADES)
    assert (traded["order_id"], traded["hypothesis_id"], traded["order_type"], traded["submitted_at"]) == (
        f"EXTERNAL-{execution.perm_id}",
        None,
        "external",
        None,
    )
    [held] = rows(store, LIVE_POSITIONS)
    assert held["hypothesis_id"] is None


def test_rows_of_another_account_stay(broker: BentBroker, journal: Journal, store: Store) -> None:
    with store.write() as connection:
        connection.execute(
            "INSERT INTO strategy_positions VALUES ('S', 'KO', 1, 1, ?, ?, 'paper', 'DU7')", [D, EVENING]
        )
    load_prices(store)
    trade(broker, journal)
    project_book(store, journal)
    project_book(store, journal)
    assert [(row["account"], row["symbol"]) for row in rows(store, STRATEGY_POSITIONS)] == [
        (ACCOUNT, "AAPL"),
        ("DU7", "KO"),
    ]


def test_a_rebuild_writes_what_the_book_of_each_session_would(
    broker: BentBroker, journal: Journal, store: Store
) -> None:
    load_prices(store)
    trade(broker, journal)
    done = rebuild(store, journal, LATER, run_id="test")
    assert (done.first, done.last, done.emptied) == (D, E, ())
    assert done.rows == {
        **{"orders": 3, "fills": 3, "positions": 6, "nav": 2},
        **{"executed_trades": 3, "live_positions": 1, "strategy_positions": 1},
    }
    once = contents(store)
    for session in (D, E):
        following = nyse().next(session)
        frames = {
            "fills": fills_frame(
                read_book(journal, through=following),
                session=session,
                execution_session=following,
                mode="sim",
                account=ACCOUNT,
            ),
            "positions": session_positions(Settings(), store, journal, nobody, session, LATER),
            "nav": session_nav(store, journal, session, LATER),
        }
        with store.write() as connection:
            for name, frame in frames.items():
                replace_slice(connection, table(name), frame, Sessions([session]), "job", "1", LATER)
    assert contents(store) == once


def test_a_rebuild_again_or_after_rows_were_lost_gives_the_same_rows(
    broker: BentBroker, journal: Journal, store: Store
) -> None:
    load_prices(store)
    trade(broker, journal)
    rebuild(store, journal, LATER, run_id="test")
    once = contents(store)
    rebuild(store, journal, LATER, run_id="again")
    assert contents(store) == once
    with store.write() as connection:
        for item in (*NOW_TABLES, *SESSION_TABLES):
            connection.execute(f"DELETE FROM {item.name}")
        connection.execute("DELETE FROM partition_versions WHERE asset != 'prices'")
        connection.execute("DROP TABLE fills")
    rebuild(store, journal, LATER, run_id="after loss")
    assert contents(store) == once


def test_what_the_journal_does_not_know_is_emptied_and_named(
    broker: BentBroker, journal: Journal, store: Store
) -> None:
    load_prices(store)
    trade(broker, journal)
    rebuild(store, journal, LATER, run_id="test")
    once = contents(store)
    foreign = nyse().previous(D)
    nav = read_table(store, table("nav"), sessions=[D]).assign(session=foreign)
    with store.write() as connection:
        replace_slice(connection, table("nav"), nav, Sessions([foreign]), "x", None, LATER)
    assert rebuild(store, journal, LATER, run_id="test").emptied == (("nav", foreign),)
    assert rows(store, table("nav")) == once["nav"]


def test_a_session_still_executing_has_fills_and_no_nav(
    broker: BentBroker, journal: Journal, store: Store
) -> None:
    load_prices(store, through=D)
    plan = freeze(journal, broker, planned("AAPL", 10))
    manager(broker, journal).submit_plan(plan.plan_id)
    broker.advance(at(E, "12:00"))
    sync(broker, journal)
    done = rebuild(store, journal, broker.now(), run_id="test")
    assert (done.rows["fills"], done.rows["nav"], done.last) == (1, 0, D)


def test_a_held_name_without_a_close_is_named_and_nothing_changes(
    broker: BentBroker, journal: Journal, store: Store
) -> None:
    load_prices(store)
    trade(broker, journal)
    rebuild(store, journal, LATER, run_id="test")
    once = contents(store)
    with store.write() as connection:
        connection.execute("DELETE FROM prices WHERE symbol = 'AAPL' AND session = ?", [E])
    with pytest.raises(DataError, match="AAPL held after 2022-12-16 has no price"):
        rebuild(store, journal, LATER, run_id="test")
    assert contents(store) == once


def test_a_nav_does_not_disappear_because_prices_did(
    broker: BentBroker, journal: Journal, store: Store
) -> None:
    load_prices(store)
    trade(broker, journal)
    rebuild(store, journal, LATER, run_id="test")
    with store.write() as connection:
        connection.execute("DELETE FROM prices WHERE session = ?", [F])
    with pytest.raises(DataError, match="AAPL held after 2022-12-19"):
        rebuild(store, journal, LATER, run_id="test")


def test_a_journal_of_no_account_is_refused(journal: Journal, store: Store) -> None:
    for build in (
        lambda: project_book(store, journal),
        lambda: rebuild(store, journal, LATER, run_id="test"),
    ):
        with pytest.raises(NotReadyError, match="not bound to an account"):
            build()
