"""Looking again after an evening's sending, and the sessions that were never covered whole."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest
from order_support import BentBroker, D, E, F, at, freeze, manager, planned, sync

from hrp_core.errors import IncompleteSnapshotError
from hrp_core.execution.looks import coverage_gaps, looks_due, second_look
from hrp_core.ledger.journal import Journal
from hrp_core.portfolio.types import OrderSide

SENT = at(D, "18:30")
TEN, LAST = at(D, "18:40"), at(D, "23:15")


@pytest.mark.parametrize(
    ("looked", "now", "due"),
    [
        (None, at(D, "18:39"), ()),
        (None, at(D, "18:40"), (TEN,)),
        (SENT, at(D, "18:40"), (TEN,)),
        (TEN, at(D, "23:14"), ()),
        (TEN, at(D, "23:15"), (LAST,)),
        (SENT, at(D, "23:30"), (TEN, LAST)),
        (LAST, at(E, "09:00"), ()),
        (TEN, at(E, "00:30"), (LAST,)),  # too late for the lists of D, and still owed
    ],
)
def test_a_look_is_owed_ten_minutes_later_and_before_midnight(
    looked: datetime | None, now: datetime, due: tuple[datetime, ...]
) -> None:
    assert looks_due([at(D, "18:29"), SENT], looked, now) == due


def test_nothing_is_owed_where_nothing_was_sent() -> None:
    assert looks_due([], None, at(D, "23:30")) == ()


def test_a_late_sending_owes_one_look_only() -> None:
    assert looks_due([at(D, "23:10")], None, at(E, "09:00")) == (at(D, "23:20"),)


def test_a_second_look_is_taken_when_it_is_due_and_not_twice(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10))
    manager(broker, journal).submit_plan(frozen.plan_id)
    assert second_look(broker, journal, broker.now(), mode="sim") is None
    broker.advance(at(D, "18:41"))
    assert second_look(broker, journal, broker.now(), mode="sim") is not None
    assert second_look(broker, journal, broker.now(), mode="sim") is None


def test_a_session_that_nobody_asked_about_after_its_close_is_a_gap(
    journal: Journal, broker: BentBroker
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10))
    placed = manager(broker, journal).submit_plan(frozen.plan_id).placed
    assert coverage_gaps(journal, at(E, "15:59")) == ()
    broker.advance(at(E, "10:00"))
    sync(broker, journal)
    (gap,) = coverage_gaps(journal, at(E, "16:00"))
    assert (gap.session, gap.covered_until, gap.order_refs) == (E, at(E, "10:00"), placed)
    broker.advance(at(E, "16:01"))
    sync(broker, journal)
    assert coverage_gaps(journal, at(F, "18:00")) == ()


def test_a_snapshot_that_does_not_add_up_covers_nothing_and_is_no_look(
    journal: Journal, broker: BentBroker
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10))
    manager(broker, journal).submit_plan(frozen.plan_id)
    looked = journal.newest_snapshot()
    broker.disconnect()
    broker.advance(at(E, "17:45"))
    broker.connect()
    broker.bend = lambda snapshot: replace(snapshot, executions=())
    with pytest.raises(IncompleteSnapshotError, match="executions add up to 0"):
        sync(broker, journal)
    assert journal.covered_until(E) is None
    assert journal.newest_snapshot() == looked
    assert [gap.session for gap in coverage_gaps(journal, broker.now())] == [E]
    broker.bend = lambda snapshot: snapshot
    sync(broker, journal)
    assert coverage_gaps(journal, broker.now()) == ()


def test_a_corrected_execution_replaces_the_first_and_a_bust_reverses_it(
    journal: Journal, broker: BentBroker
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10))
    manager(broker, journal).submit_plan(frozen.plan_id)
    broker.advance(at(E, "10:00"))
    first = sync(broker, journal).book
    (fill,) = journal.executions()
    corrected = replace(fill, exec_id=fill.exec_id[:-2] + "02", price=fill.price - Decimal(1))
    journal.record([], [corrected], now=broker.now())
    book = sync(broker, journal).book
    assert (book.cash - first.cash, len(book.fills)) == (Decimal(10), 1)

    busted = replace(corrected, exec_id=fill.exec_id[:-2] + "03", shares=0)
    broker.bend = lambda snapshot: replace(
        snapshot,
        executions=(fill, corrected, busted),
        completed_orders=tuple(replace(order, filled=0) for order in snapshot.completed_orders),
        positions=(),
        values=replace(snapshot.values, cash=Decimal(100_000)),
    )
    learned = sync(broker, journal)
    assert (learned.book.fills, learned.book.cash) == ((), Decimal(100_000))
    assert learned.cash_breaks == ()
    assert fill.side is OrderSide.BUY
