"""Positions as the broker prices them now: `Position`, and the tracker that brings them into the store.

What belongs here: the account's shares, priced through the broker at this moment. What does not: the book of
a session at official closes (`bookkeeping`), which needs no broker.
"""

import json
import logging
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol

from hrp_core.calendar import Clock, nyse
from hrp_core.errors import DataError, NotReadyError
from hrp_core.execution.broker import Broker, BrokerSnapshot, Quote
from hrp_core.execution.marks import QUOTE_TIMEOUT, market_price
from hrp_core.execution.orders import BrokerNotConnectedError
from hrp_core.execution.projection_tables import LIVE_POSITIONS
from hrp_core.execution.projections import replace_account_rows
from hrp_core.execution.sync import sync_broker
from hrp_core.ledger.book import Book, read_book
from hrp_core.ledger.commissions import held_commissions
from hrp_core.ledger.frames import live_positions_frame, sole_owner
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Contract, ExternalPolicy
from hrp_core.money import is_price, to_average, to_money
from hrp_core.settings import Settings
from hrp_core.store import Store

_log = logging.getLogger(__name__)


class Desk(Protocol):
    """What a tracker needs of an installation; `PlatformAPI` is one."""

    @property
    def settings(self) -> Settings:
        """The settings."""
        ...

    @property
    def clock(self) -> Clock:
        """The clock of the mode."""
        ...

    @property
    def journal(self) -> Journal:
        """The order journal."""
        ...

    @property
    def store(self) -> Store:
        """The database, migrated."""
        ...


@dataclass(slots=True)
class Position:
    """Shares of one name and what they are worth.

    Attributes:
        symbol: upper-case ticker.
        quantity: signed whole shares.
        entry_price: average price of our own executions without commissions, USD a share, six places.
        current_price: USD a share; None where nobody gives a price, and then it has no value either.
        as_of_date: session that shares and price are of.
        hypothesis_id: the only strategy that holds it; None when several do, or none.
        commission_paid: USD, of the shares still held.

    Raises:
        DataError: (a ValueError) a field makes no sense.
    """

    symbol: str
    quantity: int
    entry_price: Decimal
    current_price: Decimal | None
    as_of_date: date
    hypothesis_id: str | None = None
    commission_paid: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        self.symbol = self.symbol.strip().upper()
        if not self.symbol:
            raise DataError("symbol is required")
        if self.quantity != int(self.quantity):
            raise DataError("quantity must be a whole number of shares")
        self.quantity = int(self.quantity)
        self.entry_price = to_average(_decimal(self.entry_price, "entry_price"))
        if self.entry_price < 0:
            raise DataError("entry_price must not be negative")
        self.commission_paid = to_money(_decimal(self.commission_paid, "commission_paid"))
        if self.current_price is not None:
            self.update_price(self.current_price)

    @property
    def market_value(self) -> Decimal | None:
        """Shares times the current price, USD; None without a price."""
        return None if self.current_price is None else to_money(self.quantity * self.current_price)

    @property
    def cost_basis(self) -> Decimal:
        """Shares times the entry price plus the commissions paid, USD; negative for a short position."""
        return to_money(self.quantity * self.entry_price) + self.commission_paid

    @property
    def unrealized_pnl(self) -> Decimal | None:
        """Market value less cost basis, USD, so that commissions count; None without a price."""
        value = self.market_value
        return None if value is None else value - self.cost_basis

    @property
    def unrealized_pnl_pct(self) -> float | None:
        """Unrealized P&L over the size of the basis, 0.1 = ten percent; 0.0 when the basis is 0."""
        pnl, basis = self.unrealized_pnl, self.cost_basis
        if pnl is None:
            return None
        return float(pnl / abs(basis)) if basis else 0.0

    def update_price(self, new_price: Decimal | float) -> None:
        """Set the current price, USD a share.

        Raises:
            DataError: (a ValueError) it is no price: not finite, or not above 0.
        """
        price = _decimal(new_price, "new_price")
        if not is_price(price):
            raise DataError(f"{self.symbol}: {new_price} is no price; it must be positive")
        self.current_price = to_average(price)


@dataclass(frozen=True, slots=True)
class _Seen:
    """One look at the account."""

    snapshot: BrokerSnapshot
    book: Book
    as_of: date
    marks: dict[str, Decimal]
    commissions: dict[str, Decimal]


class PositionTracker:
    """Holds the account's positions at the broker's prices, and stores them.

    Args:
        broker: connected to the account of the desk; a reader is enough.
        api: the installation, such as `PlatformAPI()`.
        quote_timeout: longest wait in seconds for the prices of all names together.
    """

    def __init__(self, broker: Broker, api: Desk, *, quote_timeout: float = QUOTE_TIMEOUT) -> None:
        self._broker = broker
        self._api = api
        self._quote_timeout = quote_timeout
        self._seen: _Seen | None = None
        self._positions: dict[str, Position] = {}

    def sync_positions(self) -> list[Position]:
        """Bring the journal up to date with the broker and price what is held; return the positions.

        Shares and entry prices come from the ledger, which must agree with the broker to the share: IB's own
        average cost has commissions in it. Prices come from one request for all names together: the newest
        trade, else the middle of bid and ask, else the last official close. Only the configured account is
        looked at: the broker's answers are filtered by it, and the journal refuses any other.

        Raises:
            BrokerNotConnectedError: (a ValueError) "Broker not connected".
            ReconciliationBreakError: ledger and broker disagree.
            IncompleteSnapshotError: the broker's answers do not add up.
            BrokerError: the broker gives no prices at all.
        """
        if not self._broker.is_connected():
            raise BrokerNotConnectedError("Broker not connected")
        settings, journal, now = self._api.settings, self._api.journal, self._api.clock.now()
        report = sync_broker(
            self._broker,
            journal,
            now,
            mode=settings.mode.value,
            external=ExternalPolicy(settings.external_orders),
        )
        snapshot, book = report.snapshot, read_book(journal)
        contracts = [item.contract for item in snapshot.positions if item.contract.symbol in book.holdings]
        marks = self._marks(contracts)
        # The session whose prices a broker gives at this moment: the newest one that has opened.
        as_of = nyse().next(nyse().book_session(snapshot.asked_at))
        paid = held_commissions(journal.book_executions(), journal.splits())
        self._seen = _Seen(snapshot, book, as_of, marks, paid)
        self._positions = {
            symbol: Position(
                symbol,
                holding.shares,
                holding.average_price,
                marks.get(symbol),
                as_of,
                sole_owner(book, symbol),
                paid.get(symbol, Decimal(0)),
            )
            for symbol, holding in sorted(book.holdings.items())
        }
        return self.get_all_positions()

    def get_position(self, symbol: str) -> Position | None:
        """Return the position in a name as of the last sync; None when it is not held."""
        return self._positions.get(symbol.strip().upper())

    def get_all_positions(self) -> list[Position]:
        """Return the positions as of the last sync, by symbol; empty before the first."""
        return list(self._positions.values())

    def persist_positions(self) -> int:
        """Store what was seen, in one transaction; return the number of names.

        `live_positions` then holds exactly these names of this account (a closed one disappears), and
        `account_snapshots` one more row, which stays.

        Raises:
            NotReadyError: nothing was synced yet.
            StoreError: the database stays locked; nothing was stored.
        """
        seen = self._seen
        if seen is None:
            raise NotReadyError("no positions were synced yet; call sync_positions() first")
        mode, account = self._api.settings.mode.value, seen.snapshot.account
        frame = live_positions_frame(
            seen.book,
            seen.marks,
            as_of=seen.as_of,
            updated_at=seen.snapshot.asked_at,
            mode=mode,
            account=account,
            commissions=seen.commissions,
        )
        shares = {symbol: position.quantity for symbol, position in self._positions.items()}
        with self._api.store.write() as connection:
            replace_account_rows(connection, LIVE_POSITIONS, frame, mode, account)
            connection.execute(
                "INSERT INTO account_snapshots (session, taken_at, net_liquidation, cash, positions, run_id, "
                "mode, account) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    seen.as_of,
                    seen.snapshot.asked_at,
                    seen.snapshot.values.net_liquidation,
                    seen.snapshot.values.cash,
                    json.dumps(shares, sort_keys=True),
                    "position-tracker",
                    mode,
                    account,
                ],
            )
        return len(shares)

    def _marks(self, contracts: list[Contract]) -> dict[str, Decimal]:
        quotes = self._broker.quotes(contracts, self._quote_timeout) if contracts else {}
        marks = {symbol: price for symbol, quote in quotes.items() if (price := _mark(quote)) is not None}
        without = sorted({contract.symbol for contract in contracts} - set(marks))
        if without:
            _log.warning("the broker gives no price for %s; they have no value now", ", ".join(without))
        return marks


def _mark(quote: Quote) -> Decimal | None:
    """Return what a name is valued at; old prices may value it, but they never price an order (F31)."""
    price = market_price(quote)
    return quote.close if price is None else price


def _decimal(value: Decimal | float | int, name: str) -> Decimal:
    number = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not number.is_finite():
        raise DataError(f"{name} must be a finite number, not {value}")
    return number
