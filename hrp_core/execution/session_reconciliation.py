"""The reconciliation of one session, as its asset shows it: run when it is due, else read back.

What belongs here: which session may still be compared with the broker. What a comparison finds and does is
`reconciliation`.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd

from hrp_core.calendar import nyse
from hrp_core.errors import RefusedError
from hrp_core.execution.bookkeeping import Connect
from hrp_core.execution.reconciliation import run_reconciliation
from hrp_core.ledger.journal import Journal
from hrp_core.settings import Settings
from hrp_core.store import Store, table
from hrp_core.timetable import PROVISIONAL_BOOK


@dataclass(frozen=True, slots=True)
class SessionReconciliation:
    """The newest run of a session.

    Attributes:
        status: of the run; `not_run` when there was none.
        rows: rows of the `reconciliation` table, one a break.
    """

    status: str
    rows: pd.DataFrame


def session_reconciliation(
    settings: Settings,
    store: Store,
    journal: Journal,
    connect: Connect,
    session: date,
    now: datetime,
    *,
    run_id: str,
) -> SessionReconciliation:
    """Compare ledger and broker where `session` is the book session; else return what its last run found.

    While the execution session trades, positions follow their fills by minutes (F13): a difference would
    prove nothing, and might halt.

    Args:
        settings: names the mode and what to do about orders placed elsewhere.
        store: runs are appended to it and read from it.
        journal: the order journal.
        connect: opens a connection to the broker.
        session: decision session D, whose orders execute in the session after it.
        now: from the clock.
        run_id: who runs it.

    Raises:
        RefusedError: the execution session has not closed yet; or as `run_reconciliation`.
        IncompleteSnapshotError, BrokerConnectionError: as `run_reconciliation`.
        NotReadyError: the journal was never bound to an account.
    """
    calendar = nyse()
    if session == calendar.book_session(now):
        if now < (closes := calendar.close(calendar.next(session))):
            raise RefusedError(
                f"ledger and broker are compared once the session has closed ({closes:%Y-%m-%d %H:%M} New "
                f"York); until then run {', '.join(PROVISIONAL_BOOK)} of book_job alone"
            )
        with connect() as broker:
            run_reconciliation(settings, store, journal, broker, now, run_id=run_id)
    mode, account = journal.binding()
    valued = calendar.next(session)
    with store.read() as connection:
        newest = connection.execute(
            "SELECT reconciliation_id, status, details FROM reconciliation_runs WHERE session = ? AND "
            "mode = ? AND account = ? ORDER BY taken_at DESC, reconciliation_id DESC LIMIT 1",
            [valued, mode, account],
        ).fetchone()
    reconciliation_id, status, details = newest or ("", "not_run", "[]")
    rows = [
        {
            "session": session,
            "valuation_session": valued,
            "number": number,
            "reconciliation_id": reconciliation_id,
            **{name: item[name] for name in ("kind", "cause", "symbol", "message")},
            "mode": mode,
            "account": account,
        }
        for number, item in enumerate(json.loads(details), start=1)
    ]
    return SessionReconciliation(
        status, pd.DataFrame(rows, columns=list(table("reconciliation").column_names))
    )
