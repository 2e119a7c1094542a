"""What the broker charges for an order in US stocks.

What belongs here: the commission schedule. Slippage and taxes are not modelled.
"""

from hrp_core.money import UNITS_PER_DOLLAR

_MINIMUM = UNITS_PER_DOLLAR  # $1.00 an order
_PER_SHARE = UNITS_PER_DOLLAR // 200  # $0.005 a share
_CAP_DIVISOR = 100  # at most 1 % of the trade value


def order_commission(shares: int, value_units: int) -> int:
    """Return the commission of an order, over all its fills together, in ten-thousandths of a dollar.

    max($1.00, $0.005 a share), at most 1 % of the trade value; where the cap is below the minimum the cap
    counts. The cap is rounded half to even, the other two are whole. Source: Interactive Brokers, fixed
    pricing for US stocks.

    Args:
        shares: shares filled so far.
        value_units: sum of price times shares over those fills, ten-thousandths of a dollar.
    """
    if shares == 0:
        return 0
    return min(max(_MINIMUM, _PER_SHARE * shares), half_even(value_units, _CAP_DIVISOR))


def fill_commission(shares: int, value_units: int, filled: int, filled_value_units: int) -> int:
    """Return the commission of one more fill: what it adds to the order's commission, never below zero.

    Args:
        shares: shares of this fill.
        value_units: price times shares of this fill.
        filled: shares of the order filled before it.
        filled_value_units: sum of price times shares before it.
    """
    before = order_commission(filled, filled_value_units)
    return order_commission(filled + shares, filled_value_units + value_units) - before


def half_even(numerator: int, denominator: int) -> int:
    """Return numerator / denominator as the nearest integer, ties to the even one."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    return quotient + int(twice > denominator or (twice == denominator and quotient % 2 == 1))
