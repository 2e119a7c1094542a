"""Cash flows in the journal: deposits, withdrawals, dividends and the like, and the session that counts each.

What belongs here: the part of `Journal` that is about cash moving in and out of the account. Commissions
belong to executions (`records`).
"""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
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
            valued: valuation sessions that have an official NAV.
            now: timezone-aware.

        Returns:
            The flows with `session` being the one that counts them, up to E, oldest first.
        """
        flows = self.cash_flows()
        with self._database.write() as connection:
            counted = _counted(connection)
            new = _newly_counted(flows, counted, session, valued)
            connection.executemany(
                "INSERT INTO flow_sessions (reference, session, counted_at) VALUES (?, ?, ?)",
                [(reference, day.isoformat(), moment_text(now)) for reference, day in new.items()],
            )
        return _up_to(session, flows, counted | new)

    def expected_flows(self, session: date, valued: Collection[date]) -> tuple[CashFlow, ...]:
        """Return what `count_flows` would, recording nothing: a provisional NAV counts no flow for good.

        Args: as `count_flows`.
        """
        flows = self.cash_flows()
        with self._database.read() as connection:
            counted = _counted(connection)
        return _up_to(session, flows, counted | _newly_counted(flows, counted, session, valued))


def _counted(connection: sqlite3.Connection) -> dict[str, date]:
    rows = connection.execute("SELECT reference, session FROM flow_sessions").fetchall()
    return {row["reference"]: date.fromisoformat(row["session"]) for row in rows}


def _newly_counted(
    flows: Sequence[CashFlow], counted: Mapping[str, date], session: date, valued: Collection[date]
) -> dict[str, date]:
    """Return the session that counts each flow which the NAV of `session` takes up."""
    done = sorted(valued)
    new: dict[str, date] = {}
    for flow in flows:
        if flow.reference in counted or flow.session > session:
            continue
        # What is older than this table was counted by the first NAV that could contain it.
        first = next((day for day in done if day >= flow.session), None) if not counted else None
        if first is not None or not (done and done[-1] > session):
            new[flow.reference] = first or session
    return new


def _up_to(session: date, flows: Sequence[CashFlow], counted: Mapping[str, date]) -> tuple[CashFlow, ...]:
    return tuple(
        replace(flow, session=counted[flow.reference])
        for flow in flows
        if flow.reference in counted and counted[flow.reference] <= session
    )
