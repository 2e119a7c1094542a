"""What features are computed from: some sessions of a panel with their history, adjusted once.

What belongs here: series and moving windows that several features share, each computed once. What does not:
formulas (`registry`), numpy (`arrays`).
"""

from collections.abc import Callable, Hashable
from datetime import date
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np

from hrp_core.calendar import nyse
from hrp_core.features.arrays import Array, Moments, moving_mean, moving_moments
from hrp_core.market import AdjustedCloses, Panel, adjust

Series = Literal["price", "wealth", "return", "absolute_change", "dollar_volume"]
Value = TypeVar("Value")


class Rows:
    """Sessions `first` to the last of a panel (m of them), for n symbols; the rows before are history.

    Args:
        panel: T sessions in order; close, and volume, split_factor, dividend where there are.
        first: row of the first session to compute.
    """

    def __init__(self, panel: Panel, first: int) -> None:
        self._panel = panel
        self._first = first
        self._known: dict[Hashable, object] = {}

    @cached_property
    def _closes(self) -> AdjustedCloses:
        return adjust(self._panel)

    @cached_property
    def _origin(self) -> int:
        sessions = self._panel.sessions
        return _session_number(sessions[0]) if sessions else 0

    def at(self, series: Series, lag: int = 0) -> Array:
        """Return the series `lag` sessions before each session, shape (m, n); NaN before the panel begins."""
        values, begin = self._series(series), self._first - lag
        if begin >= 0:
            return values[begin : len(values) - lag]
        missing = np.full((min(-begin, len(values) - self._first), values.shape[1]), np.nan)
        return np.concatenate([missing, values[: max(0, len(values) - lag)]])

    def mean(self, series: Series, width: int) -> Array:
        """Return the mean of the last `width` values, shape (m, n); NaN where one is missing."""
        return self.once(
            (series, width, "mean"),
            lambda: moving_mean(self._series(series), width, self._first, self._origin),
        )

    def moments(self, series: Series, width: int) -> Moments:
        """Return mean and standard deviation of the last `width` values; NaN where one is missing."""
        return self.once(
            (series, width, "moments"),
            lambda: moving_moments(self._series(series), width, self._first, self._origin),
        )

    def once(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return what `compute` gave when it was first asked for under `key`."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]  # type: ignore[return-value]

    def _series(self, name: Series) -> Array:
        """Return a series of all T sessions, shape (T, n).

        price: USD, adjusted for splits. wealth: with dividends too. return: simple, of wealth, to the
            session from
        the one before. absolute_change: of price, likewise. dollar_volume: close * volume as traded, USD.
        """
        match name:
            case "price":
                return self._closes.price
            case "wealth":
                return self._closes.wealth
            case "return":
                return self.once(name, lambda: _from_before(self._closes.wealth, np.divide) - 1)
            case "absolute_change":
                return self.once(name, lambda: np.abs(_from_before(self._closes.price, np.subtract)))
            case "dollar_volume":
                return self.once(name, self._dollar_volume)

    def _dollar_volume(self) -> Array:
        volume = self._panel.fields.get("volume")
        if volume is None:
            return np.full(self._panel.close.shape, np.nan)
        valid = (volume >= 0) & np.isfinite(volume) & np.isfinite(self._closes.price)
        return np.where(valid, volume, np.nan) * np.where(valid, self._panel.close, np.nan)


def _from_before(values: Array, operation: np.ufunc) -> Array:
    """Return `operation` of each row and the row before it; NaN in row 0."""
    result = np.full(values.shape, np.nan)
    operation(values[1:], values[:-1], out=result[1:])
    return result


def _session_number(session: date) -> int:
    return len(nyse().between(nyse().first, session)) - 1
