"""Claims are committed one by one before their sends, plain answers in groups, anything else at once."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from order_support import EVENING, BentBroker, connected, freeze, manager, planned

from hrp_core.calendar import nyse
from hrp_core.errors import JournalError
from hrp_core.execution.broker import OrderEvent, OrderRequest
from hrp_core.execution.sender import Sender
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Evidence, Execution, FrozenPlan, LatchState, OrderStatus
from hrp_core.matching import Engine, EngineState, Tape

S = OrderStatus
NAMES = [f"S{number:02d}" for number in range(12)]


class CountingJournal(Journal):
    """The journal, noting of how many orders each commit of the broker's messages was."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.groups: list[int] = []

    def record(self, evidence: Any, executions: Sequence[Execution] = (), **more: Any) -> int:
        told: list[Evidence] = list(evidence)
        if more.get("as_of") is None:
            self.groups.append(len({item.order_ref for item in told}))
        return super().record(told, executions, **more)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[CountingJournal]:
    journal = CountingJournal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


@pytest.fixture
def broker() -> BentBroker:
    sessions = nyse().between(EVENING.date(), nyse().next(EVENING.date()))
    prices = dict.fromkeys(("open", "high", "low", "close"), 10.0)
    rows = [
        {"session": session, "symbol": symbol, **prices, "volume": None}
        for session in sessions
        for symbol in NAMES
    ]
    tape = Tape.from_frame(pd.DataFrame(rows))
    return connected(BentBroker(Engine(tape, EngineState.opening(now=EVENING, cash=Decimal(100_000)))))


def basket(journal: Journal, broker: BentBroker) -> FrozenPlan:
    return freeze(journal, broker, *(planned(symbol, 1) for symbol in NAMES))


def statuses(journal: Journal, plan: FrozenPlan) -> list[OrderStatus]:
    return [intent.status for intent in journal.plan(plan.plan_id).intents]


@pytest.mark.parametrize(
    ("window", "groups"), [(1, [1] * 12), (2, [1] * 12), (8, [4, 4, 4]), (20, [10, 2]), (60, [12])]
)
def test_plain_acknowledgements_are_committed_when_they_are_of_half_the_window(
    journal: CountingJournal, broker: BentBroker, window: int, groups: list[int]
) -> None:
    plan = basket(journal, broker)
    manager(broker, journal, max_in_flight=window, ack_timeout=30).submit_plan(plan.plan_id)
    assert journal.groups == groups
    assert statuses(journal, plan) == [S.SUBMITTED] * 12


@pytest.mark.parametrize("window", [1, 2, 3, 8, 20])
def test_every_order_is_in_the_file_before_it_is_sent_and_the_window_holds_by_what_is_in_the_file(
    journal: CountingJournal, broker: BentBroker, window: int
) -> None:
    plan = basket(journal, broker)
    other = Journal(journal.path)
    most = 0

    def look(request: OrderRequest) -> None:
        nonlocal most
        unanswered = other.sent_with_status(S.SENT)
        assert request.order_ref in unanswered
        most = max(most, len(unanswered))

    broker.on_place = look
    manager(broker, journal, max_in_flight=window, ack_timeout=30).submit_plan(plan.plan_id)
    other.close()
    assert broker.orders_received == 12
    assert most <= window


def test_a_reject_is_in_the_file_before_the_next_order_is_sent_with_all_that_was_heard_before_it(
    journal: CountingJournal, broker: BentBroker
) -> None:
    plan = basket(journal, broker)
    seen: list[list[OrderStatus]] = []

    def reject(request: OrderRequest) -> None:
        if len(broker.refs) == 3:
            broker.hints.append(OrderEvent(request.order_ref, status=S.REJECTED, code=201, message="no"))

    def look(_: OrderRequest) -> None:
        seen.append(statuses(journal, plan)[:3])

    broker.after_place, broker.on_place = reject, look
    manager(broker, journal, ack_timeout=30).submit_plan(plan.plan_id)
    assert seen[2] == [S.SENT, S.SENT, S.SENT]
    assert seen[3] == [S.SUBMITTED, S.SUBMITTED, S.REJECTED]


def test_a_limit_of_the_broker_halts_before_the_next_order_is_sent(
    journal: CountingJournal, broker: BentBroker
) -> None:
    plan = basket(journal, broker)

    def refuse(request: OrderRequest) -> None:
        if len(broker.refs) == 3:
            broker.hints.append(OrderEvent(request.order_ref, status=S.REJECTED, code=451, message="big"))

    broker.after_place = refuse
    report = manager(broker, journal, ack_timeout=30).submit_plan(plan.plan_id)
    assert journal.latch().state is LatchState.HALTED
    assert broker.orders_received == 3
    assert report.stopped.startswith("trading is halted by order limits")
    assert statuses(journal, plan) == [S.SUBMITTED, S.SUBMITTED, S.REJECTED, *[S.PENDING] * 9]


@pytest.mark.parametrize(
    ("before", "by", "reason"),
    [
        (LatchState.REDUCING, "order limits", "451, big"),
        (LatchState.HALTED, "ann", "the weekly stop"),
    ],
)
def test_a_limit_of_the_broker_closes_the_latch_further_and_keeps_the_reason_of_who_had_halted(
    journal: CountingJournal, broker: BentBroker, before: LatchState, by: str, reason: str
) -> None:
    """Whoever resumes must find the halt that came first, not only the last one to see it."""
    plan = basket(journal, broker)

    def refuse(request: OrderRequest) -> None:
        if len(broker.refs) == 3:
            journal.set_latch(before, by="ann", reason="the weekly stop", now=broker.now())
            broker.hints.append(OrderEvent(request.order_ref, status=S.REJECTED, code=451, message="big"))

    broker.after_place = refuse
    manager(broker, journal, ack_timeout=30).submit_plan(plan.plan_id)
    latch = journal.latch()
    assert (latch.state, latch.by, broker.orders_received) == (LatchState.HALTED, by, 3)
    assert latch.reason.endswith(reason)
    assert latch.evidence == (broker.refs[2] if before is LatchState.REDUCING else "")


def test_a_lost_connection_loses_no_answer_that_was_heard(
    journal: CountingJournal, broker: BentBroker
) -> None:
    plan = basket(journal, broker)

    def hang_up(request: OrderRequest) -> None:
        if len(broker.refs) == 3:
            broker.deaf = lambda ref: ref == request.order_ref
            broker.disconnect()

    broker.after_place = hang_up
    manager(broker, journal, ack_timeout=30).submit_plan(plan.plan_id)
    assert statuses(journal, plan) == [S.SUBMITTED, S.SUBMITTED, S.UNKNOWN, *[S.PENDING] * 9]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ZeroDivisionError])
def test_whatever_ends_the_loop_what_was_heard_is_written_first(
    journal: CountingJournal, broker: BentBroker, failure: type[BaseException]
) -> None:
    plan = basket(journal, broker)

    def fail(_: OrderRequest) -> None:
        if len(broker.refs) == 4:
            raise failure

    broker.after_place = fail
    with pytest.raises(failure):
        manager(broker, journal, ack_timeout=30).submit_plan(plan.plan_id)
    assert statuses(journal, plan) == [*[S.SUBMITTED] * 3, S.SENT, *[S.PENDING] * 8]


def test_a_commit_that_fails_once_is_made_again_and_no_order_becomes_unknown(
    journal: CountingJournal, broker: BentBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = basket(journal, broker)
    record = Sender._record
    failures = [JournalError("locked")]

    def fail_once(self: Sender, events: Sequence[OrderEvent]) -> None:
        if failures:
            raise failures.pop()
        record(self, events)

    monkeypatch.setattr(Sender, "_record", fail_once)
    with pytest.raises(JournalError, match="locked"):
        manager(broker, journal, max_in_flight=6, ack_timeout=30).submit_plan(plan.plan_id)
    assert statuses(journal, plan) == [*[S.SUBMITTED] * 3, *[S.PENDING] * 9]


def test_an_answer_that_died_with_its_process_is_found_by_the_next_run(
    journal: CountingJournal, broker: BentBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = basket(journal, broker)

    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Sender, "_record", die)
        with pytest.raises(SystemExit):
            manager(broker, journal, ack_timeout=30).submit_plan(plan.plan_id)
    assert statuses(journal, plan) == [*[S.SENT] * 10, *[S.PENDING] * 2]
    report = manager(broker, journal, ack_timeout=30).resume(plan.plan_id)
    assert (report.count(S.SUBMITTED), broker.orders_received) == (12, 12)
