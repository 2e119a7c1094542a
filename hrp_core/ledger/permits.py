"""What must hold in the moment an order is claimed: the latch, and in live the arm token.

What belongs here: functions on one open journal transaction, so that nobody can halt, or spend the same
dollars of a token, between the look and the claim. `Journal` is the public face.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from hrp_core.errors import RefusedError
from hrp_core.ledger.database import canonical_json, moment_text, parse_moment, sha256
from hrp_core.ledger.types import Intent, LatchState, OrderStatus, TradingHaltedError
from hrp_core.money import from_units, to_units
from hrp_core.portfolio.types import Purpose


@dataclass(frozen=True, slots=True)
class ArmToken:
    """Permission to trade a live account, with an amount and an end.

    Attributes:
        account: the one account it is for.
        limits_hash: of the limits it was given under (`limits_hash`).
        max_notional: USD of orders, purchases and sales alike, that may be sent under it.
        used: USD of orders sent under it so far.
        expires_at: timezone-aware.
    """

    token_id: int
    account: str
    limits_hash: str
    max_notional: Decimal
    used: Decimal
    expires_at: datetime
    by: str
    reason: str
    at: datetime

    @property
    def left(self) -> Decimal:
        """USD of orders that may still be sent."""
        return self.max_notional - self.used


def limits_hash(limits: Mapping[str, object]) -> str:
    """Return the hash of the limits as plain data: what an arm token and a plan are compared by."""
    return sha256(canonical_json(limits))


def check_claim(
    connection: sqlite3.Connection, intent: Intent, order_ref: str, quantity: int, now: datetime
) -> None:
    """Refuse a claim that the latch, or in live the arm token, does not allow; note what it takes of that.

    It runs in the transaction of the claim: whoever halts before it stops it, and two senders can never
    spend the same dollars of a token.

    Raises:
        TradingHaltedError: the latch does not let this order pass.
        RefusedError: live, and the token is missing, expired, given for something else, or not enough.
    """
    row = connection.execute(
        "SELECT mode, account, purpose FROM plans WHERE plan_id = ?", (intent.plan_id,)
    ).fetchone()
    flatten = row["purpose"] == Purpose.FLATTEN
    latch = connection.execute("SELECT * FROM latch ORDER BY id DESC LIMIT 1").fetchone()
    state = LatchState.ACTIVE if latch is None else LatchState(latch["state"])
    why = "" if latch is None else f"{latch['by']}: {latch['reason']}"
    if flatten and state is not LatchState.HALTED:
        raise TradingHaltedError(
            f"{order_ref} flattens, which is done while trading is halted; the latch is {state.value}"
        )
    if state is LatchState.HALTED and not flatten:
        raise TradingHaltedError(f"trading is halted by {why}")
    if state is LatchState.REDUCING and intent.leg == "increase":
        raise TradingHaltedError(f"only exits may go, by {why}")
    # The person who confirmed a flatten named account and positions: that is its token.
    if row["mode"] == "live" and not flatten:
        # Only here: the content is as long as the plan, and this is asked for each of its orders.
        content = connection.execute(
            "SELECT content FROM plans WHERE plan_id = ?", (intent.plan_id,)
        ).fetchone()["content"]
        limits = json.loads(content)["inputs"].get("limits")
        _spend(connection, intent, order_ref, quantity, row["account"], limits, now)


def _spend(
    connection: sqlite3.Connection,
    intent: Intent,
    order_ref: str,
    quantity: int,
    account: str,
    limits: Mapping[str, object] | None,
    now: datetime,
) -> None:
    token = newest_token(connection)
    price = intent.limit_price or intent.reference_price
    why = ""
    if token is None:
        why = "the live account is not armed"
    elif token.account != account:
        why = f"the arm token is for account {token.account}, the plan for {account}"
    elif now >= token.expires_at:
        why = f"the arm token expired at {token.expires_at:%Y-%m-%d %H:%M}"
    elif limits is None or token.limits_hash != limits_hash(limits):
        why = "the arm token was given under other limits than those of the plan"
    elif price is None:
        why = "the order has no price to value it at"
    elif quantity * price > token.left:
        why = f"it is worth {quantity * price:,.2f} USD and the arm token has {token.left:,.2f} left"
    if why or token is None or price is None:
        raise RefusedError(
            f"{order_ref} ({intent.contract.symbol}) may not be sent: {why}. Look at it with `hrp arm`"
        )
    connection.execute(
        "INSERT INTO arm_uses (order_ref, token_id, notional, at) VALUES (?, ?, ?, ?)",
        (order_ref, token.token_id, to_units(quantity * price), moment_text(now)),
    )


def newest_token(connection: sqlite3.Connection) -> ArmToken | None:
    """Return the newest arm token, spent and expired ones too; None without one, or disarmed."""
    row = connection.execute("SELECT * FROM arm_tokens ORDER BY id DESC LIMIT 1").fetchone()
    if row is None or not row["max_notional"]:
        return None
    # What provably never left is not spent; should the broker know it after all, it counts again.
    used = connection.execute(
        "SELECT coalesce(sum(u.notional), 0) FROM arm_uses u JOIN attempts a USING (order_ref) "
        "WHERE u.token_id = ? AND a.status != ?",
        (row["id"], OrderStatus.NOT_SENT),
    ).fetchone()[0]
    return ArmToken(
        token_id=row["id"],
        account=row["account"],
        limits_hash=row["limits_hash"],
        max_notional=from_units(row["max_notional"]),
        used=from_units(used),
        expires_at=parse_moment(row["expires_at"]),
        by=row["by"],
        reason=row["reason"],
        at=parse_moment(row["at"]),
    )
