"""Crosses in the journal: what strategies took from one another, and at which price.

What belongs here: functions on one open journal transaction. `Journal` is the public face. A cross counts
once it is released, which is to a cross what sending is to an order; the broker hears nothing of it.
"""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

from hrp_core.errors import JournalError, RefusedError
from hrp_core.ledger.attempts import require_epoch
from hrp_core.ledger.database import moment_text, optional_money, parse_moment
from hrp_core.ledger.plans import load_plan
from hrp_core.ledger.types import BookedCross, LatchState, PlanStatus
from hrp_core.money import from_units, to_units

_ID_LENGTH = 6


def cross_id_of(plan_id: str, session: date, symbol: str) -> str:
    """Return the id of a cross: X, its decision session, its symbol, six characters of a hash of its plan."""
    digest = hashlib.sha256(f"{plan_id}|{symbol}|cross".encode()).hexdigest()
    return f"X{session:%y%m%d}-{symbol}-{digest[:_ID_LENGTH]}"


def release(
    connection: sqlite3.Connection, plan_id: str, epoch: int, executes_at: datetime, now: datetime
) -> None:
    """Write the crosses of a plan down as taking effect at `executes_at`; doing it again changes nothing.

    Raises:
        StaleEpochError: a newer writer has taken over.
        RefusedError: the plan is not approved, trading is halted, or `executes_at` has passed.
    """
    require_epoch(connection, epoch)
    plan = load_plan(connection, plan_id)
    if plan.status not in (PlanStatus.APPROVED, PlanStatus.SENT):
        raise RefusedError(f"plan {plan_id} is {plan.status.value}, not approved: nothing in it is crossed")
    latch = connection.execute("SELECT * FROM latch ORDER BY id DESC LIMIT 1").fetchone()
    if latch is not None and latch["state"] == LatchState.HALTED:
        raise RefusedError(
            f"trading is halted by {latch['by']}: {latch['reason']}. Nothing of plan {plan_id} is crossed"
        )
    if now >= executes_at:
        raise RefusedError(
            f"the crosses of plan {plan_id} were for {executes_at:%Y-%m-%d %H:%M} New York, which has "
            "passed; what the strategies lack is next session's drift"
        )
    connection.executemany(
        "INSERT INTO crosses (cross_id, plan_id, symbol, session, shares, reference_price, executes_at, "
        "released_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [
            (
                cross_id_of(plan_id, plan.session, cross.symbol),
                plan_id,
                cross.symbol,
                plan.execution_session.isoformat(),
                json.dumps([list(pair) for pair in cross.shares]),
                to_units(cross.reference_price),
                moment_text(executes_at),
                moment_text(now),
            )
            for cross in plan.crosses
        ],
    )


def add_price(connection: sqlite3.Connection, cross_id: str, price: Decimal, now: datetime) -> bool:
    """Append the price of a cross; return False, changing nothing, when it is the newest one already.

    Raises:
        JournalError: there is no such cross.
    """
    known = load_crosses(connection, "cross_id = ?", (cross_id,))
    if not known:
        raise JournalError(f"the journal has no cross {cross_id}; nothing was recorded")
    if known[0].price == price:
        return False
    connection.execute(
        "INSERT INTO cross_prices (cross_id, price, recorded_at) VALUES (?, ?, ?)",
        (cross_id, to_units(price), moment_text(now)),
    )
    return True


def load_crosses(
    connection: sqlite3.Connection, condition: str = "1", values: Sequence[object] = ()
) -> tuple[BookedCross, ...]:
    """Return the released crosses that meet an SQL condition, oldest first, each with its newest price."""
    rows = connection.execute(
        "SELECT *, (SELECT p.price FROM cross_prices p WHERE p.cross_id = crosses.cross_id "
        f"ORDER BY p.id DESC LIMIT 1) AS price FROM crosses WHERE {condition} ORDER BY executes_at, cross_id",
        values,
    )
    return tuple(
        BookedCross(
            cross_id=row["cross_id"],
            plan_id=row["plan_id"],
            symbol=row["symbol"],
            session=date.fromisoformat(row["session"]),
            shares=tuple((name, shares) for name, shares in json.loads(row["shares"])),
            reference_price=from_units(row["reference_price"]),
            executes_at=parse_moment(row["executes_at"]),
            price=optional_money(row["price"]),
        )
        for row in rows
    )
