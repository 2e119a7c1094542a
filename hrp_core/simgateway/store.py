"""The gateway's memory: one sqlite file with everything the account ever did.

What belongs here: rows in, rows out. Nothing is answered to a client before `commit`, so that after a kill
the file holds what clients were told. History is never deleted; answers forget it, audits do not.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrp_core.errors import BrokerError, DataError
from hrp_core.matching import EngineState, Fill, Order, OrderState, Position
from hrp_core.matching.state import Scalar, fill_from, order_from, position_from, record, scalars_from
from hrp_core.simgateway.faults import ActiveFault, Parameters, build_fault

SCHEMA_VERSION = 2

# Column names are the field names of Order, Fill and Position; amounts in ten-thousandths of a dollar,
# moments in ISO 8601 with New York's offset, so that their first ten characters are the day there.
_SCHEMA = """
CREATE TABLE gateway (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE instruments (symbol TEXT PRIMARY KEY, con_id INTEGER NOT NULL UNIQUE) STRICT, WITHOUT ROWID;
CREATE TABLE clients (client_id INTEGER PRIMARY KEY, next_order_id INTEGER NOT NULL) STRICT;
CREATE TABLE orders (
    perm_id INTEGER PRIMARY KEY, order_ref TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
    quantity INTEGER NOT NULL, order_type TEXT NOT NULL, tif TEXT NOT NULL, accepted_at TEXT NOT NULL,
    active_from TEXT NOT NULL, session TEXT NOT NULL, state TEXT NOT NULL, filled INTEGER NOT NULL,
    value_units INTEGER NOT NULL, commission_units INTEGER NOT NULL, closed_at TEXT, code INTEGER NOT NULL,
    reason TEXT NOT NULL, limit_units INTEGER, cancel_too_late INTEGER NOT NULL,
    client_id INTEGER NOT NULL, order_id INTEGER NOT NULL, outside_rth INTEGER NOT NULL
) STRICT;
CREATE INDEX orders_by_owner ON orders (client_id, order_id);
CREATE INDEX orders_by_state ON orders (state);
CREATE INDEX orders_by_end ON orders (closed_at);
CREATE TABLE executions (
    number INTEGER PRIMARY KEY, exec_id TEXT NOT NULL UNIQUE, perm_id INTEGER NOT NULL REFERENCES orders,
    order_ref TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL, time TEXT NOT NULL,
    quantity INTEGER NOT NULL, price_units INTEGER NOT NULL, commission_units INTEGER NOT NULL,
    realized_units INTEGER, cum_quantity INTEGER NOT NULL, cum_value_units INTEGER NOT NULL
) STRICT;
CREATE INDEX executions_by_time ON executions (time);
CREATE TABLE positions (
    symbol TEXT PRIMARY KEY, shares INTEGER NOT NULL, cost_units INTEGER NOT NULL,
    last_price_units INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE faults (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, parameters TEXT NOT NULL, active INTEGER NOT NULL,
    seen INTEGER NOT NULL, effects INTEGER NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Ownership:
    """Whose an order is on the wire."""

    client_id: int
    order_id: int
    outside_rth: bool


class GatewayStore:
    """The open sqlite file. Belongs to one thread.

    Raises:
        DataError: the file is of another version, or no such file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            # FULL: after a power cut the broker must still know the orders whose senders know them.
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
            elif version != SCHEMA_VERSION:
                raise DataError(
                    f"{path} was written by another version of the gateway ({version}, this one is "
                    f"{SCHEMA_VERSION}); start afresh with `hrp demo --fresh`"
                )
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise DataError(f"{path} cannot be used as the gateway's state: {error}; start afresh") from error
        except DataError:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file; what is not committed is forgotten."""
        self._db.close()

    def commit(self) -> None:
        """Make everything written since the last commit durable.

        Raises:
            BrokerError: the disk refuses; the gateway must stop, for it may not answer.
        """
        if not self._db.in_transaction:
            return
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise BrokerError(f"the gateway cannot save its state to {self._path}: {error}") from error

    def get(self, key: str) -> str | None:
        """Return a stored text; None when it was never set."""
        row = self._db.execute("SELECT value FROM gateway WHERE key = ?", (key,)).fetchone()
        return None if row is None else row["value"]

    def put(self, values: Mapping[str, Scalar]) -> None:
        """Store texts and numbers by key."""
        self._write_many(
            "INSERT OR REPLACE INTO gateway (key, value) VALUES (?, ?)",
            [(key, "" if value is None else str(value)) for key, value in values.items()],
        )

    def save_order(self, order: Order, owner: Ownership) -> None:
        """Store an order as it stands."""
        row: dict[str, Scalar] = {
            **record(order),
            "client_id": owner.client_id,
            "order_id": owner.order_id,
            "outside_rth": int(owner.outside_rth),
        }
        self._upsert("orders", "perm_id", row)

    def save_fill(self, fill: Fill) -> None:
        """Store an execution."""
        self._upsert("executions", "number", record(fill))

    def save_position(self, symbol: str, position: Position | None) -> None:
        """Store a position; None removes it."""
        if position is None:
            self._write("DELETE FROM positions WHERE symbol = ?", (symbol,))
        else:
            self._upsert("positions", "symbol", record(position))

    def save_next_order_id(self, client_id: int, order_id: int) -> None:
        """Store the next order id of a client."""
        self._upsert("clients", "client_id", {"client_id": client_id, "next_order_id": order_id})

    def save_instruments(self, con_ids: Mapping[str, int]) -> None:
        """Store the contract ids that are not stored yet."""
        self._write_many(
            "INSERT OR IGNORE INTO instruments (symbol, con_id) VALUES (?, ?)", list(con_ids.items())
        )

    def add_fault(self, name: str, parameters: Parameters) -> ActiveFault:
        """Store a fault and return it with its number.

        Raises:
            DataError: no such fault, or parameters that it does not take.
        """
        fault = build_fault(name, parameters)
        number = self._write(
            "INSERT INTO faults (name, parameters, active, seen, effects) VALUES (?, ?, ?, 0, 0)",
            (name, json.dumps(dict(parameters)), int(not fault.at_once)),
        )
        return ActiveFault(number, fault, parameters)

    def save_fault(self, active: ActiveFault) -> None:
        """Store how often a fault has acted."""
        self._write(
            "UPDATE faults SET seen = ?, effects = ? WHERE number = ?",
            (active.seen, active.effects, active.number),
        )

    def end_fault(self, number: int) -> None:
        """Store that a fault is no longer in force."""
        self._write("UPDATE faults SET active = 0 WHERE number = ?", (number,))

    def active_faults(self) -> list[ActiveFault]:
        """Return the faults in force, oldest first."""
        rows = self._db.execute(
            "SELECT number, name, parameters, seen, effects FROM faults WHERE active = 1 ORDER BY number"
        )
        return [
            ActiveFault(
                row["number"],
                build_fault(row["name"], parameters),
                parameters,
                row["seen"],
                row["effects"],
            )
            for row in rows
            for parameters in [json.loads(row["parameters"])]
        ]

    def next_order_ids(self) -> dict[int, int]:
        """Return the next order id by client id."""
        return {row["client_id"]: row["next_order_id"] for row in self._db.execute("SELECT * FROM clients")}

    def con_ids(self) -> dict[str, int]:
        """Return every contract id given out, by symbol."""
        return {row["symbol"]: row["con_id"] for row in self._db.execute("SELECT * FROM instruments")}

    def orders_by_state(self) -> Counter[OrderState]:
        """Return how many orders there are in each state, of all time."""
        rows = self._db.execute("SELECT state, count(*) AS n FROM orders GROUP BY state")
        return Counter({OrderState(row["state"]): row["n"] for row in rows})

    def order_state(self, client_id: int, order_id: int) -> OrderState | None:
        """Return where a client's order stands, of whatever day; None when there never was one."""
        row = self._db.execute(
            "SELECT state FROM orders WHERE client_id = ? AND order_id = ? ORDER BY perm_id DESC LIMIT 1",
            (client_id, order_id),
        ).fetchone()
        return None if row is None else OrderState(row["state"])

    def load_engine(self) -> tuple[EngineState, dict[int, Ownership]] | None:
        """Return the engine's state, with the owner of each of its orders; None in a new file."""
        meta: dict[str, Scalar] = {
            row["key"]: row["value"] for row in self._db.execute("SELECT * FROM gateway")
        }
        if "now" not in meta:
            return None
        scalars = scalars_from(meta)
        today = scalars["now"].date()
        like_today = f"{today.isoformat()}%"
        order_rows = self._rows(
            "SELECT * FROM orders WHERE state IN (?, ?) OR closed_at LIKE ? OR cancel_too_late = 1 "
            "ORDER BY perm_id",
            (OrderState.HELD.value, OrderState.WORKING.value, like_today),
        )
        orders = [order_from(row) for row in order_rows]
        fills = self._rows("SELECT * FROM executions WHERE time LIKE ? ORDER BY number", (like_today,))
        # Today's fills belong to orders that are open or ended today, so these are all the owners needed.
        owners = {
            row["perm_id"]: Ownership(row["client_id"], row["order_id"], bool(row["outside_rth"]))
            for row in order_rows
        }
        state = EngineState(
            **scalars,
            positions=tuple(
                position_from(row) for row in self._rows("SELECT * FROM positions ORDER BY symbol")
            ),
            open_orders=tuple(order for order in orders if order.state.is_open or order.cancel_too_late),
            completed=tuple(order for order in orders if order.closed_at and order.closed_at.date() == today),
            fills=tuple(fill_from(row) for row in fills),
        )
        return state, owners

    def _rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        return [dict(row) for row in self._db.execute(sql, parameters)]

    def _upsert(self, table: str, key: str, row: Mapping[str, Scalar]) -> None:
        changes = ", ".join(f"{name} = excluded.{name}" for name in row if name != key)
        self._write(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))}) "
            f"ON CONFLICT ({key}) DO UPDATE SET {changes}",
            tuple(row.values()),
        )

    def _write(self, sql: str, parameters: tuple[Any, ...]) -> int:
        self._begin()
        return self._db.execute(sql, parameters).lastrowid or 0

    def _write_many(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        self._begin()
        self._db.executemany(sql, rows)

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
