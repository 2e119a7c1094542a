"""The price tape: what the market did, session by session, as read-only arrays.

What belongs here: looking a price up. What the broker charges, who holds what, and which order trades at
which price is decided elsewhere in this package.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import DataError, RefusedError
from hrp_core.money import is_price, to_units

if TYPE_CHECKING:
    import pandas as pd

PriceField = Literal["open", "high", "low", "close"]
_PRICES: tuple[PriceField, ...] = ("open", "high", "low", "close")
ADV_SESSIONS = 20
_COLUMNS = ("session", "symbol", *_PRICES, "volume")


@dataclass(frozen=True, eq=False)
class Tape:
    """Official prices of n symbols over T sessions. Never changes once built.

    Attributes:
        sessions: T sessions, ascending.
        symbols: n symbols, sorted, upper case.
        open: shape (T, n), official opening price in USD; NaN where there is none. `high`, `low` and `close`
            likewise.
        volume: shape (T, n), shares; NaN where unknown.
    """

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    def __post_init__(self) -> None:
        _check_axes(self.sessions, self.symbols)
        shape = (len(self.sessions), len(self.symbols))
        for name in (*_PRICES, "volume"):
            values = np.array(getattr(self, name), dtype=np.float64)
            if values.shape != shape:
                raise DataError(f"tape: `{name}` has shape {values.shape}, sessions x symbols is {shape}")
            # 0 is a legal volume; a price of 0 or below, or an infinite one, is a broken source.
            bad = np.isinf(values) | (values < 0 if name == "volume" else values <= 0)
            if bad.any():
                row, column = np.argwhere(bad)[0]
                raise DataError(
                    f"tape: {self.symbols[column]} on {self.sessions[row]} has {name} "
                    f"{values[row, column]}; correct the price source"
                )
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        if not np.isfinite(self.close).any():
            raise DataError("tape: not one closing price; nothing could ever trade")

    @classmethod
    def from_frame(cls, frame: "pd.DataFrame") -> "Tape":
        """Build a tape from long rows, in any order.

        Args:
            frame: columns session (date or naive datetime at midnight), symbol, open, high, low, close and
                volume; one row per session and symbol. All but close may be null throughout.

        Raises:
            DataError: a column is missing, a row is there twice, a date is no session of the exchange, or a
                price is no positive number.
        """
        import pandas as pd

        missing = [name for name in _COLUMNS if name not in frame.columns]
        if missing:
            raise DataError(f"tape: the price frame has no column {', '.join(missing)}")
        if frame.empty:
            raise DataError("tape: the price frame has no rows; load prices first")
        keys = pd.DataFrame(
            {"session": pd.to_datetime(frame["session"]), "symbol": frame["symbol"].astype(str)}
        )
        if keys["session"].isna().any() or (keys["session"] != keys["session"].dt.normalize()).any():
            raise DataError("tape: column session must hold dates without a time of day, and no nulls")
        repeated = keys.duplicated()
        if repeated.any():
            first = keys[repeated].iloc[0]
            raise DataError(f"tape: {first['symbol']} on {first['session'].date()} is there twice")
        rows, days = pd.factorize(keys["session"], sort=True)
        columns, symbols = pd.factorize(keys["symbol"], sort=True)

        def grid(name: str) -> NDArray[np.float64]:
            try:
                numbers = pd.to_numeric(frame[name]).to_numpy(dtype=np.float64, na_value=np.nan)
            except (TypeError, ValueError) as error:
                raise DataError(f"tape: column {name} must hold numbers: {error}") from None
            values = np.full((len(days), len(symbols)), np.nan)
            values[rows, columns] = numbers
            return values

        return cls(
            sessions=tuple(pd.Timestamp(day).date() for day in days),
            symbols=tuple(str(symbol) for symbol in symbols),
            open=grid("open"),
            high=grid("high"),
            low=grid("low"),
            close=grid("close"),
            volume=grid("volume"),
        )

    @cached_property
    def first_session(self) -> date:
        """The first session with any closing price."""
        return self.sessions[self._priced_rows[0]]

    @cached_property
    def last_session(self) -> date:
        """The last session with any closing price."""
        return self.sessions[self._priced_rows[-1]]

    @cached_property
    def horizon(self) -> datetime:
        """The last moment a simulated clock may reach: 23:59 New York on the last priced session's day."""
        return datetime.combine(self.last_session, time(23, 59), NEW_YORK)

    def check_horizon(self, moment: datetime) -> None:
        """Refuse a moment beyond the prices.

        Raises:
            RefusedError: `moment` lies after `horizon`.
        """
        if moment > self.horizon:
            raise RefusedError(
                f"prices end with session {self.last_session}: the simulated clock cannot stand at "
                f"{moment.astimezone(NEW_YORK).isoformat()}; its last moment is "
                f"{self.horizon.isoformat()}; load later prices or start afresh"
            )

    @cached_property
    def _priced_rows(self) -> NDArray[np.intp]:
        return np.flatnonzero(np.isfinite(self.close).any(axis=1))

    @cached_property
    def _rows(self) -> dict[date, int]:
        return {session: row for row, session in enumerate(self.sessions)}

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {symbol: column for column, symbol in enumerate(self.symbols)}

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._columns

    def price_units(self, session: date, symbol: str, field: PriceField) -> int | None:
        """Return an official price in ten-thousandths of a dollar; None where the tape has none."""
        row, column = self._rows.get(session), self._columns.get(symbol)
        if row is None or column is None:
            return None
        return _units(getattr(self, field)[row, column])

    def last_close_units(self, symbol: str, session: date) -> int | None:
        """Return the latest official close of `symbol` at or before `session`; None before the first one."""
        column = self._columns.get(symbol)
        if column is None:
            return None
        for row in range(bisect_right(self.sessions, session) - 1, -1, -1):
            price = _units(self.close[row, column])
            if price is not None:
                return price
        return None

    def shares_traded(self, session: date, symbol: str) -> int | None:
        """Return the volume of a session; None where the tape has none."""
        row, column = self._rows.get(session), self._columns.get(symbol)
        if row is None or column is None or not np.isfinite(self.volume[row, column]):
            return None
        return int(self.volume[row, column])

    def average_volume(self, symbol: str, session: date) -> float | None:
        """Return the mean volume of the 20 sessions before `session`; None unless all of them have one."""
        row, column = bisect_left(self.sessions, session), self._columns.get(symbol)
        if column is None or row < ADV_SESSIONS:
            return None
        mean = float(np.mean(self.volume[row - ADV_SESSIONS : row, column]))
        return mean if np.isfinite(mean) else None

    def has_volume(self, symbol: str) -> bool:
        """Return whether any session has a volume of `symbol`."""
        column = self._columns.get(symbol)
        return column is not None and bool(np.isfinite(self.volume[:, column]).any())

    def participation_cap(self, symbol: str, session: date, share_bps: int) -> int | None:
        """Return how many shares `share_bps` hundredths of a percent of average volume are, rounded down.

        None where there is no such limit: it is off (0), or the tape has no volume to apply it to.
        """
        average = self.average_volume(symbol, session) if share_bps else None
        return None if average is None else int(average * share_bps / 10_000)


def _units(value: float) -> int | None:
    if not is_price(value):
        return None
    # A price under half of a ten-thousandth rounds to nothing; nothing is not a price.
    return to_units(float(value)) or None


def _check_axes(sessions: Sequence[date], symbols: Sequence[str]) -> None:
    calendar = nyse()
    for previous, session in zip([None, *sessions], sessions, strict=False):
        if not calendar.is_session(session):
            raise DataError(f"tape: {session} is not a trading session of the exchange")
        if previous is not None and session <= previous:
            raise DataError(f"tape: sessions must ascend, {session} follows {previous}")
    if list(symbols) != sorted(set(symbols)):
        raise DataError("tape: symbols must be sorted and different from each other")
    for symbol in symbols:
        if not symbol or symbol != symbol.upper() or not symbol.isascii() or not symbol.isprintable():
            raise DataError(f"tape: {symbol!r} is not an upper-case ticker symbol")
