"""Daily bars that come over a connection: how a provider hands them out, and a price source made of them.

What belongs here: the Protocol that whoever holds the connection implements, and the way of bars into the
validator. What does not: connections and pacing (the provider has both), files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from hrp_core.errors import SettingsError
from hrp_core.market.actions import Action, apply_actions, splits_after
from hrp_core.market.membership import Memberships
from hrp_core.market.read import PriceFile
from hrp_core.market.schema import PRICE_COLUMNS, PRICE_FIELDS
from hrp_core.market.validate import build_table

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Bar:
    """One daily bar of one name.

    Attributes:
        session: the trading day.
        open: USD a share; NaN = none, also in the other fields but the close.
        high: USD a share.
        low: USD a share.
        close: USD a share.
        volume: shares.
        split_factor: new shares for one old on this session; NaN = not known.
        dividend: USD a share with this ex-date; NaN = not known.
    """

    session: date
    open: float
    high: float
    low: float
    close: float
    volume: float
    split_factor: float = float("nan")
    dividend: float = float("nan")


class BarsProvider(Protocol):
    """Daily bars of US stocks through a connection of the broker; implementations pace their requests.

    Bars are official regular-hours trades, adjusted for the splits up to the request and not for dividends
    (at Interactive Brokers: 1 day bars, TRADES, regular trading hours). Only completed sessions are given.
    """

    def daily_bars(self, symbol: str, start: date, end: date) -> Sequence[Bar]:
        """Return the bars of the sessions from `start` to `end`, both included, in order; empty = none.

        Raises:
            BrokerError: the broker did not answer, or does not know the symbol.
        """
        ...

    def span(self, symbol: str) -> tuple[date, date]:
        """Return the first and the last completed session that the broker has a bar of.

        Raises:
            BrokerError: the broker did not answer, or does not know the symbol.
        """
        ...


@dataclass(frozen=True, slots=True)
class FetchedBars(PriceFile):
    """Bars of one name from a vendor, in the form that the validator judges."""

    @property
    def advice(self) -> str:
        """What to do when a bar is wrong."""
        return "the answer of the vendor is at fault: try again later, or leave the name out of HRP_SYMBOLS"

    def place(self, row: int) -> str:
        """Return which bar of the answer a row is."""
        return f"answer of {self.path}, bar {row + 1} ({self.cell('session', row)})"


def fetched_bars(vendor: str, symbol: str, bars: Sequence[Bar]) -> FetchedBars:
    """Return the bars of one name as rows for `build_table`."""
    fields = (*PRICE_FIELDS, "volume", "split_factor", "dividend")
    numbers = {
        name: np.array([float(getattr(bar, name)) for bar in bars], dtype=np.float64) for name in fields
    }
    sessions = [bar.session for bar in bars]
    table = {
        "session": pa.array(sessions, pa.date32()),
        "symbol": pa.array([symbol] * len(bars), pa.string()),
    }
    return FetchedBars(
        path=Path(f"{vendor} for {symbol}"),
        table=pa.table(table | {name: pa.array(values) for name, values in numbers.items()}),
        titles={},
        days=np.array([(session - _EPOCH).days for session in sessions], dtype=np.int64),
        symbols=pa.array([symbol] * len(bars), pa.string()),
        numbers=numbers,
        unparsable={name: np.zeros(len(bars), dtype=bool) for name in fields},
        sources=None,
    )


def frame_of_bars(
    source: str, fetched: Sequence[FetchedBars], start: date, end: date, actions: Sequence[Action] = ()
) -> pd.DataFrame:
    """Return validated bars as `PriceSource.load` does.

    Raises:
        DataError: a bar breaks the schema; the message names vendor, symbol and session.
    """
    filled = [bars for bars in fetched if bars.rows]
    if not filled:
        return pd.DataFrame(columns=list(PRICE_COLUMNS))
    return apply_actions(build_table(filled, source), actions).frame(start, end)


class IbkrSource:
    """Prices from Interactive Brokers, through a provider that somebody with a connection hands in.

    The broker's bars are adjusted for the splits up to the request, and the broker does not name the splits.
    They are therefore taken from `actions`: bars are put back as they were traded, and the split stands
    where it took effect. A split that is missing there looks like a fall of the price to whoever stored bars
    before it.

    Args:
        provider: where bars come from; it paces its requests.
        symbols: names, upper case.
        actions: splits and dividends, as of `corporate_actions.*`.
        memberships: point-in-time universe, where there is one.
    """

    name = "ibkr"

    def __init__(
        self,
        provider: BarsProvider,
        symbols: Sequence[str],
        actions: Sequence[Action] = (),
        memberships: Memberships | None = None,
    ) -> None:
        if not symbols:
            raise SettingsError("the price source ibkr has no names; set HRP_SYMBOLS, such as AAPL,MSFT")
        self._provider = provider
        self._symbols = tuple(symbols)
        self._actions = tuple(actions)
        self._memberships = memberships

    def first_session(self) -> date:
        """Return the first session with a price of any name."""
        return min(self._provider.span(symbol)[0] for symbol in self._symbols)

    def last_session(self) -> date:
        """Return the last session with a price of any name."""
        return max(self._provider.span(symbol)[1] for symbol in self._symbols)

    def memberships(self) -> Memberships | None:
        """Return the point-in-time universe, where there is one."""
        return self._memberships

    def load(self, start: date, end: date) -> pd.DataFrame:
        """Return the prices from `start` to `end`; see `PriceSource.load`."""
        fetched = [
            fetched_bars(self.name, symbol, self._as_traded(symbol, start, end)) for symbol in self._symbols
        ]
        return frame_of_bars(self.name, fetched, start, end, self._actions)

    def _as_traded(self, symbol: str, start: date, end: date) -> list[Bar]:
        bars = self._provider.daily_bars(symbol, start, end)
        splits = [
            (action.effective, action.value)
            for action in self._actions
            if action.symbol == symbol and action.kind == "split"
        ]
        if not splits or not bars:
            return list(bars)
        newest = self._provider.span(symbol)[1]
        # An announced split is in no bar yet.
        done = [(effective, factor) for effective, factor in splits if effective <= newest]
        return undo_splits(bars, done)


def undo_splits(bars: Sequence[Bar], splits: Sequence[tuple[date, float]]) -> list[Bar]:
    """Return bars as they were traded from bars that a vendor has adjusted for all of `splits`.

    Prices come out in ten-thousandths of a dollar: vendors' adjusted prices carry rounding of their own.
    """
    factors = splits_after([bar.session for bar in bars], splits)
    return [
        Bar(
            bar.session,
            *(round(getattr(bar, name) * factor, 4) for name in PRICE_FIELDS),
            volume=bar.volume / factor,
            split_factor=bar.split_factor,
            dividend=bar.dividend * factor,
        )
        for bar, factor in zip(bars, factors.tolist(), strict=True)
    ]
