"""The sqlite file under the journal: connections, transactions, and how values are written as text.

What belongs here: connection discipline and codecs. What the tables mean is said by the modules that use it.
"""

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from importlib.resources import files
from math import isfinite
from numbers import Integral, Real
from pathlib import Path

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import DataError, JournalError
from hrp_core.money import from_units, to_units

SCHEMA_VERSION = 7
# Evidence is never rewritten; sqlite itself enforces it, whoever holds the file.
_APPEND_ONLY = (
    "fence",
    "broker_events",
    "executions",
    "busts",
    "commissions",
    "external_orders",
    "trade_strategies",
    "order_ids",
    "crosses",
    "cross_prices",
    "splits",
    "snapshots",
    "cash_flows",
    "flow_sessions",
    "latch",
    "approvals",
    "symbol_controls",
    "plan_drops",
    "arm_tokens",
    "arm_uses",
    "flatten_codes",
    "flatten_uses",
)
_FROZEN_COLUMNS = {
    "plans": "plan_id, mode, account, session, execution_session, purpose, sequence, content, inputs_hash",
    "intents": "intent_id, plan_id, con_id, side, quantity, leg, order_type, limit_price, allocations",
    "attempts": "order_ref, intent_id, number, quantity, epoch, sent_at",
}


class Database:
    """One sqlite file. Each thread of each process works on a connection of its own.

    Write-ahead log, a full sync at each commit, foreign keys on, and a bounded wait for other writers.

    Args:
        path: the file; it and its folder are made when missing.
        busy_timeout: longest wait for another writer, seconds.

    Raises:
        JournalError: the file cannot be opened, is no journal, or is newer than this program.
    """

    def __init__(self, path: Path, busy_timeout: float = 10.0) -> None:
        self.path = path
        self._busy_timeout = busy_timeout
        self._local = threading.local()
        self._all: list[tuple[int, sqlite3.Connection]] = []
        self._guard = threading.Lock()
        if not path.exists():
            _create(path)
        with self.read() as connection:
            version = _check_version(connection, path)
        if version < SCHEMA_VERSION:
            with self.write() as connection:
                _upgrade(connection, path)

    def close(self) -> None:
        """Close the connections of every thread of this process."""
        with self._guard:
            for pid, connection in self._all:
                # One inherited over a fork is the parent's; closing it here would drop the parent's locks.
                if pid == os.getpid():
                    connection.close()
            self._all.clear()
            self._local = threading.local()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that sees one consistent state for the whole block."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give a connection inside one transaction: durable when the block ends, undone when it raises."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connection()
            if connection.in_transaction:
                raise JournalError("a journal transaction was begun inside another one; this is a bug")
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                # Reached with a transaction still open only by an exception, SIGTERM's included.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise JournalError(f"the journal {self.path} cannot be used: {error}") from error
            raise JournalError(
                f"the journal {self.path} has been locked by another process for {self._busy_timeout:g} s; "
                "end the program that holds it and run the same command again"
            ) from error
        except sqlite3.Error as error:
            raise JournalError(f"the journal {self.path} refuses the change: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        held: tuple[int, sqlite3.Connection] | None = getattr(self._local, "held", None)
        if held is not None and held[0] == os.getpid():
            return held[1]
        connection = sqlite3.connect(
            self.path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        self._local.held = (os.getpid(), connection)
        with self._guard:
            self._all.append((os.getpid(), connection))
        return connection


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"the journal {path} was written by a newer program (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); update the program"
        )
    if version < 1:
        raise JournalError(f"{path} is not an order journal; give the journal another path")
    return version


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Add what older journals lack; everything in them stays as it is."""
    # Another process may have been quicker: then no step is left.
    version = _check_version(connection, path)
    for step in sorted(_STEPS):
        if version < step:
            _STEPS[step](connection)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _add_external_orders(connection: sqlite3.Connection) -> None:
    _add_tables(connection, "external_orders")


def _add_crosses(connection: sqlite3.Connection) -> None:
    _add_tables(connection, "crosses", "cross_prices")


def _add_controls(connection: sqlite3.Connection) -> None:
    _add_tables(
        connection, "symbol_controls", "plan_drops", "arm_tokens", "arm_uses", "flatten_codes", "flatten_uses"
    )


def _add_flow_sessions(connection: sqlite3.Connection) -> None:
    _add_tables(connection, "flow_sessions")
    connection.execute("CREATE INDEX IF NOT EXISTS intents_by_contract ON intents (con_id)")


def _add_trades_and_order_ids(connection: sqlite3.Connection) -> None:
    _add_tables(connection, "trade_strategies", "order_ids")


def _add_splits(connection: sqlite3.Connection) -> None:
    _add_tables(connection, "splits")


# What each version of the schema added to the one before it.
_STEPS = {
    2: _add_external_orders,
    3: _add_crosses,
    4: _add_controls,
    5: _add_flow_sessions,
    6: _add_trades_and_order_ids,
    7: _add_splits,
}


def _add_tables(connection: sqlite3.Connection, *names: str) -> None:
    """Create append-only tables as the schema has them."""
    script = files("hrp_core.ledger").joinpath("schema.sql").read_text(encoding="utf-8")
    for statement in _statements(script):
        if any(f"CREATE TABLE {name} (" in statement or f" ON {name} (" in statement for name in names):
            connection.execute(statement)
    for name in names:
        _make_append_only(connection, name)


def _create(path: Path) -> None:
    """Make the file whole under another name, then give it its name, which only one process can do.

    Switching a file to write-ahead logging while another process opens it fails at once, without the wait
    that every other conflict gets.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    draft.unlink(missing_ok=True)
    try:
        connection = sqlite3.connect(draft, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _create_schema(connection)
        connection.close()
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            # A journal that is gone after a power cut would let everything be sent again.
            os.fsync(folder)
        finally:
            os.close(folder)
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"the journal {path} cannot be created: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


def _create_schema(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    script = files("hrp_core.ledger").joinpath("schema.sql").read_text(encoding="utf-8")
    for statement in _statements(script):
        connection.execute(statement)
    for table in _APPEND_ONLY:
        _make_append_only(connection, table)
    for table, columns in _FROZEN_COLUMNS.items():
        connection.execute(
            f"CREATE TRIGGER {table}_frozen BEFORE UPDATE OF {columns} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'the content of {table} is frozen'); END"
        )
        connection.execute(
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _make_append_only(connection: sqlite3.Connection, table: str) -> None:
    for verb in ("UPDATE", "DELETE"):
        connection.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def _statements(script: str) -> Iterator[str]:
    """Split the script; `executescript` would commit the surrounding transaction."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def moment_text(moment: datetime) -> str:
    """Return a timezone-aware moment as UTC text of fixed width."""
    if moment.tzinfo is None:
        raise ValueError(f"a moment needs a time zone: {moment!r}")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def parse_moment(text: str) -> datetime:
    """Return the moment that `moment_text` wrote, New York time."""
    return datetime.fromisoformat(text).astimezone(NEW_YORK)


def optional_units(amount: Decimal | None) -> int | None:
    """Return `amount` in ten-thousandths of a dollar; None stays None."""
    return None if amount is None else to_units(amount)


def optional_money(units: int | None) -> Decimal | None:
    """Return `units` as USD; None stays None."""
    return None if units is None else from_units(units)


def canonical_json(value: object) -> str:
    """Return `value` as JSON text that depends on its content only: keys sorted, no spaces, NaN as null.

    Raises:
        DataError: something in it has no JSON form.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(text: str) -> str:
    """Return the SHA-256 of `text` in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    # Order matters: StrEnum is a str, bool is an int, datetime is a date.
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if isfinite(value) else None
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise DataError(f"a plan's inputs must be plain data; cannot freeze {type(value).__name__}: {value!r}")
