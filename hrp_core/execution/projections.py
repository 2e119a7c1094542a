"""The tables that are projections of the journal: trades, positions, and the book of every session.

What belongs here: rewriting them in one transaction, daily and in `rebuild`. What does not: the rows
themselves (`hrp_core.ledger`). The journal decides; whatever is stored and it does not say goes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

import pandas as pd
from duckdb import DuckDBPyConnection

from hrp_core.calendar import Calendar, nyse
from hrp_core.errors import JournalError
from hrp_core.execution.marks import book_marks, find_marks, first_close_needed, stored_closes
from hrp_core.execution.projection_tables import EXECUTED_TRADES, LIVE_POSITIONS, STRATEGY_POSITIONS
from hrp_core.ledger.book import Book, BookFold, fold_book, in_order, session_of
from hrp_core.ledger.commissions import held_commissions
from hrp_core.ledger.frames import (
    fills_frame,
    live_positions_frame,
    orders_frame,
    strategy_positions_frame,
    trades_frame,
)
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.nav import MarkSource, PastNav, nav_frame, nav_row, positions_frame
from hrp_core.ledger.types import (
    Attempt,
    BookedCross,
    BookedSplit,
    CashFlow,
    Execution,
    FrozenPlan,
    Intent,
    OrderAllocation,
)
from hrp_core.portfolio.types import Purpose
from hrp_core.store import Sessions, Store, Table, replace_slice, table
from hrp_core.store.frames import to_arrow
from hrp_core.store.schema import stored_columns

_AT_ONCE = 1000
_INCOMING = "incoming_projection"
_OFFICIAL = f"mark_source = '{MarkSource.OFFICIAL_CLOSE.value}'"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild wrote.

    Attributes:
        rows: rows by table, as stored now.
        first: first decision session of the book; None when the journal knows none yet.
        last: last decision session of the book: orders of it are executing or have executed.
        emptied: (table, session) of what was stored and is not in the journal; now without rows.
    """

    mode: str
    account: str
    rows: Mapping[str, int]
    first: date | None
    last: date | None
    emptied: tuple[tuple[str, date], ...]


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the book is folded from, read once; the splits stand among the crosses."""

    mode: str
    account: str
    flows: tuple[CashFlow, ...]
    executions: tuple[Execution, ...]
    crosses: tuple[BookedCross | BookedSplit, ...]
    allocations: Mapping[str, OrderAllocation]
    sent: Mapping[str, tuple[Attempt, Intent]]

    @property
    def splits(self) -> list[BookedSplit]:
        return [item for item in self.crosses if isinstance(item, BookedSplit)]


@dataclass(slots=True)
class _Frames:
    """The rows of one asset table while its sessions are made."""

    days: list[date] = field(default_factory=list)
    frames: list[pd.DataFrame] = field(default_factory=list)

    def add(self, day: date, frame: pd.DataFrame) -> None:
        self.days.append(day)
        if len(frame):
            # As objects, so that a column without a value in one session does not decide a type.
            self.frames.append(frame.astype(object))

    def joined(self, declared: Table) -> pd.DataFrame:
        if not self.frames:
            return pd.DataFrame(columns=list(declared.column_names))
        return pd.concat(self.frames, ignore_index=True)


def project_book(
    store: Store, journal: Journal, calendar: Calendar | None = None, *, valued: pd.DataFrame | None = None
) -> dict[str, int]:
    """Rewrite executed_trades, live_positions and strategy_positions from the journal, in one transaction.

    The rows follow from the journal, the stored prices and `valued`: doing it again changes nothing.
    Positions are valued as the book is (`marks.find_marks`) after the newest session that has prices or
    executions; a name that the book cannot value has no value.

    Args:
        store: migrated; prices are read from it.
        journal: bound to the account whose rows are rewritten; rows of other accounts stay.
        calendar: default the New York Stock Exchange.
        valued: rows of `positions` whose marks are taken for a session that has no official closes yet.

    Returns:
        Rows by table.

    Raises:
        NotReadyError: the journal was never bound to an account, or the database was not migrated.
        StoreError: the database stays locked.
    """
    facts = _read_facts(journal)
    with store.write() as connection:
        return _project_book(connection, facts, calendar or nyse(), valued)


def positions_as_of(
    store: Store, journal: Journal, day: date, calendar: Calendar | None = None
) -> pd.DataFrame:
    """Return what `live_positions` held after `day`, from the journal, valued as the book is.

    Args:
        store: migrated; prices are read from it.
        journal: bound to an account.
        day: any day; executions after it are left out, and its session is the last one up to it.
        calendar: default the New York Stock Exchange.

    Raises:
        NotReadyError: the journal was never bound to an account, or the database was not migrated.
    """
    calendar = calendar or nyse()
    facts = _read_facts(journal)
    executions = [item for item in facts.executions if session_of(item) <= day]
    book = fold_book(facts.flows, executions, facts.allocations, day, facts.crosses)
    session = calendar.offset(calendar.next_session_from(day + timedelta(days=1)), -1)
    with store.read() as connection:
        priced = bool(stored_columns(connection, table("prices").name))
        found, _ = find_marks(connection, book.holdings, session, facts.splits) if priced else ({}, "")
    return live_positions_frame(
        book,
        {name: mark.price for name, mark in found.items()},
        as_of=session,
        updated_at=calendar.close(session),
        mode=facts.mode,
        account=facts.account,
        commissions=held_commissions(executions, [item for item in facts.splits if item.session <= day]),
    )


def rebuild(
    store: Store, journal: Journal, now: datetime, *, run_id: str, calendar: Calendar | None = None
) -> Rebuilt:
    """Rebuild every projection from the journal in one transaction: all of it, or nothing changes.

    Besides the tables of `project_book`: `orders` of every session with a daily plan; `fills` of every
    session from the first that the journal knows to the book session; `positions` and `nav` of those whose
    execution session has closed, up to the newest one with prices, or with an official NAV. Sessions that are
    stored and that the journal does not know are emptied, provisional valuations among them: the next run of
    the book makes them again.

    Args:
        store: migrated; prices are read from it.
        journal: the journal of this mode.
        now: from the clock.
        run_id: who rebuilds; recorded with every partition.
        calendar: default the New York Stock Exchange.

    Raises:
        NotReadyError: the journal was never bound to an account, the database was not migrated, or shares
            were traded and no prices are stored.
        DataError: a held name has no price that counts in a session to be valued; names it and the session.
        StoreError: the database stays locked.
    """
    calendar = calendar or nyse()
    facts = _read_facts(journal)
    plans = {plan.session: plan for plan in journal.plans(purpose=Purpose.DAILY)}  # the newest one wins
    attempts = {session: journal.newest_attempts(plan.plan_id) for session, plan in plans.items()}
    booked = _booked_sessions(facts, plans, calendar, now)
    with store.write() as connection:
        made = _book_frames(connection, facts, booked, calendar, now)
        made["orders"] = _Frames()
        for session, plan in plans.items():
            made["orders"].add(session, orders_frame(plan, attempts[session]))
        emptied: list[tuple[str, date]] = []
        rows: dict[str, int] = {}
        for name in ("orders", "fills", "positions", "nav"):
            declared, frames = table(name), made[name]
            frame = frames.joined(declared)
            stale = sorted(_stored_sessions(connection, declared) - set(frames.days))
            if frames.days or stale:
                days = Sessions([*frames.days, *stale])
                replace_slice(connection, declared, frame, days, run_id, None, now)
            emptied += [(name, day) for day in stale]
            rows[name] = len(frame)
        rows |= _project_book(connection, facts, calendar)
    return Rebuilt(
        mode=facts.mode,
        account=facts.account,
        rows=rows,
        first=booked[0] if booked else None,
        last=booked[-1] if booked else None,
        emptied=tuple(emptied),
    )


def replace_account_rows(
    connection: DuckDBPyConnection, declared: Table, frame: pd.DataFrame, mode: str, account: str
) -> None:
    """Replace all rows of one account in a table of `projection_tables`, in the caller's transaction.

    Raises:
        JournalError: a row is there twice; nothing was stored.
        DataError: the frame does not fit the declared columns.
    """
    repeated = frame.loc[frame.duplicated(list(declared.key)), list(declared.key)]
    if len(repeated):
        raise JournalError(
            f"the journal gives {declared.name} the row {tuple(repeated.iloc[0])} twice; nothing was stored. "
            "Compare its executions with the broker's statement"
        )
    incoming = to_arrow(declared, frame)
    connection.execute(f"DELETE FROM {declared.name} WHERE mode = ? AND account = ?", [mode, account])
    connection.register(_INCOMING, incoming)
    connection.execute(f"INSERT INTO {declared.name} BY NAME SELECT * FROM {_INCOMING}")
    connection.unregister(_INCOMING)


def _read_facts(journal: Journal) -> _Facts:
    mode, account = journal.binding()
    flows, executions = journal.cash_flows(), journal.book_executions()
    crosses = (*journal.book_crosses(), *journal.splits())
    # Read after the executions: an order is in the journal before it can trade.
    allocations = journal.order_allocations()
    refs = sorted({item.order_ref for item in executions if item.order_ref})
    sent: dict[str, tuple[Attempt, Intent]] = {}
    for start in range(0, len(refs), _AT_ONCE):
        sent |= journal.sent(refs[start : start + _AT_ONCE])
    return _Facts(mode, account, flows, executions, crosses, allocations, sent)


def _booked_sessions(
    facts: _Facts, plans: Mapping[date, FrozenPlan], calendar: Calendar, now: datetime
) -> list[date]:
    """Decision sessions from the first that the journal knows to the book session."""
    executed = [flow.session for flow in facts.flows] + [session_of(item) for item in facts.executions]
    known = [*plans, *(calendar.previous(calendar.next_session_from(day)) for day in executed)]
    return calendar.between(min(known), calendar.book_session(now)) if known else []


def _book_frames(
    connection: DuckDBPyConnection, facts: _Facts, booked: Sequence[date], calendar: Calendar, now: datetime
) -> dict[str, _Frames]:
    """Make fills, positions and nav of the booked sessions, in one pass over the executions."""
    made = {name: _Frames() for name in ("fills", "positions", "nav")}
    if not booked:
        return made
    valued = _last_valued(connection, calendar.decision_session(now))
    symbols = sorted(
        {item.contract.symbol for item in facts.executions} | {item.symbol for item in facts.crosses}
    )
    first, last = calendar.next(booked[0]), calendar.next(booked[-1])
    known = stored_closes(connection, symbols, first_close_needed(first), last)
    owner = {"mode": facts.mode, "account": facts.account}
    past: list[PastNav] = []
    for session, executed, book in _books(facts, booked, calendar):
        of_fills = {"session": session, "execution_session": executed, **owner}
        made["fills"].add(session, fills_frame(book, **of_fills))
        if valued is None or executed > valued:
            continue
        official = book_marks(connection, book.names, executed, facts.splits, known)
        of_session = {"session": session, "valuation_session": executed, **owner}
        made["positions"].add(session, positions_frame(book, official, **of_session))
        row = nav_row(
            book,
            {name: mark.price for name, mark in official.items()},
            previous=past,
            mark_source=MarkSource.OFFICIAL_CLOSE,
            mark_time=calendar.close(executed),
            **of_session,
        )
        past.append(PastNav(row.valuation_session, row.nav, row.daily_return, row.flows))
        made["nav"].add(session, nav_frame(row))
    return made


def _books(facts: _Facts, booked: Sequence[date], calendar: Calendar) -> Iterator[tuple[date, date, Book]]:
    """Yield (decision session, execution session, book after it); a book's fills are those new in it."""
    fold = BookFold(Decimal(0))
    moves = in_order(facts.executions, facts.crosses)
    flows = sorted(facts.flows, key=lambda flow: flow.session)
    traded = moved = 0
    for session in booked:
        executed = calendar.next(session)
        while moved < len(flows) and flows[moved].session <= executed:
            fold.add_cash(flows[moved].amount)
            moved += 1
        fold.fills, fold.crosses = [], []
        while traded < len(moves) and session_of(moves[traded]) <= executed:
            fold.add(moves[traded], facts.allocations)
            traded += 1
        yield session, executed, fold.book(flows[:moved])


def _project_book(
    connection: DuckDBPyConnection, facts: _Facts, calendar: Calendar, valued: pd.DataFrame | None = None
) -> dict[str, int]:
    book = fold_book(facts.flows, facts.executions, facts.allocations, crosses=facts.crosses)
    priced = _newest(connection, table("prices"), "session")
    looked_at = None if valued is None or valued.empty else valued["valuation_session"].iloc[0]
    as_of = max((day for day in (priced, book.as_of, looked_at) if day is not None), default=None)
    moments = [item.executed_at for item in facts.executions]
    moments += [item.executes_at for item in facts.crosses]
    marks: Mapping[str, Decimal] = {}
    if as_of is not None and as_of == priced:
        found, _ = find_marks(connection, book.holdings, as_of, facts.splits)
        marks = {name: mark.price for name, mark in found.items()}
        moments += [calendar.close(as_of)] if marks else []
    elif as_of is not None and as_of == looked_at and valued is not None:
        marks = dict(zip(valued["symbol"], valued["mark"], strict=True))
        moments.append(valued["mark_time"].max())
    owner = {"mode": facts.mode, "account": facts.account}
    updated_at = max(moments, default=None)
    perm_ids = {item.exec_id: item.perm_id for item in facts.executions}
    frames = {
        EXECUTED_TRADES: trades_frame(book, facts.sent, perm_ids, **owner),
        LIVE_POSITIONS: live_positions_frame(
            book,
            marks,
            as_of=as_of,
            updated_at=updated_at,
            commissions=held_commissions(facts.executions, facts.splits),
            **owner,
        ),
        STRATEGY_POSITIONS: strategy_positions_frame(book, as_of=as_of, updated_at=updated_at, **owner),
    }
    for declared, frame in frames.items():
        replace_account_rows(connection, declared, frame, facts.mode, facts.account)
    return {declared.name: len(frame) for declared, frame in frames.items()}


def _last_valued(connection: DuckDBPyConnection, completed: date) -> date | None:
    """Return the last session to value: one with prices, or a NAV that would else silently disappear.

    A provisional NAV may: the journal does not know the broker's prices.
    """
    known = (
        _newest(connection, table("prices"), "session"),
        _newest(connection, table("nav"), "valuation_session", _OFFICIAL),
    )
    newest = max((day for day in known if day is not None), default=None)
    return None if newest is None else min(newest, completed)


def _newest(connection: DuckDBPyConnection, declared: Table, column: str, where: str = "true") -> date | None:
    if not stored_columns(connection, declared.name):
        return None
    found = connection.execute(f"SELECT max({column}) FROM {declared.name} WHERE {where}").fetchone()
    return found[0] if found else None


def _stored_sessions(connection: DuckDBPyConnection, declared: Table) -> set[date]:
    if not stored_columns(connection, declared.name):
        return set()
    return {day for (day,) in connection.execute(f"SELECT DISTINCT session FROM {declared.name}").fetchall()}
