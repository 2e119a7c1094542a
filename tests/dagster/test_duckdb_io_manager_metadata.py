"""What the UI shows of a table."""

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd

from hrp_core.store.tables import FILLS, ORDERS, PREDICTIONS, PRICES, TRADE_GATE
from hrp_dagster.metadata import (
    column_schema,
    definition_metadata,
    materialization_metadata,
    numbers,
    preview,
)


def test_the_column_schema_says_what_the_declaration_says() -> None:
    schema = column_schema(FILLS)
    shown = [(column.name, column.type, column.constraints.nullable) for column in schema.columns]
    assert shown == [(column.name, column.type.value, column.nullable) for column in FILLS.columns]
    assert all(column.description for column in schema.columns)
    assert schema.constraints.other == ["one row per (session, exec_id, strategy_id)"]


def test_an_asset_is_defined_with_its_table_and_slice() -> None:
    partitioned = definition_metadata(PRICES)
    assert partitioned["hrp/table"] == "prices"
    assert partitioned["partition_expr"] == "session"
    assert "hrp/before" not in partitioned
    assert definition_metadata(PRICES, before=date(2022, 1, 3))["hrp/before"] == "2022-01-03"


def test_a_preview_has_ten_rows_that_any_ui_can_show() -> None:
    frame = pd.DataFrame(
        {
            "session": [date(2022, 12, 15)] * 12,
            "rank": pd.array([1, None] * 6, dtype="Int32"),
            "prediction": [0.5, np.nan] * 6,
            "price": [Decimal("1.500000"), None] * 6,
            "executed_at": [datetime(2022, 12, 15, 14, 30, tzinfo=UTC), pd.NaT] * 6,
            "in_universe": [True, False] * 6,
        }
    )
    table = preview(frame)
    assert len(table.records) == 10
    assert table.records[0].data == {
        "session": "2022-12-15",
        "rank": 1,
        "prediction": 0.5,
        "price": "1.50",
        "executed_at": "2022-12-15 14:30:00+00:00",
        "in_universe": True,
    }
    assert set(table.records[1].data.values()) == {"2022-12-15", None, False}


def test_a_preview_of_a_declared_table_shows_its_types_even_without_rows() -> None:
    table = preview(pd.DataFrame(columns=list(PREDICTIONS.column_names)), PREDICTIONS)
    assert table.records == []
    assert {(column.name, column.type) for column in table.schema.columns} == {
        (column.name, column.type.value) for column in PREDICTIONS.columns
    }


def test_a_preview_shows_first_what_a_person_reads() -> None:
    frame = pd.DataFrame(
        {
            "session": [date(2022, 12, 15)],
            "plan_id": ["sim-1"],
            "allocations": ['{"HYP-2026-001": 9}'],
            "symbol": ["KO"],
            "price": [Decimal("127.270000")],
            "commission": [Decimal("1.0035")],
            "weight": [0.4831905307572169],
        }
    )
    shown = preview(frame)
    order = ["symbol", "price", "commission", "weight", "session", "plan_id"]
    assert [column.name for column in shown.schema.columns] == order
    assert [*shown.records[0].data.items()][:4] == [
        *(("symbol", "KO"), ("price", "127.27"), ("commission", "1.0035"), ("weight", 0.483191)),
    ]


def test_a_preview_has_flat_rows_without_documents_and_with_long_texts_cut() -> None:
    reason = "the entry is worth more than the limit of one name, 5 % of the capital; plan again"
    row = {
        **dict.fromkeys(ORDERS.column_names),
        "symbol": "KO",
        "side": "b" * 60,
        "reason": reason,
        "allocations": '{"HYP-2026-001": 9}',
    }
    shown = preview(pd.DataFrame([row]), ORDERS)
    assert "allocations" not in shown.records[0].data
    assert {column.name for column in shown.schema.columns} == {*ORDERS.column_names} - {"allocations"}
    assert shown.records[0].data["reason"] == f"{reason[:59]}…"
    assert shown.records[0].data["side"] == "b" * 60
    documents = {"reasons", "evidence", "hashes"}
    gate = preview(pd.DataFrame(columns=list(TRADE_GATE.column_names)), TRADE_GATE)
    assert {column.name for column in gate.schema.columns} == {*TRADE_GATE.column_names} - documents


def test_numbers_that_are_not_known_are_absent_and_the_others_are_short() -> None:
    assert {
        name: value.value for name, value in numbers(nav=99264.199, ic=-0.03012345, gap=None).items()
    } == {
        "nav": 99264.199,
        "ic": -0.030123,
    }


def test_a_materialization_shows_rows_and_sessions() -> None:
    frame = pd.DataFrame(columns=list(PREDICTIONS.column_names))
    days = [date(2022, 12, 15), date(2022, 12, 14)]
    assert materialization_metadata(PREDICTIONS, frame, days)["dagster/row_count"] == 0
    assert materialization_metadata(PREDICTIONS, frame, days)["hrp/session"] == "2022-12-14 to 2022-12-15"
    assert materialization_metadata(PREDICTIONS, frame, days[:1])["hrp/session"] == "2022-12-15"
    assert "hrp/session" not in materialization_metadata(PREDICTIONS, frame, [])
