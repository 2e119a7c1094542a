"""The fills of a session as the book takes them: a contradiction is reconciled before it ends the run.

What belongs here: that a break found while asking for fills is classified and recorded all the same. What
does not: the fills themselves (`bookkeeping`) and classifying (`reconciliation`).
"""

from datetime import date, datetime

import pandas as pd

from hrp_core.calendar import nyse
from hrp_core.errors import HrpError, IncompleteSnapshotError, ReconciliationBreakError
from hrp_core.execution.bookkeeping import Connect, session_fills
from hrp_core.execution.reconciliation import run_reconciliation
from hrp_core.execution.sync import REPORTING_LAG
from hrp_core.ledger.journal import Journal
from hrp_core.settings import Settings
from hrp_core.store import Store


def reconciled_fills(
    settings: Settings,
    store: Store,
    journal: Journal,
    connect: Connect,
    session: date,
    now: datetime,
    *,
    run_id: str,
) -> pd.DataFrame:
    """Return `session_fills`; where ledger and broker contradict each other, record a reconciliation first.

    Without fills nothing after them is made, the reconciliation of the book included, and the trade gate
    would only know that there is none. While the session trades, and in the quarter of an hour after its
    close, a difference proves nothing (positions follow their fills by minutes, F13), and none is recorded.

    Args:
        settings: names the mode, what to do about orders placed elsewhere, and when plans are sent.
        store: as `session_fills`; a run that is recorded is appended to it.
        journal: the order journal.
        connect: opens a connection to the broker.
        session: decision session D.
        now: from the clock.
        run_id: who asks; in the id of the reconciliation.

    Raises:
        ReconciliationBreakError, IncompleteSnapshotError: as `session_fills`, after the recording; the
            message says when that failed too.
    """
    try:
        return session_fills(settings, store, journal, connect, session, now)
    except (ReconciliationBreakError, IncompleteSnapshotError) as found:
        if now < nyse().close(nyse().next(session)) + REPORTING_LAG:
            raise
        try:
            with connect() as broker:
                run_reconciliation(settings, store, journal, broker, now, run_id=run_id)
        except HrpError as error:
            raise type(found)(f"{found}. No reconciliation could be recorded either: {error}") from error
        raise
