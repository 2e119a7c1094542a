"""Orders to a live account, at a gateway that plays one: only approved, armed, and up to the amount."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from order_support import EVENING, D, E, planned, tape

from hrp_core.calendar import GatewayClock
from hrp_core.errors import BrokerConnectionError, RefusedError
from hrp_core.execution.broker import OrderRequest
from hrp_core.execution.config import BrokerConfig
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.ibkr_loop import Pacer
from hrp_core.execution.order_manager import OrderManager
from hrp_core.execution.submit_report import SubmitReport
from hrp_core.execution.sync import sync_broker
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.permits import limits_hash
from hrp_core.ledger.types import FrozenPlan, OrderStatus
from hrp_core.portfolio.types import OrderSide, OrderType, Plan
from hrp_core.simgateway import GatewayServer

ACCOUNT = "U1234567"
LIMITS = {"max_positions": 20}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayServer]:
    with GatewayServer(
        tmp_path / "sim", tape(), start=EVENING, cash=Decimal(100_000), account=ACCOUNT
    ) as server:
        yield server


def config(gateway: GatewayServer, armed: bool = True, account: str = ACCOUNT) -> BrokerConfig:
    return BrokerConfig("127.0.0.1", gateway.info.port, 1, account, paper_trading=False, armed=armed)


def broker(gateway: GatewayServer, armed: bool = True) -> IBKRBroker:
    return IBKRBroker(config(gateway, armed), pacer=Pacer(float("inf")))


def freeze(gateway: GatewayServer, journal: Journal, approve: bool = True) -> FrozenPlan:
    """Two purchases, each worth 1,000 USD at the close of D."""
    orders = (planned("AAPL", 10), planned("KO", 10))
    with broker(gateway) as connected:
        sync_broker(connected, journal, EVENING, mode="live")
        contracts = connected.qualify(["AAPL", "KO"])
    frozen = journal.freeze_plan(
        Plan(D, E, Decimal(100_000), Decimal(100_000), (), orders),
        mode="live",
        account=ACCOUNT,
        contracts=contracts,
        inputs={"limits": LIMITS},
        now=EVENING,
    )
    if approve:
        journal.approve(frozen.plan_id, by="ann", plan_hash=frozen.inputs_hash, now=EVENING)
    return frozen


def arm(
    journal: Journal, amount: int = 10_000, account: str = ACCOUNT, limits: object = None, hours: int = 8
) -> None:
    journal.arm(
        account,
        limits_hash(LIMITS if limits is None else {"max_positions": limits}),
        max_notional=Decimal(amount),
        expires_at=EVENING + timedelta(hours=hours),
        by="ann",
        reason="",
        now=EVENING,
    )


def send(gateway: GatewayServer, journal: Journal, plan: FrozenPlan, armed: bool = True) -> SubmitReport:
    with broker(gateway, armed) as connected:
        clock = GatewayClock(gateway.gateway_file)
        return OrderManager(connected, journal, clock=clock, mode="live", ack_timeout=5).submit_plan(
            plan.plan_id
        )


def received(gateway: GatewayServer) -> int:
    return gateway.client().state().orders_received


def test_an_approved_plan_of_an_armed_account_is_sent_and_spends_the_token(
    gateway: GatewayServer, journal: Journal
) -> None:
    plan = freeze(gateway, journal)
    arm(journal)
    assert send(gateway, journal, plan).count(OrderStatus.SUBMITTED) == received(gateway) == 2
    token = journal.arm_token()
    assert token is not None
    assert (token.used, token.left) == (Decimal(2000), Decimal(8000))


def test_an_unapproved_plan_is_not_sent(gateway: GatewayServer, journal: Journal) -> None:
    plan = freeze(gateway, journal, approve=False)
    arm(journal)
    with pytest.raises(RefusedError, match="hrp plan approve"):
        send(gateway, journal, plan)
    assert received(gateway) == 0


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "is not armed"),
        ({"hours": 0}, "expired at"),
        ({"account": "U7654321"}, "is for account U7654321"),
        ({"limits": 21}, "under other limits"),
        ({"amount": 999}, "worth 1,000.00 USD and the arm token has 999.00 left"),
    ],
)
def test_without_a_token_that_covers_it_no_order_leaves(
    token: dict | None, message: str, gateway: GatewayServer, journal: Journal
) -> None:
    plan = freeze(gateway, journal)
    if token is not None:
        arm(journal, **token)
    with pytest.raises(RefusedError, match=message):
        send(gateway, journal, plan)
    assert received(gateway) == 0
    assert {intent.status for intent in journal.plan(plan.plan_id).intents} == {OrderStatus.PENDING}


def test_the_order_that_would_exceed_the_amount_is_refused_and_the_one_before_it_stays(
    gateway: GatewayServer, journal: Journal
) -> None:
    plan = freeze(gateway, journal)
    arm(journal, 1500)
    with pytest.raises(RefusedError, match=r"has 500\.00 left"):
        send(gateway, journal, plan)
    assert received(gateway) == 1
    arm(journal, 1000)
    assert send(gateway, journal, plan).count(OrderStatus.SUBMITTED) == received(gateway) == 2


def test_a_disarmed_account_gets_nothing_more(gateway: GatewayServer, journal: Journal) -> None:
    plan = freeze(gateway, journal)
    arm(journal)
    journal.disarm(by="ann", reason="enough", now=EVENING)
    with pytest.raises(RefusedError, match="is not armed"):
        send(gateway, journal, plan)
    assert received(gateway) == 0


def test_a_connection_that_is_not_armed_reads_and_places_nothing(gateway: GatewayServer) -> None:
    with broker(gateway, armed=False) as connected:
        assert connected.snapshot().account == ACCOUNT
        request = OrderRequest(
            "L221215-1-aaaaaa-1", connected.qualify(["KO"])["KO"], OrderSide.BUY, 1, OrderType.MARKET
        )
        for call in (connected.place, connected.what_if):
            with pytest.raises(RefusedError, match="is not armed"):
                call(request)
    assert received(gateway) == 0


def test_another_account_at_login_ends_the_connection(gateway: GatewayServer) -> None:
    with pytest.raises(BrokerConnectionError, match="not exactly the configured account"):
        IBKRBroker(config(gateway, account="U7654321")).connect()
    assert received(gateway) == 0
