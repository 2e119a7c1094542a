"""The book of a session: what the broker did, into the journal, and from there into rows.

What belongs here: when the broker is asked at all, and which marks value the account. What does not: the
arithmetic (`hrp_core.ledger`).
"""

import math
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from datetime import date, datetime
from decimal import Decimal

import pandas as pd

from hrp_core.calendar import nyse, require_completed
from hrp_core.execution.broker import Broker
from hrp_core.execution.crosses import price_crosses
from hrp_core.execution.expiry import close_plans
from hrp_core.execution.send_window import SendAt
from hrp_core.execution.sync import sync_broker
from hrp_core.ledger.book import Book, fold_book, read_book
from hrp_core.ledger.frames import fills_frame
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.nav import PastNav, nav_frame, nav_row, positions_frame
from hrp_core.ledger.types import ExternalPolicy
from hrp_core.money import to_money
from hrp_core.settings import Settings
from hrp_core.store import Store, newest_session, read_table, table

OFFICIAL_CLOSE = "official_close"

Connect = Callable[[], AbstractContextManager[Broker]]


def session_fills(
    settings: Settings, store: Store, journal: Journal, connect: Connect, session: date, now: datetime
) -> pd.DataFrame:
    """Return the fills of the orders of `session`, after asking the broker where it can still answer.

    The broker lists executions of the current day only, so it is asked when `session` is the book session;
    for any other one the journal answers alone. What strategies took from one another is listed once the
    official bar of its session is stored. Plans whose send window has passed are closed first.

    Args:
        settings: names the mode, and when plans are sent.
        store: the prices of crosses are read from it.
        journal: the order journal; new executions and the prices of crosses are recorded in it.
        connect: opens a connection to the broker.
        session: decision session D.
        now: from the clock.

    Returns:
        Rows of the `fills` table.

    Raises:
        IncompleteSnapshotError: the broker's answers contradict each other; names the order.
        ReconciliationBreakError: ledger and broker disagree; names the symbols.
        NotReadyError: the journal was never bound to an account.
    """
    close_plans(journal, now, SendAt(settings.send_at), dry_run=settings.is_dry_run)
    if session == nyse().book_session(now):
        with connect() as broker:
            sync_broker(
                broker,
                journal,
                now,
                mode=settings.mode.value,
                external=ExternalPolicy(settings.external_orders),
            )
    mode, account = journal.binding()
    execution_session = nyse().next(session)
    price_crosses(store, journal, execution_session, now)
    return fills_frame(
        read_book(journal, through=execution_session),
        session=session,
        execution_session=execution_session,
        mode=mode,
        account=account,
    )


def session_positions(store: Store, journal: Journal, session: date, now: datetime) -> pd.DataFrame:
    """Return the positions after the execution session of `session`, valued at its official close.

    Raises:
        RefusedError: that session has not closed yet.
        DataError: a held name has no official close in the store; names the job that loads it.
    """
    execution_session = nyse().next(session)
    require_completed(execution_session, now)
    mode, account = journal.binding()
    price_crosses(store, journal, execution_session, now)
    return positions_frame(
        read_book(journal, through=execution_session),
        official_marks(store, execution_session),
        session=session,
        valuation_session=execution_session,
        mode=mode,
        account=account,
    )


def session_nav(store: Store, journal: Journal, session: date, now: datetime) -> pd.DataFrame:
    """Return the one row of the `nav` table for `session`, valued as `session_positions`.

    Raises:
        RefusedError: the execution session has not closed yet.
        DataError: a held name has no official close in the store.
    """
    calendar = nyse()
    execution_session = calendar.next(session)
    require_completed(execution_session, now)
    mode, account = journal.binding()
    row = nav_row(
        nav_book(journal, execution_session, _valued_sessions(store), now),
        official_marks(store, execution_session),
        session=session,
        valuation_session=execution_session,
        previous=past_navs(store, before=session),
        mark_source=OFFICIAL_CLOSE,
        mark_time=calendar.close(execution_session),
        mode=mode,
        account=account,
    )
    return nav_frame(row)


def nav_book(journal: Journal, execution_session: date, valued: Collection[date], now: datetime) -> Book:
    """Return the book that a NAV values: through a session, with the cash flows that its NAVs count.

    Args:
        journal: which session counts a flow is recorded in it.
        execution_session: E.
        valued: sessions at whose close the account was valued before.
        now: from the clock.
    """
    return fold_book(
        journal.count_flows(execution_session, valued, now),
        journal.book_executions(),
        journal.order_allocations(),
        execution_session,
        [*journal.book_crosses(), *journal.splits()],
    )


def official_marks(store: Store, session: date) -> dict[str, Decimal]:
    """Return the stored official closes of a session, USD a share, by symbol."""
    rows = read_table(store, table("prices"), sessions=[session], columns=["symbol", "close"])
    return {
        str(symbol): to_money(float(close))
        for symbol, close in zip(rows["symbol"], rows["close"], strict=True)
    }


def _valued_sessions(store: Store) -> list[date]:
    if newest_session(store, table("nav")) is None:
        return []
    return read_table(store, table("nav"), columns=["valuation_session"])["valuation_session"].tolist()


def past_navs(store: Store, before: date) -> list[PastNav]:
    """Return what is stored of the NAV of sessions before `before`."""
    if newest_session(store, table("nav")) is None:
        return []
    rows = read_table(
        store,
        table("nav"),
        end=nyse().previous(before),
        columns=["valuation_session", "nav", "daily_return", "flows"],
    )
    return [
        PastNav(valued, nav, None if math.isnan(daily_return) else daily_return, flows)
        for valued, nav, daily_return, flows in zip(
            rows["valuation_session"].tolist(),
            rows["nav"].tolist(),
            rows["daily_return"].tolist(),
            rows["flows"].tolist(),
            strict=True,
        )
    ]
