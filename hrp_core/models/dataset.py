"""The data a model learns from: features of a session and what the names returned afterwards.

What belongs here: labels and their alignment with features, strictly point in time. What does not: splitting
(`splits`) and fitting (`learners`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import bottleneck as bn
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hrp_core.errors import DataError, NotReadyError
from hrp_core.market import Panel, to_panel

# One month: the features look back from a day to a year, and daily costs would eat a faster label's edge.
DEFAULT_HORIZON = 21
# Decided after the close of D, executed in D + 1: the first close that the position can have earned from.
EXECUTION_LAG = 1
# Fewer names than this make no cross-section worth ranking.
MIN_NAMES = 5


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Features and labels of n symbols over T sessions.

    Attributes:
        features: panel of T sessions and n symbols, one field a feature.
        label: shape (T, n): close[t + lag + horizon] / close[t + lag] - 1, of adjusted closes; NaN
            where it has not matured, an end has no price, or the name has no features.
        next_return: shape (T, n): close[t + 1] / close[t] - 1, for the search for leaks only.
        horizon: sessions the label spans.
        lag: sessions between the decision and the label's start.
    """

    features: Panel
    label: NDArray[np.float64]
    next_return: NDArray[np.float64]
    horizon: int
    lag: int

    @property
    def names(self) -> tuple[str, ...]:
        """The features, in the order of the training."""
        return tuple(self.features.fields)

    @property
    def reach(self) -> int:
        """Sessions after t until its label is known."""
        return self.lag + self.horizon

    @property
    def sessions(self) -> tuple[date, ...]:
        """The T sessions."""
        return self.features.sessions

    @property
    def target(self) -> NDArray[np.float64]:
        """What learners fit: the label's cross-sectional rank, from -0.5 to 0.5, shape (T, n).

        Ranks keep single crashes and market-wide moves from deciding the fit.
        """
        return centred_rank(self.label)

    def rows(self, mask: NDArray[np.bool_]) -> pd.DataFrame:
        """Return the features of the cells in `mask`, shape (T, n), one row a cell in C order."""
        return pd.DataFrame({name: values[mask] for name, values in self.features.fields.items()})


def build_training_set(
    features: pd.DataFrame,
    closes: Panel,
    names: Sequence[str],
    *,
    as_of: date,
    horizon: int = DEFAULT_HORIZON,
    lag: int = EXECUTION_LAG,
) -> TrainingSet:
    """Return features joined with the forward returns that are known on `as_of`.

    A name that stops trading inside the horizon has no label: its last days are left out, which favours
    survivors; the same holds for names that the price source never had.

    Args:
        features: columns session, symbol and each of `names`; rows after `as_of` are not looked at.
        closes: adjusted closes, USD a share; rows after `as_of` are not looked at.
        names: features to learn from, in this order.
        as_of: last session whose close is known.
        horizon: sessions that the label spans.
        lag: sessions from the decision to the label's first close (1: executed on the following session).

    Raises:
        DataError: no features are named or one is not a column, or horizon or lag is not positive.
        NotReadyError: no label has matured.
    """
    missing = [name for name in names if name not in features.columns]
    if missing or not names or len(set(names)) != len(names):
        raise DataError(
            f"cannot train on {', '.join(names) or 'no features'}: "
            f"{'not among the stored features: ' + ', '.join(missing) if missing else 'name each once'}"
        )
    if horizon < 1 or lag < 1:
        raise DataError(f"horizon {horizon} and lag {lag} must be at least 1 session")
    known = features.loc[features["session"] <= as_of, ["session", "symbol", *names]]
    if len(known) and (empty := sorted(set(names) - set(available_features(known, names)))):
        raise DataError(
            f"cannot train on {', '.join(empty)}: no name has ever had a value of it; leave it out, or load "
            "prices that have what it needs (volume, for instance)"
        )
    panel = to_panel(known, *names, end=as_of) if len(known) else to_panel(known, *names)
    if not panel.sessions:
        raise NotReadyError(f"no features up to {as_of} are stored; run history_job, then train again")
    present = np.zeros((len(panel.sessions), len(panel.symbols)), dtype=bool)
    for values in panel.fields.values():
        present |= np.isfinite(values)
    close = _aligned(closes, panel, as_of)
    label = np.where(present, forward_return(close, horizon, lag), np.nan)
    if not np.isfinite(label).any():
        raise NotReadyError(
            f"no label has matured by {as_of}: it takes {lag + horizon} sessions of prices after one with "
            "features; run history_job, then train again"
        )
    next_return = np.where(present, forward_return(close, 1, 0), np.nan)
    return TrainingSet(panel, label, next_return, horizon, lag)


def available_features(features: pd.DataFrame, names: Sequence[str]) -> tuple[str, ...]:
    """Return those of `names` that have any finite value in the columns of `features`, in the same order."""
    return tuple(name for name in names if name in features and np.isfinite(features[name].to_numpy()).any())


def forward_return(close: NDArray[np.float64], horizon: int, lag: int) -> NDArray[np.float64]:
    """Return close[t + lag + horizon] / close[t + lag] - 1, shape (T, n), NaN where an end is missing."""
    result = np.full(close.shape, np.nan)
    if len(close) > lag + horizon:
        result[: len(close) - lag - horizon] = close[lag + horizon :] / close[lag:-horizon] - 1
    return result


def centred_rank(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks within each row, evenly spaced in (-0.5, 0.5), ties averaged.

    NaN stays NaN, and a row with fewer than `MIN_NAMES` values is NaN altogether. Shape (T, n).
    """
    finite = np.isfinite(values)
    count = finite.sum(axis=1, keepdims=True)
    if not values.size:
        return np.full(values.shape, np.nan)
    ranks = bn.nanrankdata(np.where(finite, values, np.nan), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count >= MIN_NAMES, (ranks - 0.5) / count - 0.5, np.nan)


def _aligned(closes: Panel, panel: Panel, as_of: date) -> NDArray[np.float64]:
    """Return the closes up to `as_of` at the sessions and symbols of `panel`; NaN where there is none."""
    result = np.full((len(panel.sessions), len(panel.symbols)), np.nan)
    rows = pd.Index(closes.sessions).get_indexer(pd.Index(panel.sessions))
    columns = pd.Index(closes.symbols).get_indexer(pd.Index(panel.symbols))
    inside = (rows >= 0) & (np.array(panel.sessions, dtype=object) <= as_of)
    here = np.flatnonzero(inside)[:, None], np.flatnonzero(columns >= 0)
    found = closes.close[rows[inside][:, None], columns[columns >= 0]]
    result[here] = np.where(np.isfinite(found) & (found > 0), found, np.nan)
    return result
