"""The public order, and the orderRef."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hrp_core.execution as execution
from hrp_core.errors import DataError
from hrp_core.execution import Order, OrderSide, OrderStatus, OrderType
from hrp_core.execution.order_ref import OrderRef, build_order_ref, parse_order_ref


def test_a_new_order_is_pending_and_has_an_id_of_its_own() -> None:
    first, second = (Order(" aapl ", OrderSide.BUY, 10, OrderType.MARKET) for _ in range(2))
    assert (first.symbol, first.status, first.filled_quantity) == ("AAPL", OrderStatus.PENDING, 0)
    assert first.order_id != second.order_id
    empty = (first.broker_order_id, first.submitted_at, first.filled_at, first.filled_price, first.commission)
    assert empty == (None,) * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantity": 0}, "quantity must be positive"),
        ({"quantity": -5}, "quantity must be positive"),
        ({"quantity": 1.5}, "quantity must be a whole number of shares"),
        ({"order_type": OrderType.LIMIT}, "Limit orders require limit_price"),
        ({"order_type": OrderType.LIMIT, "limit_price": Decimal(0)}, "limit_price must be positive"),
        ({"order_type": OrderType.LIMIT, "limit_price": Decimal("NaN")}, "limit_price must be positive"),
        ({"limit_price": Decimal(-1)}, "limit_price must be positive"),
        ({"limit_price": Decimal(1)}, "a market order has no limit_price"),
        ({"symbol": " "}, "symbol is required"),
    ],
)
def test_an_order_that_makes_no_sense_is_a_value_error(arguments: dict[str, object], message: str) -> None:
    whole = {"symbol": "AAPL", "side": OrderSide.BUY, "quantity": 10, "order_type": OrderType.MARKET}
    with pytest.raises(ValueError, match=f"^{message}$"):
        Order(**{**whole, **arguments})  # type: ignore[arg-type]


def test_a_limit_price_is_money() -> None:
    order = Order("AAPL", OrderSide.SELL, 10, OrderType.LIMIT, limit_price=Decimal("137.123456"))
    assert order.limit_price == Decimal("137.1235")


def test_the_public_names_are_importable_without_the_client_library() -> None:
    assert {name for name in execution.__all__ if not hasattr(execution, name)} == set()
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = execution.Nothing


def test_an_order_ref_can_be_read_by_a_person() -> None:
    ref = build_order_ref("sim", date(2022, 12, 15), 265598, "k3f7qabcdefg", 1)
    assert ref == "S221215-265598-k3f7qa-1"
    assert parse_order_ref(ref) == OrderRef("sim", date(2022, 12, 15), 265598, "k3f7qa", 1)


@given(
    st.sampled_from(["sim", "paper", "live"]),
    st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    st.integers(1, 999_999_999),
    st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=12, max_size=12),
    st.integers(1, 99),
)
def test_what_is_built_can_be_parsed_and_fits_the_brokers_field(
    mode: str, session: date, con_id: int, intent_id: str, attempt: int
) -> None:
    ref = build_order_ref(mode, session, con_id, intent_id, attempt)
    assert ref.isascii()
    assert len(ref) <= 30
    assert parse_order_ref(ref) == OrderRef(mode, session, con_id, intent_id[:6], attempt)


@given(st.text(max_size=35))
def test_any_other_text_is_not_a_reference_of_ours(text: str) -> None:
    parsed = parse_order_ref(text)
    assert parsed is None or str(parsed) == text


@pytest.mark.parametrize(
    "text",
    ["", "S221215-265598-k3f7qa-0", "X221215-265598-k3f7qa-1", "S221315-1-k3f7qa-1", "S221215-1-K3F7QA-1"],
)
def test_damaged_references_are_not_parsed(text: str) -> None:
    assert parse_order_ref(text) is None


@pytest.mark.parametrize(
    ("mode", "con_id", "intent"), [("demo", 1, "abcdef"), ("sim", 0, "abcdef"), ("sim", 1, "abc")]
)
def test_a_reference_that_could_not_be_read_back_is_not_built(mode: str, con_id: int, intent: str) -> None:
    with pytest.raises(DataError):
        build_order_ref(mode, date(2022, 12, 15), con_id, intent, 1)
