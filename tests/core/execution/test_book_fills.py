"""A contradiction found while the fills are asked for is reconciled, recorded and named by the gate."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from order_support import BentBroker, D, E, at, freeze, manager, planned

from hrp_core.errors import IncompleteSnapshotError, ReconciliationBreakError
from hrp_core.execution.book_fills import reconciled_fills
from hrp_core.execution.broker import Broker, BrokerSnapshot
from hrp_core.execution.gate import Code, judge
from hrp_core.execution.gate_record import gather
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import LatchState
from hrp_core.settings import Settings
from hrp_core.store import Store


@pytest.fixture
def held(journal: Journal, broker: BentBroker) -> BentBroker:
    """100 AAPL were bought on E."""
    plan = freeze(journal, broker, planned("AAPL", 100))
    manager(broker, journal).submit_plan(plan.plan_id)
    return broker


def too_many(snapshot: BrokerSnapshot) -> BrokerSnapshot:
    return replace(
        snapshot,
        positions=tuple(replace(position, shares=position.shares + 8) for position in snapshot.positions),
    )


def without_fills(snapshot: BrokerSnapshot) -> BrokerSnapshot:
    return replace(snapshot, executions=())


@contextmanager
def connected(broker: BentBroker) -> Iterator[Broker]:
    broker.connect()
    yield broker


def runs(store: Store) -> list[tuple[str, int]]:
    with store.read() as connection:
        return connection.execute("SELECT status, breaks FROM reconciliation_runs").fetchall()


@pytest.mark.parametrize(
    ("bend", "error", "latch", "named"),
    [
        (too_many, ReconciliationBreakError, LatchState.HALTED, "unknown: AAPL: the ledger has 100 shares"),
        (without_fills, IncompleteSnapshotError, LatchState.HALTED, "missed_fill: S221215-"),
    ],
)
def test_a_break_in_the_fills_is_recorded_and_named_by_the_gate(
    tmp_path: Path, store: Store, journal: Journal, held: BentBroker, bend, error, latch, named: str
) -> None:
    settings = Settings(home=tmp_path)
    held.advance(at(E, "17:45"))
    held.bend = bend
    with pytest.raises(error):
        reconciled_fills(settings, store, journal, lambda: connected(held), D, held.now(), run_id="run")
    assert [status for status, _ in runs(store)] == ["halted"]
    assert journal.latch().state is latch
    evidence = gather(settings, store, journal, lambda: connected(held), E, held.now())
    [reason] = [item for item in judge(evidence).reasons if item.code is Code.RECONCILIATION_HALTED]
    assert named in reason.message


def test_a_difference_right_after_the_open_proves_nothing(
    tmp_path: Path, store: Store, journal: Journal, held: BentBroker
) -> None:
    """F13: positions follow their fills by minutes."""
    held.advance(at(E, "09:45"))
    held.bend = too_many
    with pytest.raises(ReconciliationBreakError):
        reconciled_fills(
            Settings(home=tmp_path), store, journal, lambda: connected(held), D, held.now(), run_id="run"
        )
    assert (runs(store), journal.latch().state) == ([], LatchState.ACTIVE)


def test_without_a_break_the_fills_are_returned_and_the_book_reconciles_them(
    tmp_path: Path, store: Store, journal: Journal, held: BentBroker
) -> None:
    held.advance(at(E, "17:45"))
    frame = reconciled_fills(
        Settings(home=tmp_path), store, journal, lambda: connected(held), D, held.now(), run_id="run"
    )
    assert (frame["shares"].tolist(), runs(store)) == ([100], [])
