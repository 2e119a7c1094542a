"""Cash flows in the journal: deposits, withdrawals, dividends and the like, and the session that counts each.

What belongs here: the part of `Journal` that is about cash moving in and out of the account. Commissions
belong to executions (`records`).
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import date, datetime

from hrp_core.errors import RefusedError
from hrp_core.ledger.database import Database, moment_text, parse_moment
from hrp_core.ledger.types import CashFlow, FlowKind
from hrp_core.money import from_units, to_units


class FlowRecords:
    """The cash flows of the journal; see `Journal`."""

    _database: Database

    def record_cash_flow(self, flow: CashFlow) -> bool:
        """Append a cash flow; return False, changing nothing, when its reference is recorded already.

        Raises:
            RefusedError: the reference is recorded with another kind or amount.
        """
        with self._database.write() as connection:
            known = connection.execute(
                "SELECT kind, amount FROM cash_flows WHERE reference = ?", (flow.reference,)
            ).fetchone()
            if known is not None:
                if tuple(known) != (flow.kind, to_units(flow.amount)):
                    raise RefusedError(
                        f"cash flow {flow.reference!r} is recorded as {known['kind']} of "
                        f"{from_units(known['amount'])} USD, not {flow.kind.value} of {flow.amount}; give a "
                        "correction a reference of its own"
                    )
                return False
            connection.execute(
                "INSERT INTO cash_flows (reference, kind, amount, session, at, by, note) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    flow.reference,
                    flow.kind,
                    to_units(flow.amount),
                    flow.session.isoformat(),
                    moment_text(flow.at),
                    flow.by,
                    flow.note,
                ),
            )
            return True

    def cash_flows(self) -> tuple[CashFlow, ...]:
        """Return all cash flows, oldest first."""
        with self._database.read() as connection:
            return tuple(
                CashFlow(
                    reference=row["reference"],
                    kind=FlowKind(row["kind"]),
                    amount=from_units(row["amount"]),
                    session=date.fromisoformat(row["session"]),
                    at=parse_moment(row["at"]),
                    by=row["by"],
                    note=row["note"],
                )
                for row in connection.execute("SELECT * FROM cash_flows ORDER BY at, reference")
            )

    def count_flows(self, session: date, valued: Collection[date], now: datetime) -> tuple[CashFlow, ...]:
        """Return the cash flows that the NAV of a session contains, each in the one session that counts it.

        A flow is counted by the first NAV made after it was recorded, for good: one that is recorded late,
        when its own session and perhaps others were valued already, belongs to the next one, and making an
        old NAV again neither takes it over nor counts it once more.

        Args:
            session: valuation session E, whose NAV is being made.
            valued: valuation sessions that have a NAV.
            now: timezone-aware.

        Returns:
            The flows with `session` being the one that counts them, up to E, oldest first.
        """
        flows, done = self.cash_flows(), sorted(valued)
        with self._database.write() as connection:
            rows = connection.execute("SELECT reference, session FROM flow_sessions").fetchall()
            counted = {row["reference"]: date.fromisoformat(row["session"]) for row in rows}
            new: dict[str, date] = {}
            for flow in flows:
                if flow.reference in counted or flow.session > session:
                    continue
                # What is older than this table was counted by the first NAV that could contain it.
                first = next((day for day in done if day >= flow.session), None) if not counted else None
                if first is not None or not (done and done[-1] > session):
                    new[flow.reference] = first or session
            connection.executemany(
                "INSERT INTO flow_sessions (reference, session, counted_at) VALUES (?, ?, ?)",
                [(reference, day.isoformat(), moment_text(now)) for reference, day in new.items()],
            )
        counted |= new
        return tuple(
            replace(flow, session=counted[flow.reference])
            for flow in flows
            if flow.reference in counted and counted[flow.reference] <= session
        )
