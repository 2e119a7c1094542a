"""A reconciliation run: what differs, what it most likely is, and what follows."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from order_support import BentBroker, E, at, freeze, manager, planned, sync

from hrp_core.errors import RefusedError
from hrp_core.execution.broker import BrokerSnapshot
from hrp_core.execution.reconcile import share_breaks
from hrp_core.execution.reconciliation import (
    Reconciliation,
    ReconciliationStatus,
    classify_breaks,
    run_reconciliation,
    suspense_limit,
)
from hrp_core.execution.resolution import resolve_order
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import BreakClass, FlowKind, OrderStatus
from hrp_core.matching import NewOrder, Side
from hrp_core.store import Store, migrate


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "hrp.duckdb")
    migrate(store)
    return store


def run(store: Store, journal: Journal, broker: BentBroker, number: int = 1) -> Reconciliation:
    return run_reconciliation(store, journal, broker, broker.now(), mode="sim", run_id=f"run-{number}")


def rows(store: Store) -> list[tuple[object, ...]]:
    with store.read() as connection:
        return connection.execute(
            "SELECT session, status, breaks, cash_difference, details FROM reconciliation_runs"
        ).fetchall()


def trade(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 100))
    manager(broker, journal).submit_plan(frozen.plan_id)
    broker.advance(at(E, "17:45"))


def with_cash(change: str, broker: BentBroker) -> None:
    def bend(snapshot: BrokerSnapshot) -> BrokerSnapshot:
        return replace(snapshot, values=replace(snapshot.values, cash=snapshot.values.cash + Decimal(change)))

    broker.bend = bend


def test_an_empty_ledger_and_an_empty_account_are_reconciled_from_the_first_day(
    store: Store, journal: Journal, broker: BentBroker
) -> None:
    assert run(store, journal, broker).status is ReconciliationStatus.RECONCILED
    assert [row[1:4] for row in rows(store)] == [("reconciled", 0, Decimal("0.0000"))]


def test_each_run_is_appended_with_its_session(store: Store, journal: Journal, broker: BentBroker) -> None:
    trade(journal, broker)
    run(store, journal, broker, 1)
    run(store, journal, broker, 2)
    assert [(row[0], row[1]) for row in rows(store)] == [(E, "reconciled")] * 2


def test_a_small_difference_in_cash_goes_to_the_suspense_account_with_a_warning(
    store: Store, journal: Journal, broker: BentBroker
) -> None:
    trade(journal, broker)
    with_cash("3.20", broker)
    result = run(store, journal, broker)
    assert (result.status, result.suspense) == (ReconciliationStatus.WARNING, Decimal("3.20"))
    assert [item.cause for item in result.breaks] == [BreakClass.FEE_OR_DIVIDEND]
    assert journal.cash_flows()[-1].kind is FlowKind.SUSPENSE
    assert run(store, journal, broker, 2).status is ReconciliationStatus.RECONCILED
    assert sync(broker, journal).cash_breaks == ()


def test_a_larger_difference_in_cash_leaves_exits_only_until_it_is_classified(
    store: Store, journal: Journal, broker: BentBroker
) -> None:
    trade(journal, broker)
    with_cash("-40", broker)
    assert run(store, journal, broker).status is ReconciliationStatus.REDUCE_ONLY
    assert journal.cash_flows()[-1].kind is FlowKind.OPENING


@pytest.mark.parametrize(("nav", "limit"), [("10000", "5"), ("50000", "5"), ("1000000", "100")])
def test_the_suspense_account_takes_five_dollars_or_a_basis_point(nav: str, limit: str) -> None:
    assert suspense_limit(Decimal(nav)) == Decimal(limit)


def test_shares_that_nothing_explains_halt_and_are_recorded(
    store: Store, journal: Journal, broker: BentBroker
) -> None:
    trade(journal, broker)
    broker.bend = lambda snapshot: replace(
        snapshot,
        positions=tuple(replace(position, shares=position.shares + 7) for position in snapshot.positions),
    )
    result = run(store, journal, broker)
    assert result.status is ReconciliationStatus.HALTED
    assert [item.cause for item in result.breaks] == [BreakClass.UNKNOWN]
    assert json.loads(str(rows(store)[0][4]))[0]["symbol"] == "AAPL"


def test_an_order_by_hand_is_named_as_such(store: Store, journal: Journal, broker: BentBroker) -> None:
    trade(journal, broker)
    sync(broker, journal)
    broker.engine.place(NewOrder("KO", Side.BUY, 3))
    result = run(store, journal, broker)
    assert result.status is ReconciliationStatus.HALTED
    assert [item.cause for item in result.breaks] == [BreakClass.EXTERNAL_ORDER]


def test_an_order_of_unknown_fate_that_may_have_traded_the_difference_explains_it(
    store: Store, journal: Journal, broker: BentBroker
) -> None:
    trade(journal, broker)
    broker.bend = lambda snapshot: replace(snapshot, executions=(), completed_orders=())
    result = run(store, journal, broker)
    assert result.status is ReconciliationStatus.HALTED
    assert BreakClass.MISSED_FILL in {item.cause for item in result.breaks}
    assert read_book(journal).state().shares == {}


@pytest.mark.parametrize(
    ("ledger", "broker", "factor", "cause"),
    [
        (100, 400, "4", BreakClass.CORPORATE_ACTION),
        (101, 10, "0.1", BreakClass.CORPORATE_ACTION),  # the fraction of a share is paid out
        (100, 401, "4", BreakClass.UNKNOWN),
        (100, 400, None, BreakClass.UNKNOWN),
    ],
)
def test_a_known_split_explains_shares_to_the_share(
    ledger: int, broker: int, factor: str | None, cause: BreakClass
) -> None:
    found = classify_breaks(
        share_breaks({"KO": ledger}, {"KO": broker}),
        (),
        ledger={"KO": ledger},
        broker={"KO": broker},
        splits={} if factor is None else {"KO": Decimal(factor)},
    )
    assert [item.cause for item in found] == [cause]


def test_a_person_resolves_an_order_of_unknown_fate_by_its_intent(
    journal: Journal, broker: BentBroker
) -> None:
    frozen = freeze(journal, broker, planned("KO", 10))
    (intent,) = frozen.intents
    ref = f"S221215-{intent.contract.con_id}-{intent.intent_id[:6]}-1"
    journal.claim(intent.intent_id, ref, 10, journal.acquire_epoch("gone", broker.now()), broker.now())
    with pytest.raises(RefusedError, match="no order of unknown fate; orders of unknown fate: none"):
        resolve_order(journal, ref, OrderStatus.EXPIRED, by="ann", reason="TWS", now=broker.now())
    sync(broker, journal, writer=True)
    with pytest.raises(RefusedError, match="with a reason"):
        resolve_order(journal, ref, OrderStatus.EXPIRED, by="ann", reason=" ", now=broker.now())
    with pytest.raises(RefusedError, match="fills come from executions"):
        resolve_order(journal, ref, OrderStatus.FILLED, by="ann", reason="TWS", now=broker.now())
    done = resolve_order(
        journal, intent.intent_id, OrderStatus.CANCELLED, by="ann", reason="not in TWS", now=broker.now()
    )
    assert (done.status, done.reason) == (OrderStatus.CANCELLED, "ann: not in TWS")
    assert journal.locked_contracts() == {}
