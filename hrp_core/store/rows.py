"""Writing a few rows of bookkeeping beside a slice.

What belongs here: plain inserts into tables that migrations make. What does not: asset tables (`slices`),
whose frames are checked against a declaration.
"""

from collections.abc import Sequence

from duckdb import DuckDBPyConnection

_AT_ONCE = 200


def insert_rows(
    connection: DuckDBPyConnection, table_name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Insert `rows` in statements of many: registering a frame costs as much as ten of them.

    Args:
        connection: open for writing, inside a transaction.
        table_name: of a table that exists.
        columns: names of the values of each row, in order.
        rows: values that DuckDB takes as parameters; moments with a time zone.
    """
    marks = f"({', '.join('?' * len(columns))})"
    for start in range(0, len(rows), _AT_ONCE):
        chunk = rows[start : start + _AT_ONCE]
        connection.execute(
            f"INSERT INTO {table_name} ({', '.join(columns)}) VALUES {', '.join([marks] * len(chunk))}",
            [value for row in chunk for value in row],
        )
