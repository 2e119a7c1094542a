"""The book of a session: what the broker did, into the journal, and from there into rows.

What belongs here: when the broker is asked at all, and what a session's rows are made of. What does not: the
prices (`marks`) and the arithmetic (`hrp_core.ledger`).
"""

import math
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal

import pandas as pd
from duckdb import DuckDBPyConnection

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.execution.crosses import price_crosses
from hrp_core.execution.expiry import close_plans
from hrp_core.execution.marks import Connect, book_marks, broker_marks, is_provisional
from hrp_core.execution.send_window import SendAt
from hrp_core.execution.sync import sync_broker
from hrp_core.ledger.book import Book, fold_book, read_book
from hrp_core.ledger.frames import fills_frame
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.nav import MarkSource, PastNav, nav_frame, nav_row, official_rows, positions_frame
from hrp_core.ledger.types import CashFlow, ExternalPolicy
from hrp_core.settings import Settings
from hrp_core.store import Store, newest_session, read_table, select_rows, table
from hrp_core.store.schema import stored_columns


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


def session_positions(
    settings: Settings, store: Store, journal: Journal, connect: Connect, session: date, now: datetime
) -> pd.DataFrame:
    """Return the positions after the execution session of `session`, or so far.

    They are valued at its official closes, a name without one at its last (`marks.find_marks`), and before
    those are stored provisionally at the broker's prices (`marks.is_provisional`); each row says at what.

    Args:
        settings: says which move of a price is believed.
        store: the official closes are read from it.
        journal: the order journal; the prices of crosses are recorded in it.
        connect: opens a connection to the broker, for its prices.
        session: decision session D.
        now: from the clock.

    Returns:
        Rows of the `positions` table.

    Raises:
        RefusedError: the execution session has not opened yet.
        DataError: a held name has no price that counts; names it, and what to run.
        BrokerError: a provisional valuation, and the broker cannot be asked or prices nothing that is held.
    """
    execution_session = nyse().next(session)
    provisional = is_provisional(store, session, now)
    mode, account = journal.binding()
    price_crosses(store, journal, execution_session, now)
    book = read_book(journal, through=execution_session)
    if provisional:
        largest = settings.max_unexplained_return
        marks = broker_marks(store, connect, book.holdings.keys(), session, now, largest=largest)
    else:
        with store.read() as connection:
            marks = book_marks(connection, book.names, execution_session, journal.splits())
    return positions_frame(
        book,
        marks,
        session=session,
        valuation_session=execution_session,
        mode=mode,
        account=account,
    )


def session_nav(store: Store, journal: Journal, session: date, now: datetime) -> pd.DataFrame:
    """Return the one row of the `nav` table for `session`, at official closes or provisional.

    A provisional row takes the marks that the stored positions of the session were valued at, so that both
    say the same, and leaves no trace: no cash flow is counted by it, and no later row builds on it.

    Raises:
        RefusedError: the execution session has not opened yet.
        DataError: a held name has no price that counts; names it, and what to run.
        NotReadyError: positions were never stored.
    """
    calendar = nyse()
    execution_session = calendar.next(session)
    valued = _valued_sessions(store)
    provisional = is_provisional(store, session, now)
    if provisional:
        book = nav_book(journal, execution_session, journal.expected_flows(execution_session, valued))
        marks, at = _stored_marks(store, session, now)
    else:
        book = nav_book(journal, execution_session, journal.count_flows(execution_session, valued, now))
        with store.read() as connection:
            official = book_marks(connection, book.names, execution_session, journal.splits())
        marks = {symbol: mark.price for symbol, mark in official.items()}
        at = calendar.close(execution_session)
    mode, account = journal.binding()
    row = nav_row(
        book,
        marks,
        session=session,
        valuation_session=execution_session,
        previous=past_navs(store, before=session),
        mark_source=MarkSource.BROKER_MARK if provisional else MarkSource.OFFICIAL_CLOSE,
        mark_time=at,
        mode=mode,
        account=account,
    )
    return nav_frame(row)


def nav_book(journal: Journal, execution_session: date, flows: Iterable[CashFlow]) -> Book:
    """Return the book that a NAV values: through a session, with the cash flows that its NAVs count.

    Args:
        journal: executions and crosses are read from it.
        execution_session: E.
        flows: from `Journal.count_flows`, or `Journal.expected_flows` for a provisional NAV.
    """
    return fold_book(
        flows,
        journal.book_executions(),
        journal.order_allocations(),
        execution_session,
        [*journal.book_crosses(), *journal.splits()],
    )


def newest_book(store: Store) -> date | None:
    """Return the newest decision session whose NAV is official; None where there is none."""
    return max(_official_navs(store, ["session"])["session"].tolist(), default=None)


def closed_books(connection: DuckDBPyConnection, since: date) -> set[date]:
    """Return the decision sessions from `since` on whose positions and NAV are both official."""
    bound = [("session >= ?", [since])]
    official: set[date] = set()
    looked_at: set[date] = set()
    if stored_columns(connection, "nav"):
        navs = select_rows(connection, table("nav"), conditions=bound, columns=["session", "mark_source"])
        official = set(official_rows(navs)["session"])
    if stored_columns(connection, "positions"):
        held = select_rows(
            connection, table("positions"), conditions=bound, columns=["session", "mark_source"]
        )
        # A last close alone is of an official book too: a provisional one has a price of the broker.
        looked_at = set(held.loc[held["mark_source"] == MarkSource.BROKER_MARK.value, "session"])
    return official - looked_at


def kept_closes(store: Store, session: date | None = None) -> dict[date, dict[str, date]]:
    """Return the names that were valued at an earlier close than that of their session.

    Args:
        store: holds the table `positions`.
        session: decision session; None: all.

    Returns:
        By decision session and symbol, the session that the close is of.
    """
    conditions: list[tuple[str, Sequence[object]]] = [
        ("mark_source = ?", [MarkSource.LAST_CLOSE.value]),
        ("strategy_id = ?", [""]),
    ]
    if session is not None:
        conditions.append(("session = ?", [session]))
    with store.read() as connection:
        # A table of before the column has none.
        if "mark_source" not in stored_columns(connection, "positions"):
            return {}
        rows = select_rows(
            connection,
            table("positions"),
            conditions=conditions,
            columns=["session", "symbol", "mark_time"],
        )
    found: dict[date, dict[str, date]] = {}
    for day, symbol, at in rows.itertuples(index=False):
        found.setdefault(day, {})[symbol] = at.astimezone(NEW_YORK).date()
    return found


def _stored_marks(store: Store, session: date, now: datetime) -> tuple[dict[str, Decimal], datetime]:
    """Return the prices that the account's stored positions have, and the moment they are of."""
    columns = ["strategy_id", "symbol", "mark", "mark_source", "mark_time"]
    rows = read_table(store, table("positions"), sessions=[session], columns=columns)
    rows = rows.loc[rows["strategy_id"] == ""]
    asked = rows.loc[rows["mark_source"] == MarkSource.BROKER_MARK.value, "mark_time"]
    marks = dict(zip(rows["symbol"].tolist(), rows["mark"].tolist(), strict=True))
    return marks, asked.max().to_pydatetime() if len(asked) else now


def _valued_sessions(store: Store) -> list[date]:
    return _official_navs(store, ["valuation_session"])["valuation_session"].tolist()


def past_navs(store: Store, before: date) -> list[PastNav]:
    """Return what is stored of the official NAV of sessions before `before`."""
    rows = _official_navs(
        store, ["valuation_session", "nav", "daily_return", "flows"], end=nyse().previous(before)
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


def _official_navs(store: Store, columns: Sequence[str], end: date | None = None) -> pd.DataFrame:
    """Return columns of the official rows of `nav`, those of decision sessions up to `end`."""
    if newest_session(store, table("nav")) is None:
        return pd.DataFrame(columns=list(columns))
    return official_rows(read_table(store, table("nav"), end=end, columns=[*columns, "mark_source"]))
