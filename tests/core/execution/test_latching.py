"""Halting, reducing, resuming and flattening: what is sent, what is cancelled, what is said.

Past 400 lines: one desk in every state that a person may meet it in.
"""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from order_child import CONTEXT, End, Installation, run_writer, start
from order_support import EVENING, BentBroker, D, E, F, at, freeze, manager, planned, sync

from hrp_core.errors import BrokerConnectionError, BrokerError, NotReadyError, RefusedError
from hrp_core.execution.broker import Broker
from hrp_core.execution.config import ClientRole
from hrp_core.execution.flatten import FlattenReport, flatten, offer_flatten
from hrp_core.execution.latching import StopReport, resume_trading, stop_trading
from hrp_core.execution.reconciliation import ReconciliationStatus, run_reconciliation
from hrp_core.execution.sync import sync_broker
from hrp_core.execution.writer_lock import WriterLock
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Break, LatchState, OrderStatus, TradingHaltedError
from hrp_core.matching import NewOrder, Side
from hrp_core.portfolio.types import Plan, Purpose
from hrp_core.settings import Settings
from hrp_core.simgateway.control import GatewayClient
from hrp_core.store import EventType, Store, migrate, read_lineage

S = OrderStatus
WAIT = 60
ConnectAs = Callable[[ClientRole], AbstractContextManager[Broker]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of the installation whose journal and gateway the other fixtures are."""
    return Settings(home=tmp_path, lock_timeout=0.2, send_ack_timeout=0.05)


@pytest.fixture
def store(settings: Settings) -> Store:
    return Store(settings.database_path)


def stop(
    settings: Settings,
    journal: Journal,
    broker: BentBroker,
    state: LatchState = LatchState.HALTED,
    *,
    everything: bool = False,
    connect: ConnectAs | None = None,
) -> StopReport:
    return stop_trading(
        settings,
        Store(settings.database_path),
        journal,
        connect or (lambda _: broker),
        state,
        by="ann",
        reason="storm",
        clock=broker,
        everything=everything,
    )


def held(journal: Journal, broker: BentBroker) -> None:
    """Buy 100 KO and 10 AAPL; the evening after they have traded."""
    plan = freeze(journal, broker, planned("KO", 100), planned("AAPL", 10))
    manager(broker, journal).submit_plan(plan.plan_id)
    broker.advance(at(E, "18:30"))
    broker.connect()
    sync(broker, journal)


def test_a_halt_in_the_middle_of_a_basket_stops_it_and_cancels_what_works(
    installation: Installation, journal: Journal, control: GatewayClient, tmp_path: Path
) -> None:
    with installation.broker() as broker:
        sync_broker(broker, journal, EVENING, mode="sim")
        names = ["AAPL", "KO", "MSFT"]
        plan = journal.freeze_plan(
            Plan(D, E, Decimal(100_000), Decimal(100_000), (), tuple(planned(name, 10) for name in names)),
            mode="sim",
            account=broker.account,
            contracts=broker.qualify(names),
            inputs={},
            now=EVENING,
        )
    journal.approve(plan.plan_id, by="test", plan_hash=plan.inputs_hash, now=EVENING)
    reached = CONTEXT.Event()
    # Its process stands still between the claim of the second order and its sending.
    writer = start(
        run_writer, installation, plan.plan_id, End("claimed", 2, signal.SIGSTOP), 5.0, None, reached
    )
    assert writer.pid is not None
    assert reached.wait(WAIT)
    settings = Settings(home=tmp_path, lock_timeout=30, send_ack_timeout=5)
    reports: list[StopReport] = []

    def halt() -> None:
        reports.append(
            stop_trading(
                settings,
                Store(settings.database_path),
                Journal(installation.journal),
                lambda _: installation.broker(),
                LatchState.HALTED,
                by="ann",
                reason="storm",
                clock=installation.clock(),
            )
        )

    halting = threading.Thread(target=halt)
    halting.start()
    pause = threading.Event()
    for _ in range(600):
        if journal.latch().state is LatchState.HALTED:
            break
        pause.wait(0.05)
    # The latch is set while the sender still holds the lock and the client id.
    assert journal.latch().reason == "storm"
    os.kill(writer.pid, signal.SIGCONT)
    writer.join(WAIT)
    halting.join(WAIT)
    (report,) = reports
    assert (writer.exitcode, control.state().orders_received) == (0, 2)
    assert (len(report.cancelled), report.working, report.problems) == (2, (), ())
    assert [intent.status for intent in journal.plan(plan.plan_id).intents] == [
        S.CANCELLED,
        S.CANCELLED,
        S.PENDING,
    ]
    with installation.broker() as broker:
        assert broker.snapshot().open_orders == ()
    again = start(run_writer, installation, plan.plan_id, End(), 5.0)
    again.join(WAIT)
    assert (again.exitcode, control.state().orders_received) == (3, 2)


def test_no_order_can_be_claimed_after_a_halt(journal: Journal, broker: BentBroker) -> None:
    plan = freeze(journal, broker, planned("KO", 10))
    epoch = journal.acquire_epoch("me", broker.now())
    journal.set_latch(LatchState.HALTED, by="ann", reason="storm", now=broker.now())
    with pytest.raises(TradingHaltedError, match="halted by ann: storm"):
        journal.claim(plan.intents[0].intent_id, "S221215-1-aaaaaa-1", 10, epoch, broker.now())
    assert journal.attempts() == ()
    assert journal.plan(plan.plan_id).intents[0].status is S.PENDING


def test_reducing_cancels_entries_and_leaves_exits(
    settings: Settings, journal: Journal, broker: BentBroker
) -> None:
    held(journal, broker)
    plan = freeze(journal, broker, planned("KO", -100), planned("MSFT", 5), session=E)
    manager(broker, journal).submit_plan(plan.plan_id)
    report = stop(settings, journal, broker, LatchState.REDUCING)
    broker.connect()
    assert [order.contract.symbol for order in broker.snapshot().open_orders] == ["KO"]
    assert (len(report.cancelled), report.is_complete) == (1, True)


def test_reducing_while_halted_would_loosen_the_latch_and_is_refused(
    settings: Settings, journal: Journal, broker: BentBroker
) -> None:
    stop(settings, journal, broker)
    with pytest.raises(RefusedError, match="hrp resume"):
        stop(settings, journal, broker, LatchState.REDUCING)
    assert journal.latch().state is LatchState.HALTED


def test_what_cannot_be_cancelled_is_listed_and_the_latch_stays(
    settings: Settings, journal: Journal, broker: BentBroker
) -> None:
    plan = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    manager(broker, journal).submit_plan(plan.plan_id)
    cancel = broker.cancel

    def stubborn(order_ref: str) -> None:
        if journal.sent([order_ref])[order_ref][1].contract.symbol == "KO":
            raise BrokerError("10148: it cannot be cancelled")
        cancel(order_ref)

    broker.cancel = stubborn  # type: ignore[method-assign]
    report = stop(settings, journal, broker)
    assert [(order.symbol, order.left, order.why) for order in report.working] == [
        ("KO", 10, "10148: it cannot be cancelled")
    ]
    assert (len(report.cancelled), report.is_complete) == (1, False)
    assert journal.latch().state is LatchState.HALTED


def test_an_order_of_unknown_fate_is_listed_as_one_that_may_still_trade(
    settings: Settings, journal: Journal, broker: BentBroker
) -> None:
    plan = freeze(journal, broker, planned("KO", 10))
    intent = plan.intents[0]
    ref = f"S221215-{intent.contract.con_id}-{intent.intent_id[:6]}-1"
    journal.claim(intent.intent_id, ref, 10, journal.acquire_epoch("gone", broker.now()), broker.now())
    report = stop(settings, journal, broker)
    assert [(order.order_ref, order.status) for order in report.working] == [(ref, "unknown")]


def test_without_a_broker_the_latch_is_set_and_it_says_how_to_cancel(
    settings: Settings, journal: Journal, broker: BentBroker
) -> None:
    plan = freeze(journal, broker, planned("KO", 10))
    manager(broker, journal).submit_plan(plan.plan_id)

    def unreachable(role: ClientRole) -> AbstractContextManager[Broker]:
        raise BrokerConnectionError("nothing listens on 127.0.0.1:7497")

    report = stop(settings, journal, broker, everything=True, connect=unreachable)
    assert journal.latch().state is LatchState.HALTED
    assert [order.symbol for order in report.working] == ["KO"]
    assert len(report.problems) == 2
    assert "nothing listens" in report.problems[1]
    assert "TWS" in report.problems[1]


def test_another_writer_that_does_not_end_is_named_and_the_latch_is_set(
    settings: Settings, journal: Journal, broker: BentBroker
) -> None:
    with WriterLock(settings.broker_lock_path, purpose="orders of 2022-12-15"):
        report = stop(settings, journal, broker)
    assert journal.latch().state is LatchState.HALTED
    assert "orders of 2022-12-15" in report.problems[0]


def test_all_also_cancels_orders_that_were_placed_elsewhere(
    settings: Settings, journal: Journal, broker: BentBroker
) -> None:
    sync(broker, journal)
    broker.engine.place(NewOrder("KO", Side.BUY, 7, order_ref="by hand"))
    assert stop(settings, journal, broker).is_complete
    broker.connect()
    assert len(broker.snapshot().open_orders) == 1
    assert stop(settings, journal, broker, everything=True).is_complete
    broker.connect()
    assert broker.snapshot().open_orders == ()


def test_resuming_needs_a_reason_and_names_what_is_not_explained(
    settings: Settings, store: Store, journal: Journal, broker: BentBroker
) -> None:
    stop(settings, journal, broker)
    with pytest.raises(RefusedError, match="with a reason"):
        resume_trading(store, journal, by="ann", reason=" ", now=broker.now())
    assert journal.latch().state is LatchState.HALTED
    assert resume_trading(store, journal, by="ann", reason="calm", now=broker.now()) == ()
    assert journal.latch().state is LatchState.ACTIVE
    with pytest.raises(RefusedError, match="nothing to resume"):
        resume_trading(store, journal, by="ann", reason="calm", now=broker.now())
    for kind in (EventType.TRADING_HALTED, EventType.TRADING_RESUMED):
        assert read_lineage(store, event_type=kind)["actor"].tolist() == ["ann"]


def test_a_halt_while_trading_is_being_resumed_wins(
    settings: Settings, store: Store, journal: Journal, broker: BentBroker
) -> None:
    class Interrupted(Journal):
        """Somebody else halts between the look at the latch and its opening."""

        def breaks(self) -> tuple[Break, ...]:
            journal.set_latch(LatchState.HALTED, by="bob", reason="fire", now=broker.now())
            return super().breaks()

    stop(settings, journal, broker)
    mine = Interrupted(journal.path)
    with pytest.raises(RefusedError, match="meanwhile bob set trading to halted: fire"):
        resume_trading(store, mine, by="ann", reason="calm", now=broker.now())
    mine.close()
    assert (journal.latch().state, journal.latch().by) == (LatchState.HALTED, "bob")
    assert read_lineage(store, event_type=EventType.TRADING_RESUMED).empty


def offer(settings: Settings, journal: Journal, broker: BentBroker) -> str:
    broker.connect()
    return offer_flatten(settings, journal, broker, by="ann", now=broker.now()).code


def sell_all(settings: Settings, journal: Journal, broker: BentBroker, code: str) -> FlattenReport:
    return flatten(
        settings,
        Store(settings.database_path),
        journal,
        lambda: broker,
        code,
        by="ann",
        reason="out",
        clock=broker,
    )


def test_a_flatten_ends_flat_and_reconciled(
    settings: Settings, store: Store, journal: Journal, broker: BentBroker
) -> None:
    held(journal, broker)
    waiting = freeze(journal, broker, planned("MSFT", 5), session=E)
    manager(broker, journal).submit_plan(waiting.plan_id)
    stop(settings, journal, broker)
    report = sell_all(settings, journal, broker, offer(settings, journal, broker))
    assert report.is_complete
    assert report.executes_at == at(F, "09:30")
    assert [(i.contract.symbol, i.side.value, i.quantity) for i in report.report.intents] == [
        ("AAPL", "sell", 10),
        ("KO", "sell", 100),
    ]
    broker.advance(at(F, "18:30"))
    broker.connect()
    migrate(store)
    result = run_reconciliation(settings, store, journal, broker, broker.now(), run_id="test")
    assert result.status is ReconciliationStatus.RECONCILED
    state = read_book(journal).state()
    assert (dict(state.shares), state.cash) == ({}, broker.snapshot().values.cash)
    assert journal.latch().state is LatchState.HALTED
    assert journal.plan(waiting.plan_id).intents[0].status is S.CANCELLED


def test_a_flatten_gives_up_what_the_daily_plan_has_not_sent(
    settings: Settings, journal: Journal, broker: BentBroker
) -> None:
    held(journal, broker)
    plan = freeze(journal, broker, planned("MSFT", 5), session=E)
    stop(settings, journal, broker)
    sell_all(settings, journal, broker, offer(settings, journal, broker))
    resume_trading(Store(settings.database_path), journal, by="ann", reason="over", now=broker.now())
    broker.connect()
    assert manager(broker, journal).submit_plan(plan.plan_id).placed == ()
    assert journal.plan(plan.plan_id).intents[0].reason == "flattened by ann: out"


def test_a_confirmation_is_good_once_for_a_while_and_for_these_positions(
    settings: Settings, journal: Journal, broker: BentBroker
) -> None:
    held(journal, broker)
    stop(settings, journal, broker)
    code, late = offer(settings, journal, broker), offer(settings, journal, broker)
    with pytest.raises(RefusedError, match="was never shown"):
        sell_all(settings, journal, broker, "12345678")
    sell_all(settings, journal, broker, code)
    sent = broker.orders_received
    with pytest.raises(RefusedError, match="was used at"):
        sell_all(settings, journal, broker, code)
    broker.advance(broker.now() + timedelta(minutes=15))
    with pytest.raises(RefusedError, match="expired at"):
        sell_all(settings, journal, broker, late)
    assert broker.orders_received == sent
    broker.connect()
    assert len(broker.snapshot().open_orders) == 2  # a wrong code cancels nothing
    with pytest.raises(RefusedError, match="other positions"):
        journal.use_flatten_code(
            offer(settings, journal, broker), "DU1234567", "other", by="ann", reason="", now=broker.now()
        )


def test_a_second_flatten_replaces_the_first_and_sells_every_share_once(
    settings: Settings, journal: Journal, broker: BentBroker
) -> None:
    held(journal, broker)
    stop(settings, journal, broker)
    sell_all(settings, journal, broker, offer(settings, journal, broker))
    report = sell_all(settings, journal, broker, offer(settings, journal, broker))
    assert (len(report.cancelled), report.is_complete) == (2, True)
    broker.connect()
    broker.advance(at(F, "18:30"))
    broker.connect()
    sync(broker, journal)
    assert dict(read_book(journal).state().shares) == {}
    assert len(journal.plans(purpose=Purpose.FLATTEN)) == 2


def test_a_flatten_is_refused_unless_halted_with_shares_and_before_an_open(
    settings: Settings, journal: Journal, broker: BentBroker
) -> None:
    sync(broker, journal)
    with pytest.raises(RefusedError, match="hrp halt"):
        offer(settings, journal, broker)
    journal.set_latch(LatchState.HALTED, by="ann", reason="storm", now=broker.now())
    with pytest.raises(RefusedError, match="holds no shares"):
        offer(settings, journal, broker)
    broker.advance(at(E, "11:00"))
    with pytest.raises(RefusedError, match="From Fri 2022-12-16 16:10"):
        offer(settings, journal, broker)
    with pytest.raises(RefusedError, match="HRP_DRY_RUN is on"):
        offer(settings.model_copy(update={"dry_run": True}), journal, broker)
    with pytest.raises((RefusedError, NotReadyError)):
        sell_all(settings, journal, broker, "12345678")


def test_a_flatten_plan_is_sent_under_a_halt_only(journal: Journal, broker: BentBroker) -> None:
    sync(broker, journal)
    frozen = journal.freeze_plan(
        Plan(D, E, Decimal(100_000), Decimal(100_000), (), (planned("KO", -1),)),
        mode="sim",
        account=broker.account,
        contracts=broker.qualify(["KO"]),
        inputs={},
        purpose=Purpose.FLATTEN,
        now=broker.now(),
    )
    journal.approve(frozen.plan_id, by="ann", plan_hash=frozen.inputs_hash, now=broker.now())
    with pytest.raises(TradingHaltedError, match="done while trading is halted"):
        manager(broker, journal).submit_plan(frozen.plan_id)
    assert broker.orders_received == 0
