"""Between pandas and the declared column types, both ways, without a silent change of a value.

What belongs here: checking a frame against a table's declaration, and giving a result its documented dtypes.
What does not: SQL. Arrow is the bridge because its casts refuse to lose anything.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import types as kinds

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import DataError
from hrp_core.store.tables import Column, ColumnType, Table

_ARROW: dict[ColumnType, pa.DataType] = {
    ColumnType.DATE: pa.date32(),
    ColumnType.TEXT: pa.string(),
    ColumnType.DOUBLE: pa.float64(),
    ColumnType.BIGINT: pa.int64(),
    ColumnType.INTEGER: pa.int32(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.MOMENT: pa.timestamp("us", tz="UTC"),
    ColumnType.PRICE: pa.decimal128(18, 6),
    ColumnType.CASH: pa.decimal128(18, 4),
}


def _is_text(kind: pa.DataType) -> bool:
    text = kind.value_type if isinstance(kind, pa.DictionaryType) else kind
    return kinds.is_string(text) or kinds.is_large_string(text)


def _is_number(kind: pa.DataType) -> bool:
    return kinds.is_integer(kind) or kinds.is_floating(kind)


def _is_money(kind: pa.DataType) -> bool:
    return kinds.is_decimal(kind) or kinds.is_integer(kind)


def _is_day(kind: pa.DataType) -> bool:
    return kinds.is_date(kind) or (isinstance(kind, pa.TimestampType) and kind.tz is None)


def _is_moment(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.TimestampType) and kind.tz is not None


# Which Arrow types a column accepts, and how to say what it wants. A float becomes an integer only when it is
# whole (pandas turns nullable integers into floats); it never becomes money.
_ACCEPTS: dict[ColumnType, tuple[Callable[[pa.DataType], bool], str]] = {
    ColumnType.DATE: (_is_day, "datetime.date values without time or zone"),
    ColumnType.TEXT: (_is_text, "str values"),
    ColumnType.DOUBLE: (_is_number, "float values"),
    ColumnType.BIGINT: (_is_number, "whole numbers"),
    ColumnType.INTEGER: (_is_number, "whole numbers"),
    ColumnType.BOOLEAN: (kinds.is_boolean, "bool values"),
    ColumnType.MOMENT: (_is_moment, "timezone-aware datetimes"),
    ColumnType.PRICE: (_is_money, "Decimal values with at most six places (to_average, to_money)"),
    ColumnType.CASH: (_is_money, "Decimal values with at most four places (to_money)"),
}


def to_arrow(table: Table, frame: pd.DataFrame) -> pa.Table:
    """Return `frame` as an Arrow table in exactly the declared columns, order and types.

    The order of the frame's columns and its index do not matter. NaN, NaT and None are NULL. A column without
    a single value has no type to check, so an empty frame only needs the right column names.

    Raises:
        DataError: a column is missing, unknown or twice there, a value does not fit its declared type without
            loss, or a NOT NULL column has none.
    """
    names = list(frame.columns)
    missing = [name for name in table.column_names if name not in names]
    unknown = [str(name) for name in names if name not in table.column_names]
    repeated = sorted({str(name) for name in names if names.count(name) > 1})
    problems = [
        f"{what} {', '.join(which)}"
        for what, which in (("missing", missing), ("not declared", unknown), ("repeated", repeated))
        if which
    ]
    if problems:
        raise DataError(
            f"the frame for table {table.name} has the wrong columns ({'; '.join(problems)}); "
            f"it must have {', '.join(table.column_names)}"
        )
    arrays = [_to_array(table, column, frame[column.name]) for column in table.columns]
    return pa.table(arrays, names=list(table.column_names))


def _to_array(table: Table, column: Column, series: pd.Series) -> pa.Array:
    accepts, wants = _ACCEPTS[column.type]
    try:
        _check_moments(column, series)
        # A pandas column may arrive in Arrow as several chunks.
        chunks = pa.chunked_array([pa.array(series, from_pandas=True)])  # pyright: ignore[reportArgumentType]
        if chunks.null_count == len(chunks):
            array = pa.nulls(len(series), _ARROW[column.type])
        elif accepts(chunks.type):
            array = _cast(chunks.combine_chunks(), column.type)
        else:
            raise DataError(f"it holds {chunks.type}")
    except (pa.ArrowException, DataError, TypeError, OverflowError) as error:
        raise DataError(
            f"{table.name}.{column.name} is {column.type} and wants {wants}: {error}; "
            "correct the frame, nothing was stored"
        ) from error
    if array.null_count and not column.nullable:
        raise DataError(
            f"{table.name}.{column.name} must not be empty, {array.null_count} of {len(series)} rows are; "
            "correct the frame, nothing was stored"
        )
    return array


def _check_moments(column: Column, series: pd.Series) -> None:
    """Refuse what Arrow would accept silently: a date with a time cut off, a naive moment taken for UTC."""
    if column.type is ColumnType.DATE:
        if pd.api.types.is_datetime64_dtype(series.dtype):
            days = series.dropna()
            if not (days == days.dt.normalize()).all():
                raise DataError("a value has a time of day")
        elif series.dtype == object and any(isinstance(value, datetime) for value in series.dropna()):
            raise DataError("a value is a datetime")
    elif column.type is ColumnType.MOMENT and series.dtype == object:
        for value in series.dropna():
            if not isinstance(value, datetime) or value.tzinfo is None:
                raise DataError(f"{value!r} has no time zone")


def _cast(array: pa.Array, target: ColumnType) -> pa.Array:
    if target in (ColumnType.PRICE, ColumnType.CASH) and kinds.is_integer(array.type):
        # Arrow casts an integer only to a decimal that is wide enough for every integer of its type.
        array = array.cast(pa.decimal128(38, 6))
    return array.cast(_ARROW[target], safe=True)


def from_arrow(columns: Sequence[Column], result: pa.Table) -> pd.DataFrame:
    """Return a query result with the documented dtypes (see `read_table`); `columns` describe it in order."""
    frame = result.select([column.name for column in columns]).to_pandas()
    for column in columns:
        # Arrow would make floats of nullable integers and objects of nullable truth values.
        if column.nullable and _ARROW[column.type] in _NULLABLE:
            values = result.column(column.name)
            frame[column.name] = values.to_pandas(types_mapper=_NULLABLE.get)
        elif column.type is ColumnType.MOMENT:
            frame[column.name] = frame[column.name].dt.tz_convert(NEW_YORK)
    return frame


_NULLABLE: dict[pa.DataType, Any] = {
    pa.int64(): pd.Int64Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}
