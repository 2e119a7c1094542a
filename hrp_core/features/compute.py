"""Computing features in bulk and for one session, with identical numbers.

What belongs here: applying the registry to panels and turning the result into the long frame that is stored.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hrp_core.calendar import nyse
from hrp_core.features.registry import FEATURES, Feature, get_feature
from hrp_core.features.rows import Rows
from hrp_core.market import Panel

# Sessions computed together: a look-back of history is adjusted anew for each block.
_BLOCK = 126


def lookback(names: Sequence[str] | None = None) -> int:
    """Return how many sessions before a session its features reach back to.

    Args:
        names: features; default: all of the registry.

    Raises:
        DataError: a name is not in the registry.
    """
    return max((get_feature(name).lookback for name in _names(names)), default=0)


def window_start(session: date, names: Sequence[str] | None = None) -> date:
    """Return the first session whose prices are needed for the features of `session`.

    A panel that begins later gives NaN where the full history would give a number, so load from here (the
    calendar's first session where history does not reach further back).

    Raises:
        DataError: `session` is not a trading day, or a name is not in the registry.
    """
    calendar = nyse()
    count = lookback(names)
    if len(calendar.between(calendar.first, session)) <= count:
        return calendar.first
    return calendar.offset(session, -count)


def compute(
    panel: Panel, names: Sequence[str] | None = None, *, start: date | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return features for every session of the panel, or for those from `start` on.

    Args:
        panel: T sessions and n symbols, with those of `INPUT_FIELDS` that there are.
        names: features; default: all of the registry.
        start: first session of the result; the sessions before it serve as history.

    Returns:
        By name, shape (T, n), or (sessions from `start`, n); NaN where an input is missing, as in the first
        sessions of the panel.

    Raises:
        NotReadyError: the panel does not reach `start`.
        DataError: a name is not in the registry, or the panel has no closes.
    """
    features = [get_feature(name) for name in _names(names)]
    reach = max((feature.lookback for feature in features), default=0)
    first, last = 0 if start is None else panel.position(start), len(panel.sessions)
    result = {feature.name: np.empty((last - first, len(panel.symbols))) for feature in features}
    # Block by block: the intermediate arrays stay in the cache, and small beside the result.
    for begin in range(first, last, _BLOCK):
        end = min(begin + _BLOCK, last)
        block = slice(begin - first, end - first)
        _fill(result, block, features, Rows(panel.window(begin - reach, end), min(begin, reach)))
    return result


def compute_session(
    panel: Panel, session: date, names: Sequence[str] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return features for one session: the row that `compute` gives for it, at the cost of one look-back.

    Args:
        panel: reaches from `window_start(session)` (or the start of the data) at least to `session`.
        session: which session.
        names: features; default: all of the registry.

    Returns:
        By name, shape (n,).

    Raises:
        NotReadyError: the panel does not reach `session`.
        DataError: a name is not in the registry, or the panel has no closes.
    """
    row = panel.position(session)
    until = panel.window(row - lookback(names), row + 1)
    return {name: values[0] for name, values in compute(until, names, start=session).items()}


def features_frame(panel: Panel, start: date, end: date, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the features of the sessions from `start` to `end`, both included, as they are stored.

    A name has a row on each session that has a price of it within the look-back, also where each feature is
    null: a held name without a score is then known to be without one, which is not the same as left out.

    Args:
        panel: reaches from `window_start(start)` (or the start of the data) at least to `end`.
        start: first session of the frame.
        end: last session of the frame.
        names: features; default: all of the registry.

    Returns:
        Columns session (datetime.date), symbol, then one float64 a feature; sorted by session and symbol.
        Empty when the panel has no sessions at all.

    Raises:
        NotReadyError: the panel does not reach `start` or `end`.
        DataError: a name is not in the registry, or the panel lacks a field.
    """
    names, reach = _names(names), lookback(names)
    if not panel.sessions:
        return pd.DataFrame(columns=["session", "symbol", *names])
    first, last = panel.position(start), panel.position(end) + 1
    window = panel.window(first - reach, last)
    skipped = first - max(first - reach, 0)
    values = compute(window, names, start=start)
    sessions, symbols = np.nonzero(_seen_within(window.close, reach)[skipped:])
    columns: dict[str, object] = {
        "session": np.array(window.sessions[skipped:], dtype=object)[sessions],
        "symbol": np.array(window.symbols, dtype=object)[symbols],
    }
    for name in names:
        # Popped, and not copied below: of a large universe, twice all features would not fit into memory.
        columns[name] = values.pop(name)[sessions, symbols]
    return pd.DataFrame(columns, columns=["session", "symbol", *names], copy=False)


def _fill(
    result: dict[str, NDArray[np.float64]], block: slice, features: Sequence[Feature], rows: Rows
) -> None:
    for feature in features:
        result[feature.name][block] = feature.compute(rows)


def _seen_within(close: NDArray[np.float64], reach: int) -> NDArray[np.bool_]:
    """Return where there is a price in the session or in the `reach` sessions before it."""
    seen = np.cumsum(np.isfinite(close), axis=0)
    before = np.zeros_like(seen)
    before[reach + 1 :] = seen[: -(reach + 1)]
    return seen > before


def _names(names: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(FEATURES) if names is None else tuple(names)
