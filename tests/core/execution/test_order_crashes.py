"""Writers that die, freeze or meet, each a process of its own, against a gateway over a real socket."""

import os
import signal
from decimal import Decimal
from pathlib import Path

import pytest
from order_child import CONTEXT, End, Installation, run_freeze, run_writer, start
from order_support import EVENING, D, E, at, planned, tape

from hrp_core.execution.order_manager import OrderManager
from hrp_core.execution.submit_report import SubmitReport
from hrp_core.execution.sync import sync_broker
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Contract, OrderStatus, PlanStatus
from hrp_core.portfolio.types import Plan
from hrp_core.simgateway import GatewayServer
from hrp_core.simgateway.control import GatewayClient

S = OrderStatus
WAIT = 60


@pytest.fixture
def plan_id(installation: Installation, journal: Journal) -> str:
    """An approved plan of three orders."""
    with installation.broker() as broker:
        sync_broker(broker, journal, installation.clock().now(), mode="sim")
        contracts = broker.qualify(["AAPL", "KO", "MSFT"])
    frozen = freeze(journal, broker.account, contracts)
    journal.approve(frozen, by="test", plan_hash=journal.plan(frozen).inputs_hash, now=EVENING)
    return frozen


def freeze(journal: Journal, account: str, contracts: dict[str, Contract]) -> str:
    orders = tuple(planned(symbol, 10) for symbol in sorted(contracts))
    plan = Plan(D, E, Decimal(100_000), Decimal(100_000), (), orders)
    return journal.freeze_plan(
        plan, mode="sim", account=account, contracts=contracts, inputs={}, now=EVENING
    ).plan_id


def resume(installation: Installation, journal: Journal, plan_id: str) -> SubmitReport:
    with installation.broker() as broker:
        manager = OrderManager(broker, journal, clock=installation.clock(), mode="sim", ack_timeout=5)
        return manager.resume(plan_id)


def settle(installation: Installation, journal: Journal, control: GatewayClient) -> None:
    """Let the orders trade and check that ledger and broker agree to the share and the cent."""
    control.advance(at(E, "17:45"))
    with installation.broker() as broker:
        learned = sync_broker(broker, journal, installation.clock().now(), mode="sim")
    assert learned.cash_breaks == ()
    assert learned.unknown == ()


@pytest.mark.parametrize(
    ("step", "second", "orders"),
    [
        ("claim", S.SUBMITTED, 3),
        ("claimed", S.UNKNOWN, 2),  # nobody can tell that it was not sent: it is never sent again
        ("placed", S.SUBMITTED, 3),
        ("acknowledged", S.SUBMITTED, 3),
    ],
)
def test_a_writer_killed_at_any_step_is_resumed_without_a_second_order(
    installation: Installation,
    journal: Journal,
    control: GatewayClient,
    plan_id: str,
    step: str,
    second: OrderStatus,
    orders: int,
) -> None:
    writer = start(run_writer, installation, plan_id, End(step, 2), 5.0)
    writer.join(WAIT)
    assert writer.exitcode == -signal.SIGKILL
    report = resume(installation, journal, plan_id)
    assert [intent.status for intent in report.intents] == [S.SUBMITTED, second, S.SUBMITTED]
    assert report.status is PlanStatus.SENT
    assert resume(installation, journal, plan_id).placed == ()
    assert control.state().orders_received == orders
    settle(installation, journal, control)
    done = [intent.status for intent in journal.plan(plan_id).intents]
    assert done == [S.FILLED, S.FILLED if second is S.SUBMITTED else S.EXPIRED_UNSEEN, S.FILLED]


def test_two_writers_at_once_place_one_set_of_orders(
    installation: Installation, journal: Journal, control: GatewayClient, plan_id: str
) -> None:
    together = CONTEXT.Event()
    writers = [start(run_writer, installation, plan_id, End(), 30.0, together) for _ in range(2)]
    together.set()
    for writer in writers:
        writer.join(WAIT)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert control.state().orders_received == 3
    assert {intent.status for intent in journal.plan(plan_id).intents} == {S.SUBMITTED}


def test_a_frozen_writer_keeps_the_others_out_and_finishes_when_it_wakes(
    installation: Installation, journal: Journal, control: GatewayClient, plan_id: str
) -> None:
    reached = CONTEXT.Event()
    end = End("claimed", 2, signal.SIGSTOP)
    frozen = start(run_writer, installation, plan_id, end, 5.0, None, reached)
    assert frozen.pid is not None
    assert reached.wait(WAIT)
    other = start(run_writer, installation, plan_id, End(), 0.2)
    other.join(WAIT)
    assert other.exitcode == 3
    assert control.state().orders_received == 1
    os.kill(frozen.pid, signal.SIGCONT)
    frozen.join(WAIT)
    assert frozen.exitcode == 0
    assert control.state().orders_received == 3
    assert journal.plan(plan_id).status is PlanStatus.SENT


def test_a_gateway_that_is_restarted_does_not_make_a_plan_be_sent_again(
    installation: Installation, journal: Journal, plan_id: str, gateway: GatewayServer
) -> None:
    resume(installation, journal, plan_id)
    gateway.stop()
    with GatewayServer(gateway.folder, tape(), start=EVENING, cash=Decimal(1)):
        assert resume(installation, journal, plan_id).placed == ()
        assert GatewayClient(gateway.gateway_file).state().orders_received == 3


def test_a_plan_whose_writing_is_killed_is_not_there_and_can_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    child = start(run_freeze, path, freeze_three, "INSERT INTO intents")
    child.join(WAIT)
    assert child.exitcode == -signal.SIGKILL
    journal = Journal(path)
    assert journal.plans() == ()
    freeze_three(journal)
    (plan,) = journal.plans()
    assert (plan.sequence, len(plan.intents)) == (1, 3)
    journal.close()


def freeze_three(journal: Journal) -> str:
    contracts = {symbol: Contract(symbol, number) for number, symbol in enumerate(["AAPL", "KO", "MSFT"], 1)}
    return freeze(journal, "DU1234567", contracts)
