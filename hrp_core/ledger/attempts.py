"""Attempts in the journal: the fence, the claim before each send, and the evidence that follows.

What belongs here: functions on one open journal transaction. `Journal` is the public face; what evidence
amounts to is decided in `states`.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime

from hrp_core.errors import JournalError, RefusedError
from hrp_core.ledger.database import moment_text, parse_moment
from hrp_core.ledger.permits import check_claim
from hrp_core.ledger.plans import load_intent
from hrp_core.ledger.states import AttemptState, fold_attempt, is_proven_terminal
from hrp_core.ledger.types import (
    AlreadyClaimedError,
    Attempt,
    Break,
    BreakKind,
    ContractLockedError,
    Evidence,
    Intent,
    OrderStatus,
    PlanStatus,
    Source,
    StaleEpochError,
)

_COLUMNS = "intent_id, number, order_ref, quantity, epoch, sent_at, perm_id, status, reason, filled"


def acquire_epoch(connection: sqlite3.Connection, owner: str, now: datetime) -> int:
    """Open the next fencing epoch; whoever holds an earlier one can claim nothing from now on."""
    cursor = connection.execute(
        "INSERT INTO fence (owner, acquired_at) VALUES (?, ?)", (owner, moment_text(now))
    )
    epoch = cursor.lastrowid
    if epoch is None:
        raise JournalError("sqlite gave no row id for a new fencing epoch")
    return epoch


def require_epoch(connection: sqlite3.Connection, epoch: int) -> None:
    """Refuse a writer that another one has replaced.

    Raises:
        StaleEpochError: a newer writer has taken over.
    """
    newest = connection.execute("SELECT max(epoch) AS epoch, owner FROM fence").fetchone()
    if newest["epoch"] != epoch:
        raise StaleEpochError(
            f"epoch {epoch} is over: {newest['owner']} opened epoch {newest['epoch']}; this process must not "
            "send any more. See what the other one did with `hrp orders`"
        )


def claim(
    connection: sqlite3.Connection,
    intent_id: str,
    order_ref: str,
    quantity: int,
    epoch: int,
    now: datetime,
) -> Attempt:
    """Move an intent to SENT for exactly one sender and write its next attempt.

    Raises:
        StaleEpochError: a newer writer has taken over.
        AlreadyClaimedError: another sender has it, or its last attempt could still fill.
        ContractLockedError: an order in the same contract is UNKNOWN.
        TradingHaltedError: the latch does not let it pass.
        RefusedError: its plan is not approved, the quantity is not what is left to send, or a live account
            is not armed for it.
    """
    require_epoch(connection, epoch)
    row = connection.execute("SELECT * FROM intents WHERE intent_id = ?", (intent_id,)).fetchone()
    if row is None:
        raise JournalError(f"the journal has no intent {intent_id}")
    plan = connection.execute(
        "SELECT plan_id, status FROM plans WHERE plan_id = ?", (row["plan_id"],)
    ).fetchone()
    if plan["status"] not in (PlanStatus.APPROVED, PlanStatus.SENT):
        raise RefusedError(
            f"plan {plan['plan_id']} is {plan['status']}, not approved: {order_ref} may not be sent"
        )
    intent = load_intent(connection, row)
    _check_lock(connection, intent, order_ref)
    number = _next_attempt(connection, intent, row["state"])
    left = intent.quantity - intent.filled
    if quantity != left:
        raise RefusedError(
            f"{order_ref} asks for {quantity} shares of {intent.contract.symbol}, but {left} of "
            f"{intent.quantity} are left to send; nothing was claimed"
        )
    connection.execute("UPDATE intents SET state = 'sent' WHERE intent_id = ?", (intent_id,))
    connection.execute(
        "INSERT INTO attempts (order_ref, intent_id, number, quantity, epoch, sent_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (order_ref, intent_id, number, quantity, epoch, moment_text(now)),
    )
    check_claim(connection, intent, order_ref, quantity, now)
    return load_attempt(connection, order_ref)


def _check_lock(connection: sqlite3.Connection, intent: Intent, order_ref: str) -> None:
    # Named one by one, so that the index on the contract, then on the intent, answers: a journal of years has
    # tens of thousands of attempts and this is asked before each order.
    live = [status for status in OrderStatus if not status.is_terminal]
    lock = connection.execute(
        "SELECT a.order_ref, a.status FROM intents i JOIN attempts a USING (intent_id) "
        f"WHERE i.con_id = ? AND i.intent_id != ? AND a.status IN ({', '.join('?' * len(live))}) "
        "AND (a.status = ? OR i.plan_id != ?)",
        (intent.contract.con_id, intent.intent_id, *live, OrderStatus.UNKNOWN, intent.plan_id),
    ).fetchone()
    if lock is not None:
        raise ContractLockedError(
            f"{intent.contract.symbol} is locked by {lock['order_ref']}, which is {lock['status']} and may "
            f"still trade: {order_ref} was not sent. It unlocks when that order has ended, or, when its fate "
            "is unknown, by `hrp orders resolve`"
        )


def _next_attempt(connection: sqlite3.Connection, intent: Intent, state: str) -> int:
    last = connection.execute(
        "SELECT * FROM attempts WHERE intent_id = ? ORDER BY number DESC LIMIT 1", (intent.intent_id,)
    ).fetchone()
    if last is None:
        if state != "pending":
            raise AlreadyClaimedError(
                f"intent {intent.intent_id} ({intent.contract.symbol}) is {state}; it is not sent"
            )
        return 1
    if state == "expired":
        raise AlreadyClaimedError(
            f"intent {intent.intent_id} ({intent.contract.symbol}) is expired; it is not sent"
        )
    status = OrderStatus(last["status"])
    snapshot = connection.execute("SELECT max(position) AS position FROM snapshots").fetchone()["position"]
    evidence = load_evidence(connection, last["order_ref"])
    if not is_proven_terminal(status, evidence, -1 if snapshot is None else snapshot):
        raise AlreadyClaimedError(
            f"intent {intent.intent_id} ({intent.contract.symbol}) was sent as {last['order_ref']}, which is "
            f"{status.value} and not proven ended; it is not sent again"
        )
    return last["number"] + 1


def sequence(connection: sqlite3.Connection) -> int:
    """Return the number of the newest evidence; what is asked for now is later than all of it."""
    return connection.execute("SELECT coalesce(max(id), 0) FROM broker_events").fetchone()[0]


def add_evidence(
    connection: sqlite3.Connection, evidence: Iterable[Evidence], now: datetime, as_of: int | None = None
) -> set[str]:
    """Append evidence and return the orderRefs it touched.

    Args:
        connection: inside a transaction.
        evidence: its `position` is ignored and assigned here.
        now: when we learned it.
        as_of: for lists and waits: the `sequence` when they were asked for, or began. A message gets the
            even position of its own number, an observation the odd one after all it could have known.
    """
    touched: set[str] = set()
    for item in evidence:
        content = (item.source, item.status, item.perm_id, item.filled, item.code, item.message)
        latest = connection.execute(
            "SELECT source, status, perm_id, filled, code, message FROM broker_events "
            "WHERE order_ref = ? ORDER BY position DESC, id DESC LIMIT 1",
            (item.order_ref,),
        ).fetchone()
        # Saying once more what is the latest known adds nothing (F15).
        if latest is not None and tuple(latest) == content:
            continue
        number = sequence(connection) + 1
        position = 2 * number if as_of is None else 2 * as_of + 1
        connection.execute(
            "INSERT INTO broker_events (id, order_ref, source, status, perm_id, filled, code, message, "
            "position, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, item.order_ref, *content, position, moment_text(now)),
        )
        touched.add(item.order_ref)
    return touched


def refold(connection: sqlite3.Connection, order_refs: Iterable[str]) -> None:
    """Bring the folded state of these attempts up to date with their evidence."""
    for order_ref in sorted(order_refs):
        row = connection.execute("SELECT quantity FROM attempts WHERE order_ref = ?", (order_ref,)).fetchone()
        if row is None:
            continue
        state = fold(connection, order_ref, row["quantity"])
        connection.execute(
            "UPDATE attempts SET status = ?, filled = ?, perm_id = ?, reason = ? WHERE order_ref = ?",
            (state.status, state.filled, state.perm_id, state.reason, order_ref),
        )


def fold(connection: sqlite3.Connection, order_ref: str, quantity: int) -> AttemptState:
    """Return the state of an attempt from all evidence about it."""
    filled = connection.execute(
        "SELECT coalesce(sum(shares), 0) FROM effective_executions WHERE order_ref = ?", (order_ref,)
    ).fetchone()[0]
    return fold_attempt(quantity, filled, load_evidence(connection, order_ref))


def load_evidence(connection: sqlite3.Connection, order_ref: str) -> list[Evidence]:
    """Return all evidence that carries `order_ref`, in the order it was learned."""
    rows = connection.execute("SELECT * FROM broker_events WHERE order_ref = ? ORDER BY id", (order_ref,))
    return [
        Evidence(
            order_ref=row["order_ref"],
            source=Source(row["source"]),
            status=None if row["status"] is None else OrderStatus(row["status"]),
            perm_id=row["perm_id"],
            filled=row["filled"],
            code=row["code"],
            message=row["message"],
            position=row["position"],
        )
        for row in rows
    ]


def load_attempt(connection: sqlite3.Connection, order_ref: str) -> Attempt:
    """Return one attempt.

    Raises:
        JournalError: the journal does not know the reference.
    """
    found = load_attempts(connection, "order_ref = ?", (order_ref,))
    if not found:
        raise JournalError(f"the journal has no attempt {order_ref}")
    return found[0]


def load_attempts(
    connection: sqlite3.Connection, condition: str, values: Sequence[object] = ()
) -> tuple[Attempt, ...]:
    """Return the attempts that meet an SQL condition on their own columns, oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM attempts WHERE {condition} ORDER BY rowid", values)
    return tuple(
        Attempt(
            intent_id=row["intent_id"],
            number=row["number"],
            order_ref=row["order_ref"],
            quantity=row["quantity"],
            epoch=row["epoch"],
            sent_at=parse_moment(row["sent_at"]),
            perm_id=row["perm_id"],
            status=OrderStatus(row["status"]),
            reason=row["reason"],
            filled=row["filled"],
        )
        for row in rows
    )


def with_intents(
    connection: sqlite3.Connection, condition: str, values: Sequence[object]
) -> dict[str, tuple[Attempt, Intent]]:
    """Return the attempts that meet an SQL condition with their intents, by orderRef, oldest first."""
    found = {}
    for attempt in load_attempts(connection, condition, values):
        row = connection.execute("SELECT * FROM intents WHERE intent_id = ?", (attempt.intent_id,)).fetchone()
        found[attempt.order_ref] = (attempt, load_intent(connection, row))
    return found


def find_breaks(connection: sqlite3.Connection) -> tuple[Break, ...]:
    """Return the contradictions within what was recorded."""
    found = [
        Break(
            BreakKind.EXTERNAL,
            f"execution {row['exec_id']} ({row['side']} {row['shares']} {row['symbol']}, orderRef "
            f"{row['order_ref']!r}, permId {row['perm_id']}) was not sent from this journal",
            row["symbol"],
            row["order_ref"],
        )
        for row in connection.execute(
            "SELECT * FROM effective_executions WHERE order_ref NOT IN (SELECT order_ref FROM attempts) "
            "AND perm_id NOT IN (SELECT perm_id FROM external_orders) AND shares > 0 "
            "ORDER BY executed_at, exec_id"
        )
    ]
    found += [
        Break(
            BreakKind.DIFFERENT_ORDER,
            f"execution {row['exec_id']} of {row['order_ref']} is {row['side']} {row['shares']} "
            f"{row['symbol']}, but {row['sent_side']} {row['sent_symbol']} was sent",
            row["symbol"],
            row["order_ref"],
        )
        for row in connection.execute(
            "SELECT e.*, i.side AS sent_side, i.symbol AS sent_symbol FROM effective_executions e "
            "JOIN attempts a USING (order_ref) JOIN intents i USING (intent_id) "
            "WHERE e.side != i.side OR e.con_id != i.con_id ORDER BY e.executed_at, e.exec_id"
        )
    ]
    found += [
        Break(
            BreakKind.TWO_PERM_IDS,
            f"{row['order_ref']} names more than one order at the broker: permIds {row['perm_ids']}",
            order_ref=row["order_ref"],
        )
        for row in connection.execute(
            "SELECT order_ref, group_concat(DISTINCT perm_id) AS perm_ids FROM broker_events "
            "WHERE perm_id > 0 AND order_ref IN (SELECT order_ref FROM attempts) "
            "GROUP BY order_ref HAVING count(DISTINCT perm_id) > 1 ORDER BY order_ref"
        )
    ]
    found += [
        Break(
            BreakKind.OVERFILLED,
            f"{row['order_ref']} filled {row['filled']} {row['symbol']}, but {row['quantity']} were sent",
            row["symbol"],
            row["order_ref"],
        )
        for row in connection.execute(
            "SELECT a.order_ref, a.filled, a.quantity, i.symbol FROM attempts a JOIN intents i "
            "USING (intent_id) WHERE a.filled > a.quantity ORDER BY a.order_ref"
        )
    ]
    over = [status for status in OrderStatus if status.is_terminal]
    found += [
        Break(
            BreakKind.OVERFILLED,
            f"the attempts {row['order_refs']} together may fill {row['possible']} {row['symbol']}, but the "
            f"intent asks for {row['quantity']}",
            row["symbol"],
            row["order_refs"],
        )
        for row in connection.execute(
            "SELECT i.symbol, i.quantity, group_concat(a.order_ref, ', ') AS order_refs, "
            f"sum(CASE WHEN a.status IN ({', '.join('?' * len(over))}) THEN a.filled ELSE a.quantity END) "
            "AS possible FROM attempts a JOIN intents i USING (intent_id) GROUP BY a.intent_id "
            "HAVING count(*) > 1 AND possible > i.quantity ORDER BY i.intent_id",
            over,
        )
    ]
    return tuple(found)
