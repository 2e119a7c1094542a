"""The one way rows enter an asset table: a whole slice of sessions is replaced, or nothing changes.

What belongs here: which sessions a slice covers, validation, delete and insert. What does not: opening
connections (`Store`), the content hash and its record (`versions`), reading back (`reading`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd
import pyarrow as pa
from duckdb import DuckDBPyConnection

from hrp_core.errors import DataError, NotReadyError
from hrp_core.store.frames import to_arrow
from hrp_core.store.schema import ensure_table, stored_columns
from hrp_core.store.tables import Table
from hrp_core.store.versions import record_bulk, record_partitions

_INCOMING = "incoming_slice"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Sessions:
    """A slice of whole partitions.

    Attributes:
        days: at least one session; kept sorted and without repetition.
    """

    days: Sequence[date]

    def __post_init__(self) -> None:
        if not self.days or any(type(day) is not date for day in self.days):
            raise DataError(f"a slice needs at least one session, each a datetime.date: {self.days!r}")
        object.__setattr__(self, "days", tuple(sorted(set(self.days))))

    @property
    def condition(self) -> tuple[str, list[object]]:
        """SQL condition on the column `session` and its parameters."""
        return f"session IN ({', '.join('?' * len(self.days))})", list(self.days)

    def covers(self, day: date) -> bool:
        """Return whether rows of `day` belong to the slice."""
        return day in self.days

    def __str__(self) -> str:
        first, last = self.days[0], self.days[-1]
        return str(first) if first == last else f"{len(self.days)} sessions from {first} to {last}"


@dataclass(frozen=True, slots=True)
class Before:
    """The slice of a bulk load: every session before `first`, the first one that is a partition."""

    first: date

    @property
    def condition(self) -> tuple[str, list[object]]:
        """SQL condition on the column `session` and its parameters."""
        return "session < ?", [self.first]

    def covers(self, day: date) -> bool:
        """Return whether rows of `day` belong to the slice."""
        return day < self.first

    def __str__(self) -> str:
        return f"the sessions before {self.first}"


Slice = Sessions | Before


def replace_slice(
    connection: DuckDBPyConnection,
    table: Table,
    frame: pd.DataFrame,
    sessions: Slice,
    run_id: str,
    code_version: str | None,
    now: datetime,
) -> str:
    """Replace the rows of `sessions` in `table` by `frame`, and record the new content in partition_versions.

    Call it inside `Store.write()`: creating the table, delete, insert and record belong to that transaction,
    and an exception undoes all of them.

    Args:
        connection: open for writing, inside a transaction.
        table: declaration of the table; it is created where it is missing.
        frame: all rows of the slice, columns in any order; an empty one empties the slice.
        sessions: the partitions that are replaced, or `Before(first)` for history in bulk.
        run_id: run that writes.
        code_version: version of the code that made the frame, where it has one.
        now: moment of writing, timezone-aware.

    Returns:
        The content hash of what is now stored in the slice (`versions.content_hashes`).

    Raises:
        DataError: the frame breaks the declaration, has rows outside the slice, or repeats a key.
        NotReadyError: the database was not migrated.
        StoreError: the stored table contradicts the declaration.
    """
    if now.tzinfo is None:
        raise ValueError(f"a moment needs a time zone: {now!r}")
    incoming = to_arrow(table, frame)
    _refuse_foreign_sessions(table, incoming, sessions)
    if not stored_columns(connection, "partition_versions"):
        raise NotReadyError("the database has no table partition_versions yet; run `hrp db migrate`")
    ensure_table(connection, table)

    where, parameters = sessions.condition
    connection.execute(f"DELETE FROM {table.name} WHERE {where}", parameters)
    connection.register(_INCOMING, incoming)
    connection.execute(f"INSERT INTO {table.name} BY NAME SELECT * FROM {_INCOMING}")
    connection.unregister(_INCOMING)
    _refuse_repeated_keys(connection, table, sessions)

    if isinstance(sessions, Before):
        return record_bulk(connection, table, sessions.first, run_id, code_version, now)
    return record_partitions(connection, table, sessions.days, run_id, code_version, now)


def _refuse_foreign_sessions(table: Table, incoming: pa.Table, sessions: Slice) -> None:
    present = incoming.column("session").unique().to_pylist()
    foreign = sorted(day for day in present if not sessions.covers(day))
    if foreign:
        shown = ", ".join(str(day) for day in foreign[:_SHOWN]) + (" …" if len(foreign) > _SHOWN else "")
        raise DataError(
            f"the frame for table {table.name} replaces {sessions} but has rows of {shown}; "
            "correct the frame, nothing was stored"
        )


def _refuse_repeated_keys(connection: DuckDBPyConnection, table: Table, sessions: Slice) -> None:
    where, parameters = sessions.condition
    key = ", ".join(table.key)
    repeated = connection.execute(
        f"SELECT {key}, count(*) FROM {table.name} WHERE {where} GROUP BY {key} HAVING count(*) > 1 "
        f"ORDER BY {key} LIMIT {_SHOWN}",
        parameters,
    ).fetchall()
    if repeated:
        rows = "; ".join(f"{' '.join(str(value) for value in row[:-1])} {row[-1]} times" for row in repeated)
        raise DataError(
            f"the frame for table {table.name} repeats the key ({key}): {rows}; "
            "correct the frame, nothing was stored"
        )
