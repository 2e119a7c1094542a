"""What IB's values mean in ours, value by value."""

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import BrokerError, IncompleteSnapshotError
from hrp_core.execution.ibkr_translate import (
    RawOrder,
    RawStatus,
    fold_open_orders,
    ib_symbol,
    own_symbol,
    to_account_values,
    to_commission,
    to_completed_order,
    to_execution,
    to_min_tick,
    to_shares,
    to_side,
    to_status,
)
from hrp_core.ledger.types import OrderStatus
from hrp_core.portfolio.types import OrderSide

DBL_MAX = 1.7976931348623157e308


def contract(**changes: Any) -> Any:
    values = {
        "secType": "STK",
        "symbol": "AAPL",
        "localSymbol": "AAPL",
        "currency": "USD",
        "conId": 265598,
        "primaryExchange": "",
    }
    return SimpleNamespace(**{**values, **changes})


def raw_order(status: str, completed_status: str = "", **changes: Any) -> RawOrder:
    values = {
        "orderRef": "ref",
        "permId": 77,
        "clientId": 1,
        "orderId": 5,
        "action": "BUY",
        "totalQuantity": 10.0,
        "filledQuantity": DBL_MAX,
    }
    state = SimpleNamespace(status=status, completedStatus=completed_status)
    return RawOrder(contract(), SimpleNamespace(**{**values, **changes}), state)


def raw_status(status: str, filled: float, perm_id: int = 77) -> RawStatus:
    return RawStatus(5, 1, perm_id, status, filled, 10 - filled, "")


@pytest.mark.parametrize(
    ("raw", "details", "status"),
    [
        ("PendingSubmit", {}, OrderStatus.SENT),
        ("ApiPending", {}, OrderStatus.SENT),
        ("PreSubmitted", {}, OrderStatus.SUBMITTED),
        ("Submitted", {}, OrderStatus.SUBMITTED),
        ("Submitted", {"filled": 3}, OrderStatus.PARTIALLY_FILLED),
        ("PreSubmitted", {"why_held": "locate"}, OrderStatus.HELD),
        ("Submitted", {"rejected": True}, OrderStatus.SUBMITTED),
        ("PendingCancel", {}, OrderStatus.PENDING_CANCEL),
        ("Cancelled", {}, OrderStatus.CANCELLED),
        ("ApiCancelled", {}, OrderStatus.CANCELLED),
        ("Cancelled", {"rejected": True}, OrderStatus.REJECTED),
        ("Cancelled", {"rejected": True, "filled": 3}, OrderStatus.CANCELLED),
        ("Inactive", {}, OrderStatus.HELD),
        ("Inactive", {"rejected": True}, OrderStatus.REJECTED),
        ("Filled", {}, OrderStatus.FILLED),
        ("ValidationError", {}, OrderStatus.UNKNOWN),
        ("", {}, OrderStatus.UNKNOWN),
    ],
)
def test_a_raw_status_has_one_meaning(raw: str, details: dict[str, Any], status: OrderStatus) -> None:
    assert to_status(raw, **details) is status


@pytest.mark.parametrize(("own", "theirs"), [("AAPL", "AAPL"), ("BRK.B", "BRK B")])
def test_class_shares_are_spelled_their_way_and_ours(own: str, theirs: str) -> None:
    assert ib_symbol(own) == theirs
    assert own_symbol(contract(symbol=theirs)) == own


@pytest.mark.parametrize(
    ("changes", "symbol"),
    [
        ({"secType": "OPT", "localSymbol": "AAPL  230120C00150000"}, "AAPL  230120C00150000 (OPT USD)"),
        ({"currency": "CAD", "localSymbol": ""}, "AAPL (STK CAD)"),
    ],
)
def test_what_is_no_us_stock_never_gets_the_symbol_of_one(changes: dict[str, str], symbol: str) -> None:
    assert own_symbol(contract(**changes)) == symbol


@pytest.mark.parametrize("value", [1.5, float("nan"), float("inf")])
def test_a_quantity_that_is_no_whole_number_is_an_error(value: float) -> None:
    with pytest.raises(BrokerError, match="position in AAPL"):
        to_shares(value, "position in AAPL")


@pytest.mark.parametrize(
    ("commission", "currency", "expected"),
    [
        (1.0, "USD", Decimal("1.0000")),
        (0.0, "USD", Decimal("0.0000")),
        (-0.12345, "USD", Decimal("-0.1234")),
        (DBL_MAX, "USD", None),
        (float("nan"), "USD", None),
        (float("inf"), "USD", None),
        (0.0, "", None),
        (1.0, "EUR", None),
    ],
)
def test_a_commission_is_an_amount_of_usd_or_not_known(
    commission: float, currency: str, expected: Decimal | None
) -> None:
    assert to_commission(SimpleNamespace(commission=commission, currency=currency)) == expected


def test_an_execution_keeps_the_brokers_reference_or_takes_the_one_known() -> None:
    raw = SimpleNamespace(
        execId="0001.01",
        acctNumber="DU1",
        orderRef="",
        permId=77,
        side="SLD",
        shares=4.0,
        price=103.10005,
        time=datetime(2022, 12, 6, 14, 30, tzinfo=UTC),
    )

    execution = to_execution(contract(), raw, "known")

    assert (execution.order_ref, execution.side, execution.shares) == ("known", OrderSide.SELL, 4)
    assert execution.price == Decimal("103.1000")
    assert execution.executed_at == datetime(2022, 12, 6, 9, 30, tzinfo=NEW_YORK)
    raw.orderRef = "theirs"
    assert to_execution(contract(), raw, "known").order_ref == "theirs"


def test_an_unknown_side_is_an_error() -> None:
    with pytest.raises(BrokerError, match="unknown side 'HOLD'"):
        to_side("HOLD")


@pytest.mark.parametrize(
    ("tick", "expected"), [(0.01, "0.01"), (0.0001, "0.0001"), (0.0, "0.01"), (DBL_MAX, "0.01")]
)
def test_a_minimum_tick_is_exact(tick: float, expected: str) -> None:
    assert to_min_tick(tick) == Decimal(expected)


@pytest.mark.parametrize(
    ("raw", "quantity", "filled", "status"),
    [
        (raw_order("Filled", totalQuantity=0.0, filledQuantity=10.0), 10, 10, OrderStatus.FILLED),
        (raw_order("Filled", totalQuantity=10.0, filledQuantity=10.0), 10, 10, OrderStatus.FILLED),
        (raw_order("Cancelled", totalQuantity=0.0, filledQuantity=3.0), 0, 3, OrderStatus.CANCELLED),
        (raw_order("Cancelled", totalQuantity=0.0), 0, 0, OrderStatus.CANCELLED),
        (raw_order("Inactive", totalQuantity=0.0), 0, 0, OrderStatus.REJECTED),
    ],
)
def test_a_completed_order_claims_no_quantity_that_was_not_reported(
    raw: RawOrder, quantity: int, filled: int, status: OrderStatus
) -> None:
    order = to_completed_order(raw)

    assert (order.quantity, order.filled, order.status) == (quantity, filled, status)
    assert (order.client_id, order.order_id) == (None, None)


def test_a_completed_order_that_an_error_had_rejected_is_rejected() -> None:
    order = to_completed_order(raw_order("Cancelled", "Rejected by System: margin"), rejected={77})

    assert order.status is OrderStatus.REJECTED
    assert order.raw_status == "Cancelled: Rejected by System: margin"


def test_an_open_order_has_the_fills_of_its_newest_status() -> None:
    (order,) = fold_open_orders(
        [raw_order("Submitted"), raw_status("Submitted", 0), raw_status("Submitted", 4)], {77: 2}
    )

    assert (order.quantity, order.filled, order.status) == (10, 4, OrderStatus.PARTIALLY_FILLED)
    assert (order.client_id, order.order_id) == (1, 5)


def test_an_open_order_without_a_status_has_the_fills_of_its_executions() -> None:
    (order,) = fold_open_orders([raw_order("Submitted")], {77: 2})

    assert (order.filled, order.status) == (2, OrderStatus.PARTIALLY_FILLED)


def test_an_order_that_ended_while_it_was_asked_for_is_not_open() -> None:
    pushed = [
        raw_order("Submitted"),
        raw_status("Submitted", 0),
        raw_order("Filled"),
        raw_status("Filled", 10),
    ]

    assert fold_open_orders(pushed, {}) == ()


def test_two_orders_without_perm_id_are_told_apart_by_their_ids() -> None:
    orders = fold_open_orders([raw_order("PendingSubmit", permId=0, orderId=id_) for id_ in (5, 6)], {})

    assert [order.order_id for order in orders] == [5, 6]


BASE_USD = [("DU1", "NetLiquidation", "150000", "USD"), ("DU1", "TotalCashValue", "121500.50", "USD")]
LEDGER = [("DU1", "CashBalance", "121500.50", "BASE"), ("DU1", "CashBalance", "100000.25", "USD")]


@pytest.mark.parametrize(
    ("rows", "cash"),
    [
        # The total counts 20,000 EUR as dollars: stocks bought with them would be bought on credit.
        ([*BASE_USD, *LEDGER, ("DU1", "CashBalance", "20000", "EUR")], "100000.25"),
        ([*BASE_USD, *LEDGER, ("DU1", "CashBalance", "-20000", "EUR")], "100000.25"),
        ([*BASE_USD, ("DU1", "CashBalance", "121500.50", "USD")], "121500.50"),
        ([*BASE_USD, *LEDGER, ("DU1", "CashBalance", "0.0000", "EUR")], "121500.50"),
        ([*BASE_USD, ("DU2", "CashBalance", "20000", "EUR")], "121500.50"),
        (BASE_USD, "121500.50"),
    ],
    ids=["another currency", "a debt in it", "dollars alone", "none left", "another account", "no ledger"],
)
def test_cash_is_dollars_whatever_other_currencies_the_account_holds(
    rows: list[tuple[str, str, str, str]], cash: str
) -> None:
    assert to_account_values(rows, "DU1").cash == Decimal(cash)


def test_cash_in_another_currency_without_a_figure_in_dollars_is_incomplete() -> None:
    with pytest.raises(IncompleteSnapshotError, match="EUR"):
        to_account_values([*BASE_USD, ("DU1", "CashBalance", "20000", "EUR")], "DU1")
