"""Plans and their intents in the journal: freezing, approving, superseding, reading back.

What belongs here: functions on one open journal transaction. `Journal` is the public face.
"""

import base64
import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from hrp_core.errors import JournalError, RefusedError
from hrp_core.ledger.contracts import contract_of, contract_values
from hrp_core.ledger.database import (
    canonical_json,
    moment_text,
    optional_money,
    optional_units,
    parse_moment,
    sha256,
)
from hrp_core.ledger.plan_checks import check_plan
from hrp_core.ledger.states import intent_status
from hrp_core.ledger.types import Approval, Contract, FrozenPlan, Intent, OrderStatus, PlanStatus
from hrp_core.money import from_units, to_units
from hrp_core.portfolio.types import Cross, OrderSide, OrderType, Plan, Purpose

INTENT_ID_LENGTH = 12


def intent_id_of(plan_id: str, con_id: int, leg: str) -> str:
    """Return the id of an intent: twelve characters (a-z, 2-7) of the SHA-256 of plan, contract and leg."""
    digest = hashlib.sha256(f"{plan_id}|{con_id}|{leg}".encode()).digest()
    return base64.b32encode(digest).decode().lower()[:INTENT_ID_LENGTH]


def plan_content(
    plan: Plan, *, mode: str, account: str, purpose: Purpose, inputs: Mapping[str, object]
) -> dict[str, object]:
    """Return everything a plan was decided from and decided, but its orders, as plain data."""
    return {
        "mode": mode,
        "account": account,
        "purpose": purpose,
        "session": plan.session,
        "execution_session": plan.execution_session,
        "equity": plan.equity,
        "cash": plan.cash,
        "inputs": inputs,
        "targets": [{field.name: getattr(row, field.name) for field in fields(row)} for row in plan.targets],
        "notes": list(plan.notes),
        "crosses": [
            {
                "symbol": cross.symbol,
                "shares": [list(pair) for pair in cross.shares],
                "reference_price": to_units(cross.reference_price),
            }
            for cross in plan.crosses
        ],
        "verdicts": [
            {field.name: getattr(verdict, field.name) for field in fields(verdict)}
            for verdict in plan.verdicts
        ],
    }


def intents_of(plan: Plan, contracts: Mapping[str, Contract]) -> Callable[[str], tuple[Intent, ...]]:
    """Return the maker of a plan's intents, given the plan id.

    Raises:
        RefusedError: an order's symbol has no contract.
        DataError: an order or a cross contradicts itself.
    """
    check_plan(plan)
    missing = sorted({order.symbol for order in plan.orders} - contracts.keys())
    if missing:
        raise RefusedError(
            f"the plan for {plan.session} orders {', '.join(missing)}, which the broker does not know as US "
            "stocks; nothing was frozen. Take the names out of the universe or correct their symbols"
        )

    def make(plan_id: str) -> tuple[Intent, ...]:
        return tuple(
            named(
                Intent(
                    intent_id="",
                    plan_id="",
                    contract=contracts[order.symbol],
                    side=order.side,
                    quantity=order.quantity,
                    leg=order.leg,
                    order_type=order.order_type,
                    limit_price=order.limit_price,
                    reference_price=order.reference_price,
                    allocations=order.allocations,
                ),
                plan_id,
            )
            for order in plan.orders
        )

    return make


def named(intent: Intent, plan_id: str) -> Intent:
    """Return `intent` with the ids that it has in the plan `plan_id`."""
    return replace(
        intent, plan_id=plan_id, intent_id=intent_id_of(plan_id, intent.contract.con_id, intent.leg)
    )


def freeze(
    connection: sqlite3.Connection,
    content: Mapping[str, object],
    make_intents: Callable[[str], tuple[Intent, ...]],
    now: datetime,
) -> FrozenPlan:
    """Write a plan with all its intents PENDING, or return the one frozen from the same inputs before.

    Raises:
        RefusedError: an earlier plan of the session was sent, wholly or in part, and differs.
    """
    content = {**content, "orders": [_order_content(intent) for intent in make_intents("")]}
    text = canonical_json(content)
    inputs_hash = sha256(text)
    plain = json.loads(text)
    key = (plain["mode"], plain["account"], plain["session"], plain["purpose"])
    earlier = connection.execute(
        "SELECT plan_id, sequence, inputs_hash, status FROM plans "
        "WHERE mode = ? AND account = ? AND session = ? AND purpose = ? ORDER BY sequence",
        key,
    ).fetchall()
    newest = earlier[-1] if earlier else None
    if newest is not None and newest["inputs_hash"] == inputs_hash:
        return load_plan(connection, newest["plan_id"])
    sequence = newest["sequence"] + 1 if newest is not None else 1
    plan_id = f"{key[0]}-{key[1]}-{key[2]}-{key[3]}-{sequence}"
    if newest is not None and key[3] == Purpose.FLATTEN:
        # What the earlier one sent has ended or locks its contract; what it did not send never goes.
        expire_intents(connection, newest["plan_id"], f"replaced by {plan_id}")
    elif newest is not None and key[3] != Purpose.MANUAL:
        _supersede(connection, newest, plan_id)
    connection.execute(
        "INSERT INTO plans (plan_id, mode, account, session, execution_session, purpose, sequence, status, "
        "content, inputs_hash, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            plan_id,
            *key[:3],
            plain["execution_session"],
            key[3],
            sequence,
            PlanStatus.PROPOSED,
            text,
            inputs_hash,
            moment_text(now),
        ),
    )
    for place, intent in enumerate(make_intents(plan_id)):
        _insert_intent(connection, intent, place)
    return load_plan(connection, plan_id)


def decide(connection: sqlite3.Connection, approval: Approval) -> None:
    """Record an approval or a rejection and move the plan accordingly.

    An approved plan may still be rejected as long as nothing of it was sent.

    Raises:
        RefusedError: the plan is past deciding, or is not the one whose hash was seen.
    """
    plan = load_plan(connection, approval.plan_id)
    verb = "approved" if approval.approved else "rejected"
    if approval.plan_hash != plan.inputs_hash:
        raise RefusedError(
            f"plan {plan.plan_id} is not the one that was looked at (hash {approval.plan_hash[:12]}, the "
            f"journal has {plan.inputs_hash[:12]}); it was not {verb}. Show it again and decide again"
        )
    target = PlanStatus.APPROVED if approval.approved else PlanStatus.REJECTED
    if plan.status is target:
        return
    crossed = connection.execute("SELECT 1 FROM crosses WHERE plan_id = ?", (plan.plan_id,)).fetchone()
    unsent = crossed is None and all(intent.status is OrderStatus.PENDING for intent in plan.intents)
    revocable = not approval.approved and plan.status is PlanStatus.APPROVED and unsent
    if plan.status is not PlanStatus.PROPOSED and not revocable:
        raise RefusedError(f"plan {plan.plan_id} is {plan.status.value} and cannot be {verb} any more")
    connection.execute(
        "INSERT INTO approvals (plan_id, approved, by, plan_hash, at, reason) VALUES (?, ?, ?, ?, ?, ?)",
        (
            approval.plan_id,
            int(approval.approved),
            approval.by,
            approval.plan_hash,
            moment_text(approval.at),
            approval.reason,
        ),
    )
    move(connection, plan.plan_id, plan.status, target)
    if not approval.approved:
        expire_intents(connection, plan.plan_id, f"plan rejected by {approval.by}: {approval.reason}")


def move(connection: sqlite3.Connection, plan_id: str, old: PlanStatus, new: PlanStatus) -> None:
    """Compare-and-set a plan's status.

    Raises:
        RefusedError: the plan is not `old`.
    """
    cursor = connection.execute(
        "UPDATE plans SET status = ? WHERE plan_id = ? AND status = ?", (new, plan_id, old)
    )
    if cursor.rowcount != 1:
        status = load_plan(connection, plan_id).status
        raise RefusedError(f"plan {plan_id} is {status.value}, not {old.value}; it cannot become {new.value}")


def expire_intents(
    connection: sqlite3.Connection, plan_id: str, reason: str, order_type: OrderType | None = None
) -> int:
    """Turn the intents of a plan (of one type) of which nothing ever left into EXPIRED; return how many.

    Why one was held back before, as far as that was noted, stays in front of `reason`.
    """
    return connection.execute(
        "UPDATE intents SET state = 'expired', reason = CASE WHEN reason = '' OR instr(?1, reason) THEN ?1 "
        "ELSE reason || '; ' || ?1 END WHERE plan_id = ?2 AND state != 'expired' "
        "AND (?3 IS NULL OR order_type = ?3) "
        "AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.intent_id = intents.intent_id AND a.status != ?4)",
        (reason, plan_id, order_type, OrderStatus.NOT_SENT),
    ).rowcount


def close(connection: sqlite3.Connection, plan_id: str, reason: str) -> PlanStatus:
    """Give up what a plan has not sent and move it to its last state: SENT, or EXPIRED when nothing was."""
    expire_intents(connection, plan_id, reason)
    plan = load_plan(connection, plan_id)
    crossed = connection.execute("SELECT 1 FROM crosses WHERE plan_id = ?", (plan_id,)).fetchone()
    nothing = crossed is None and all(intent.status is OrderStatus.EXPIRED for intent in plan.intents)
    last = PlanStatus.EXPIRED if nothing else PlanStatus.SENT
    move(connection, plan_id, plan.status, last)
    return last


def load_plan(connection: sqlite3.Connection, plan_id: str) -> FrozenPlan:
    """Return a plan with the current state of its intents.

    Raises:
        JournalError: there is no such plan, or its rows are not what was frozen.
    """
    row = connection.execute("SELECT * FROM plans WHERE plan_id = ?", (plan_id,)).fetchone()
    if row is None:
        raise JournalError(f"the journal has no plan {plan_id}; list them with `hrp orders`")
    content = json.loads(row["content"])
    attempts: dict[str, list[sqlite3.Row]] = {}
    for attempt in connection.execute(
        "SELECT a.intent_id, a.status, a.filled, a.reason FROM intents i JOIN attempts a USING (intent_id) "
        "WHERE i.plan_id = ? ORDER BY a.number",
        (plan_id,),
    ):
        attempts.setdefault(attempt["intent_id"], []).append(attempt)
    intents = tuple(
        _intent_of(intent, attempts.get(intent["intent_id"], ()))
        for intent in connection.execute("SELECT * FROM intents WHERE plan_id = ? ORDER BY place", (plan_id,))
    )
    frozen = [_order_content(intent) for intent in intents]
    if sha256(row["content"]) != row["inputs_hash"] or frozen != content["orders"]:
        raise JournalError(
            f"plan {plan_id} in the journal is not what was frozen (its hash does not match); nothing of it "
            "may be sent. Restore the journal from a backup or start afresh"
        )
    return FrozenPlan(
        plan_id=plan_id,
        mode=row["mode"],
        account=row["account"],
        session=date.fromisoformat(row["session"]),
        execution_session=date.fromisoformat(row["execution_session"]),
        purpose=Purpose(row["purpose"]),
        sequence=row["sequence"],
        status=PlanStatus(row["status"]),
        equity=Decimal(content["equity"]),
        cash=Decimal(content["cash"]),
        inputs=content["inputs"],
        inputs_hash=row["inputs_hash"],
        created_at=parse_moment(row["created_at"]),
        intents=intents,
        targets=tuple(content["targets"]),
        notes=tuple(content["notes"]),
        crosses=tuple(_cross_of(cross) for cross in content.get("crosses", ())),
        verdicts=tuple(content.get("verdicts", ())),
    )


def load_intent(connection: sqlite3.Connection, row: sqlite3.Row) -> Intent:
    """Return the intent of a row of `intents` with its state folded over its attempts."""
    attempts = connection.execute(
        "SELECT status, filled, reason FROM attempts WHERE intent_id = ? ORDER BY number", (row["intent_id"],)
    ).fetchall()
    return _intent_of(row, attempts)


def _intent_of(row: sqlite3.Row, attempts: Sequence[sqlite3.Row]) -> Intent:
    unsent = OrderStatus.EXPIRED if row["state"] == "expired" else OrderStatus.PENDING
    status, filled = intent_status(
        row["quantity"],
        unsent,
        [(OrderStatus(attempt["status"]), attempt["filled"]) for attempt in attempts],
    )
    return Intent(
        intent_id=row["intent_id"],
        plan_id=row["plan_id"],
        contract=contract_of(row),
        side=OrderSide(row["side"]),
        quantity=row["quantity"],
        leg=row["leg"],
        order_type=OrderType(row["order_type"]),
        limit_price=optional_money(row["limit_price"]),
        reference_price=optional_money(row["reference_price"]),
        allocations=tuple((name, shares) for name, shares in json.loads(row["allocations"])),
        status=status,
        filled=filled,
        reason=attempts[-1]["reason"] if attempts and status is not OrderStatus.EXPIRED else row["reason"],
    )


def _cross_of(content: Mapping[str, Any]) -> Cross:
    return Cross(
        symbol=content["symbol"],
        shares=tuple((name, shares) for name, shares in content["shares"]),
        reference_price=from_units(content["reference_price"]),
    )


def _order_content(intent: Intent) -> dict[str, object]:
    """Return what is frozen of an intent: all but its ids and its state."""
    return {
        "symbol": intent.contract.symbol,
        "con_id": intent.contract.con_id,
        "side": intent.side,
        "quantity": intent.quantity,
        "leg": intent.leg,
        "order_type": intent.order_type,
        "limit_price": optional_units(intent.limit_price),
        "reference_price": optional_units(intent.reference_price),
        "allocations": [list(pair) for pair in intent.allocations],
    }


def _insert_intent(connection: sqlite3.Connection, intent: Intent, place: int) -> None:
    connection.execute(
        "INSERT INTO intents (intent_id, plan_id, place, symbol, con_id, primary_exchange, currency, "
        "min_tick, side, quantity, leg, order_type, limit_price, reference_price, allocations) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            intent.intent_id,
            intent.plan_id,
            place,
            *contract_values(intent.contract),
            intent.side,
            intent.quantity,
            intent.leg,
            intent.order_type,
            optional_units(intent.limit_price),
            optional_units(intent.reference_price),
            json.dumps([list(pair) for pair in intent.allocations]),
        ),
    )


def _supersede(connection: sqlite3.Connection, old: sqlite3.Row, new_id: str) -> None:
    crossed = connection.execute("SELECT 1 FROM crosses WHERE plan_id = ?", (old["plan_id"],)).fetchone()
    if crossed is not None:
        raise RefusedError(
            f"plan {old['plan_id']} was frozen from other inputs and was sent, what its strategies take from "
            "one another included; a different plan for the same session is refused. Continue that plan, or "
            "decide again next session"
        )
    sent = connection.execute(
        "SELECT a.order_ref, a.status FROM attempts a JOIN intents i USING (intent_id) "
        "WHERE i.plan_id = ? AND a.status != ?",
        (old["plan_id"], OrderStatus.NOT_SENT),
    ).fetchall()
    if sent:
        raise RefusedError(
            f"plan {old['plan_id']} was frozen from other inputs and {len(sent)} of its orders were sent "
            f"(first {sent[0]['order_ref']}: {sent[0]['status']}); what was sent stays, so a different plan "
            f"for the same session is refused. Continue that plan, or decide again next session"
        )
    if old["status"] in (PlanStatus.REJECTED, PlanStatus.EXPIRED):
        return
    move(connection, old["plan_id"], PlanStatus(old["status"]), PlanStatus.SUPERSEDED)
    expire_intents(connection, old["plan_id"], f"superseded by {new_id}")
