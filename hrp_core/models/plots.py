"""Pictures of a training for the MLflow run.

What belongs here: drawing. What does not: numbers. Figures are made without pyplot: no display, no globals.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def cumulative_ic(sessions: Sequence[date], ic: NDArray[np.float64]) -> "Figure":
    """Return the running sum of the daily out-of-sample rank ICs, shape (T,), NaN = none."""
    figure, axes = _figure("Cumulative rank IC, out of sample")
    known = np.isfinite(ic)
    days = np.array(sessions, dtype="datetime64[D]")[known]
    axes.plot(days, np.cumsum(ic[known]))
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_ylabel("sum of daily rank ICs")
    return figure


def decile_returns(means: NDArray[np.float64]) -> "Figure":
    """Return the mean forward return of each tenth of the scores, shape (10,), lowest first."""
    figure, axes = _figure("Mean forward return by score decile, out of sample")
    axes.bar(np.arange(1, len(means) + 1), 100 * np.nan_to_num(means))
    axes.set_xlabel("decile of the score (10 = highest)")
    axes.set_ylabel("percent")
    return figure


def importance(values: Mapping[str, float]) -> "Figure":
    """Return the fall of the rank IC when one feature is shuffled, the largest first."""
    figure, axes = _figure("Permutation importance")
    names = sorted(values, key=lambda name: values[name])
    axes.barh(names, [values[name] for name in names])
    axes.set_xlabel("fall of the mean out-of-sample rank IC")
    return figure


def _figure(title: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes
