"""Corrections and busts: what an exchange changes about an execution after the fact.

What belongs here: the arithmetic of replacing one fill by another in the account and in its order. When that
happens is scripted elsewhere.
"""

from dataclasses import replace
from decimal import Decimal

from hrp_core.errors import RefusedError
from hrp_core.matching.account import Account
from hrp_core.matching.commission import order_commission
from hrp_core.matching.orders import Fill, Order, Side
from hrp_core.money import to_units


def corrected(
    account: Account, order: Order, old: Fill, price: Decimal | None, *, number: int
) -> tuple[Order, Fill]:
    """Replace `old` in the account; return its order as it stands then, and the fill that replaces it.

    Args:
        account: changed in place.
        order: the order of `old`.
        old: the fill as it counts now.
        price: the right price, USD a share; None takes the fill back.
        number: the number of the new fill.

    Raises:
        RefusedError: the account cannot bear it; nothing has changed.
    """
    shares = 0 if price is None else old.quantity
    units = old.price_units if price is None else to_units(price)
    filled = order.filled - old.quantity + shares
    value = order.value_units - old.quantity * old.price_units + shares * units
    others = order.commission_units - old.commission_units
    commission = max(order_commission(filled, value) - others, 0) if shares else 0
    _check(account, old, shares * units, commission)
    account.take_back(old)
    realized = None
    if shares:
        realized = account.apply(old.symbol, old.side, shares, units, commission)
    revision = int(old.exec_id.rpartition(".")[2]) + 1
    order = replace(order, filled=filled, value_units=value, commission_units=others + commission)
    fill = replace(
        old,
        number=number,
        exec_id=f"{old.stem}.{revision:02d}",
        quantity=shares,
        price_units=units,
        commission_units=commission,
        realized_units=realized,
        cum_quantity=filled,
        cum_value_units=value,
    )
    return order, fill


def _check(account: Account, old: Fill, value_units: int, commission_units: int) -> None:
    old_value = old.quantity * old.price_units
    if old.side is Side.BUY:
        if account.shares(old.symbol) < old.quantity:
            raise RefusedError(
                f"execution {old.exec_id} cannot be corrected: its {old.symbol} shares have been sold"
            )
        freed = old_value + old.commission_units - value_units - commission_units
    else:
        freed = value_units - commission_units - old_value + old.commission_units
    if account.cash_units + freed < 0:
        raise RefusedError(
            f"execution {old.exec_id} cannot be corrected: the account has not the cash for it"
        )
