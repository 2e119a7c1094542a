"""Builds plans, contracts and executions for the tests of the journal and the book."""

from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal

from hrp_core.calendar import NEW_YORK
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Contract, Execution, FrozenPlan
from hrp_core.portfolio.types import OrderSide, OrderType, Plan, PlannedOrder, Purpose, Reason, TargetRow

D, E = date(2022, 12, 15), date(2022, 12, 16)
ACCOUNT = "DU1234567"
NOW = datetime.combine(D, time(18, 30), NEW_YORK)
CONTRACTS = {
    symbol: Contract(symbol, con_id, "NASDAQ")
    for symbol, con_id in (("AAPL", 265598), ("MSFT", 272093), ("KO", 8894))
}


def order(
    symbol: str = "AAPL", shares: int = 100, leg: str = "increase", price: str = "136.50"
) -> PlannedOrder:
    """A market order for `shares` (negative: a sale) of one strategy."""
    return PlannedOrder(
        symbol=symbol,
        side=OrderSide.BUY if shares > 0 else OrderSide.SELL,
        quantity=abs(shares),
        leg=leg,
        reference_price=Decimal(price),
        order_type=OrderType.MARKET,
        allocations=(("HYP-2026-001", shares),),
    )


def plan(*orders: PlannedOrder, session: date = D, execution_session: date = E) -> Plan:
    row = TargetRow(
        strategy_id="HYP-2026-001",
        symbol="AAPL",
        signal=1.0,
        prediction=float("nan"),
        price=Decimal("136.50"),
        weight_before=0.0,
        weight_target=0.1,
        shares_before=0,
        shares_target=100,
        reason=Reason.SIGNAL,
    )
    return Plan(session, execution_session, Decimal("100000.0000"), Decimal("100000.0000"), (row,), orders)


def freeze(
    journal: Journal,
    orders: Sequence[PlannedOrder] = (),
    *,
    inputs: dict[str, object] | None = None,
    approve: bool = True,
    purpose: Purpose = Purpose.DAILY,
    now: datetime = NOW,
) -> FrozenPlan:
    """Freeze a plan of one AAPL order, or of `orders`, and approve it."""
    frozen = journal.freeze_plan(
        plan(*(orders or (order(),))),
        mode="sim",
        account=ACCOUNT,
        contracts=CONTRACTS,
        inputs={"prices": {"AAPL": 136.5}} if inputs is None else inputs,
        purpose=purpose,
        now=now,
    )
    if approve:
        journal.approve(frozen.plan_id, by="test", plan_hash=frozen.inputs_hash, now=now)
    return journal.plan(frozen.plan_id)


def send(journal: Journal, frozen: FrozenPlan, index: int = 0, epoch: int | None = None) -> str:
    """Claim one intent of a plan as the order manager would; return its orderRef."""
    intent = frozen.intents[index]
    number = len(journal.attempts(intent.intent_id)) + 1
    order_ref = f"S221215-{intent.contract.con_id}-{intent.intent_id[:6]}-{number}"
    epoch = journal.acquire_epoch("test", NOW) if epoch is None else epoch
    current = journal.intent(intent.intent_id)
    assert current is not None
    journal.claim(intent.intent_id, order_ref, intent.quantity - current.filled, epoch, NOW)
    return order_ref


def fill(
    order_ref: str,
    shares: int = 100,
    *,
    exec_id: str = "0000e0d5.64a1b2c3.01.01",
    symbol: str = "AAPL",
    side: OrderSide = OrderSide.BUY,
    price: str = "137.25",
    commission: str | None = "1.00",
    at: datetime | None = None,
    perm_id: int = 77,
) -> Execution:
    return Execution(
        exec_id=exec_id,
        account=ACCOUNT,
        order_ref=order_ref,
        perm_id=perm_id,
        contract=CONTRACTS[symbol],
        side=side,
        shares=shares,
        price=Decimal(price),
        executed_at=at or datetime.combine(E, time(9, 30), NEW_YORK),
        commission=None if commission is None else Decimal(commission),
    )
