"""The code table: complete for what is known to go wrong, careful with what is not known."""

from collections import Counter

import pytest

from hrp_core.execution.ib_code_table import ROWS
from hrp_core.execution.ib_codes import CodeKind, classify, docs_page
from hrp_core.ledger.types import OrderStatus
from hrp_core.settings import PROJECT_ROOT

# Every code that the failure modes of docs/faults.md name, with what it means for the order it names.
FAULT_CODES = {
    100: None,
    103: OrderStatus.UNKNOWN,
    104: OrderStatus.UNKNOWN,
    109: OrderStatus.REJECTED,
    110: OrderStatus.REJECTED,
    113: OrderStatus.REJECTED,
    154: OrderStatus.REJECTED,
    161: OrderStatus.UNKNOWN,
    162: None,
    163: OrderStatus.REJECTED,
    165: None,
    200: OrderStatus.REJECTED,
    201: OrderStatus.REJECTED,
    202: OrderStatus.CANCELLED,
    203: OrderStatus.REJECTED,
    321: OrderStatus.REJECTED,
    326: None,
    354: None,
    382: OrderStatus.REJECTED,
    383: OrderStatus.REJECTED,
    399: None,
    404: OrderStatus.HELD,
    451: OrderStatus.REJECTED,
    460: OrderStatus.REJECTED,
    502: None,
    504: None,
    1100: None,
    1101: None,
    1102: None,
    2103: None,
    2104: None,
    2105: None,
    2106: None,
    2107: None,
    2108: None,
    2158: None,
    10089: None,
    10147: OrderStatus.UNKNOWN,
    10148: OrderStatus.UNKNOWN,
    10167: None,
    10197: None,
    10349: None,
}


@pytest.mark.parametrize(("code", "means"), FAULT_CODES.items())
def test_every_code_of_a_known_failure_has_a_row_and_its_meaning(
    code: int, means: OrderStatus | None
) -> None:
    row = classify(code)

    assert row.kind is not CodeKind.UNKNOWN
    assert row.means_for_order is means


@pytest.mark.parametrize("code", [0, 999, 10999, -1])
def test_an_order_with_an_unknown_code_is_unknown_until_it_is_queried(code: int) -> None:
    row = classify(code, "something new")

    assert (row.kind, row.means_for_order) == (CodeKind.UNKNOWN, OrderStatus.UNKNOWN)
    assert row.text == "something new"


def test_an_unlisted_warning_code_changes_no_order() -> None:
    row = classify(2199)

    assert (row.kind, row.means_for_order) == (CodeKind.WARNING, None)


@pytest.mark.parametrize(
    ("code", "text", "name", "kind"),
    [
        (162, "Historical Market Data Service error message:API historical data query cancelled: 7",
         "history_cancelled", CodeKind.REQUEST),
        (162, "Historical Market Data Service error message:HMDS query returned no data: AAPL",
         "history_no_data", CodeKind.REQUEST),
        (162, "Historical Market Data Service error message:Historical data request pacing violation",
         "history_pacing", CodeKind.PACING),
        (321, "Error validating request.-'bO' : cause - The API interface is currently in Read-Only mode.",
         "read_only_api", CodeKind.CONFIG),
        (321, "Error validating request.-'cq' : cause - Invalid account code",
         "request_invalid", CodeKind.REQUEST),
        (201, "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. INSUFFICIENT SETTLED CASH",
         "rejected_funds", CodeKind.ORDER_REJECT),
        (201, "Order rejected - reason:Exchange is closed.", "rejected_closed", CodeKind.ORDER_REJECT),
        (201, "Order rejected - reason:Account is closed", "rejected", CodeKind.ORDER_REJECT),
    ],
)  # fmt: skip
def test_the_text_tells_the_meanings_of_one_code_apart(
    code: int, text: str, name: str, kind: CodeKind
) -> None:
    row = classify(code, text)

    assert (row.name, row.kind) == (name, kind)


def test_kind_and_meaning_of_a_row_agree() -> None:
    expected = {
        CodeKind.ORDER_REJECT: {OrderStatus.REJECTED},
        CodeKind.ORDER_HELD: {OrderStatus.HELD},
        CodeKind.ORDER_CANCELLED: {OrderStatus.CANCELLED},
        CodeKind.ORDER_QUERY: {OrderStatus.UNKNOWN},
        CodeKind.REQUEST: {OrderStatus.REJECTED, None},
        CodeKind.CONFIG: {OrderStatus.REJECTED, None},
    }

    assert [row for row in ROWS if row.means_for_order not in expected.get(row.kind, {None})] == []


def test_names_are_unique_and_each_code_has_one_row_without_a_condition() -> None:
    assert [name for name, count in Counter(row.name for row in ROWS).items() if count > 1] == []
    assert Counter(row.code for row in ROWS if not row.when) == dict.fromkeys({row.code for row in ROWS}, 1)


def test_the_page_in_docs_is_current() -> None:
    page = (PROJECT_ROOT / "docs" / "ib-codes.md").read_text(encoding="utf-8")

    assert page == docs_page(), "run: python -m hrp_core.execution.ib_codes > docs/ib-codes.md"
