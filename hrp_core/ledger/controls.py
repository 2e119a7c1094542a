"""What people decided that bounds trading: names, drops from a plan, arming, confirmations of a flatten.

What belongs here: those rows of the journal, appended and read. What does not: the latch (`records`), what
they mean for a claim (`permits`), and when a person may decide such a thing (`hrp_core.execution`).
"""

import sqlite3
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from hrp_core.errors import RefusedError
from hrp_core.ledger.database import moment_text, parse_moment
from hrp_core.ledger.permits import ArmToken, newest_token
from hrp_core.ledger.plans import expire_intents, load_plan, move
from hrp_core.ledger.records import AccountRecords
from hrp_core.ledger.types import OrderStatus, PlanStatus
from hrp_core.money import to_units
from hrp_core.portfolio.types import SymbolAction

_CLEAR = "clear"


@dataclass(frozen=True, slots=True)
class SymbolControl:
    """A decision about one name, for every strategy.

    Attributes:
        action: None: the decision before it is over.
        until: last decision session it holds for; None: until it is cleared.
    """

    symbol: str
    action: SymbolAction | None
    until: date | None
    by: str
    reason: str
    at: datetime

    def holds_on(self, session: date) -> bool:
        """Return whether it restricts the name on a decision session."""
        return self.action is not None and (self.until is None or session <= self.until)


@dataclass(frozen=True, slots=True)
class Drop:
    """A name that a person took out of a session's plan."""

    session: date
    symbol: str
    by: str
    reason: str
    at: datetime


class ControlRecords(AccountRecords):
    """The part of the journal that holds what people decided; see `Journal`."""

    # --- names ---------------------------------------------------------------------------------------

    def control_symbol(
        self,
        symbol: str,
        action: SymbolAction | None,
        *,
        until: date | None,
        by: str,
        reason: str,
        now: datetime,
    ) -> None:
        """Append a decision about a name; `action` None clears all of them.

        It replaces those before; a dated one does until it has ended. So a lock of a few sessions (a split, a
        halt at the exchange) does not free a name that a person has restricted for good.

        Args:
            symbol: upper-case ticker.
            action: what may still be done with it.
            until: last decision session it holds for; None: until cleared.
            by: who decides.
            reason: why.
            now: timezone-aware.
        """
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO symbol_controls (symbol, action, until, by, reason, at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    symbol,
                    _CLEAR if action is None else action,
                    None if until is None else until.isoformat(),
                    by,
                    reason,
                    moment_text(now),
                ),
            )

    def symbol_control_rows(self) -> tuple[SymbolControl, ...]:
        """Return the decisions about each name that still mean something, by symbol, newest first.

        The newest one, ended or not, and below a dated one those that come back when it has ended; what was
        cleared, or decided anew without an end, does not.
        """
        with self._database.read() as connection:
            rows = connection.execute("SELECT * FROM symbol_controls ORDER BY symbol, id DESC").fetchall()
        found: list[SymbolControl] = []
        closed = above = ""
        latest = date.min
        for row in rows:
            symbol, clears = row["symbol"], row["action"] == _CLEAR
            if symbol == closed:
                continue
            if symbol != above:
                above, latest = symbol, date.min
            until = None if row["until"] is None else date.fromisoformat(row["until"])
            if clears or until is None:
                closed = symbol
            if clears or (until is not None and until <= latest):
                continue
            latest = latest if until is None else until
            found.append(
                SymbolControl(
                    symbol=symbol,
                    action=SymbolAction(row["action"]),
                    until=until,
                    by=row["by"],
                    reason=row["reason"],
                    at=parse_moment(row["at"]),
                )
            )
        return tuple(found)

    def symbol_controls(self, session: date) -> dict[str, SymbolAction]:
        """Return what holds for which name on a decision session, by symbol."""
        holding: dict[str, SymbolAction] = {}
        for row in self.symbol_control_rows():
            if row.action is not None and row.holds_on(session):
                holding.setdefault(row.symbol, row.action)
        return holding

    # --- plans changed by hand -----------------------------------------------------------------------

    def drop_symbol(self, plan_id: str, symbol: str, *, by: str, reason: str, now: datetime) -> None:
        """Take a name out of a plan of which nothing was sent: the plan is SUPERSEDED from now on.

        The session is to be planned again; until then it has no plan that could be sent.

        Raises:
            RefusedError: the plan neither orders nor crosses the name, is past changing, or something of it
                was sent.
        """
        with self._database.write() as connection:
            plan = load_plan(connection, plan_id)
            crossed = connection.execute("SELECT 1 FROM crosses WHERE plan_id = ?", (plan_id,)).fetchone()
            unsent = crossed is None and all(intent.status is OrderStatus.PENDING for intent in plan.intents)
            if plan.status not in (PlanStatus.PROPOSED, PlanStatus.APPROVED) or not unsent:
                raise RefusedError(
                    f"plan {plan_id} is {plan.status.value}"
                    f"{'' if unsent else ' and was sent, wholly or in part'}; nothing can be dropped from it"
                )
            # A name that strategies only take from one another is in no order, and is dropped all the same.
            traded = sorted(
                {intent.contract.symbol for intent in plan.intents} | {cross.symbol for cross in plan.crosses}
            )
            if symbol not in traded:
                raise RefusedError(
                    f"plan {plan_id} orders nothing in {symbol}; it trades {', '.join(traded) or 'nothing'}"
                )
            connection.execute(
                "INSERT INTO plan_drops (session, symbol, by, reason, at) VALUES (?, ?, ?, ?, ?)",
                (plan.session.isoformat(), symbol, by, reason, moment_text(now)),
            )
            move(connection, plan_id, plan.status, PlanStatus.SUPERSEDED)
            expire_intents(connection, plan_id, f"{symbol} dropped by {by}: {reason}")

    def drops(self, session: date) -> dict[str, Drop]:
        """Return the names that people took out of a session's plan, by symbol; the first decision counts."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM plan_drops WHERE session = ? ORDER BY id DESC", (session.isoformat(),)
            ).fetchall()
        return {
            row["symbol"]: Drop(session, row["symbol"], row["by"], row["reason"], parse_moment(row["at"]))
            for row in rows
        }

    # --- arming a live account -----------------------------------------------------------------------

    def arm(
        self,
        account: str,
        limits: str,
        *,
        max_notional: Decimal,
        expires_at: datetime,
        by: str,
        reason: str,
        now: datetime,
    ) -> ArmToken:
        """Append an arm token; it replaces the one before, whatever was left of that."""
        with self._database.write() as connection:
            cursor = connection.execute(
                "INSERT INTO arm_tokens (account, limits_hash, max_notional, expires_at, by, reason, at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    account,
                    limits,
                    to_units(max_notional),
                    moment_text(expires_at),
                    by,
                    reason,
                    moment_text(now),
                ),
            )
            token = newest_token(connection)
        if token is None or token.token_id != cursor.lastrowid:
            raise RefusedError("the arm token was not stored; nothing is armed")
        return token

    def disarm(self, *, by: str, reason: str, now: datetime) -> None:
        """Take the arm token back: an entry for no amount replaces it."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO arm_tokens (account, limits_hash, max_notional, expires_at, by, reason, at) "
                "VALUES ('', '', 0, ?, ?, ?, ?)",
                (moment_text(now), by, reason, moment_text(now)),
            )

    def arm_token(self) -> ArmToken | None:
        """Return the newest arm token, spent and expired ones too; None without one, or disarmed."""
        with self._database.read() as connection:
            return newest_token(connection)

    # --- flattening ----------------------------------------------------------------------------------

    def offer_flatten(
        self, code: str, account: str, positions_hash: str, *, expires_at: datetime, by: str, now: datetime
    ) -> None:
        """Append a confirmation code: typed back before it expires, it sells these positions, once."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO flatten_codes (code, account, positions_hash, expires_at, by, at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (code, account, positions_hash, moment_text(expires_at), by, moment_text(now)),
            )

    def check_flatten_code(self, code: str, account: str, positions_hash: str, *, now: datetime) -> None:
        """Refuse a confirmation code that `use_flatten_code` would refuse, and leave it unused."""
        with self._database.read() as connection:
            _check_code(connection, code, account, positions_hash, now)

    def use_flatten_code(
        self, code: str, account: str, positions_hash: str, *, by: str, reason: str, now: datetime
    ) -> None:
        """Use a confirmation code up; of two calls with the same code one fails.

        Raises:
            RefusedError: it is unknown, used, expired, or was shown for another account or other positions.
        """
        with self._database.write() as connection:
            _check_code(connection, code, account, positions_hash, now)
            connection.execute(
                "INSERT INTO flatten_uses (code, by, reason, at) VALUES (?, ?, ?, ?)",
                (code, by, reason, moment_text(now)),
            )


def _check_code(
    connection: sqlite3.Connection, code: str, account: str, positions_hash: str, now: datetime
) -> None:
    row = connection.execute("SELECT * FROM flatten_codes WHERE code = ?", (code,)).fetchone()
    used = connection.execute("SELECT at FROM flatten_uses WHERE code = ?", (code,)).fetchone()
    why = ""
    if row is None:
        why = "was never shown"
    elif used is not None:
        why = f"was used at {parse_moment(used['at']):%Y-%m-%d %H:%M}"
    elif now >= parse_moment(row["expires_at"]):
        why = f"expired at {parse_moment(row['expires_at']):%Y-%m-%d %H:%M}"
    elif row["account"] != account:
        why = f"is for account {row['account']}, not {account}"
    elif row["positions_hash"] != positions_hash:
        why = "was shown for other positions than those of now"
    if why:
        raise RefusedError(
            f"confirmation {code} {why}; nothing was sent. Run `hrp flatten` without --confirm to "
            "see the positions and a new code"
        )
