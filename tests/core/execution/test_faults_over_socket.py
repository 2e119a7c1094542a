"""What the broker does wrong on the wire, and what is in the journal and at the gateway afterwards.

The order manager, the journal and the adapter are the real ones, and so is the socket. Faults of the wire
itself are in ibkr/test_ibkr_faults.py, around the open in test_preopen.py and test_open_monitor.py.
"""

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
from order_child import Installation
from order_support import D, E, F, at, planned
from watch_support import Floor, gateway_floor

from hrp_core.errors import (
    IncompleteSnapshotError,
    JournalError,
    ReconciliationBreakError,
    RefusedError,
)
from hrp_core.execution.broker import OrderRequest
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.ibkr_loop import Pacer
from hrp_core.execution.looks import coverage_gaps
from hrp_core.execution.order_manager import OrderManager
from hrp_core.execution.orders import Order
from hrp_core.execution.sync import SyncReport, sync_broker
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import ExternalPolicy, LatchState, OrderStatus, PlanStatus
from hrp_core.portfolio.types import OrderSide, OrderType
from hrp_core.simgateway.control import GatewayClient
from hrp_core.store import Store

S = OrderStatus


@pytest.fixture
def gateway_control(wired: Floor) -> GatewayClient:
    assert wired.gateway is not None
    return wired.gateway


def sync(floor: Floor, external: ExternalPolicy = ExternalPolicy.HALT) -> SyncReport:
    with floor.connect() as broker:
        now = floor.clock.now()
        return sync_broker(broker, floor.journal, now, mode="sim", writer=True, external=external)


def resume(floor: Floor, session=D):
    plan = floor.journal.latest_plan(session)
    assert plan is not None
    with floor.connect() as broker:
        manager = OrderManager(broker, floor.journal, clock=floor.clock, mode="sim", ack_timeout=5)
        return manager.resume(plan.plan_id)


# Orders that end otherwise than they were told to.


def test_a_fill_after_a_confirmed_cancel_counts_and_is_not_traded_again(
    wired: Floor, gateway_control: GatewayClient
) -> None:
    """F10."""
    gateway_control.fault("fill_after_cancel")
    wired.send(planned("AAPL", 100))
    with wired.connect() as broker:
        manager = OrderManager(broker, wired.journal, clock=wired.clock, mode="sim", ack_timeout=5)
        manager.cancel_order(wired.intents()["AAPL"].intent_id)
    assert wired.states() == {"AAPL": S.CANCELLED}
    wired.advance(at(E, "09:31"))
    learned = sync(wired)
    assert (wired.states(), learned.book.state().shares) == ({"AAPL": S.FILLED}, {"AAPL": 100})
    assert learned.cash_breaks == ()


def test_cancelling_an_order_that_has_just_filled_leaves_it_filled(wired: Floor) -> None:
    """F10: 10147 and 10148 say no more than that there is nothing left to cancel."""
    wired.send(planned("AAPL", 100))
    intent_id = wired.intents()["AAPL"].intent_id
    with wired.connect() as broker:
        manager = OrderManager(broker, wired.journal, clock=wired.clock, mode="sim", ack_timeout=5)
        wired.advance(at(E, "09:31"))
        with pytest.raises(Exception, match="has no open order"):
            manager.cancel_order(intent_id)
    sync(wired)
    assert wired.states() == {"AAPL": S.FILLED}


def test_what_is_left_of_a_partial_fill_expires_and_is_not_chased(
    wired: Floor, gateway_control: GatewayClient
) -> None:
    """F11: CANCELLED keeps its fills; the rest is the next session's drift."""
    gateway_control.fault("partial_fill", shares=30, count=2)
    wired.send(planned("AAPL", 100))
    wired.advance(at(E, "18:30"))
    learned = sync(wired)
    intent = wired.intents()["AAPL"]
    assert (intent.status, learned.book.state().shares) == (S.CANCELLED, {"AAPL": intent.filled})
    assert 0 < intent.filled < 100
    with pytest.raises(RefusedError, match="is not the decision session"):
        resume(wired)
    assert gateway_control.state().orders_received == 1


def test_an_order_cancelled_by_hand_is_not_sent_again(wired: Floor, gateway_control: GatewayClient) -> None:
    """F11, F14."""
    wired.send(planned("AAPL", 100), planned("KO", 10))
    gateway_control.fault("human_cancel", order=1)
    assert resume(wired).placed == ()
    assert wired.states() == {"AAPL": S.CANCELLED, "KO": S.SUBMITTED}
    assert gateway_control.state().orders_received == 2


# What the broker says of the account.


def test_lagging_positions_stop_the_next_plan_and_change_no_size(
    wired: Floor, gateway_control: GatewayClient
) -> None:
    """F13: the ledger of fills has the shares at once, the broker's positions minutes later."""
    wired.send(planned("AAPL", 100))
    gateway_control.fault("position_lag", minutes=600)
    wired.advance(at(E, "18:30"))
    with pytest.raises(ReconciliationBreakError, match="AAPL: the ledger has 100 shares, the broker 0"):
        sync(wired)
    with pytest.raises(ReconciliationBreakError, match="AAPL"):
        wired.send(planned("KO", 10), session=E)
    assert gateway_control.state().orders_received == 1
    gateway_control.clear_faults()
    assert resume(wired, E).count(S.SUBMITTED) == 1


def test_an_account_that_looks_flat_while_the_ledger_is_not_stops_everything(
    wired: Floor, gateway_control: GatewayClient
) -> None:
    """F2, F12: an answer that ends and has nothing in it would let the whole book be bought again."""
    wired.send(planned("AAPL", 100))
    wired.advance(at(E, "18:30"))
    sync(wired)
    gateway_control.fault("lying_end", request="positions", count=0)
    with pytest.raises(ReconciliationBreakError, match="AAPL: the ledger has 100 shares, the broker 0"):
        wired.send(planned("KO", 10), session=E)
    assert gateway_control.state().orders_received == 1


def test_an_order_placed_by_hand_stops_or_is_adopted_or_carved_out(
    wired: Floor, gateway_control: GatewayClient
) -> None:
    """F14."""
    sync(wired)
    gateway_control.fault("human_order", symbol="KO", quantity=5)
    with pytest.raises(ReconciliationBreakError, match="was not sent from this journal"):
        wired.send(planned("AAPL", 100))
    assert sync(wired, ExternalPolicy.CARVE_OUT).book.state().shares == {}
    assert resume(wired).count(S.SUBMITTED) == 1
    wired.advance(at(E, "18:30"))
    assert sync(wired).book.state().shares == {"AAPL": 100}  # decided once, and kept
    gateway_control.fault("human_order", symbol="MSFT", quantity=3)
    assert sync(wired, ExternalPolicy.ADOPT).book.state().shares == {"AAPL": 100}
    wired.advance(at(F, "18:30"))
    assert sync(wired).book.state().shares == {"AAPL": 100, "MSFT": 3}


def test_an_order_edited_by_hand_is_not_the_one_that_was_sent(
    wired: Floor, gateway_control: GatewayClient
) -> None:
    """F14."""
    wired.send(planned("AAPL", 100))
    gateway_control.fault("human_edit", order=1, quantity=1000)
    with pytest.raises(ReconciliationBreakError, match=r"buy 1000 AAPL .* but buy 100 AAPL"):
        resume(wired)


def test_one_intent_with_two_orders_behind_it_stops_everything(
    wired: Floor, gateway_control: GatewayClient
) -> None:
    """F7: two permIds under one orderRef; whichever fills, it is counted, and nothing more is sent."""
    wired.send(planned("AAPL", 100))
    gateway_control.fault("human_duplicate", order=1)
    with pytest.raises(ReconciliationBreakError, match="names more than one order at the broker: permIds"):
        sync(wired)
    wired.advance(at(E, "18:30"))
    with pytest.raises((ReconciliationBreakError, IncompleteSnapshotError)):
        wired.send(planned("KO", 10), session=E)
    assert gateway_control.state().orders_received == 1
    assert sum(fill.shares for fill in wired.journal.executions()) == 200


def test_executions_are_corrected_and_busted_to_the_cent(
    wired: Floor, gateway_control: GatewayClient
) -> None:
    """F16: a correction replaces what it corrects, a bust takes it back; neither counts twice."""
    wired.send(planned("AAPL", 100), planned("KO", 10))
    wired.advance(at(E, "10:00"))
    sync(wired)
    gateway_control.fault("correct_execution", n=1, price="110.5")
    learned = sync(wired)
    assert [fill.price for fill in learned.book.fills if fill.symbol == "AAPL"] == [Decimal("110.5")]
    assert learned.cash_breaks == ()
    gateway_control.fault("bust_execution", n=2)
    learned = sync(wired)
    assert learned.book.state().shares == {"AAPL": 100}
    assert (learned.cash_breaks, learned.book.cash) == ((), gateway_control.state().cash)


def test_executions_of_a_day_that_nobody_asked_about_are_a_named_gap(
    wired: Floor, gateway_control: GatewayClient
) -> None:
    """F34: the broker lists the current day's executions only."""
    placed = wired.send(planned("AAPL", 100)).placed
    wired.advance(at(F, "08:00"))
    with pytest.raises(ReconciliationBreakError, match="AAPL: the ledger has 0 shares, the broker 100"):
        sync(wired)
    (gap,) = coverage_gaps(wired.journal, wired.clock.now())
    assert (gap.session, gap.covered_until, gap.order_refs) == (E, None, placed)


# Orders as they are built and refused.


def test_a_price_off_the_tick_is_sent_on_it_on_the_passive_side(
    wired: Floor, gateway_control: GatewayClient
) -> None:
    """F25: as it stands the price would be refused with 110."""
    dirty = Order("AAPL", OrderSide.BUY, 10, OrderType.LIMIT, limit_price=Decimal("118.0799"))
    with wired.connect() as broker:
        manager = OrderManager(broker, wired.journal, clock=wired.clock, mode="sim", ack_timeout=5)
        assert manager.submit_order(dirty).status is S.SUBMITTED
    assert [order.limit for order in gateway_control.state().open_orders] == [Decimal("118.07")]


@pytest.mark.parametrize(
    ("code", "reason"), [(110, "price_off_tick"), (10243, "fraction_refused"), (460, "no_trading_permission")]
)
@pytest.mark.parametrize("shape", ["inactive", "cancelled"])
def test_a_refused_order_is_rejected_with_its_reason_class_and_not_sent_again(
    wired: Floor, gateway_control: GatewayClient, code: int, reason: str, shape: str
) -> None:
    """F25, F26, F27."""
    gateway_control.fault("reject", order=1, code=code, shape=shape)
    wired.send(planned("AAPL", 10), planned("KO", 10))
    assert wired.states() == {"AAPL": S.REJECTED, "KO": S.SUBMITTED}
    assert wired.intents()["AAPL"].reason.startswith(f"{code}: {reason}")
    assert resume(wired).placed == ()
    assert gateway_control.state().orders_received == 2
    assert wired.journal.latch().state is LatchState.ACTIVE


@pytest.mark.parametrize("code", [109, 163, 382, 383, 451])
@pytest.mark.parametrize("shape", ["inactive", "cancelled"])
def test_a_limit_of_the_broker_stops_the_basket_and_halts_trading(
    wired: Floor, gateway_control: GatewayClient, code: int, shape: str
) -> None:
    """F28: our own limits are tighter, so whoever meets the broker's has sized an order wrongly."""
    gateway_control.fault("reject", order=2, code=code, shape=shape)
    with wired.connect() as broker:
        plan = wired.freeze(broker, planned("AAPL", 10), planned("KO", 10), planned("MSFT", 10))
        manager = OrderManager(
            broker, wired.journal, clock=wired.clock, mode="sim", ack_timeout=5, max_in_flight=1
        )
        report = manager.submit_plan(plan.plan_id)
        assert report.stopped.startswith("trading is halted by order limits")
        assert [intent.status for intent in report.intents] == [S.SUBMITTED, S.REJECTED, S.PENDING]
        latch = wired.journal.latch()
        assert (latch.state, latch.evidence) == (LatchState.HALTED, report.placed[1])
        assert str(code) in latch.reason
        with pytest.raises(RefusedError, match="trading is halted by order limits"):
            manager.resume(plan.plan_id)
        assert gateway_control.state().orders_received == 2
        wired.journal.set_latch(LatchState.ACTIVE, by="ann", reason="preset raised", now=wired.clock.now())
        assert manager.resume(plan.plan_id).status is PlanStatus.SENT
    assert gateway_control.state().orders_received == 3


def test_sales_reach_the_broker_before_purchases(wired: Floor, gateway_control: GatewayClient) -> None:
    """F30: in a cash account the purchases would be refused for want of the money."""
    wired.send(planned("KO", 100), planned("MSFT", 20))
    wired.advance(at(E, "18:30"))
    wired.send(planned("AAPL", 10), planned("KO", -100), planned("MSFT", -20), session=E)
    arrived = sorted(gateway_control.state().open_orders, key=lambda order: order.number)
    assert [order.side for order in arrived] == ["SELL", "SELL", "BUY"]


# Our own end.


class LockingBroker(IBKRBroker):
    """A connection during whose first order another program locks the journal."""

    other: sqlite3.Connection

    def place(self, request: OrderRequest) -> None:
        super().place(request)
        self.heartbeat()
        if not self.other.in_transaction:
            self.other.execute("BEGIN IMMEDIATE")


def test_an_acknowledgement_that_cannot_be_written_is_found_again(
    tmp_path: Path,
    store: Store,
    installation: Installation,
    control: GatewayClient,
) -> None:
    """F38: the journal is locked when the broker's answer arrives."""
    journal = Journal(installation.journal, busy_timeout=0.2)
    floor = gateway_floor(tmp_path, store, journal, installation, control)
    other = sqlite3.connect(installation.journal, isolation_level=None)
    broker = LockingBroker(installation.config(), pacer=Pacer(float("inf")))
    broker.other = other
    with broker:
        plan = floor.freeze(broker, planned("AAPL", 10), planned("KO", 10))
        manager = OrderManager(broker, journal, clock=floor.clock, mode="sim", ack_timeout=5)
        with pytest.raises(JournalError, match="locked by another process"):
            manager.submit_plan(plan.plan_id)
    assert control.state().orders_received == 1
    other.execute("ROLLBACK")
    other.close()
    assert resume(floor).status is PlanStatus.SENT
    assert floor.states() == {"AAPL": S.SUBMITTED, "KO": S.SUBMITTED}
    assert control.state().orders_received == 2
    journal.close()
