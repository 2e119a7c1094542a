"""Sending a plan: once, inside the window, only when ledger and broker agree."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from order_support import (
    ACCOUNT,
    BentBroker,
    D,
    E,
    F,
    at,
    connected,
    engine,
    freeze,
    manager,
    planned,
    sync,
)

from hrp_core.errors import ReconciliationBreakError, RefusedError
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import LatchState, OrderStatus, PlanStatus
from hrp_core.matching import NewOrder, Side
from hrp_core.portfolio.types import SymbolAction

S = OrderStatus


def test_a_plan_is_sent_whole_filled_at_the_open_and_booked(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 100), planned("KO", 50))
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert report.status is PlanStatus.SENT
    assert report.count(S.SUBMITTED) == len(report.placed) == 2
    assert not report.stopped
    broker.advance(at(E, "17:45"))
    learned = sync(broker, journal)
    assert learned.new_executions == 2
    assert learned.cash_breaks == ()
    assert {intent.status for intent in journal.plan(frozen.plan_id).intents} == {S.FILLED}
    book = read_book(journal, through=E)
    assert book.state().shares == {"AAPL": 100, "KO": 50}
    assert book.cash == broker.snapshot().values.cash


def test_sending_again_places_nothing(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 100), planned("KO", 50))
    first = manager(broker, journal).submit_plan(frozen.plan_id)
    again = manager(broker, journal).submit_plan(frozen.plan_id)
    assert (again.placed, again.status) == ((), PlanStatus.SENT)
    assert again.intents == first.intents
    assert broker.orders_received == 2


def test_exits_are_sent_before_entries(journal: Journal, broker: BentBroker) -> None:
    manager(broker, journal).submit_plan(freeze(journal, broker, planned("KO", 100)).plan_id)
    broker.advance(at(E, "18:30"))
    plan = freeze(journal, broker, planned("AAPL", 10), planned("KO", -100), planned("MSFT", 5), session=E)
    report = manager(broker, journal).submit_plan(plan.plan_id)
    sides = [journal.sent([ref])[ref][1].leg for ref in report.placed]
    assert sides == ["decrease", "increase", "increase"]


@pytest.mark.parametrize(
    ("session", "moment", "sent"),
    [
        (D, at(D, "16:05"), False),
        (D, at(D, "16:09:59"), False),
        (D, at(D, "16:10"), True),
        (D, at(E, "09:24"), True),
        (D, at(E, "09:26"), False),
        (D, at(E, "09:31"), False),
        (E, at(E + timedelta(days=1), "12:00"), True),  # Saturday: Friday's orders for Monday
        (D, at(E + timedelta(days=1), "12:00"), False),  # Thursday's are history by then
        (E, at(F, "09:24"), True),
        (E, at(E, "12:00"), False),  # not decided yet
        (date(2022, 11, 25), at(date(2022, 11, 25), "13:09"), False),  # half day
        (date(2022, 11, 25), at(date(2022, 11, 25), "13:10"), True),
        (date(2022, 11, 25), at(date(2022, 11, 28), "09:24"), True),
    ],
)
def test_orders_leave_inside_the_send_window_only(
    journal: Journal, session: date, moment: datetime, sent: bool
) -> None:
    broker = connected(BentBroker(engine(moment)))
    frozen = freeze(journal, broker, planned("AAPL", 100), session=session)
    if sent:
        assert manager(broker, journal).submit_plan(frozen.plan_id).count(S.SUBMITTED) == 1
    else:
        with pytest.raises(RefusedError):
            manager(broker, journal).submit_plan(frozen.plan_id)
    assert broker.orders_received == int(sent)


def test_past_the_window_what_was_not_sent_is_expired(journal: Journal) -> None:
    broker = connected(BentBroker(engine(at(E, "09:26"))))
    frozen = freeze(journal, broker, planned("AAPL", 100))
    with pytest.raises(RefusedError, match=r"may be sent from Thu 2022-12-15 16:10 to Fri 2022-12-16 09:25"):
        manager(broker, journal).submit_plan(frozen.plan_id)
    (intent,) = journal.plan(frozen.plan_id).intents
    assert intent.status is S.EXPIRED
    assert "window closed" in intent.reason
    assert manager(broker, journal).submit_plan(frozen.plan_id).placed == ()


def test_before_the_window_opens_orders_stay_pending(journal: Journal) -> None:
    broker = connected(BentBroker(engine(at(D, "16:05"))))
    frozen = freeze(journal, broker, planned("AAPL", 100))
    with pytest.raises(RefusedError):
        manager(broker, journal).submit_plan(frozen.plan_id)
    assert journal.plan(frozen.plan_id).intents[0].status is S.PENDING


def test_the_window_closing_while_sending_stops_it(journal: Journal) -> None:
    broker = connected(BentBroker(engine(at(E, "09:24"))))
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10), planned("MSFT", 10))
    broker.after_place = lambda _: broker.advance(at(E, "09:25"))
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert (len(report.placed), len(report.pending)) == (1, 2)
    assert "window" in report.stopped


@pytest.mark.parametrize("state", ["proposed", "rejected", "superseded"])
def test_a_plan_that_is_not_approved_is_not_sent(journal: Journal, broker: BentBroker, state: str) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 100), approve=False)
    if state == "rejected":
        journal.reject(frozen.plan_id, by="ann", plan_hash=frozen.inputs_hash, now=broker.now(), reason="no")
    elif state == "superseded":
        freeze(journal, broker, planned("AAPL", 90))
    if state == "proposed":
        with pytest.raises(RefusedError, match="is proposed, not approved"):
            manager(broker, journal).submit_plan(frozen.plan_id)
    else:  # its intents are EXPIRED: there is nothing to refuse
        assert manager(broker, journal).submit_plan(frozen.plan_id).placed == ()
    assert broker.orders_received == 0


def test_a_plan_of_another_account_or_mode_is_refused(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 100))
    with pytest.raises(RefusedError, match="for sim account DU1234567"):
        manager(broker, journal, mode="paper").submit_plan(frozen.plan_id)
    other = connected(BentBroker(engine(), "DU7654321"))
    with pytest.raises(RefusedError, match="DU7654321"):
        manager(other, journal).submit_plan(frozen.plan_id)
    assert broker.orders_received == other.orders_received == 0


def test_nothing_is_sent_while_shares_differ(journal: Journal, broker: BentBroker) -> None:
    sync(broker, journal)
    broker.engine.place(NewOrder("KO", Side.BUY, 7, order_ref="by hand"))
    broker.advance(at(E, "18:30"))
    broker.bend = lambda snapshot: replace(snapshot, executions=(), completed_orders=())
    frozen = freeze(journal, broker, planned("AAPL", 100), session=E)
    with pytest.raises(ReconciliationBreakError, match="KO: the ledger has 0 shares, the broker 7"):
        manager(broker, journal).submit_plan(frozen.plan_id)
    assert broker.orders_received == 0


def test_a_dry_run_checks_everything_and_sends_nothing(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 100), approve=False)
    report = manager(broker, journal, dry_run=True).submit_plan(frozen.plan_id)
    assert (report.dry_run, report.placed, len(report.pending)) == (True, (), 1)
    assert broker.orders_received == 0
    assert journal.newest_snapshot() is not None
    with pytest.raises(RefusedError):
        manager(connected(BentBroker(engine(at(E, "09:26")))), journal, dry_run=True).submit_plan(
            frozen.plan_id
        )
    assert journal.plan(frozen.plan_id).intents[0].status is S.PENDING


def test_a_plan_without_orders_is_sent_by_sending_nothing(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker)
    assert manager(broker, journal).submit_plan(frozen.plan_id).status is PlanStatus.SENT


def test_a_halt_stops_before_the_first_order_and_between_orders(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    broker.after_place = lambda _: journal.set_latch(
        LatchState.HALTED, by="ann", reason="storm", now=broker.now()
    )
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert (len(report.placed), len(report.pending)) == (1, 1)
    assert report.stopped == "trading is halted by ann: storm"
    with pytest.raises(RefusedError, match="halted by ann: storm"):
        manager(broker, journal).resume(frozen.plan_id)
    broker.after_place = lambda _: None
    journal.set_latch(LatchState.ACTIVE, by="ann", reason="over", now=broker.now())
    assert manager(broker, journal).resume(frozen.plan_id).count(S.SUBMITTED) == 2


def test_while_reducing_only_exits_go(journal: Journal, broker: BentBroker) -> None:
    manager(broker, journal).submit_plan(freeze(journal, broker, planned("KO", 100)).plan_id)
    broker.advance(at(E, "18:30"))
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", -100), session=E)
    journal.set_latch(LatchState.REDUCING, by="drawdown", reason="3 %", now=broker.now())
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert [intent.contract.symbol for intent in report.pending] == ["AAPL"]
    assert report.skipped == ("AAPL",)
    assert len(report.placed) == 1


@pytest.mark.parametrize(
    ("action", "sent"),
    [
        (SymbolAction.FREEZE, {"AAPL"}),
        (SymbolAction.NO_BUY, {"AAPL", "MSFT"}),
        (SymbolAction.EXIT, {"AAPL", "MSFT"}),
    ],
)
def test_a_name_restricted_after_the_plan_was_frozen_is_not_traded_by_it(
    journal: Journal, broker: BentBroker, action: SymbolAction, sent: set[str]
) -> None:
    first = freeze(journal, broker, planned("MSFT", 10))
    manager(broker, journal).submit_plan(first.plan_id)
    broker.advance(at(E, "18:30"))
    broker.connect()
    plan = freeze(journal, broker, planned("MSFT", -10), planned("KO", 10), planned("AAPL", 10), session=E)
    for name in ("KO", "MSFT"):
        journal.control_symbol(name, action, until=None, by="ann", reason="merger", now=broker.now())
    report = manager(broker, journal).submit_plan(plan.plan_id)
    assert {item.contract.symbol for item in report.intents if item.status is S.SUBMITTED} == sent
    assert set(report.skipped) == {"AAPL", "KO", "MSFT"} - sent
    assert report.status is PlanStatus.APPROVED
    journal.control_symbol("KO", None, until=None, by="ann", reason="over", now=broker.now())
    assert len(manager(broker, journal).submit_plan(plan.plan_id).placed) == 1


def test_at_most_so_many_orders_are_unanswered_at_any_moment(journal: Journal, broker: BentBroker) -> None:
    symbols = ["AAPL", "KO", "MSFT"]
    frozen = freeze(journal, broker, *(planned(symbol, 5) for symbol in symbols))
    broker.deaf = lambda _: True
    unanswered: list[int] = []
    broker.on_place = lambda _: unanswered.append(
        sum(attempt.status is S.SENT for attempt in journal.live_attempts())
    )
    report = manager(broker, journal, max_in_flight=2).submit_plan(frozen.plan_id)
    assert max(unanswered) == 2
    # The second look finds all of them.
    assert report.count(S.SUBMITTED) == 3
    first = journal.evidence(report.placed[0])
    assert [item.message.split(";")[0] for item in first[:1]] == ["no answer within 0.05 s"]


def test_the_account_is_bound_at_the_first_connection(journal: Journal, broker: BentBroker) -> None:
    sync(broker, journal)
    assert journal.binding() == ("sim", ACCOUNT)
