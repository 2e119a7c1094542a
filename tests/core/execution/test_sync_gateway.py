"""Synchronising with the simulated gateway over a real socket."""

import pytest
from order_child import Installation
from order_support import D, E, at, planned

from hrp_core.calendar import nyse
from hrp_core.errors import IncompleteSnapshotError
from hrp_core.execution.order_manager import OrderManager
from hrp_core.execution.sync import SyncReport, sync_broker
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import OrderStatus
from hrp_core.money import to_money
from hrp_core.portfolio.types import Plan
from hrp_core.simgateway.control import GatewayClient


def sync(installation: Installation, journal: Journal) -> SyncReport:
    with installation.broker() as broker:
        return sync_broker(broker, journal, installation.clock().now(), mode="sim")


@pytest.fixture
def sent(installation: Installation, journal: Journal) -> list[str]:
    """Send a plan of two orders; return their orderRefs."""
    clock = installation.clock()
    with installation.broker() as broker:
        orders = (planned("AAPL", 100), planned("KO", 50))
        frozen = journal.freeze_plan(
            Plan(D, nyse().next(D), to_money(0), to_money(0), (), orders),
            mode="sim",
            account=broker.account,
            contracts=broker.qualify(["AAPL", "KO"]),
            inputs={},
            now=clock.now(),
        )
        journal.approve(frozen.plan_id, by="test", plan_hash=frozen.inputs_hash, now=clock.now())
        manager = OrderManager(broker, journal, clock=clock, mode="sim", ack_timeout=5)
        report = manager.submit_plan(frozen.plan_id)
    assert report.count(OrderStatus.SUBMITTED) == 2
    return list(report.placed)


def test_ledger_and_gateway_agree_to_the_cent(
    installation: Installation, journal: Journal, control: GatewayClient, sent: list[str]
) -> None:
    control.advance(at(E, "17:45"))
    learned = sync(installation, journal)
    assert learned.new_executions == 2
    assert learned.cash_breaks == ()
    assert learned.book.cash == control.state().cash
    assert {journal.attempt(ref).status for ref in sent} == {OrderStatus.FILLED}


def test_a_fill_missing_from_the_gateways_answers_is_named(
    installation: Installation, journal: Journal, control: GatewayClient, sent: list[str]
) -> None:
    control.fault("omit_execution", n=2)
    control.advance(at(E, "17:45"))
    with pytest.raises(IncompleteSnapshotError, match=rf"{sent[1]} \(buy KO\): .* 50 shares .* up to 0"):
        sync(installation, journal)


def test_an_order_cancelled_at_the_gateway_keeps_nothing(
    installation: Installation, journal: Journal, sent: list[str]
) -> None:
    with installation.broker() as broker:
        broker.cancel(sent[0])
        learned = sync_broker(broker, journal, installation.clock().now(), mode="sim")
    assert learned.unknown == ()
    assert journal.attempt(sent[0]).status is OrderStatus.CANCELLED
