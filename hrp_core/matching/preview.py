"""What-if orders: what an order would cost, without placing it.

What belongs here: the figures of a preview, as pure arithmetic on the account.
"""

from dataclasses import dataclass
from datetime import datetime

from hrp_core.matching.commission import order_commission
from hrp_core.matching.engine import Engine
from hrp_core.matching.orders import NewOrder, Order, OrderState, Refusal, Side
from hrp_core.money import to_units


@dataclass(frozen=True, slots=True)
class Preview:
    """Figures of an order that was not placed, in ten-thousandths of a dollar.

    In a cash account the margin of a position is its whole value.

    Attributes:
        margin_before: value of the positions now; `margin_change` is what the order adds.
        equity_before: net liquidation now; `equity_change` is what the order costs.
        commission: what it would cost at that price.
        refusal: why the account could not pay for it; None when it could.
    """

    margin_before: int
    margin_change: int
    equity_before: int
    equity_change: int
    commission: int
    refusal: Refusal | None = None


def preview(engine: Engine, new: NewOrder, price_units: int) -> Preview:
    """Return the figures of `new` at its limit, or without one at `price_units` a share."""
    units = price_units if new.limit_price is None else to_units(new.limit_price)
    value = new.quantity * units
    commission = order_commission(new.quantity, value)
    return Preview(
        margin_before=engine.account.market_value_units(engine.mark_units),
        margin_change=value if new.side is Side.BUY else -value,
        equity_before=engine.net_liquidation_units(),
        equity_change=-commission,
        commission=commission,
        refusal=Refusal(201, "Order rejected - reason:insufficient funds in a cash account")
        if new.side is Side.BUY and value + commission > engine.account.cash_units
        else None,
    )


def previewed_order(new: NewOrder, now: datetime) -> Order:
    """Return the order that a preview speaks of; it has no perm id, for it is at no broker."""
    return Order(
        perm_id=0,
        order_ref=new.order_ref,
        symbol=new.symbol,
        side=new.side,
        quantity=new.quantity,
        order_type=new.order_type,
        tif=new.tif,
        accepted_at=now,
        active_from=now,
        session=now.date(),
        state=OrderState.HELD,
        limit_units=None if new.limit_price is None else to_units(new.limit_price),
    )
