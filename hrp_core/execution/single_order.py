"""One order as a plan of its own, with what its limits are judged by.

What belongs here: the frozen plan of an order that no strategy decided. What does not: the judgement
(`send_checks.over_limits`) and sending it (`order_manager`).
"""

from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal

from hrp_core.errors import RefusedError
from hrp_core.execution.broker import Broker
from hrp_core.execution.orders import Order
from hrp_core.execution.send_quotes import reference_price
from hrp_core.execution.sync import SyncReport
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Contract, FrozenPlan, Intent
from hrp_core.money import is_price
from hrp_core.portfolio.netting import DECREASE, INCREASE
from hrp_core.portfolio.types import PortfolioLimits

MANUAL = "MANUAL"
"""Strategy id of an order that belongs to no strategy."""


def freeze_order(
    broker: Broker,
    journal: Journal,
    order: Order,
    contract: Contract,
    limits: PortfolioLimits,
    seen: SyncReport,
    *,
    mode: str,
    session: date,
    execution_session: date,
    now: datetime,
) -> FrozenPlan:
    """Write the plan of one order; limits, price and equity are frozen with one that adds exposure.

    An exit passes every limit: neither price nor equity is needed for it.

    Args:
        broker: connected; asked for one quote.
        journal: of this mode.
        order: what is wanted.
        contract: the broker's, of its symbol.
        limits: what it may not exceed.
        seen: ledger and broker as they agreed just now.
        mode: sim, paper or live.
        session: decision session D.
        execution_session: E.
        now: from the clock.

    Raises:
        RefusedError: the order adds exposure, and there is no price or no equity to judge it by.
        BrokerConnectionError: the connection ended.
    """
    held = seen.book.state().shares.get(order.symbol, 0)
    reduces = held * order.side.sign < 0 and order.quantity <= abs(held)
    inputs: dict[str, object] = {"order_id": order.order_id, "ledger_shares": held}
    equity, price = Decimal(0), None
    if not reduces:
        equity = seen.snapshot.values.net_liquidation
        if not is_price(equity):
            raise RefusedError(
                f"the broker gives account {broker.account} a net liquidation value of {equity} USD, so "
                f"nothing says how large an order in {order.symbol} may be; nothing was sent. Look at the "
                "account, then submit it again"
            )
        price = reference_price(broker, contract, session, now)
        inputs["limits"] = asdict(limits)
    intent = Intent(
        intent_id="",
        plan_id="",
        contract=contract,
        side=order.side,
        quantity=order.quantity,
        leg=DECREASE if reduces else INCREASE,
        order_type=order.order_type,
        limit_price=order.limit_price,
        reference_price=price,
        allocations=((order.hypothesis_id or MANUAL, order.side.sign * order.quantity),),
    )
    return journal.freeze_order(
        intent,
        mode=mode,
        account=broker.account,
        session=session,
        execution_session=execution_session,
        equity=equity,
        inputs=inputs,
        now=now,
    )
