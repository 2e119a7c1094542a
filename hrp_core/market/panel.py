"""The wide panel: sessions x symbols arrays, the form in which numbers are computed.

What belongs here: going from long frames to arrays. Rows are all sessions of the exchange in the range, not
only those with data, so that an offset in rows is an offset in sessions.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hrp_core.calendar import nyse
from hrp_core.errors import DataError, NotReadyError


@dataclass(frozen=True, slots=True)
class Panel:
    """Fields of n symbols over T consecutive sessions.

    Attributes:
        sessions: T sessions in order, without gaps.
        symbols: n symbols, sorted.
        fields: arrays of shape (T, n) by name (close in USD a share, volume in shares, ...); NaN = none.
    """

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    fields: Mapping[str, NDArray[np.float64]]

    @property
    def close(self) -> NDArray[np.float64]:
        """Closes, shape (T, n), USD a share."""
        return self.field("close")

    def field(self, name: str) -> NDArray[np.float64]:
        """Return the array of one field, shape (T, n).

        Raises:
            DataError: the panel was built without it.
        """
        if name not in self.fields:
            raise DataError(
                f"the panel holds {', '.join(sorted(self.fields))}, not {name!r}; build it with that field"
            )
        return self.fields[name]

    def position(self, session: date) -> int:
        """Return the row of `session`.

        Raises:
            NotReadyError: the panel does not reach it.
        """
        index = bisect_left(self.sessions, session)
        if index == len(self.sessions) or self.sessions[index] != session:
            span = f"{self.sessions[0]} to {self.sessions[-1]}" if self.sessions else "nothing"
            raise NotReadyError(
                f"session {session} is not in the panel, which holds {span}; load its prices first"
            )
        return index

    def window(self, first: int, last: int) -> "Panel":
        """Return rows `first` to `last` (excluded) as a panel that shares the arrays."""
        rows = slice(max(first, 0), last)
        return Panel(
            self.sessions[rows], self.symbols, {name: array[rows] for name, array in self.fields.items()}
        )


def to_panel(frame: pd.DataFrame, *fields: str, start: date | None = None, end: date | None = None) -> Panel:
    """Return the panel of a long frame.

    Args:
        frame: columns session (datetime.date), symbol and each of `fields`; rows in any order.
        fields: which number columns; default ``close``.
        start: first session of the panel; default: the first of the frame.
        end: last session of the panel; default: the last of the frame.

    Raises:
        DataError: a (session, symbol) occurs twice, or a session is not a trading day.
    """
    fields = fields or ("close",)
    days = pd.Index(frame["session"].to_numpy())
    if days.empty and (start is None or end is None):
        return Panel((), (), {name: np.empty((0, 0)) for name in fields})
    sessions = nyse().between(start or days.min(), end or days.max())
    codes, uniques = pd.factorize(frame["symbol"].to_numpy(), sort=True)
    # Distinct days are looked up once: comparing millions of date objects one by one takes seconds.
    day_codes, distinct = pd.factorize(days)
    rows = pd.Index(sessions).get_indexer(pd.Index(distinct))[day_codes]
    inside = rows >= 0
    for day in distinct:
        if not nyse().is_session(day):
            raise DataError(
                f"{day} in the prices is not a trading session of the exchange; correct the source"
            )
    cells = rows[inside] * len(uniques) + codes[inside]
    filled = np.zeros(len(sessions) * len(uniques), dtype=bool)
    filled[cells] = True
    if filled.sum() != len(cells):
        twice = frame.loc[frame.duplicated(["session", "symbol"]), ["session", "symbol"]].iloc[0]
        raise DataError(f"two prices of {twice['symbol']} for {twice['session']}; correct the source")
    arrays: dict[str, NDArray[np.float64]] = {}
    for name in fields:
        values = np.full(len(sessions) * len(uniques), np.nan)
        values[cells] = frame[name].to_numpy(dtype=np.float64)[inside]
        arrays[name] = values.reshape(len(sessions), len(uniques))
    return Panel(tuple(sessions), tuple(uniques), arrays)
