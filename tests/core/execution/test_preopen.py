"""The check before the open, on the in-process broker and on the gateway over a socket."""

from dataclasses import replace
from datetime import date
from typing import NoReturn

import pytest
from order_support import BentBroker, D, E, F, at, planned
from watch_support import Floor, in_process_floor

from hrp_core.errors import BrokerError, IncompleteSnapshotError, RefusedError
from hrp_core.execution.flatten import flatten, offer_flatten
from hrp_core.execution.preopen_judgement import ConcernKind
from hrp_core.execution.writer_lock import WriterLock
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import LatchState, OrderStatus
from hrp_core.store import EventType, Store, read_lineage

S = OrderStatus
MORNING = at(E, "08:45")


def kinds(report) -> list[tuple[ConcernKind, str]]:
    return [(concern.kind, concern.symbol) for concern in report.concerns]


def test_a_basket_that_waits_as_it_was_sent_is_left_alone(floor: Floor) -> None:
    sent = floor.send(planned("AAPL", 100), planned("KO", 50))
    floor.advance(MORNING)
    report = floor.check()
    assert report.is_clean
    assert (report.working, report.withdrawn, report.locks) == (sent.placed, (), ())
    assert (report.session, report.execution_session, report.checked_at) == (D, E, MORNING)


def test_a_name_whose_prior_close_is_not_the_stored_one_is_taken_back_and_locked(floor: Floor) -> None:
    """F33: a split nobody announced; the quantity was decided on another price basis."""
    floor.send(planned("AAPL", 100), planned("KO", 50))
    floor.store_closes(KO=137.0)
    floor.advance(MORNING)
    report = floor.check()
    assert kinds(report) == [(ConcernKind.CORPORATE_ACTION, "KO")]
    assert [(item.symbol, item.problem) for item in report.withdrawn] == [("KO", "")]
    assert floor.states() == {"AAPL": S.SUBMITTED, "KO": S.CANCELLED}
    assert [(lock.symbol, lock.until) for lock in floor.locks] == [("KO", date(2022, 12, 22))]
    assert report.locks == tuple(floor.locks)
    events = read_lineage(floor.store, event_type=EventType.ORDER_CANCELLED)
    assert events["actor"].tolist() == ["preopen_check"]


def test_a_second_check_does_not_cancel_again(floor: Floor) -> None:
    floor.send(planned("AAPL", 100), planned("KO", 50))
    floor.store_closes(KO=137.0)
    floor.advance(MORNING)
    floor.check()
    again = floor.check()
    assert (again.withdrawn, [attempt.status for attempt in floor.journal.live_attempts()]) == (
        (),
        [S.SUBMITTED],
    )
    assert kinds(again) == [(ConcernKind.NOT_AT_BROKER, "KO")]


@pytest.mark.parametrize(("close", "clean"), [(68.0, True), (66.8, False)])
def test_a_close_within_one_percent_is_the_same_basis(floor: Floor, close: float, clean: bool) -> None:
    floor.send(planned("KO", 50))  # which closed at 67.50
    floor.store_closes(KO=close)
    floor.advance(MORNING)
    assert floor.check().is_clean is clean


def test_a_known_split_of_the_morning_takes_the_order_back_whatever_the_quotes_say(floor: Floor) -> None:
    floor.send(planned("AAPL", 100), planned("KO", 50))
    floor.store_split("AAPL", 4.0)
    floor.advance(MORNING)
    report = floor.check()
    assert floor.states() == {"AAPL": S.CANCELLED, "KO": S.SUBMITTED}
    assert "4 new shares for one old one" in report.concerns[0].message


def test_a_held_name_without_an_order_is_locked_too(floor: Floor) -> None:
    floor.send(planned("AAPL", 100))
    floor.advance(at(E, "18:30"))
    floor.store_closes(session=E, AAPL=400.0)
    floor.advance(at(F, "08:45"))
    report = floor.check()
    assert ([lock.symbol for lock in report.locks], report.withdrawn) == (["AAPL"], ())


def test_a_name_without_a_stored_close_is_said_not_to_have_been_compared(floor: Floor) -> None:
    floor.send(planned("AAPL", 100))
    with floor.store.write() as connection:
        connection.execute("DELETE FROM prices WHERE symbol = 'AAPL'")
    floor.advance(MORNING)
    report = floor.check()
    assert kinds(report) == [(ConcernKind.NO_PRICE, "AAPL")]
    assert report.working


def test_entries_stay_or_go_when_every_sale_is_gone(floor: Floor) -> None:
    floor.send(planned("KO", -50), planned("AAPL", 100))  # nothing to sell: rejected
    assert floor.states() == {"AAPL": S.SUBMITTED, "KO": S.REJECTED}
    floor.advance(MORNING)
    left = floor.check()
    assert kinds(left) == [(ConcernKind.NOT_AT_BROKER, "KO"), (ConcernKind.ONE_SIDED, "")]
    assert left.withdrawn == ()
    acted = floor.check(one_sided_policy="cancel-entries")
    assert [item.symbol for item in acted.withdrawn] == ["AAPL"]
    assert floor.states() == {"AAPL": S.CANCELLED, "KO": S.REJECTED}


def test_taking_back_the_only_sale_makes_the_basket_one_sided(floor: Floor) -> None:
    floor.send(planned("KO", 50))
    floor.advance(at(E, "18:30"))
    floor.store_closes(session=E, KO=10.0)
    floor.send(planned("KO", -50), planned("AAPL", 100), session=E)
    floor.advance(at(F, "08:45"))
    report = floor.check(one_sided_policy="cancel-entries")
    assert {item.symbol for item in report.withdrawn} == {"AAPL", "KO"}


def test_in_a_dry_run_nothing_is_cancelled_and_the_report_says_so(floor: Floor) -> None:
    floor.send(planned("KO", 50))
    floor.store_closes(KO=137.0)
    floor.advance(MORNING)
    report = floor.check(dry_run=True)
    assert [item.problem for item in report.still_live] == ["nothing is sent in a dry run"]
    assert floor.states() == {"KO": S.SUBMITTED}


@pytest.mark.parametrize("moment", [at(D, "18:30"), at(E, "09:30"), at(E, "18:30")])
def test_it_belongs_to_the_morning_of_a_session(floor: Floor, moment) -> None:
    floor.advance(moment)
    with pytest.raises(RefusedError, match=r"belongs to the morning of 2022-12-1[69], before 09:30"):
        floor.check()


def test_while_another_process_writes_nothing_is_checked(floor: Floor) -> None:
    floor.advance(MORNING)
    with (
        WriterLock(floor.settings.broker_lock_path),
        pytest.raises(RefusedError, match="is the order writer"),
    ):
        floor.check()


# Over the socket alone: what only a broker can say.


def test_a_split_overnight_that_only_the_broker_knows_is_found_in_its_prior_close(wired: Floor) -> None:
    assert wired.gateway is not None
    wired.send(planned("AAPL", 100), planned("KO", 50))
    wired.gateway.fault("prior_close", symbol="AAPL", price="29.375")
    wired.advance(MORNING)
    report = wired.check()
    assert "29.3750" in report.concerns[0].message
    assert "(-75.0%)" in report.concerns[0].message
    assert wired.states() == {"AAPL": S.CANCELLED, "KO": S.SUBMITTED}
    wired.advance(at(E, "10:00"))
    wired.gateway.clear_faults()
    assert [position.symbol for position in wired.gateway.state().positions] == ["KO"]


def test_a_name_whose_trading_is_halted_is_taken_back_and_locked_for_the_session(wired: Floor) -> None:
    assert wired.gateway is not None
    wired.send(planned("AAPL", 100), planned("KO", 50))
    wired.gateway.fault("halted", symbol="KO")
    wired.advance(MORNING)
    report = wired.check()
    assert kinds(report) == [(ConcernKind.TRADING_HALTED, "KO")]
    assert [(lock.symbol, lock.until) for lock in report.locks] == [("KO", E)]
    assert wired.states() == {"AAPL": S.SUBMITTED, "KO": S.CANCELLED}


def test_a_second_order_under_one_reference_halts_and_takes_the_basket_back(wired: Floor) -> None:
    """F7: one intent, two permIds."""
    assert wired.gateway is not None
    wired.send(planned("AAPL", 100), planned("KO", 50))
    wired.gateway.fault("human_duplicate", order=1)
    wired.advance(MORNING)
    report = wired.check()
    assert "names more than one order at the broker" in report.halted
    latch = wired.journal.latch()
    assert (latch.state, latch.by) == (LatchState.HALTED, "preopen_check")
    assert {item.symbol for item in report.withdrawn} == {"AAPL", "KO"}
    assert [item.symbol for item in report.still_live] == ["AAPL"]  # the copy is a person's to cancel
    assert [order.symbol for order in wired.gateway.state().open_orders] == ["AAPL"]
    assert wired.check().halted == report.halted


def test_an_order_placed_by_hand_overnight_is_reported_and_takes_nothing_back(wired: Floor) -> None:
    assert wired.gateway is not None
    wired.send(planned("AAPL", 100))
    wired.gateway.fault("human_order", symbol="KO", quantity=5)
    wired.advance(MORNING)
    report = wired.check()
    assert kinds(report) == [(ConcernKind.DIFFERENCE, "KO")]
    assert report.concerns[0].message.startswith("external_order: ")
    assert (report.halted, report.withdrawn, len(report.working)) == ("", (), 1)


# What a broker says that contradicts itself.


@pytest.fixture
def bent(tmp_path, store: Store, journal: Journal, broker: BentBroker) -> Floor:
    made = in_process_floor(tmp_path, store, journal, broker)
    made.store_closes()
    return made


def test_a_share_difference_that_a_split_explains_locks_the_name_alone(
    bent: Floor, broker: BentBroker
) -> None:
    bent.send(planned("KO", 50))
    bent.advance(at(E, "18:30"))
    bent.store_closes(session=E)
    bent.store_split("KO", 2.0, session=F)
    bent.send(planned("KO", -20), planned("AAPL", 10), session=E)
    bent.advance(at(F, "08:45"))
    broker.bend = lambda snapshot: replace(
        snapshot,
        positions=tuple(replace(position, shares=2 * position.shares) for position in snapshot.positions),
    )
    report = bent.check()
    assert {lock.symbol for lock in report.locks} == {"KO"}
    assert (report.halted, bent.states(E)) == ("", {"AAPL": S.SUBMITTED, "KO": S.CANCELLED})


def test_a_share_difference_that_nothing_explains_halts(bent: Floor, broker: BentBroker) -> None:
    bent.send(planned("KO", 50))
    bent.advance(at(E, "18:30"))
    bent.store_closes(session=E)
    bent.send(planned("AAPL", 10), session=E)
    bent.advance(at(F, "08:45"))
    broker.bend = lambda snapshot: replace(snapshot, positions=())
    report = bent.check()
    assert "KO: the ledger has 50 shares, the broker 0" in report.halted
    assert bent.states(E) == {"AAPL": S.CANCELLED}
    assert read_lineage(bent.store, event_type=EventType.TRADING_HALTED)["actor"].tolist() == [
        "preopen_check"
    ]


@pytest.mark.parametrize(
    ("before", "by"), [(LatchState.REDUCING, "preopen_check"), (LatchState.HALTED, "ann")]
)
def test_a_difference_closes_the_latch_further_and_keeps_the_reason_of_who_had_halted(
    bent: Floor, broker: BentBroker, before: LatchState, by: str
) -> None:
    bent.send(planned("KO", 50))
    bent.advance(at(E, "18:30"))
    bent.store_closes(session=E)
    bent.send(planned("AAPL", 10), session=E)
    bent.advance(at(F, "08:45"))
    broker.bend = lambda snapshot: replace(snapshot, positions=())
    bent.journal.set_latch(before, by="ann", reason="the weekly stop", now=bent.clock.now())
    report = bent.check()
    latch = bent.journal.latch()
    assert (latch.state, latch.by) == (LatchState.HALTED, by)
    assert report.halted == f"{latch.by}: {latch.reason}"
    # A halt is recorded once, by whoever made it.
    halts = read_lineage(bent.store, event_type=EventType.TRADING_HALTED)["actor"].tolist()
    assert halts == (["preopen_check"] if by == "preopen_check" else [])
    assert bent.check().halted == report.halted


def test_answers_that_do_not_add_up_are_not_judged(bent: Floor, broker: BentBroker) -> None:
    bent.send(planned("KO", 50))
    bent.advance(MORNING)
    broker.bend = lambda snapshot: replace(
        snapshot, open_orders=tuple(replace(order, filled=7) for order in snapshot.open_orders)
    )
    with pytest.raises(IncompleteSnapshotError, match="7 shares filled"):
        bent.check()
    assert bent.states() == {"KO": S.SUBMITTED}


def test_an_order_the_broker_lost_overnight_is_unknown_and_named(bent: Floor, broker: BentBroker) -> None:
    bent.send(planned("KO", 50))
    bent.advance(MORNING)
    broker.bend = lambda snapshot: replace(snapshot, open_orders=())
    report = bent.check()
    assert kinds(report) == [(ConcernKind.NOT_AT_BROKER, "KO")]
    assert bent.states() == {"KO": S.UNKNOWN}


def test_without_quotes_the_rest_is_checked_all_the_same(bent: Floor, broker: BentBroker) -> None:
    def competing(contracts: object, timeout: float) -> NoReturn:
        raise BrokerError("10197: another session of the login has the market data")

    bent.send(planned("KO", 50))
    bent.advance(MORNING)
    broker.quotes = competing  # type: ignore[method-assign]
    broker.bend = lambda snapshot: replace(snapshot, open_orders=())
    report = bent.check()
    assert kinds(report) == [
        (ConcernKind.NOT_AT_BROKER, "KO"),
        (ConcernKind.NO_PRICE, "KO"),
        (ConcernKind.NO_PRICE, ""),
    ]


@pytest.mark.parametrize(
    ("state", "left"), [(LatchState.HALTED, {}), (LatchState.REDUCING, {"KO": S.SUBMITTED})]
)
def test_orders_that_the_latch_does_not_let_trade_are_taken_back(
    floor: Floor, state: LatchState, left: dict[str, OrderStatus]
) -> None:
    """Whoever closed it in the evening may not have reached the broker; a rule cancels nothing at all."""
    floor.send(planned("KO", 50))
    floor.advance(at(E, "18:30"))
    floor.store_closes(session=E)
    floor.send(planned("KO", -50), planned("AAPL", 100), session=E)
    floor.journal.set_latch(state, by="reconciliation", reason="8 shares", now=floor.clock.now())
    floor.advance(at(F, "08:45"))
    report = floor.check()
    assert kinds(report)[-1 if state is LatchState.HALTED else -2] == (ConcernKind.LATCH, "")
    assert not report.still_live
    working = {name: status for name, status in floor.states(E).items() if status is S.SUBMITTED}
    assert working == left


def test_the_sales_of_a_flatten_wait_for_the_open_although_trading_is_halted(floor: Floor) -> None:
    floor.send(planned("KO", 50))
    floor.advance(at(E, "18:30"))
    floor.store_closes(session=E)
    floor.journal.set_latch(LatchState.HALTED, by="ann", reason="storm", now=floor.clock.now())
    with floor.connect() as broker:
        offer = offer_flatten(floor.settings, floor.journal, broker, by="ann", now=floor.clock.now())
    flatten(
        floor.settings,
        floor.store,
        floor.journal,
        floor.connect,
        offer.code,
        by="ann",
        reason="out",
        clock=floor.clock,
    )
    floor.advance(at(F, "08:45"))
    assert floor.check().withdrawn == ()
    assert floor.states(E) == {"KO": S.SUBMITTED}
