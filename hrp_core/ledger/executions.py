"""Executions in the journal: each fill once, corrected by revision, joined with its commission.

What belongs here: functions on one open journal transaction. `Journal` is the public face.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from hrp_core.calendar import NEW_YORK
from hrp_core.ledger.attempts import add_evidence
from hrp_core.ledger.contracts import contract_of, contract_values
from hrp_core.ledger.database import moment_text, optional_money, parse_moment
from hrp_core.ledger.types import Evidence, Execution, Source
from hrp_core.money import from_units, to_units
from hrp_core.portfolio.types import OrderSide

# The broker says "no commission yet" with the largest double (F17).
_NOT_REPORTED = 1_000_000_000


def add_executions(
    connection: sqlite3.Connection, executions: Sequence[Execution], now: datetime
) -> tuple[list[Execution], list[str]]:
    """Append executions not known yet, and commissions as they are reported.

    Returns:
        The executions that were new, and one message for each execution id that came back with another
        content (the first content stays).
    """
    new: list[Execution] = []
    contradictions: list[str] = []
    for item in executions:
        stem, revision = split_exec_id(item.exec_id)
        known = connection.execute("SELECT * FROM executions WHERE exec_id = ?", (item.exec_id,)).fetchone()
        if known is None:
            connection.execute(
                "INSERT INTO executions (exec_id, stem, revision, account, order_ref, perm_id, symbol, "
                "con_id, primary_exchange, currency, min_tick, side, shares, price, executed_at, session, "
                "recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    item.exec_id,
                    stem,
                    revision,
                    item.account,
                    item.order_ref,
                    item.perm_id,
                    *contract_values(item.contract),
                    item.side,
                    item.shares,
                    to_units(item.price),
                    moment_text(item.executed_at),
                    item.executed_at.astimezone(NEW_YORK).date().isoformat(),
                    moment_text(now),
                ),
            )
            add_evidence(
                connection,
                [Evidence(item.order_ref, Source.EXECUTION, perm_id=item.perm_id, message=item.exec_id)],
                now,
            )
            new.append(item)
        else:
            contradictions += _contradiction(known, item)
        if item.commission is not None and abs(item.commission) < _NOT_REPORTED:
            add_commission(connection, item.exec_id, to_units(item.commission), now)
    return new, contradictions


def add_commission(connection: sqlite3.Connection, exec_id: str, units: int, now: datetime) -> None:
    """Append a commission, before or after its execution; the same amount again adds nothing."""
    connection.execute(
        "INSERT INTO commissions (exec_id, commission, recorded_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (exec_id, units, moment_text(now)),
    )


def load_executions(
    connection: sqlite3.Connection, condition: str = "1", values: Sequence[object] = ()
) -> tuple[Execution, ...]:
    """Return the effective executions that meet an SQL condition, oldest first, with their commissions.

    One that was corrected to no shares at all was taken back and is left out (F16).
    """
    rows = connection.execute(
        f"SELECT * FROM effective_executions WHERE shares > 0 AND ({condition}) "
        "ORDER BY executed_at, exec_id",
        values,
    )
    return tuple(
        Execution(
            exec_id=row["exec_id"],
            account=row["account"],
            order_ref=row["order_ref"],
            perm_id=row["perm_id"],
            contract=contract_of(row),
            side=OrderSide(row["side"]),
            shares=row["shares"],
            price=from_units(row["price"]),
            executed_at=parse_moment(row["executed_at"]),
            commission=optional_money(row["commission"]),
        )
        for row in rows
    )


def split_exec_id(exec_id: str) -> tuple[str, int]:
    """Return (stem, revision): everything before the last dot, and the number after it (0 without one)."""
    stem, dot, revision = exec_id.rpartition(".")
    if dot and revision.isdigit():
        return stem, int(revision)
    return exec_id, 0


def _contradiction(known: sqlite3.Row, item: Execution) -> list[str]:
    stored = (known["order_ref"], known["side"], known["shares"], known["price"], known["con_id"])
    told = (item.order_ref, item.side, item.shares, to_units(item.price), item.contract.con_id)
    if stored == told:
        return []
    message = (
        f"execution {item.exec_id} ({known['symbol']}): recorded as {known['side']} {known['shares']} at "
        f"{from_units(known['price'])} for {known['order_ref']!r}, now reported as {item.side.value} "
        f"{item.shares} at {item.price} for {item.order_ref!r}"
    )
    return [message]
