"""The prices that a book is valued at: official closes of the store, and before those the broker's.

What belongs here: which of the two a valuation takes, and which of the broker's prices count. What does not:
the valuation (`bookkeeping`, `hrp_core.ledger.nav`). A valuation at the broker's prices is provisional: it is
there to be looked at, and nothing is decided on it.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from datetime import date, datetime
from decimal import Decimal

from hrp_core.calendar import nyse, require_completed
from hrp_core.errors import BrokerError
from hrp_core.execution.broker import Broker, Quote
from hrp_core.ledger.nav import Mark, MarkSource
from hrp_core.money import is_price, to_money
from hrp_core.store import Store, newest_session, select_rows, table
from hrp_core.store.schema import stored_columns
from hrp_core.timetable import OFFICIAL_BOOK, moment_of

_log = logging.getLogger(__name__)

QUOTE_TIMEOUT = 10.0  # seconds for the prices of all names together
# An older close says nothing of what a name is worth.
_LOOK_BACK = 20

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
    return {symbol: mark.price for symbol, mark in closing_marks(store, session).items()}


def closing_marks(store: Store, session: date) -> dict[str, Mark]:
    """Return the stored official closes of a session as marks, by symbol."""
    at = nyse().close(session)
    with store.read() as connection:
        rows = select_rows(
            connection,
            table("prices"),
            conditions=[("session = ?", [session])],
            columns=["symbol", "close"],
        )
    return {
        str(symbol): Mark(to_money(float(close)), MarkSource.OFFICIAL_CLOSE, at)
        for symbol, close in zip(rows["symbol"], rows["close"], strict=True)
    }


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
        session: decision session D; the last close is of it, or of one of the twenty sessions before.
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
    """Return the newest stored official close of each name up to `session`."""
    calendar = nyse()
    with store.read() as connection:
        if not stored_columns(connection, "prices"):
            return {}
        rows = select_rows(
            connection,
            table("prices"),
            conditions=[
                ("session BETWEEN ? AND ?", [calendar.offset(session, -_LOOK_BACK), session]),
                (f"symbol IN ({', '.join('?' * len(symbols))})", sorted(symbols)),
            ],
            columns=["session", "symbol", "close"],
        )
    return {
        str(symbol): Mark(to_money(float(close)), MarkSource.LAST_CLOSE, calendar.close(day))
        for day, symbol, close in rows.sort_values("session").itertuples(index=False)
        if is_price(close)
    }
