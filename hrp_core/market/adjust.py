"""Prices adjusted for splits and dividends, at read; what is stored stays as it was traded.

What belongs here: going from raw closes and actions on a panel to comparable closes. What does not: reading
actions (`actions`), what is computed of adjusted closes (`hrp_core.features`).

An action is applied from its session on, to what follows (the number of shares that one share has become),
never backwards to what came before. So no row depends on a later one, and each row is at the basis of the
panel's first session. The usual back-adjusted close is the same series times one constant a symbol
(`adjusted_close`); the constant cancels in every ratio.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrp_core.market.panel import Panel


@dataclass(frozen=True, slots=True)
class AdjustedCloses:
    """Closes of n symbols over T sessions at the basis of the first session; NaN = no price.

    Attributes:
        price: shape (T, n), USD, adjusted for splits.
        wealth: shape (T, n), USD, adjusted for splits and with dividends reinvested at the close of the
            ex-date: wealth[t] / wealth[t-1] = split[t] * (close[t] + dividend[t]) / close[t-1], the total
            return of CRSP. Where the panel has no dividends it is the same array as `price`.
    """

    price: NDArray[np.float64]
    wealth: NDArray[np.float64]


def adjust(panel: Panel) -> AdjustedCloses:
    """Return the closes of a panel, adjusted by its fields `split_factor` and `dividend` where it has them.

    What is no positive finite close counts as missing; a dividend on a session without a close is not counted
    (sources move it to the next close, `hrp_core.market.actions`).
    """
    close = np.where((panel.close > 0) & np.isfinite(panel.close), panel.close, np.nan)
    split, dividend = panel.fields.get("split_factor"), panel.fields.get("dividend")
    growth = None
    if split is not None and _stated(split, 1.0).any():
        growth = np.where(_stated(split, 1.0), split, 1.0)
    price = close if growth is None else close * _cumulated(growth)
    if dividend is None or not _stated(dividend, 0.0).any():
        return AdjustedCloses(price, price)
    reinvested = np.where(_stated(dividend, 0.0) & (close > 0), 1 + dividend / close, 1.0)
    return AdjustedCloses(price, price * _cumulated(reinvested))


def adjusted_close(panel: Panel, *, dividends: bool) -> NDArray[np.float64]:
    """Return back-adjusted closes as of the last session of the panel, whose closes stay as they are.

    Args:
        panel: closes, and split_factor and dividend where the source has them.
        dividends: whether dividends are reinvested; splits always count.

    Returns:
        Shape (T, n), USD a share at the number of shares after the last session; NaN = no price.
    """
    adjusted = adjust(panel)
    series = adjusted.wealth if dividends else adjusted.price
    if not len(series):
        return series
    newest = len(series) - 1 - np.argmax(np.isfinite(series[::-1]), axis=0)
    columns = np.arange(series.shape[1])
    return series * (panel.close[newest, columns] / series[newest, columns])


def _stated(values: NDArray[np.float64], none: float) -> NDArray[np.bool_]:
    return np.isfinite(values) & (values > 0) & (values != none)


def _cumulated(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply `factors` down the rows in place (row by row: along axis 0 cumprod strides); return them."""
    # The first row is the basis: what happened on it is behind every close of the panel.
    factors[0] = 1.0
    for row in range(1, len(factors)):
        factors[row] *= factors[row - 1]
    return factors
