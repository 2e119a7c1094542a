"""The watermark of order ids: does the broker know orders of ours that this journal does not?

What belongs here: functions on one open journal transaction. `Journal` is the public face. The broker keeps
the ids that a client has used beside its lists of orders, so that a journal which was put back is found out
even where those lists leave something out.
"""

import sqlite3
from datetime import datetime

from hrp_core.ledger.database import moment_text
from hrp_core.ledger.types import LatchState, OrderId


def add_sent(connection: sqlite3.Connection, order_id: OrderId, order_ref: str, now: datetime) -> None:
    """Record that an order is about to be sent under an id."""
    _add(connection, order_id, "sent", now, order_ref)


def check(connection: sqlite3.Connection, used: OrderId, now: datetime) -> str:
    """Return why the journal is older than the account; empty when it is not.

    A client that this journal meets for the first time is taken as it is. One that has used fewer ids than
    the broker has acknowledged is at a gateway that was restarted (F3) and counts on from there. One that
    has used more than was sent halts trading, once for each id; only a person resumes it, and with that
    accepts the id.
    """
    ids = connection.execute(
        "SELECT max(o.order_id) AS explained, "
        "max(CASE WHEN o.source != 'sent' OR a.perm_id > 0 THEN o.order_id END) AS certain "
        "FROM order_ids o LEFT JOIN attempts a USING (order_ref) WHERE o.client_id = :client AND o.id >= "
        "(SELECT max(id) FROM order_ids WHERE client_id = :client AND source IN ('first', 'restarted')) "
        "AND (o.source != 'unexplained' OR EXISTS "
        "(SELECT 1 FROM latch l WHERE l.id > o.latch_id AND l.state = :active))",
        {"client": used.client_id, "active": LatchState.ACTIVE},
    ).fetchone()
    if ids["explained"] is None:
        _add(connection, used, "first", now)
        return ""
    if used.number < ids["certain"]:
        _add(connection, used, "restarted", now)
    if used.number <= ids["explained"]:
        return ""
    reason = (
        f"client {used.client_id} has used order id {used.number} at the broker, and this journal sent none "
        f"beyond {ids['explained']}: it is older than the account (a backup was put back), or another "
        "program uses this client id. Nothing is sent. Compare the orders in TWS, bring what traded in with "
        "`hrp sync` and `hrp reconcile`, then go on with `hrp resume --reason ...`"
    )
    told = connection.execute(
        "SELECT max(id) AS id FROM order_ids WHERE client_id = ? AND source = 'unexplained' AND order_id = ?",
        (used.client_id, used.number),
    ).fetchone()
    latch = connection.execute("SELECT state FROM latch ORDER BY id DESC LIMIT 1").fetchone()
    if told["id"] is None:
        _add(connection, used, "unexplained", now)
    if told["id"] is None or latch["state"] != LatchState.HALTED:
        connection.execute(
            "INSERT INTO latch (state, by, reason, evidence, at) VALUES (?, ?, ?, ?, ?)",
            (LatchState.HALTED, "order ids", reason, f"order id {used.number}", moment_text(now)),
        )
    return reason


def _add(
    connection: sqlite3.Connection,
    order_id: OrderId,
    source: str,
    now: datetime,
    order_ref: str | None = None,
) -> None:
    connection.execute(
        "INSERT INTO order_ids (client_id, order_id, source, order_ref, latch_id, at) VALUES (?, ?, ?, ?, "
        "(SELECT coalesce(max(id), 0) FROM latch), ?)",
        (order_id.client_id, order_id.number, source, order_ref, moment_text(now)),
    )
