"""The prices that a book is valued at: official closes of the store, and before those the broker's.

What belongs here: which of the two a valuation takes, what a name without a close is worth, and which of the
broker's prices count. What does not: the valuation (`bookkeeping`, `hrp_core.ledger.nav`). A valuation at the
broker's prices is provisional: it is there to be looked at, and nothing is decided on it.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar

from duckdb import DuckDBPyConnection

from hrp_core.calendar import nyse, require_completed
from hrp_core.checks import blocking_claims, standing_verdicts
from hrp_core.errors import BrokerError, DataError
from hrp_core.execution.broker import Broker, Quote
from hrp_core.ledger.nav import Mark, MarkSource
from hrp_core.ledger.types import BookedSplit
from hrp_core.money import is_price, to_money
from hrp_core.store import Store, newest_session, select_rows, table
from hrp_core.store.schema import stored_columns
from hrp_core.timetable import OFFICIAL_BOOK, moment_of

_log = logging.getLogger(__name__)

QUOTE_TIMEOUT = 10.0  # seconds for the prices of all names together
# The SEC suspends trading in a stock for ten business days at most (Securities Exchange Act, section 12(k)).
# A name that is dark for longer does not simply reopen: its last close says nothing of what it is worth.
LAST_CLOSE_SESSIONS = 10

T = TypeVar("T")
Connect = Callable[[], AbstractContextManager[Broker]]


def is_provisional(store: Store, session: date, now: datetime) -> bool:
    """Return whether the book of a session is valued at the broker's prices, not at official closes.

    It is from the open of its execution session until that session's prices are stored, and never from 17:45
    New York on: what is then missing is an error of the official book.

    Args:
        store: holds the prices.
        session: decision session D.
        now: from the clock, timezone-aware.

    Raises:
        RefusedError: the execution session has not opened yet.
    """
    calendar = nyse()
    executed = calendar.next(session)
    if now < calendar.open(executed):
        require_completed(executed, now)
    if now >= moment_of(executed, OFFICIAL_BOOK):
        return False
    priced = newest_session(store, table("prices"))
    return now < calendar.close(executed) or priced is None or priced < executed


def official_marks(store: Store, session: date) -> dict[str, Decimal]:
    """Return the stored official closes of a session, USD a share, by symbol."""
    with store.read() as connection:
        return stored_closes(connection, None, session, session).get(session, {})


def stored_closes(
    connection: DuckDBPyConnection, symbols: Collection[str] | None, start: date, end: date
) -> dict[date, dict[str, Decimal]]:
    """Return the stored official closes, USD a share, by session and symbol.

    Args:
        connection: open for reading at least.
        symbols: those asked for; None: all.
        start: first session.
        end: last session, included.
    """
    if symbols is not None and not symbols:
        return {}
    conditions: list[tuple[str, Sequence[object]]] = [("session BETWEEN ? AND ?", [start, end])]
    if symbols is not None:
        conditions.append((f"symbol IN ({', '.join('?' * len(symbols))})", sorted(symbols)))
    rows = select_rows(
        connection, table("prices"), conditions=conditions, columns=["session", "symbol", "close"]
    )
    found: dict[date, dict[str, Decimal]] = {}
    for session, symbol, close in rows.itertuples(index=False):
        if is_price(close):
            found.setdefault(session, {})[str(symbol)] = to_money(float(close))
    return found


def last_close(
    close_on: Callable[[date], T | None], session: date, splits: Collection[date] = ()
) -> tuple[date, T] | None:
    """Return a name's newest close up to a session, with the session that it is of; None where none counts.

    One of more than `LAST_CLOSE_SESSIONS` sessions before does not, and none of before a split: it is the
    price of another share than the one that is held.

    Args:
        close_on: returns the name's close of a session; None where it has none.
        session: the last one looked at.
        splits: sessions in which splits of the name took effect.
    """
    calendar, day = nyse(), session
    for _ in range(LAST_CLOSE_SESSIONS + 1):
        close = close_on(day)
        if close is not None:
            return day, close
        if day in splits or day == calendar.first:
            break
        day = calendar.previous(day)
    return None


def first_close_needed(session: date) -> date:
    """Return the first session of which a close may value a name held after `session`."""
    calendar = nyse()
    return calendar.between(calendar.first, session)[-1 - LAST_CLOSE_SESSIONS :][0]


def find_marks(
    connection: DuckDBPyConnection,
    held: Iterable[str],
    session: date,
    splits: Iterable[BookedSplit],
    closes: Mapping[date, Mapping[str, Decimal]] | None = None,
) -> tuple[dict[str, Mark], str]:
    """Return what names are valued at after a session, and why some of them have no value; empty: all have.

    A name is valued at its official close of the session. One without (halted all day, suspended, delisted)
    keeps its last close (`last_close`), once the prices of the session are stored and every claim that blocks
    trading on them is true: a delivery that lacks rows must never pass for a market that had none.

    Args:
        connection: open for reading at least.
        held: names to be valued.
        session: execution session E.
        splits: those in the ledger.
        closes: from `stored_closes`, from `first_close_needed` on; None: they are read.
    """
    names, at = sorted(set(held)), nyse().close(session)
    known = stored_closes(connection, names, session, session) if closes is None else closes
    of_session = known.get(session, {})
    marks = {
        name: Mark(of_session[name], MarkSource.OFFICIAL_CLOSE, at) for name in names if name in of_session
    }
    missing = [name for name in names if name not in marks]
    if not missing:
        return marks, ""
    pending = _pending_prices(connection, session)
    if pending:
        return marks, (
            f"{', '.join(missing)} held after {session} has no price of that session, and {pending}, so the "
            f"account cannot be valued; load its prices (market_data_job of {session}) and run the book again"
        )
    split_on = [(split.symbol, split.session) for split in splits]
    if closes is None:
        known = stored_closes(connection, missing, first_close_needed(session), session)
    for name in missing:
        found = last_close(
            lambda day, name=name: known.get(day, {}).get(name),
            session,
            [day for symbol, day in split_on if symbol == name],
        )
        if found is not None:
            day, close = found
            marks[name] = Mark(close, MarkSource.LAST_CLOSE, nyse().close(day))
    unpriced = [name for name in missing if name not in marks]
    if not unpriced:
        return marks, ""
    return marks, (
        f"{', '.join(unpriced)} held after {session} has had no price for more than {LAST_CLOSE_SESSIONS} "
        "sessions, or none since a split, so the account cannot be valued. Once the price source has a close "
        f"of {session}: `hrp job run market-data --session {session}`, then `hrp job run book --session "
        f"{nyse().previous(session)}`; where the shares have left the account, `hrp reconcile` names them"
    )


def book_marks(
    connection: DuckDBPyConnection,
    held: Iterable[str],
    session: date,
    splits: Iterable[BookedSplit],
    closes: Mapping[date, Mapping[str, Decimal]] | None = None,
) -> dict[str, Mark]:
    """Return what the names held after a session are valued at (see `find_marks`).

    Raises:
        DataError: a name cannot be valued; names it, and what to run.
    """
    marks, problem = find_marks(connection, held, session, splits, closes)
    if problem:
        raise DataError(problem)
    for name, mark in marks.items():
        if mark.source is MarkSource.LAST_CLOSE:
            _log.warning("%s has no close of %s and keeps that of %s", name, session, f"{mark.at:%Y-%m-%d}")
    return marks


def _pending_prices(connection: DuckDBPyConnection, session: date) -> str:
    """Return why the stored prices of a session may still lack closes; empty where they are complete."""
    judged = standing_verdicts(connection, session).get("prices", {})
    for claim in blocking_claims("prices"):
        if claim not in judged:
            return f"no complete prices of it are stored ({claim} was not judged)"
        passed, observed = judged[claim]
        if not passed:
            return f"its prices are not accepted: {claim} is not true ({observed})"
    return ""


def broker_marks(
    store: Store, connect: Connect, symbols: Collection[str], session: date, now: datetime, *, largest: float
) -> dict[str, Mark]:
    """Return what the broker quotes the held names at, by symbol.

    The newest trade counts, else the middle of bid and ask; delayed prices may value a name, though they
    never price an order (F31). A name that has neither, or that would have moved by more than `largest` since
    its last stored close, keeps that close, and says so by its source: one bad tick must not hide what the
    rest is worth. Where the broker prices no name at all there is nothing of the market to show: yesterday's
    value under today's date is refused.

    Args:
        store: the last closes are read from it.
        connect: opens a connection to the broker; without names nobody is asked.
        symbols: names held.
        session: decision session D; the last close is of it, or of one of the ten sessions before.
        now: from the clock; the moment of the marks.
        largest: greatest believable move since the last close, a fraction.

    Returns:
        Marks; a name with neither price is absent.

    Raises:
        BrokerError: the broker gives no price of any of them.
        BrokerConnectionError: it cannot be asked.
    """
    if not symbols:
        return {}
    with connect() as broker:
        contracts = broker.qualify(sorted(symbols))
        quotes = broker.quotes(list(contracts.values()), QUOTE_TIMEOUT) if contracts else {}
    closes = _last_closes(store, symbols, session)
    marks: dict[str, Mark] = {}
    for symbol in sorted(symbols):
        quoted, close = market_price(quotes.get(symbol)), closes.get(symbol)
        if quoted is not None and (close is None or abs(quoted / close.price - 1) <= largest):
            marks[symbol] = Mark(quoted, MarkSource.BROKER_MARK, now)
            continue
        why = "gives no price" if quoted is None else f"quotes {quoted}, which is not believed"
        kept = "which is not valued" if close is None else f"which keeps its close of {close.at:%Y-%m-%d}"
        _log.warning("the broker %s for %s, %s", why, symbol, kept)
        if close is not None:
            marks[symbol] = close
    if not any(mark.source is MarkSource.BROKER_MARK for mark in marks.values()):
        raise BrokerError(
            f"the broker gives no believable price of any name held ({', '.join(sorted(symbols))}), so "
            "there is no provisional value; look at the account's market data subscriptions, and whether "
            "another session of the same login takes its prices. The book at 17:45 takes official closes and "
            "needs none of them"
        )
    return marks


def market_price(quote: Quote | None) -> Decimal | None:
    """Return what a name trades at, USD a share: the newest trade, else the middle of bid and ask."""
    if quote is None:
        return None
    middle = None if quote.bid is None or quote.ask is None else (quote.bid + quote.ask) / 2
    price = middle if quote.last is None else quote.last
    return None if price is None else to_money(price)


def _last_closes(store: Store, symbols: Collection[str], session: date) -> Mapping[str, Mark]:
    """Return the newest stored official close of each name up to `session`, as far as it counts."""
    with store.read() as connection:
        if not stored_columns(connection, "prices"):
            return {}
        closes = stored_closes(connection, symbols, first_close_needed(session), session)
    marks: dict[str, Mark] = {}
    for name in symbols:
        found = last_close(lambda day, name=name: closes.get(day, {}).get(name), session)
        if found is not None:
            marks[name] = Mark(found[1], MarkSource.LAST_CLOSE, nyse().close(found[0]))
    return marks
