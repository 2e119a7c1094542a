"""What the order manager makes of a broker that is silent, gone, or says strange things."""

from dataclasses import replace

import pytest
from order_support import (
    BentBroker,
    D,
    E,
    F,
    at,
    freeze,
    manager,
    planned,
    sync,
)

from hrp_core.errors import (
    BrokerConnectionError,
    BrokerError,
    HrpError,
    ReconciliationBreakError,
    RefusedError,
)
from hrp_core.execution.broker import BrokerSnapshot, NotSentError, OrderEvent, OrderRequest
from hrp_core.execution.orders import BrokerNotConnectedError, Order, OrderSide
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import OrderId, OrderStatus, PlanStatus, StaleEpochError

S = OrderStatus


def by_symbol(journal: Journal, plan_id: str) -> dict[str, OrderStatus]:
    return {intent.contract.symbol: intent.status for intent in journal.plan(plan_id).intents}


def lose(broker: BentBroker, symbol: str) -> None:
    """Let the orders of one name vanish on the way: the sender is told nothing, the broker has nothing."""
    place = broker.place

    def place_or_lose(request: OrderRequest) -> None:
        if request.contract.symbol == symbol:
            broker.refs.append(request.order_ref)
        else:
            place(request)

    broker.place = place_or_lose  # type: ignore[method-assign]


def test_an_order_that_nobody_has_seen_is_unknown_and_never_sent_again(
    journal: Journal, broker: BentBroker
) -> None:
    lose(broker, "KO")
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10), planned("MSFT", 10))
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": S.SUBMITTED, "KO": S.UNKNOWN, "MSFT": S.SUBMITTED}
    assert [intent.contract.symbol for intent in report.unknown] == ["KO"]
    assert report.status is PlanStatus.SENT
    for _ in range(3):
        assert manager(broker, journal).resume(frozen.plan_id).placed == ()
    assert len(broker.refs) == 3


def test_an_order_that_was_held_up_past_its_window_between_claim_and_sending_is_not_sent(
    journal: Journal, broker: BentBroker
) -> None:
    given = broker.next_order_id

    def asleep_until_the_market_trades() -> OrderId:
        broker.advance(at(E, "10:00"))
        return given()

    broker.next_order_id = asleep_until_the_market_trades  # type: ignore[method-assign]
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert broker.refs == []
    assert "the send window" in report.stopped
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": S.PENDING, "KO": S.PENDING}
    with pytest.raises(RefusedError, match="may be sent from"):
        manager(broker, journal).submit_plan(frozen.plan_id)
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": S.EXPIRED, "KO": S.EXPIRED}


def test_an_unknown_order_locks_its_contract_for_the_next_plan_until_its_session_has_shown_it_dead(
    journal: Journal, broker: BentBroker
) -> None:
    lose(broker, "KO")
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    manager(broker, journal).submit_plan(frozen.plan_id)
    broker.advance(at(E, "15:00"))
    assert sync(broker, journal).expired == ()  # its session still runs
    assert by_symbol(journal, frozen.plan_id)["KO"] is S.UNKNOWN
    broker.advance(at(E, "16:15"))
    learned = sync(broker, journal)
    assert len(learned.expired) == 1
    assert learned.unknown == ()
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": S.FILLED, "KO": S.EXPIRED_UNSEEN}
    del broker.place  # the line is good again
    following = freeze(journal, broker, planned("KO", 20), session=E)
    assert manager(broker, journal).submit_plan(following.plan_id).count(S.SUBMITTED) == 1


def test_without_a_look_at_its_session_an_unknown_order_stays_locked_until_a_person_decides(
    journal: Journal, broker: BentBroker
) -> None:
    lose(broker, "KO")
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    manager(broker, journal).submit_plan(frozen.plan_id)
    ref = next(iter(journal.locked_contracts().values()))
    broker.advance(at(E, "16:15"))
    broker.bend = lambda snapshot: replace(snapshot, asked_at=at(F, "10:00"))
    assert sync(broker, journal).unknown == (ref,)
    broker.bend = lambda snapshot: snapshot
    broker.advance(at(E, "18:30"))
    later = freeze(journal, broker, planned("KO", 20), planned("MSFT", 5), session=E)
    lost_sight = manager(broker, journal)
    broker.bend = lambda snapshot: replace(snapshot, asked_at=at(F, "10:00"))
    report = lost_sight.submit_plan(later.plan_id)
    assert report.skipped == ("KO",)
    assert by_symbol(journal, later.plan_id) == {"KO": S.PENDING, "MSFT": S.SUBMITTED}
    assert report.status is PlanStatus.APPROVED
    journal.resolve(ref, S.EXPIRED, by="ann", reason="not in the activity statement", now=broker.now())
    assert lost_sight.resume(later.plan_id).status is PlanStatus.SENT


def test_an_acknowledgement_that_was_lost_is_found_by_asking(journal: Journal, broker: BentBroker) -> None:
    broker.deaf = lambda _: True
    frozen = freeze(journal, broker, planned("AAPL", 10))
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert report.count(S.SUBMITTED) == 1
    assert broker.orders_received == 1


def test_a_connection_that_ends_between_orders_leaves_the_rest_pending(
    journal: Journal, broker: BentBroker
) -> None:
    def hang_up(_: OrderRequest) -> None:
        if broker.orders_received == 2:
            broker.disconnect()

    broker.after_place = hang_up
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10), planned("MSFT", 10))
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert report.stopped == "the connection to the broker ended"
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": S.SUBMITTED, "KO": S.SUBMITTED, "MSFT": S.PENDING}
    with pytest.raises(BrokerNotConnectedError, match=r"^Broker not connected$"):
        manager(broker, journal).resume(frozen.plan_id)
    broker.connect()
    done = manager(broker, journal).resume(frozen.plan_id)
    assert (done.count(S.SUBMITTED), done.status) == (3, PlanStatus.SENT)
    assert broker.orders_received == 3


def test_a_connection_that_ends_before_the_answer_leaves_an_unknown_order_that_resume_finds(
    journal: Journal, broker: BentBroker
) -> None:
    def hang_up(request: OrderRequest) -> None:
        broker.deaf = lambda ref: ref == request.order_ref
        broker.disconnect()

    broker.after_place = hang_up
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    manager(broker, journal).submit_plan(frozen.plan_id)
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": S.UNKNOWN, "KO": S.PENDING}
    broker.after_place = lambda _: None
    broker.deaf = lambda _: False
    broker.connect()
    manager(broker, journal).resume(frozen.plan_id)
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": S.SUBMITTED, "KO": S.SUBMITTED}
    assert broker.orders_received == 2


@pytest.mark.parametrize("error", [BrokerConnectionError("gone"), BrokerError("broken")])
def test_a_broker_that_fails_while_placing_leaves_the_order_unknown(
    journal: Journal, broker: BentBroker, error: BrokerError
) -> None:
    def fail(request: OrderRequest) -> None:
        if request.contract.symbol == "KO":
            raise error

    broker.on_place = fail
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    if isinstance(error, BrokerConnectionError):
        manager(broker, journal).submit_plan(frozen.plan_id)
    else:
        with pytest.raises(BrokerError, match="broken"):
            manager(broker, journal).submit_plan(frozen.plan_id)
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": S.SUBMITTED, "KO": S.UNKNOWN}


def test_a_request_that_cannot_be_sent_stays_pending_and_the_others_go_on(
    journal: Journal, broker: BentBroker
) -> None:
    def refuse(request: OrderRequest) -> None:
        if request.contract.symbol == "AAPL":
            raise RefusedError("no such order type. Nothing was sent")

    broker.on_place = refuse
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": S.PENDING, "KO": S.SUBMITTED}
    assert "no such order type" in report.intents[0].reason
    assert (report.status, len(report.placed)) == (PlanStatus.APPROVED, 1)
    broker.advance(at(E, "09:25"))
    with pytest.raises(RefusedError, match="may be sent from"):
        manager(broker, journal).resume(frozen.plan_id)
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": S.EXPIRED, "KO": S.SUBMITTED}


@pytest.mark.parametrize("error", [NotSentError("not one byte"), RefusedError("a reader. Nothing was sent")])
def test_an_order_that_never_left_is_sent_by_the_next_run_as_a_second_attempt(
    journal: Journal, broker: BentBroker, error: HrpError
) -> None:
    def fail(request: OrderRequest) -> None:
        if request.contract.symbol == "KO":
            raise error

    broker.on_place = fail
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10), planned("MSFT", 10))
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert by_symbol(journal, frozen.plan_id)["KO"] is S.PENDING
    assert report.unknown == ()
    assert [ref[-2:] for ref in report.placed] == ["-1"] * (3 - len(report.pending))
    broker.on_place = lambda _: None
    done = manager(broker, journal).resume(frozen.plan_id)
    assert (done.count(S.SUBMITTED), done.status) == (3, PlanStatus.SENT)
    ko = journal.plan(frozen.plan_id).intents[1]
    assert [(item.number, item.quantity, item.status) for item in journal.attempts(ko.intent_id)] == [
        (1, 10, S.NOT_SENT),
        (2, 10, S.SUBMITTED),
    ]
    assert broker.orders_received == 3


def test_a_connection_that_cannot_carry_orders_ends_the_sending_after_one_attempt(
    journal: Journal, broker: BentBroker
) -> None:
    def fail(_: OrderRequest) -> None:
        raise NotSentError("1100: the broker lost its connection")

    broker.on_place = fail
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert "1100" in report.stopped
    assert len(journal.attempts()) == 1


def test_a_single_order_that_never_left_is_expired_with_the_cause(
    journal: Journal, broker: BentBroker
) -> None:
    def fail(_: OrderRequest) -> None:
        raise NotSentError("the line is dead")

    broker.on_place = fail
    order = manager(broker, journal).submit_order(Order("KO", OrderSide.BUY, 10))
    assert (order.status, order.submitted_at) == (S.EXPIRED, None)
    assert "the line is dead" in order.reason


def test_a_broker_that_knows_an_order_overrules_that_it_never_left(
    journal: Journal, broker: BentBroker
) -> None:
    def lie(request: OrderRequest) -> None:
        raise NotSentError("so it seemed")

    broker.after_place = lie
    frozen = freeze(journal, broker, planned("AAPL", 10))
    assert manager(broker, journal).submit_plan(frozen.plan_id).count(S.PENDING) == 1
    assert manager(broker, journal).resume(frozen.plan_id).count(S.SUBMITTED) == 1
    assert broker.orders_received == 1


def test_two_attempts_that_turn_out_to_be_at_the_broker_stop_everything(
    journal: Journal, broker: BentBroker
) -> None:
    def lie(request: OrderRequest) -> None:
        broker.after_place = lambda _: None
        raise NotSentError("so it seemed")

    broker.after_place = lie
    broker.bend = lambda snapshot: replace(snapshot, open_orders=())
    frozen = freeze(journal, broker, planned("AAPL", 10))
    manager(broker, journal).submit_plan(frozen.plan_id)
    with pytest.raises(
        ReconciliationBreakError, match="together may fill 20 AAPL, but the intent asks for 10"
    ):
        manager(broker, journal).resume(frozen.plan_id)


@pytest.mark.parametrize("end", [S.CANCELLED, S.REJECTED])
def test_what_is_left_of_a_cancelled_or_rejected_order_is_not_sent_again(
    journal: Journal, broker: BentBroker, end: OrderStatus
) -> None:
    if end is S.REJECTED:
        frozen = freeze(journal, broker, planned("AAPL", -10))
        manager(broker, journal).submit_plan(frozen.plan_id)
    else:
        frozen = freeze(journal, broker, planned("AAPL", 10))
        manager(broker, journal).submit_plan(frozen.plan_id)
        manager(broker, journal).cancel_order(frozen.intents[0].intent_id)
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": end}
    assert manager(broker, journal).resume(frozen.plan_id).placed == ()
    assert broker.orders_received == 1


def test_our_own_bug_after_the_claim_loses_nothing(journal: Journal, broker: BentBroker) -> None:
    def bug(_: OrderRequest) -> None:
        raise ZeroDivisionError

    broker.after_place = bug
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    with pytest.raises(ZeroDivisionError):
        manager(broker, journal).submit_plan(frozen.plan_id)
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": S.SENT, "KO": S.PENDING}
    broker.after_place = lambda _: None
    assert manager(broker, journal).resume(frozen.plan_id).count(S.SUBMITTED) == 2
    assert broker.orders_received == 2


def test_a_rejected_order_is_rejected_with_the_brokers_reason(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", -10), planned("KO", 10))  # nothing to sell
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert by_symbol(journal, frozen.plan_id) == {"AAPL": S.REJECTED, "KO": S.SUBMITTED}
    assert report.intents[0].reason.startswith("201: Order rejected")
    assert manager(broker, journal).resume(frozen.plan_id).placed == ()


def test_a_cancel_that_came_from_an_error_is_asked_about(journal: Journal, broker: BentBroker) -> None:
    """10349, "TIF set by preset": a library shows a live order as cancelled; fifteen were sent once (F1)."""
    frozen = freeze(journal, broker, planned("AAPL", 10))

    def preset(request: OrderRequest) -> None:
        broker.hints.append(OrderEvent(request.order_ref, status=S.UNKNOWN, code=10349, message="TIF set"))

    broker.after_place = preset
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert report.count(S.SUBMITTED) == 1
    assert broker.orders_received == 1


def test_a_newer_writer_takes_over_and_the_older_one_sends_no_more(
    journal: Journal, broker: BentBroker
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10), planned("MSFT", 10))
    second = manager(broker, journal)

    def take_over(_: OrderRequest) -> None:
        broker.after_place = lambda _: None
        second.submit_plan(frozen.plan_id)

    broker.after_place = take_over
    with pytest.raises(StaleEpochError):
        manager(broker, journal).submit_plan(frozen.plan_id)
    assert set(by_symbol(journal, frozen.plan_id).values()) == {S.SUBMITTED}
    assert broker.orders_received == 3


def test_an_order_that_fills_more_than_was_sent_stops_everything(
    journal: Journal, broker: BentBroker
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10))
    manager(broker, journal).submit_plan(frozen.plan_id)
    broker.advance(at(E, "18:30"))

    def double(snapshot: BrokerSnapshot) -> BrokerSnapshot:
        fill = snapshot.executions[0]
        return replace(
            snapshot, executions=(fill, replace(fill, exec_id=fill.exec_id.replace(".01.01", ".02.01")))
        )

    broker.bend = double
    with pytest.raises(BrokerError, match="says 10 shares filled, its executions add up to 20"):
        sync(broker, journal)
    following = freeze(journal, broker, planned("KO", 10), session=E)
    broker.bend = lambda snapshot: replace(snapshot, completed_orders=())
    with pytest.raises(ReconciliationBreakError, match="filled 20 AAPL, but 10 were sent"):
        manager(broker, journal).submit_plan(following.plan_id)
    assert broker.orders_received == 1


def test_one_reference_with_two_orders_behind_it_stops_everything(
    journal: Journal, broker: BentBroker
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10))

    def duplicate(request: OrderRequest) -> None:
        broker.hints.append(OrderEvent(request.order_ref, perm_id=99, status=S.SUBMITTED))

    broker.after_place = duplicate
    with pytest.raises(ReconciliationBreakError, match="names more than one order at the broker: permIds"):
        manager(broker, journal).submit_plan(frozen.plan_id)


def test_a_reject_of_every_order_is_a_sent_plan(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", -10))
    assert manager(broker, journal).submit_plan(frozen.plan_id).status is PlanStatus.SENT
    assert journal.latest_plan(D) is not None
