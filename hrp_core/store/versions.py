"""The content hash of what is stored, and partition_versions, the record of it.

What belongs here: the canonical form that is hashed, and reading and writing that one table. A check, a gate
or a plan names a content hash when it must be sure to speak of the same rows.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from duckdb import DuckDBPyConnection

from hrp_core.calendar import NEW_YORK
from hrp_core.store.rows import insert_rows
from hrp_core.store.tables import Column, ColumnType, Table


@dataclass(frozen=True, slots=True)
class PartitionVersion:
    """The current content of one partition.

    Attributes:
        asset: the table.
        session: the partition; None for the bulk load of earlier history.
        content_hash: SHA-256 in hexadecimal.
        rows: rows stored.
        run_id: run that wrote it.
        code_version: version of the asset's code, where it declares one.
        written_at: when, New York time.
    """

    asset: str
    session: date | None
    content_hash: str
    rows: int
    run_id: str
    code_version: str | None
    written_at: datetime


def content_hashes(
    connection: DuckDBPyConnection, table: Table, condition: str, parameters: Sequence[object]
) -> dict[date, tuple[str, int]]:
    """Return content hash and row count of each session that has stored rows under `condition`.

    The hash is the SHA-256 of the declaration (table, column names and types in declared order) and the rows
    in the order of the key, each value as length-prefixed text in a form that depends on neither platform nor
    DuckDB's display of values: doubles with 17 significant digits, moments as microseconds since 1970 UTC. It
    is computed from what is stored, so neither row order, column order nor pandas dtypes of the frame matter.
    """
    # Named once each: DuckDB would otherwise format every value twice, once for its length.
    values = [f"{_canonical(column)} AS value_{at}" for at, column in enumerate(table.columns)]
    keys = [f"{name} AS key_{at}" for at, name in enumerate(table.key)]
    row = " || ',' || ".join(
        f"coalesce(length(value_{at}) || ':' || value_{at}, '-')" for at in range(len(values))
    )
    order = ", ".join(f"key_{at}" for at in range(len(keys)))
    found = connection.execute(
        f"SELECT day, sha256(? || string_agg({row}, chr(10) ORDER BY {order})), count(*) "
        f"FROM (SELECT session AS day, {', '.join([*keys, *values])} FROM {table.name} WHERE {condition}) "
        "GROUP BY day ORDER BY day",
        [_header(table), *parameters],
    ).fetchall()
    return {session: (content_hash, rows) for session, content_hash, rows in found}


def record_partitions(
    connection: DuckDBPyConnection,
    table: Table,
    days: Sequence[date],
    run_id: str,
    code_version: str | None,
    now: datetime,
) -> str:
    """Record the stored content of the partitions `days`, one row each, in place of earlier records.

    Returns:
        The content hash of the partition; of several, the SHA-256 over their sessions and hashes.
    """
    marks = ", ".join("?" * len(days))
    stored = content_hashes(connection, table, f"session IN ({marks})", days)
    empty = (_sha256(_header(table)), 0)
    versions = [
        PartitionVersion(table.name, day, *stored.get(day, empty), run_id, code_version, now) for day in days
    ]
    connection.execute(
        f"DELETE FROM partition_versions WHERE asset = ? AND session IN ({marks})", [table.name, *days]
    )
    _insert(connection, versions)
    if len(versions) == 1:
        return versions[0].content_hash
    return _combined(table, {day: stored.get(day, empty)[0] for day in days})


def record_bulk(
    connection: DuckDBPyConnection,
    table: Table,
    first: date,
    run_id: str,
    code_version: str | None,
    now: datetime,
) -> str:
    """Record the stored history before `first` as one row without a session.

    Records of single partitions before `first` (the first session was moved) are replaced with their rows.

    Returns:
        The SHA-256 over the stored sessions and their content hashes.
    """
    stored = content_hashes(connection, table, "session < ?", [first])
    content_hash = _combined(table, {day: digest for day, (digest, _) in stored.items()})
    rows = sum(count for _, count in stored.values())
    connection.execute(
        "DELETE FROM partition_versions WHERE asset = ? AND (session IS NULL OR session < ?)",
        [table.name, first],
    )
    _insert(connection, [PartitionVersion(table.name, None, content_hash, rows, run_id, code_version, now)])
    return content_hash


def partition_versions(
    connection: DuckDBPyConnection, asset: str, sessions: Sequence[date] | None = None
) -> list[PartitionVersion]:
    """Return the current versions of an asset's partitions, by session.

    Args:
        connection: open connection of a migrated database.
        asset: name of the table.
        sessions: only these partitions; None for all, after the bulk load where there is one. A partition
            that was never written is absent.
    """
    condition, parameters = "asset = ?", [asset, *(sessions or ())]
    if sessions is not None:
        condition += f" AND session IN ({', '.join('?' * len(sessions))})" if sessions else " AND false"
    found = connection.execute(
        "SELECT asset, session, content_hash, rows, run_id, code_version, written_at FROM partition_versions "
        f"WHERE {condition} ORDER BY session NULLS FIRST",
        parameters,
    ).fetchall()
    return [
        PartitionVersion(*described, written_at=written_at.astimezone(NEW_YORK))
        for *described, written_at in found
    ]


def _insert(connection: DuckDBPyConnection, versions: Sequence[PartitionVersion]) -> None:
    fields = tuple(PartitionVersion.__slots__)
    rows = [[getattr(version, name) for name in fields] for version in versions]
    insert_rows(connection, "partition_versions", fields, rows)


def _canonical(column: Column) -> str:
    value = column.name
    if column.type is ColumnType.DOUBLE:
        # Adding zero turns -0.0 into 0.0, which compares equal and must hash equal.
        return f"format('{{:.17g}}', {value} + 0.0)"
    if column.type is ColumnType.MOMENT:
        return f"CAST(epoch_us({value}) AS VARCHAR)"
    return value if column.type is ColumnType.TEXT else f"CAST({value} AS VARCHAR)"


def _header(table: Table) -> str:
    columns = ", ".join(f"{column.name} {column.type}" for column in table.columns)
    return f"{table.name} ({columns})\n"


def _combined(table: Table, hashes: Mapping[date, str]) -> str:
    lines = "\n".join(f"{day} {hashes[day]}" for day in sorted(hashes))
    return _sha256(_header(table) + lines)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
