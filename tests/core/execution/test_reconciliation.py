"""A reconciliation run: what differs, what it most likely is, and what follows."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from order_support import BentBroker, D, E, F, at, freeze, manager, planned, sync

from hrp_core.errors import ReconciliationBreakError, RefusedError
from hrp_core.execution.broker import BrokerSnapshot
from hrp_core.execution.dividends import ExpectedDividend, matching_dividends
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
from hrp_core.ledger.types import BreakClass, FlowKind, LatchState, OrderStatus
from hrp_core.matching import NewOrder, Side
from hrp_core.settings import Settings
from hrp_core.store import Store, migrate, table
from hrp_core.store.slices import Sessions, replace_slice


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "hrp.duckdb")
    migrate(store)
    return store


def run(store: Store, journal: Journal, broker: BentBroker, number: int = 1) -> Reconciliation:
    return run_reconciliation(Settings(), store, journal, broker, broker.now(), run_id=f"run-{number}")


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


def with_dividend(store: Store, per_share: float, ex_date: date = F) -> None:
    """State a dividend of AAPL on its ex-date."""
    row = {"session": ex_date, "symbol": "AAPL", "open": 1.0, "close": 1.0, "source": "test"}
    declared = table("prices")
    frame = pd.DataFrame([row | {"dividend": per_share}]).reindex(columns=list(declared.column_names))
    with store.write() as connection:
        replace_slice(connection, declared, frame, Sessions([ex_date]), "test", None, at(D, "18:00"))


def test_a_dividend_that_is_expected_is_recorded_when_cash_moves_by_it_to_the_cent(
    store: Store, journal: Journal, broker: BentBroker
) -> None:
    trade(journal, broker)
    sync(broker, journal)
    with_dividend(store, 0.235)
    broker.advance(at(F, "17:45"))
    assert run(store, journal, broker, 1).status is ReconciliationStatus.RECONCILED  # owed, not paid yet
    with_cash("23.50", broker)
    result = run(store, journal, broker, 2)
    assert result.status is ReconciliationStatus.RECONCILED
    assert [item.cause for item in result.breaks] == [BreakClass.DIVIDEND]
    assert "AAPL 0.235 x 100 of 2022-12-19 = 23.50 USD" in result.breaks[0].message
    paid = journal.cash_flows()[-1]
    assert (paid.kind, paid.amount, paid.reference) == (
        FlowKind.DIVIDEND,
        Decimal("23.50"),
        "dividend-AAPL-2022-12-19",
    )
    assert run(store, journal, broker, 3).breaks == ()
    with_cash("47.00", broker)  # the same once more is no dividend
    assert [item.cause for item in run(store, journal, broker, 4).breaks] == [BreakClass.FEE_OR_DIVIDEND]
    assert journal.latch().state is LatchState.REDUCING


def test_cash_that_moved_by_another_amount_names_the_dividend_and_is_not_recorded(
    store: Store, journal: Journal, broker: BentBroker
) -> None:
    trade(journal, broker)
    sync(broker, journal)
    with_dividend(store, 0.235)
    broker.advance(at(F, "17:45"))
    with_cash("23.48", broker)
    result = run(store, journal, broker)
    assert (result.status, result.dividends) == (ReconciliationStatus.REDUCE_ONLY, ())
    assert "dividends expected: AAPL 0.235 x 100" in result.breaks[0].message


def test_a_name_bought_on_its_ex_date_expects_no_dividend(
    store: Store, journal: Journal, broker: BentBroker
) -> None:
    trade(journal, broker)
    with_dividend(store, 0.235, ex_date=E)
    with_cash("23.50", broker)
    assert [item.cause for item in run(store, journal, broker).breaks] == [BreakClass.FEE_OR_DIVIDEND]


def test_two_dividends_of_one_amount_explain_nothing_and_all_together_may() -> None:
    ko, pg = (ExpectedDividend(name, F, Decimal("0.5"), 10) for name in ("KO", "PG"))
    assert matching_dividends([ko, pg], Decimal("5.00")) == ()
    assert matching_dividends([ko, pg], Decimal("10.00")) == (ko, pg)
    assert matching_dividends([ko], Decimal("5.00")) == (ko,)
    assert matching_dividends([], Decimal(0)) == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (LatchState.ACTIVE, LatchState.REDUCING),
        (LatchState.REDUCING, LatchState.REDUCING),
        (LatchState.HALTED, LatchState.HALTED),
    ],
)
def test_unexplained_cash_leaves_exits_only_and_never_opens_what_is_closed(
    store: Store, journal: Journal, broker: BentBroker, before: LatchState, after: LatchState
) -> None:
    trade(journal, broker)
    if before is not LatchState.ACTIVE:
        journal.set_latch(before, by="ann", reason="lunch", now=broker.now())
    with_cash("-40", broker)
    run(store, journal, broker)
    latch = journal.latch()
    assert (latch.state, latch.by) == (after, "reconciliation" if before is LatchState.ACTIVE else "ann")


def test_cash_within_the_suspense_limit_closes_nothing(
    store: Store, journal: Journal, broker: BentBroker
) -> None:
    trade(journal, broker)
    with_cash("3.20", broker)
    run(store, journal, broker)
    assert journal.latch().state is LatchState.ACTIVE


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
    latch = journal.latch()
    assert (latch.state, latch.by, latch.evidence) == (
        LatchState.HALTED,
        "reconciliation",
        result.reconciliation_id,
    )
    assert "AAPL: the ledger has 100 shares, the broker 107" in latch.reason
    with pytest.raises(ReconciliationBreakError):
        sync(broker, journal)
    broker.bend = lambda snapshot: snapshot
    assert run(store, journal, broker, 2).status is ReconciliationStatus.RECONCILED
    assert journal.latch().state is LatchState.HALTED


@pytest.mark.parametrize(("clock", "halts"), [("09:31", False), ("09:46", True)])
def test_positions_that_follow_a_fill_by_minutes_halt_nothing_and_let_nothing_go(
    store: Store, journal: Journal, broker: BentBroker, clock: str, halts: bool
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 100))
    manager(broker, journal).submit_plan(frozen.plan_id)
    broker.advance(at(E, clock))
    broker.bend = lambda snapshot: replace(
        snapshot, positions=(), values=replace(snapshot.values, cash=Decimal(100_000))
    )
    result = run(store, journal, broker)
    assert result.status is ReconciliationStatus.HALTED  # the trade gate says no until another run
    assert (BreakClass.RECENT_FILL in {item.cause for item in result.breaks}) is not halts
    assert journal.latch().state is (LatchState.HALTED if halts else LatchState.ACTIVE)
    broker.bend = lambda snapshot: snapshot
    assert run(store, journal, broker, 2).status is ReconciliationStatus.RECONCILED


def test_more_than_the_recent_fills_is_not_explained_by_them() -> None:
    breaks = share_breaks({"AAPL": 100, "KO": 5}, {"AAPL": -1, "KO": 7})
    found = classify_breaks(
        breaks, (), ledger={"AAPL": 100, "KO": 5}, broker={"AAPL": -1, "KO": 7}, recent={"AAPL": 100, "KO": 5}
    )
    assert [item.cause for item in found] == [BreakClass.UNKNOWN, BreakClass.UNKNOWN]


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
        (300, 100, "1/3", BreakClass.CORPORATE_ACTION),
        (-101, -10, "1/10", BreakClass.CORPORATE_ACTION),
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
        splits={} if factor is None else {"KO": Fraction(factor)},
    )
    assert [item.cause for item in found] == [cause]
    assert ("the known split" in found[0].message) is (cause is BreakClass.CORPORATE_ACTION)


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
