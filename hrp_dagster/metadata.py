"""What Dagster shows about a table: its columns, a preview, row counts.

What belongs here: turning declarations and frames of `hrp_core` into Dagster metadata values. What does not:
numbers that are computed here.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import dagster as dg
import pandas as pd

from hrp_core.store import Table

TABLE_KEY = "hrp/table"
BEFORE_KEY = "hrp/before"
CONTENT_HASH_KEY = "hrp/content_hash"
SESSION_KEY = "hrp/session"
PREVIEW_KEY = "preview"
# Ten columns fit on a screen: these do not belong to the first ten.
_FOR_MACHINES = frozenset(
    [
        *("session", "plan_id", "plan_hash", "intent_id", "order_ref", "exec_id", "perm_id", "con_id"),
        *("mode", "account"),
    ]
)
# Whole JSON documents: they make rows as tall as a page, and their beginnings say nothing.
_DOCUMENTS = frozenset({"allocations", "evidence", "hashes", "reasons"})
_LONGEST_TEXT = 60
_DECIMALS = 6


def column_schema(table: Table) -> dg.TableSchema:
    """Return the table's columns with types, descriptions and constraints, as the asset page shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type.value,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in table.columns
        ],
        constraints=dg.TableConstraints(other=[f"one row per ({', '.join(table.key)})"]),
    )


def definition_metadata(table: Table, *, before: date | None = None) -> dict[str, Any]:
    """Return the metadata that an asset stored in `table` is defined with.

    It is what the IO manager reads: the table (an asset's key may differ from it), the column that holds the
    partition, and for an unpartitioned bulk load the slice it replaces.

    Args:
        table: where the asset's rows go.
        before: for a bulk load of history, the first session that is a partition: the asset then replaces all
            rows of earlier sessions. None for a partitioned asset.
    """
    metadata: dict[str, Any] = {
        "dagster/column_schema": column_schema(table),
        "partition_expr": "session",
        TABLE_KEY: table.name,
    }
    if before is not None:
        metadata[BEFORE_KEY] = before.isoformat()
    return metadata


def materialization_metadata(table: Table, frame: pd.DataFrame, sessions: Sequence[date]) -> dict[str, Any]:
    """Return what every materialization of a table shows: row count, session and a ten-row preview.

    Args:
        table: where the rows were written.
        frame: the rows.
        sessions: the partitions they were written for; empty for a bulk load.
    """
    metadata: dict[str, Any] = {"dagster/row_count": len(frame), PREVIEW_KEY: preview(frame, table)}
    if sessions:
        first, last = min(sessions), max(sessions)
        metadata[SESSION_KEY] = str(first) if first == last else f"{first} to {last}"
    return metadata


def numbers(**values: float | None) -> dict[str, dg.MetadataValue]:
    """Return numbers as metadata that Dagster plots over the partitions; those that are not known are absent.

    Always floats: a name that is once an integer and once not would make two plots. Six decimals: the tables
    hold the rest, and a page full of digits hides the number.
    """
    return {
        name: dg.MetadataValue.float(round(float(value), _DECIMALS))
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    }


def preview(frame: pd.DataFrame, table: Table | None = None, rows: int = 10) -> dg.TableMetadataValue:
    """Return the first rows of `frame` as a table that the UI can show; dates and money become text.

    What a person reads stands first: the columns that machines tell rows by come last, columns of JSON
    documents not at all, and long texts are cut. The table itself has everything.

    Args:
        frame: any frame.
        table: declaration that gives the columns' types and descriptions; without one, the frame's dtypes.
        rows: most rows shown.
    """
    schema = column_schema(table) if table else _schema_of(frame)
    names = [name for name in frame.columns if name not in _DOCUMENTS]
    shown = frame[sorted(names, key=_FOR_MACHINES.__contains__)].head(rows)
    columns = sorted(
        (column for column in schema.columns if column.name not in _DOCUMENTS),
        key=lambda column: column.name in _FOR_MACHINES,
    )
    return dg.MetadataValue.table(
        records=[dg.TableRecord(_shown(record)) for record in shown.to_dict(orient="records")],
        schema=dg.TableSchema(columns=columns, constraints=schema.constraints),
    )


def _schema_of(frame: pd.DataFrame) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[dg.TableColumn(name=str(name), type=str(frame[name].dtype)) for name in frame.columns]
    )


def _shown(record: Mapping[Any, Any]) -> dict[str, str | int | float | bool | None]:
    shown: dict[str, str | int | float | bool | None] = {}
    for name, value in record.items():
        if pd.isna(value):
            shown[str(name)] = None
        elif type(value) is float:
            shown[str(name)] = round(value, _DECIMALS)
        elif isinstance(value, Decimal):
            shown[str(name)] = _without_zeros(value)
        elif type(value) in (bool, int):
            shown[str(name)] = value
        else:
            text = str(value)
            shown[str(name)] = text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
    return shown


def _without_zeros(amount: Decimal) -> str:
    """Return an amount with two decimals, or as many more as it has."""
    short = amount.quantize(Decimal("0.01"))
    return str(short if short == amount else amount.normalize())
