"""Crosses of a plan, sent through the order manager: with orders, without any, and not at all."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from order_support import EVENING, BentBroker, D, E, F, at, manager, planned, sync

from hrp_core.calendar import nyse
from hrp_core.errors import RefusedError
from hrp_core.execution.crosses import price_crosses
from hrp_core.execution.explain import explain
from hrp_core.execution.projection_tables import EXECUTED_TRADES, STRATEGY_POSITIONS
from hrp_core.execution.projections import project_book, rebuild
from hrp_core.ledger.book import read_book
from hrp_core.ledger.frames import fills_frame
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FrozenPlan, LatchState, OrderStatus, PlanStatus
from hrp_core.portfolio.types import Cross, OrderSide, OrderType, Plan, PlannedOrder
from hrp_core.store import Sessions, Store, migrate, read_table, replace_slice, table

KO = Cross("KO", (("A", -20), ("B", 20)), Decimal("67.5"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "hrp.duckdb")
    migrate(store)
    return store


def load(store: Store, opening: float | None = 69.0) -> None:
    declared = table("prices")
    rows = [
        {"session": E, "symbol": "KO", "open": opening, "close": 69.5, "source": "test"},
        {"session": E, "symbol": "AAPL", "open": 119.0, "close": 119.5, "source": "test"},
    ]
    frame = pd.DataFrame(rows).reindex(columns=list(declared.column_names))
    with store.write() as connection:
        replace_slice(connection, declared, frame, Sessions((E,)), "prices", None, EVENING)


def frozen(
    journal: Journal,
    broker: BentBroker,
    *orders: PlannedOrder,
    crosses: Sequence[Cross] = (KO,),
    session=D,
    approve: bool = True,
) -> FrozenPlan:
    sync(broker, journal)
    state = read_book(journal).state()
    done = journal.freeze_plan(
        Plan(
            session, nyse().next(session), Decimal(100_000), Decimal(100_000), (), orders, (), tuple(crosses)
        ),
        mode="sim",
        account=broker.account,
        contracts=broker.qualify([order.symbol for order in orders]),
        inputs={"ledger": {"shares": state.shares, "strategy_shares": state.strategy_shares}},
        now=broker.now(),
    )
    if approve:
        journal.approve(done.plan_id, by="test", plan_hash=done.inputs_hash, now=broker.now())
    return journal.plan(done.plan_id)


def strategies(journal: Journal) -> dict[str, dict[str, int]]:
    return {name: dict(held) for name, held in read_book(journal).state().strategy_shares.items()}


def test_a_plan_of_crosses_alone_is_sent_without_an_order(
    journal: Journal, broker: BentBroker, store: Store
) -> None:
    plan = frozen(journal, broker)
    report = manager(broker, journal).submit_plan(plan.plan_id)
    assert (report.status, report.placed, broker.orders_received) == (PlanStatus.SENT, (), 0)
    assert strategies(journal) == {}
    broker.advance(at(E, "09:31"))
    sync(broker, journal)
    assert strategies(journal) == {"A": {"KO": -20}, "B": {"KO": 20}}
    assert broker.snapshot().positions == ()

    assert price_crosses(store, journal, E, broker.now()) == 0  # its bar is not stored yet
    load(store)
    assert price_crosses(store, journal, E, broker.now()) == 1
    assert price_crosses(store, journal, E, broker.now()) == 0
    [cross] = journal.book_crosses()
    assert cross.price == Decimal("69.0000")
    load(store, opening=68.75)
    assert price_crosses(store, journal, E, broker.now()) == 1
    [cross] = journal.book_crosses()
    assert cross.price == Decimal("68.7500")
    rows = fills_frame(read_book(journal), session=D, execution_session=E, mode="sim", account=broker.account)
    assert rows[["exec_id", "strategy_id", "side", "shares", "commission"]].to_numpy().tolist() == [
        [cross.cross_id, "A", "sell", 20, Decimal(0)],
        [cross.cross_id, "B", "buy", 20, Decimal(0)],
    ]


def test_without_an_open_the_close_is_the_price(journal: Journal, broker: BentBroker, store: Store) -> None:
    plan = frozen(journal, broker)
    manager(broker, journal).submit_plan(plan.plan_id)
    broker.advance(at(E, "17:45"))
    sync(broker, journal)
    load(store, opening=None)
    price_crosses(store, journal, E, broker.now())
    assert journal.book_crosses()[0].price == Decimal("69.5000")


def test_a_cross_stands_although_the_orders_of_its_plan_are_refused(
    journal: Journal, broker: BentBroker
) -> None:
    # More than the account can pay for: the broker ends the order at the open.
    plan = frozen(journal, broker, planned("AAPL", 5000))
    manager(broker, journal).submit_plan(plan.plan_id)
    broker.advance(at(E, "17:45"))
    sync(broker, journal)
    (intent,) = journal.plan(plan.plan_id).intents
    assert (intent.status.is_terminal, intent.filled) == (True, 0)
    assert strategies(journal) == {"A": {"KO": -20}, "B": {"KO": 20}}


def test_sending_again_crosses_once(journal: Journal, broker: BentBroker) -> None:
    plan = frozen(journal, broker, planned("AAPL", 10))
    for _ in range(2):
        manager(broker, journal).submit_plan(plan.plan_id)
    broker.advance(at(E, "17:45"))
    sync(broker, journal)
    assert strategies(journal) == {
        "A": {"KO": -20},
        "B": {"KO": 20},
        "HYP-2026-001": {"AAPL": 10},
    }


def test_without_sending_there_is_no_cross(journal: Journal, broker: BentBroker) -> None:
    plan = frozen(journal, broker, approve=False)
    with pytest.raises(RefusedError, match="not approved"):
        manager(broker, journal).submit_plan(plan.plan_id)
    journal.approve(plan.plan_id, by="ann", plan_hash=plan.inputs_hash, now=broker.now())
    assert manager(broker, journal, dry_run=True).submit_plan(plan.plan_id).status is PlanStatus.APPROVED
    journal.set_latch(LatchState.HALTED, by="ann", reason="storm", now=broker.now())
    with pytest.raises(RefusedError, match="halted by ann"):
        manager(broker, journal).submit_plan(plan.plan_id)
    journal.set_latch(LatchState.ACTIVE, by="ann", reason="over", now=broker.now())
    broker.advance(at(E, "09:26"))
    with pytest.raises(RefusedError, match="may be sent from"):
        manager(broker, journal).submit_plan(plan.plan_id)
    broker.advance(at(E, "10:00"))
    assert manager(broker, journal).submit_plan(plan.plan_id).status is PlanStatus.APPROVED
    assert strategies(journal) == {}


def test_reducing_lets_a_cross_go_and_holds_the_entry(journal: Journal, broker: BentBroker) -> None:
    plan = frozen(journal, broker, planned("AAPL", 10))
    journal.set_latch(LatchState.REDUCING, by="risk", reason="loss", now=broker.now())
    assert manager(broker, journal).submit_plan(plan.plan_id).skipped == ("AAPL",)
    broker.advance(at(E, "17:45"))
    sync(broker, journal)
    assert strategies(journal) == {"A": {"KO": -20}, "B": {"KO": 20}}


def test_orders_for_the_close_are_sent_after_the_plans_own_cross_has_moved_shares(
    journal: Journal, broker: BentBroker
) -> None:
    at_close = replace(planned("AAPL", 10), order_type=OrderType.MARKET_ON_CLOSE)
    plan = frozen(journal, broker, at_close)
    broker.on_place = lambda _: broker.disconnect()
    manager(broker, journal).submit_plan(plan.plan_id)
    broker.on_place = lambda _: None
    broker.connect()
    broker.advance(at(E, "11:00"))
    assert manager(broker, journal).resume(plan.plan_id).placed
    broker.advance(at(E, "17:45"))
    sync(broker, journal)
    assert strategies(journal)["B"] == {"KO": 20}
    assert read_book(journal).state().shares == {"AAPL": 10}


def test_a_cross_is_a_trade_of_both_strategies_and_a_rebuild_gives_the_same(
    journal: Journal, broker: BentBroker, store: Store
) -> None:
    plan = frozen(journal, broker, planned("AAPL", 10))
    manager(broker, journal).submit_plan(plan.plan_id)
    broker.advance(at(E, "17:45"))
    sync(broker, journal)
    load(store)
    price_crosses(store, journal, E, broker.now())
    project_book(store, journal)
    trades = read_table(store, EXECUTED_TRADES)
    crossed = trades.loc[trades["order_type"] == "cross"]
    assert sorted(zip(crossed["hypothesis_id"], crossed["side"], crossed["quantity"], strict=True)) == [
        ("A", "sell", 20),
        ("B", "buy", 20),
    ]
    assert crossed["broker_order_id"].isna().all()
    assert set(crossed["commission"]) == {Decimal(0)}
    held = read_table(store, STRATEGY_POSITIONS)
    assert set(zip(held["strategy_id"], held["symbol"], held["quantity"], strict=True)) == {
        ("A", "KO", -20),
        ("B", "KO", 20),
        ("HYP-2026-001", "AAPL", 10),
    }
    rebuild(store, journal, at(F, "17:45"), run_id="test")
    fills = read_table(store, table("fills"))
    assert len(fills) == 3
    nav = read_table(store, table("nav")).set_index("session")
    # The account bought 10 AAPL; what its strategies did among themselves is no turnover.
    [execution] = journal.executions()
    worth = Decimal(str(nav["nav"].tolist()[0]))
    assert nav["turnover"].tolist()[0] == pytest.approx(float(10 * execution.price / worth))


def test_a_cross_is_explained_by_its_plan(journal: Journal, broker: BentBroker, store: Store) -> None:
    plan = frozen(journal, broker)
    manager(broker, journal).submit_plan(plan.plan_id)
    [cross] = journal.crosses_of(plan.plan_id)
    found = explain(store, journal, cross.cross_id)
    assert (found.root.kind, found.root.details["shares"]) == ("cross", {"A": -20, "B": 20})
    assert [child.name for child in found.root.children] == [plan.plan_id]
    assert f"plan {plan.plan_id} has no target of A in KO" in found.missing


def test_a_limit_for_the_open_is_sent_on_the_tick_and_does_not_chase(
    journal: Journal, broker: BentBroker
) -> None:
    # KO opens at 68: one limit below it, one above.
    buy = replace(
        planned("KO", 10),
        order_type=OrderType.LIMIT_ON_OPEN,
        limit_price=Decimal("67.9999"),
        allocations=(("A", 10),),
    )
    aapl = replace(buy, symbol="AAPL", limit_price=Decimal("125.0099"))
    plan = frozen(journal, broker, buy, aapl, crosses=())
    requests = []
    broker.on_place = requests.append
    manager(broker, journal).submit_plan(plan.plan_id)
    assert [(each.limit_price, each.tif) for each in requests] == [
        (Decimal("67.99"), "OPG"),
        (Decimal("125.00"), "OPG"),
    ]
    broker.advance(at(E, "17:45"))
    sync(broker, journal)
    by_symbol = {intent.contract.symbol: intent for intent in journal.plan(plan.plan_id).intents}
    assert (by_symbol["KO"].status, by_symbol["KO"].filled) == (OrderStatus.CANCELLED, 0)
    assert (by_symbol["AAPL"].status, by_symbol["AAPL"].side) == (OrderStatus.FILLED, OrderSide.BUY)
    assert read_book(journal).state().shares == {"AAPL": 10}
