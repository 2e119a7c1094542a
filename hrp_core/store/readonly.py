"""One SELECT of anybody's, on the stored data and on nothing else.

What belongs here: the fences around SQL that we did not write: read-only connection, no files, no network,
one statement, bounded rows, time and memory. What does not: our own reads (`reading`).
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from duckdb import DuckDBPyConnection

from hrp_core.errors import DataError, RefusedError, StoreError
from hrp_core.store.connection import Store

_log = logging.getLogger(__name__)

ROW_LIMIT = 10_000
TIME_LIMIT = 10.0  # seconds; a reader keeps every writer waiting (F38)
MEMORY_LIMIT = "1GB"

# In this order: nothing about files can be set any more once external access is off, nothing at all once the
# configuration is locked. The replacement settings keep `FROM name` from reading Python variables.
_FENCES = (
    f"SET memory_limit = '{MEMORY_LIMIT}'",
    "SET temp_directory = ''",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET python_enable_replacements = false",
    "SET python_scan_all_frames = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


def query_readonly(
    store: Store,
    sql: str,
    params: Sequence[object] | Mapping[str, object] = (),
    *,
    limit: int = ROW_LIMIT,
    timeout: float = TIME_LIMIT,
) -> pd.DataFrame:
    """Run one SELECT and return its rows.

    Args:
        store: the database, migrated.
        sql: exactly one SELECT (also ``FROM x``, ``WITH … SELECT``, ``DESCRIBE x``).
        params: values of its ``?`` or ``$1`` in order, or of its ``$name`` by name.
        limit: most rows returned.
        timeout: longest time in seconds.

    Returns:
        The rows; DECIMAL as Decimal, DATE as datetime.date, TIMESTAMPTZ in New York time. When there are more
        than `limit`, the rest is left out, ``attrs["truncated"]`` is True and a warning is logged.

    Raises:
        RefusedError: it is not exactly one SELECT, or it reaches for a file, the network or an extension.
        DataError: (a ValueError) the SQL is wrong: syntax, unknown table or column, parameters, a bad cast.
        StoreError: it took longer than `timeout` or more memory than allowed, the database stays locked, or
            another connection of this process has it open.
        NotReadyError: the database does not exist.
    """
    with store.read(apart=True) as connection:
        _fence(connection, store)
        statement = _only_select(connection, sql)
        cut_off = threading.Timer(timeout, connection.interrupt)
        cut_off.start()
        try:
            given = dict(params) if isinstance(params, Mapping) else list(params)
            found = _rows(connection.execute(statement, given), limit + 1)
        except duckdb.Error as error:
            raise _translated(error, timeout) from error
        finally:
            cut_off.cancel()
            cut_off.join()
    truncated = found.num_rows > limit
    frame = found.slice(0, limit).to_pandas()
    frame.attrs["truncated"] = truncated
    if truncated:
        _log.warning("the query has more than %d rows; the rest was left out (attrs['truncated'])", limit)
    return frame


def _fence(connection: DuckDBPyConnection, store: Store) -> None:
    count = connection.execute("SELECT count FROM duckdb_connection_count()").fetchone()
    if count is None or count[0] != 1:
        # The fences hold for the whole database instance, also for connections that somebody else has open.
        raise StoreError(
            f"another connection of this process has {store.path} open; close it, then run the query again"
        )
    for fence in _FENCES:
        connection.execute(fence)


def _only_select(connection: DuckDBPyConnection, sql: str) -> duckdb.Statement:
    try:
        # On the fenced connection: parsing alone reads files for IMPORT DATABASE.
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise _translated(error, 0) from error
    kinds = [str(statement.type).rpartition(".")[2] for statement in statements]
    if kinds != ["SELECT"]:
        raise RefusedError(
            f"only one SELECT is allowed here, not {' and '.join(kinds) or 'nothing'}; nothing was run. "
            "Change data through the `hrp` commands"
        )
    return statements[0]


def _rows(result: DuckDBPyConnection, most: int) -> pa.Table:
    """Return at most `most` rows and leave the rest unread."""
    reader = result.to_arrow_reader(most)
    batches: list[Any] = []
    count = 0
    for batch in reader:
        batches.append(batch)
        count += batch.num_rows
        if count >= most:
            break
    return pa.Table.from_batches(batches, reader.schema).slice(0, most)


def _translated(error: duckdb.Error, timeout: float) -> RefusedError | DataError | StoreError:
    first = str(error).splitlines()[0]
    if isinstance(error, duckdb.PermissionException) or "extension" in first.lower():
        return RefusedError(f"the query reaches beyond the stored tables: {first}")
    if isinstance(error, duckdb.InterruptException):
        return StoreError(
            f"the query was ended after {timeout:g} s, because readers keep writers waiting; ask for less"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return StoreError(f"the query needs more memory than {MEMORY_LIMIT}: {first}; ask for less")
    if isinstance(error, duckdb.InvalidInputException) and "read-only" in first:
        return RefusedError(f"the query would write: {first}")
    return DataError(f"the query cannot be run: {first}")
