"""Money: the two fixed-point units of the system and their one stated rounding.

A tradable price and a cash amount are multiples of one ten-thousandth of a dollar. Whoever turns a float
price into money does it here, so that the broker, the ledger and the replay agree to the last digit.
Rounding is half to even everywhere.
"""

import math
from decimal import ROUND_HALF_EVEN, Decimal

UNITS_PER_DOLLAR = 10_000
_UNIT = Decimal("0.0001")
_AVERAGE = Decimal("0.000001")


def to_units(amount: float | int | Decimal | str) -> int:
    """Return `amount` (USD) in integer ten-thousandths of a dollar, rounded half to even.

    A float is taken at its shortest decimal form, so 0.1 means one tenth.

    Raises:
        ValueError: the amount is NaN or infinite.
    """
    return int(to_money(amount) * UNITS_PER_DOLLAR)


def from_units(units: int) -> Decimal:
    """Return integer ten-thousandths of a dollar as a Decimal with four places (USD)."""
    return Decimal(int(units)).scaleb(-4)


def to_money(amount: float | int | Decimal | str) -> Decimal:
    """Return `amount` (USD: a tradable price or cash) as a Decimal with four places, half to even.

    Raises:
        ValueError: the amount is NaN or infinite.
    """
    value = (
        amount
        if isinstance(amount, Decimal)
        else Decimal(repr(float(amount)) if isinstance(amount, float) else amount)
    )
    if not value.is_finite():
        raise ValueError(f"not an amount of money: {amount!r}")
    return value.quantize(_UNIT, ROUND_HALF_EVEN)


def to_average(amount: Decimal) -> Decimal:
    """Return an average cost or price (USD a share) with six places, half to even."""
    return amount.quantize(_AVERAGE, ROUND_HALF_EVEN)


def is_price(value: float | Decimal | None) -> bool:
    """Return whether `value` can be a price: finite and greater than zero (not NaN, -1, None or 0)."""
    return value is not None and math.isfinite(value) and value > 0
