"""The account's records in the journal: owner, executions, commissions, snapshots, latch.

What belongs here: the part of the journal that is about the account as a whole, and that the book is folded
from. Plans and attempts are in `journal`, cash flows in `flows`.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import NotReadyError, RefusedError
from hrp_core.ledger import attempts as _attempts
from hrp_core.ledger import crosses as _crosses
from hrp_core.ledger import executions as _executions
from hrp_core.ledger import splits as _splits
from hrp_core.ledger.database import Database, moment_text, parse_moment
from hrp_core.ledger.flows import FlowRecords
from hrp_core.ledger.types import (
    BookedCross,
    BookedSplit,
    Execution,
    ExternalPolicy,
    Latch,
    LatchState,
    OrderAllocation,
    OrderStatus,
    SnapshotRow,
)
from hrp_core.money import from_units, to_units
from hrp_core.portfolio.types import OrderSide

_CARVED_OUT = "SELECT perm_id FROM external_orders WHERE policy = 'carve-out'"


class AccountRecords(FlowRecords):
    """The account's side of the journal; see `Journal`.

    Args:
        path: the file; made when missing.
        busy_timeout: longest wait for another writer, seconds.
    """

    def __init__(self, path: Path, busy_timeout: float = 10.0) -> None:
        self._database = Database(path, busy_timeout)

    @property
    def path(self) -> Path:
        """The sqlite file."""
        return self._database.path

    def close(self) -> None:
        """Close every connection of this process; the journal can be used again afterwards."""
        self._database.close()

    # --- whose journal it is -------------------------------------------------------------------------

    def bind(self, mode: str, account: str, now: datetime) -> None:
        """Bind the journal to (mode, account); a second call with the same pair does nothing.

        Raises:
            RefusedError: it is bound to another pair.
        """
        with self._database.write() as connection:
            bound = dict(connection.execute("SELECT key, value FROM meta").fetchall())
            if not bound:
                connection.executemany(
                    "INSERT INTO meta (key, value) VALUES (?, ?)",
                    [("mode", str(mode)), ("account", account), ("bound_at", moment_text(now))],
                )
            elif (bound["mode"], bound["account"]) != (mode, account):
                raise RefusedError(
                    f"{self.path.parent} holds the records of {bound['mode']} account {bound['account']} and "
                    f"refuses {mode} account {account}; give that account a directory of its own (HRP_HOME)"
                )

    def binding(self) -> tuple[str, str]:
        """Return (mode, account).

        Raises:
            NotReadyError: it has never been bound.
        """
        with self._database.read() as connection:
            bound = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        if not bound:
            raise NotReadyError(f"the journal {self.path} is not bound to an account yet; connect once first")
        return bound["mode"], bound["account"]

    # --- executions and commissions ------------------------------------------------------------------

    def executions(self, start: date | None = None, end: date | None = None) -> tuple[Execution, ...]:
        """Return the effective executions from session `start` to session `end`, both included, oldest first.

        Corrections have replaced what they correct and busted ones are left out; a commission that was not
        reported is None.
        """
        with self._database.read() as connection:
            return _executions.load_executions(
                connection, "session BETWEEN ? AND ?", (str(start or date.min), str(end or date.max))
            )

    def book_executions(self) -> tuple[Execution, ...]:
        """Return the effective executions that belong to the book: all but those carved out."""
        with self._database.read() as connection:
            return _executions.load_executions(connection, f"perm_id NOT IN ({_CARVED_OUT})")

    def carved_out_executions(self) -> tuple[Execution, ...]:
        """Return the effective executions of orders placed elsewhere that stay out of the book."""
        with self._database.read() as connection:
            return _executions.load_executions(connection, f"perm_id IN ({_CARVED_OUT})")

    def foreign_executions(self) -> tuple[Execution, ...]:
        """Return the effective executions of orders that were not sent from this journal."""
        with self._database.read() as connection:
            return _executions.load_executions(
                connection, "order_ref NOT IN (SELECT order_ref FROM attempts)"
            )

    def executions_of(self, order_refs: Sequence[str]) -> tuple[Execution, ...]:
        """Return the effective executions that carry one of these orderRefs, oldest first."""
        marks = ", ".join("?" * len(order_refs))
        with self._database.read() as connection:
            return _executions.load_executions(connection, f"order_ref IN ({marks})", order_refs)

    def order_allocations(self) -> dict[str, OrderAllocation]:
        """Return, by orderRef, how each order ever sent is shared among strategies.

        A recorded trade that was given to a strategy has no orderRef and stands under its execution id.
        """
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT a.order_ref, i.intent_id, i.side, i.quantity, i.allocations "
                "FROM attempts a JOIN intents i USING (intent_id)"
            ).fetchall()
            recorded = connection.execute(
                "SELECT e.exec_id, e.side, e.shares, t.strategy_id FROM trade_strategies t "
                "JOIN executions e USING (exec_id)"
            ).fetchall()
        given = {
            row["exec_id"]: OrderAllocation(
                intent_id=row["exec_id"],
                side=OrderSide(row["side"]),
                quantity=row["shares"],
                shares=((row["strategy_id"], OrderSide(row["side"]).sign * row["shares"]),),
            )
            for row in recorded
        }
        return given | {
            row["order_ref"]: OrderAllocation(
                intent_id=row["intent_id"],
                side=OrderSide(row["side"]),
                quantity=row["quantity"],
                shares=tuple((name, shares) for name, shares in json.loads(row["allocations"])),
            )
            for row in rows
        }

    def record_commission(self, exec_id: str, commission: Decimal, now: datetime) -> None:
        """Append a commission (USD) for an execution, whether or not that is known yet."""
        with self._database.write() as connection:
            _executions.add_commission(connection, exec_id, to_units(commission), now)

    def record_bust(self, exec_id: str, reason: str, now: datetime) -> None:
        """Record that the broker has taken an execution, all its revisions, back."""
        stem, _ = _executions.split_exec_id(exec_id)
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO busts (stem, reason, recorded_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (stem, reason, moment_text(now)),
            )
            refs = connection.execute("SELECT DISTINCT order_ref FROM executions WHERE stem = ?", (stem,))
            _attempts.refold(connection, [row["order_ref"] for row in refs.fetchall()])

    # --- crosses -------------------------------------------------------------------------------------

    def book_crosses(self) -> tuple[BookedCross, ...]:
        """Return the crosses that count in the book, oldest first: those whose open has passed.

        What time it is, the journal knows from the newest snapshot of the broker.
        """
        with self._database.read() as connection:
            return _crosses.load_crosses(
                connection, "executes_at <= (SELECT coalesce(max(asked_at), '') FROM snapshots)"
            )

    def crosses_of(self, plan_id: str) -> tuple[BookedCross, ...]:
        """Return the released crosses of a plan, whether or not their open has passed."""
        with self._database.read() as connection:
            return _crosses.load_crosses(connection, "plan_id = ?", (plan_id,))

    def cross(self, cross_id: str) -> BookedCross | None:
        """Return a released cross, or None."""
        with self._database.read() as connection:
            return next(iter(_crosses.load_crosses(connection, "cross_id = ?", (cross_id,))), None)

    def record_cross_price(self, cross_id: str, price: Decimal, now: datetime) -> bool:
        """Append the official price of a cross (USD); return False when it is recorded already.

        Raises:
            JournalError: there is no such cross.
        """
        with self._database.write() as connection:
            return _crosses.add_price(connection, cross_id, price, now)

    # --- splits --------------------------------------------------------------------------------------

    def record_split(self, split: BookedSplit) -> bool:
        """Take a split into the ledger; return False when it is recorded already.

        Raises:
            RefusedError: another ratio is recorded of that name and session.
        """
        with self._database.write() as connection:
            return _splits.add_split(connection, split)

    def splits(self) -> tuple[BookedSplit, ...]:
        """Return the splits that were taken into the ledger, by session and symbol."""
        with self._database.read() as connection:
            return _splits.load_splits(connection)

    # --- orders placed elsewhere ---------------------------------------------------------------------

    def record_trade(self, item: Execution, strategy_id: str | None, *, by: str, now: datetime) -> bool:
        """Adopt a trade of an order placed elsewhere, in one transaction; return False when it is known.

        Args:
            item: without orderRef; its permId says which order.
            strategy_id: whose shares it moves; None: the account's alone.
            by: who records it.
            now: timezone-aware.
        """
        with self._database.write() as connection:
            new, _ = _executions.add_executions(connection, [item], now)
            if new:
                connection.execute(
                    "INSERT INTO external_orders (perm_id, order_ref, policy, decided_at) "
                    "VALUES (?, '', ?, ?) ON CONFLICT DO NOTHING",
                    (item.perm_id, ExternalPolicy.ADOPT, moment_text(now)),
                )
            if new and strategy_id is not None:
                connection.execute(
                    "INSERT INTO trade_strategies (exec_id, strategy_id, by, at) VALUES (?, ?, ?, ?)",
                    (item.exec_id, strategy_id, by, moment_text(now)),
                )
        return bool(new)

    def decide_external(
        self, orders: Mapping[int, str], policy: ExternalPolicy, now: datetime
    ) -> tuple[int, ...]:
        """Record what becomes of orders placed elsewhere, once an order; return the permIds decided now.

        Args:
            orders: orderRef (often empty) by permId.
            policy: ADOPT or CARVE_OUT; HALT decides nothing.
            now: timezone-aware.
        """
        if policy is ExternalPolicy.HALT:
            return ()
        decided = []
        with self._database.write() as connection:
            for perm_id, order_ref in sorted(orders.items()):
                ours = connection.execute("SELECT 1 FROM attempts WHERE perm_id = ?", (perm_id,)).fetchone()
                if perm_id > 0 and ours is None:
                    cursor = connection.execute(
                        "INSERT INTO external_orders (perm_id, order_ref, policy, decided_at) "
                        "VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                        (perm_id, order_ref, policy, moment_text(now)),
                    )
                    decided += [perm_id] * cursor.rowcount
        return tuple(decided)

    def external_orders(self) -> dict[int, ExternalPolicy]:
        """Return, by permId, what was decided about orders placed elsewhere."""
        with self._database.read() as connection:
            return {
                row["perm_id"]: ExternalPolicy(row["policy"])
                for row in connection.execute("SELECT perm_id, policy FROM external_orders")
            }

    # --- snapshots and the latch ---------------------------------------------------------------------

    def newest_snapshot(self) -> SnapshotRow | None:
        """Return what the newest complete broker snapshot said of the account, or None."""
        with self._database.read() as connection:
            row = connection.execute("SELECT * FROM snapshots ORDER BY id DESC LIMIT 1").fetchone()
        if row is None:
            return None
        return SnapshotRow(
            account=row["account"],
            asked_at=parse_moment(row["asked_at"]),
            shares=json.loads(row["shares"]),
            cash=from_units(row["cash"]),
            net_liquidation=from_units(row["net_liquidation"]),
        )

    def covered_until(self, day: date) -> datetime | None:
        """Return until when the executions of a day in New York are known to be here, or None.

        The broker lists executions of the current day only, so that each complete snapshot covers its own day
        from midnight to the moment it was asked (F34). One whose answers did not add up is not among them.
        """
        midnight = datetime.combine(day, time(), NEW_YORK)
        after = datetime.combine(day + timedelta(days=1), time(), NEW_YORK)
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT max(asked_at) AS newest FROM snapshots WHERE asked_at >= ? AND asked_at < ?",
                (moment_text(midnight), moment_text(after)),
            ).fetchone()
        return None if row["newest"] is None else parse_moment(row["newest"])

    def execution_sessions(self) -> dict[date, tuple[str, ...]]:
        """Return the sessions in which orders of ours could trade, oldest first, with their orderRefs."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT p.execution_session, a.order_ref FROM attempts a JOIN intents i USING (intent_id) "
                "JOIN plans p USING (plan_id) WHERE a.status != ? ORDER BY p.execution_session, a.rowid",
                (OrderStatus.NOT_SENT,),
            ).fetchall()
        found: dict[date, tuple[str, ...]] = {}
        for row in rows:
            session = date.fromisoformat(row["execution_session"])
            found[session] = (*found.get(session, ()), row["order_ref"])
        return found

    def set_latch(
        self, state: LatchState, *, by: str, reason: str, evidence: str = "", now: datetime
    ) -> None:
        """Set the trading latch; who may open it again is the caller's rule."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO latch (state, by, reason, evidence, at) VALUES (?, ?, ?, ?, ?)",
                (state, by, reason, evidence, moment_text(now)),
            )

    def tighten_latch(
        self, state: LatchState, *, by: str, reason: str, evidence: str = "", now: datetime
    ) -> bool:
        """Set the latch where that closes it further; return whether it did. It never opens it."""
        order = list(LatchState)  # declared from open to closed
        with self._database.write() as connection:
            if order.index(state) <= order.index(_newest_latch(connection).state):
                return False
            connection.execute(
                "INSERT INTO latch (state, by, reason, evidence, at) VALUES (?, ?, ?, ?, ?)",
                (state, by, reason, evidence, moment_text(now)),
            )
        return True

    def open_latch(self, seen: Latch, *, by: str, reason: str, evidence: str = "", now: datetime) -> Latch:
        """Set the latch to ACTIVE if it still is the one that was `seen`; return it as it stands then.

        Whoever closes it between the look and this call wins: the latch returned is theirs.
        """
        with self._database.write() as connection:
            newest = _newest_latch(connection)
            if newest.number == seen.number:
                connection.execute(
                    "INSERT INTO latch (state, by, reason, evidence, at) VALUES (?, ?, ?, ?, ?)",
                    (LatchState.ACTIVE, by, reason, evidence, moment_text(now)),
                )
                newest = _newest_latch(connection)
        return newest

    def latch(self) -> Latch:
        """Return the latch as last set; ACTIVE when it never was."""
        with self._database.read() as connection:
            return _newest_latch(connection)


def _newest_latch(connection: sqlite3.Connection) -> Latch:
    row = connection.execute("SELECT * FROM latch ORDER BY id DESC LIMIT 1").fetchone()
    if row is None:
        return Latch(LatchState.ACTIVE)
    return Latch(
        LatchState(row["state"]),
        row["by"],
        row["reason"],
        row["evidence"],
        parse_moment(row["at"]),
        row["id"],
    )
