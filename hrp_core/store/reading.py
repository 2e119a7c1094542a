"""Reading asset tables back with documented types.

What belongs here: selecting rows of a declared table into a frame. What does not: adjusting prices, pivoting,
or any other meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import pandas as pd
from duckdb import DuckDBPyConnection

from hrp_core.errors import NotReadyError
from hrp_core.store.connection import Store
from hrp_core.store.frames import from_arrow
from hrp_core.store.schema import stored_columns
from hrp_core.store.slices import Slice
from hrp_core.store.tables import TABLES, Column, Table


@dataclass(frozen=True, slots=True)
class StoredRange:
    """How much of a table is stored.

    Attributes:
        table: name of the table.
        first: earliest session with rows; None where there are none.
        last: latest session with rows.
        rows: rows of all sessions.
    """

    table: str
    first: date | None
    last: date | None
    rows: int


def read_table(
    store: Store,
    table: Table,
    *,
    sessions: Sequence[date] | None = None,
    start: date | None = None,
    end: date | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return stored rows of `table`, ordered by its key, on a short connection of their own.

    Args:
        store: the database.
        table: declaration of the table.
        sessions: only these sessions; none of them need have rows.
        start: first session, included.
        end: last session, included.
        columns: names of the columns wanted, in the order wanted; default all, as declared.

    Returns:
        A frame with a plain index and these dtypes: DATE `object` of datetime.date; VARCHAR `object` of str
        or None; DOUBLE `float64`, NULL as NaN; BIGINT `int64` and INTEGER `int32`, where nullable `Int64` and
        `Int32`; BOOLEAN `bool`, where nullable `boolean`; TIMESTAMPTZ `datetime64[us]` in New York time;
        DECIMAL `object` of Decimal (USD) or None.

    Raises:
        NotReadyError: the database does not exist, or the table was never written.
        StoreError: the database stays locked, or a column is not declared.
    """
    with store.read() as connection:
        return select_rows(connection, table, conditions=_conditions(sessions, start, end), columns=columns)


def read_slice(connection: DuckDBPyConnection, table: Table, sessions: Slice) -> pd.DataFrame:
    """Return the stored rows of one slice, as `read_table` does, on an open connection."""
    return select_rows(connection, table, conditions=[sessions.condition])


def select_rows(
    connection: DuckDBPyConnection,
    table: Table,
    *,
    conditions: Sequence[tuple[str, Sequence[object]]] = (),
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the rows that meet all `conditions` (SQL with its parameters), as `read_table` does.

    For several reads that must see one state of the data: they share the connection of one `Store.read()`.

    Raises:
        NotReadyError: the table was never written.
        StoreError: a column is not declared.
    """
    wanted = [table.column(name) for name in columns] if columns is not None else list(table.columns)
    where = " AND ".join(f"({condition})" for condition, _ in conditions) or "true"
    parameters = [parameter for _, values in conditions for parameter in values]
    rest = f"FROM {table.name} WHERE {where} ORDER BY {', '.join(table.key)}"
    names = [column.name for column in wanted]
    try:
        found = connection.execute(f"SELECT {', '.join(names)} {rest}", parameters)
    except (duckdb.CatalogException, duckdb.BinderException):
        # Refused before anything ran, so the transaction goes on: the table, or a column of it, is missing.
        stored = stored_columns(connection, table.name)
        if not stored:
            raise NotReadyError(
                f"table {table.name} was never written; materialize the asset {table.name} first "
                "(`hrp job run` or the Dagster UI)"
            ) from None
        columns_as_stored = ", ".join(_expression(column, stored) for column in wanted)
        found = connection.execute(f"SELECT {columns_as_stored} {rest}", parameters)
    return from_arrow(wanted, found.to_arrow_table())


def stored_ranges(store: Store) -> list[StoredRange]:
    """Return how much of every asset table is stored, in the order of the pipeline.

    Raises:
        NotReadyError: the database does not exist.
        StoreError: the database stays locked.
    """
    with store.read() as connection:
        return [_stored_range(connection, table) for table in TABLES.values()]


def newest_session(store: Store, table: Table) -> date | None:
    """Return the latest session with stored rows; None where there are none, or the table was never written.

    Raises:
        NotReadyError: the database does not exist.
        StoreError: the database stays locked.
    """
    with store.read() as connection:
        return _stored_range(connection, table).last


def _stored_range(connection: DuckDBPyConnection, table: Table) -> StoredRange:
    if not stored_columns(connection, table.name):
        return StoredRange(table.name, None, None, 0)
    [row] = connection.execute(f"SELECT min(session), max(session), count(*) FROM {table.name}").fetchall()
    return StoredRange(table.name, *row)


def _expression(column: Column, stored: dict[str, str]) -> str:
    # A column declared since the last write joins the table at the next one; until then it is empty.
    return column.name if column.name in stored else f"CAST(NULL AS {column.type}) AS {column.name}"


def _conditions(
    sessions: Sequence[date] | None, start: date | None, end: date | None
) -> list[tuple[str, Sequence[object]]]:
    conditions: list[tuple[str, Sequence[object]]] = []
    if sessions is not None:
        marks = ", ".join("?" * len(sessions))
        conditions.append((f"session IN ({marks})" if sessions else "false", list(sessions)))
    if start is not None:
        conditions.append(("session >= ?", [start]))
    if end is not None:
        conditions.append(("session <= ?", [end]))
    return conditions
