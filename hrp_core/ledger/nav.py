"""Positions and NAV: the book valued at marks.

What belongs here: valuation, returns net of flows, drawdown, exposures, and the rows of the `positions` and
`nav` tables. The marks come in; nothing else of the broker's own figures ever does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import accumulate
from operator import mul

import pandas as pd

from hrp_core.errors import DataError
from hrp_core.ledger.book import Book, Holding
from hrp_core.money import is_price, to_money
from hrp_core.portfolio.types import NEVER_VALUED, Performance

_POSITION_COLUMNS = (
    "session",
    "valuation_session",
    "strategy_id",
    "symbol",
    "shares",
    "average_price",
    "mark",
    "market_value",
    "unrealized_pnl",
    "mark_source",
    "mark_time",
    "mode",
    "account",
)


class MarkSource(StrEnum):
    """Where a mark comes from. A NAV is official at official closes and provisional at anything else."""

    OFFICIAL_CLOSE = "official_close"  # of the valuation session, from the store
    BROKER_MARK = "broker_mark"  # what the broker quoted; of a NAV: provisional
    LAST_CLOSE = "last_close"  # an earlier official close, of a name that has neither of the others


@dataclass(frozen=True, slots=True)
class Mark:
    """What a share is valued at.

    Attributes:
        price: USD a share.
        at: the moment of the price, timezone-aware.
    """

    price: Decimal
    source: MarkSource
    at: datetime


@dataclass(frozen=True, slots=True)
class PastNav:
    """What a NAV row needs of each earlier one.

    Attributes:
        daily_return: time-weighted, as a fraction; None where the row had no base.
    """

    valuation_session: date
    nav: Decimal
    daily_return: float | None
    flows: Decimal


@dataclass(frozen=True, slots=True)
class NavRow:
    """The account's value after one execution session. Cash and values in USD, exposures as fractions of NAV.

    Attributes:
        session: decision session D, the partition.
        valuation_session: execution session E, whose marks were used.
        flows: deposits less withdrawals since the previous valuation, the opening balance included.
        commissions: those reported for executions since the previous valuation.
        daily_return: (nav - flows) / previous nav - 1: flows count as arriving after the session's trading,
            whose plan was decided without them, so that no flow moves a return. On the first valuation, and
            after an account that was empty, nav / flows - 1; None when there was nothing to earn one on.
        drawdown: 0.1 = ten percent below the highest value so far of one dollar invested at the start.
        turnover: traded value since the previous valuation / nav.
        unreported_commissions: executions whose commission is unknown and counts as zero so far; above 0
            the row is provisional.
    """

    session: date
    valuation_session: date
    cash: Decimal
    market_value: Decimal
    nav: Decimal
    gross_exposure: float
    net_exposure: float
    flows: Decimal
    commissions: Decimal
    daily_return: float | None
    drawdown: float
    turnover: float
    positions: int
    mark_source: str
    mark_time: datetime
    mode: str
    account: str
    unreported_commissions: int


def nav_row(
    book: Book,
    marks: Mapping[str, Decimal],
    *,
    session: date,
    valuation_session: date,
    previous: Sequence[PastNav],
    mark_source: MarkSource,
    mark_time: datetime,
    mode: str,
    account: str,
) -> NavRow:
    """Value the account.

    Args:
        book: folded through `valuation_session`.
        marks: USD a share by symbol; every held name needs one.
        session: decision session D.
        valuation_session: execution session E.
        previous: the official rows of earlier valuation sessions; later ones are ignored.
        mark_source: what the marks are; a row at other than official closes is provisional.
        mark_time: the moment of the marks, timezone-aware.
        mode: sim, paper or live.
        account: the account at the broker.

    Raises:
        DataError: a held name has no mark.
    """
    values = {
        symbol: holding.shares * mark
        for symbol, holding, mark in _marked(book.holdings, marks, valuation_session)
    }
    market_value = to_money(sum(values.values(), Decimal(0)))
    nav = to_money(book.cash + market_value)
    past = sorted(
        (row for row in previous if row.valuation_session < valuation_session),
        key=lambda row: row.valuation_session,
    )
    since = past[-1].valuation_session if past else date.min
    # All of them less those in earlier rows: one recorded late must not look like a profit.
    flows = sum((flow.amount for flow in book.flows if flow.kind.is_external), Decimal(0)) - sum(
        (row.flows for row in past), Decimal(0)
    )
    fills = [fill for fill in book.fills if fill.session > since]
    before = past[-1].nav if past else Decimal(0)
    earned, base = (nav - flows, before) if before > 0 else (nav, flows)
    daily_return = float(earned / base - 1) if base > 0 else None
    return NavRow(
        session=session,
        valuation_session=valuation_session,
        cash=book.cash,
        market_value=market_value,
        nav=nav,
        gross_exposure=_fraction(sum((abs(value) for value in values.values()), Decimal(0)), nav),
        net_exposure=_fraction(market_value, nav),
        flows=to_money(flows),
        commissions=to_money(sum((fill.commission or Decimal(0) for fill in fills), Decimal(0))),
        daily_return=daily_return,
        drawdown=_drawdown([*(row.daily_return for row in past), daily_return]),
        turnover=_fraction(sum((fill.shares * fill.price for fill in fills), Decimal(0)), nav),
        positions=len(values),
        mark_source=mark_source.value,
        mark_time=mark_time,
        mode=mode,
        account=account,
        unreported_commissions=book.unreported_commissions,
    )


def nav_frame(row: NavRow) -> pd.DataFrame:
    """Return the one row of the `nav` table."""
    names = [item.name for item in fields(row) if item.name != "unreported_commissions"]
    return pd.DataFrame([{name: getattr(row, name) for name in names}], columns=names)


def official_rows(navs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the `nav` table that count: provisional ones are for looking at alone."""
    return navs.loc[navs["mark_source"] == MarkSource.OFFICIAL_CLOSE.value]


def positions_frame(
    book: Book,
    marks: Mapping[str, Mark],
    *,
    session: date,
    valuation_session: date,
    mode: str,
    account: str,
) -> pd.DataFrame:
    """Return the rows of the `positions` table: the account's (strategy_id "") and each strategy's.

    Raises:
        DataError: a held name has no mark.
    """
    owners = [("", book.holdings), *sorted(book.strategies.items())]
    prices = {symbol: mark.price for symbol, mark in marks.items()}
    rows = [
        {
            "session": session,
            "valuation_session": valuation_session,
            "strategy_id": strategy_id,
            "symbol": symbol,
            "shares": holding.shares,
            "average_price": holding.average_price,
            "mark": mark,
            "market_value": to_money(holding.shares * mark),
            "unrealized_pnl": to_money(holding.shares * (mark - holding.average_price)),
            "mark_source": marks[symbol].source.value,
            "mark_time": marks[symbol].at,
            "mode": mode,
            "account": account,
        }
        for strategy_id, holdings in owners
        for symbol, holding, mark in _marked(holdings, prices, valuation_session)
    ]
    return pd.DataFrame(rows, columns=list(_POSITION_COLUMNS))


def _marked(
    holdings: Mapping[str, Holding], marks: Mapping[str, Decimal], session: date
) -> list[tuple[str, Holding, Decimal]]:
    missing = sorted(symbol for symbol in holdings if not is_price(marks.get(symbol)))
    if missing:
        raise DataError(
            f"{', '.join(missing)} held after {session} has no price of that session, so the account cannot "
            "be valued; load its prices (market_data_job) and run the book again"
        )
    return [(symbol, holding, marks[symbol]) for symbol, holding in sorted(holdings.items())]


def _fraction(part: Decimal, whole: Decimal) -> float:
    return float(part / whole) if whole > 0 else 0.0


def _drawdown(returns: Sequence[float | None]) -> float:
    wealth = list(accumulate((1.0 + (value or 0.0) for value in returns), mul, initial=1.0))
    peak = max(wealth)
    return 1.0 - wealth[-1] / peak


class Returns:
    """Returns and drawdown of an account while it runs, by the arithmetic of `nav_row`.

    Args:
        cash: USD at the start.
    """

    def __init__(self, cash: Decimal) -> None:
        self._base = cash
        self._wealth = self._peak = 1.0
        self._newest: float | None = None
        self._valued = False

    def add_flow(self, amount: Decimal) -> None:
        """Count a deposit or withdrawal (USD, signed), as arriving before the next session."""
        self._base += amount

    def add_nav(self, nav: Decimal) -> None:
        """Count the NAV after a session, USD."""
        self._newest = float(nav / self._base - 1) if self._base > 0 else None
        self._wealth *= 1.0 + (self._newest or 0.0)
        self._peak = max(self._peak, self._wealth)
        self._base, self._valued = nav, True

    def performance(self) -> Performance:
        """Return what was earned so far."""
        if not self._valued:
            return NEVER_VALUED
        return Performance(self._newest, 1.0 - self._wealth / self._peak)
