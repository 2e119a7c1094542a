"""Rounding of money has one rule."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.money import from_units, is_price, to_average, to_money, to_units


@pytest.mark.parametrize(
    ("amount", "units"),
    [
        (0.1, 1000),
        (1.00005, 10000),
        (1.00015, 10002),
        ("1.00025", 10002),
        (Decimal("-1.00015"), -10002),
        (3, 30000),
    ],
)
def test_money_is_rounded_half_to_even(amount: float | str | Decimal, units: int) -> None:
    assert to_units(amount) == units
    assert from_units(units) == to_money(amount)


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), Decimal("NaN")])
def test_what_is_not_a_number_is_not_money(amount: float | Decimal) -> None:
    with pytest.raises(ValueError, match="not an amount of money"):
        to_money(amount)


@given(st.integers(-(10**15), 10**15))
def test_units_survive_the_way_through_decimal(units: int) -> None:
    assert to_units(from_units(units)) == units


def test_an_average_has_six_places() -> None:
    assert to_average(Decimal(1) / Decimal(3)) == Decimal("0.333333")


@pytest.mark.parametrize("value", [None, 0, -1.0, float("nan"), float("inf"), Decimal("NaN")])
def test_a_price_is_finite_and_positive(value: float | Decimal | None) -> None:
    assert not is_price(value)
    assert is_price(0.0001)
