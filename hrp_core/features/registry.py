"""The features by name: definition, version, look-back, and formula.

What belongs here: one formula and one entry a feature. A changed formula is a new version. What does not:
loading prices, storing features, moving windows (`arrays`, `rows`).

Conventions: a month is 21 sessions, a year 252. Returns and volatilities are of total return (splits and
dividends); the other prices are adjusted for splits alone; dollar volume is as traded. A window with a
missing input gives no number. `<name>_rank` is the rank of the feature among the names with a close on the
session.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from hrp_core.errors import DataError
from hrp_core.features.arrays import Array, rank_across
from hrp_core.features.rows import Rows

_MONTH = 21
_YEAR = 252

# What a panel should hold for all features; all but the close may be missing, or null.
INPUT_FIELDS = ("close", "volume", "split_factor", "dividend")


@dataclass(frozen=True, slots=True)
class Feature:
    """One number a session and symbol, computed from this and earlier sessions only.

    Attributes:
        name: column name.
        version: raised whenever the numbers would change.
        lookback: sessions before the session itself that the formula reaches back to.
        description: what it is, with formula and unit.
        compute: rows of m sessions and n symbols -> shape (m, n), NaN where an input is missing. A session
            depends on itself and the `lookback` sessions before it alone, so that it comes out the same
            alone and in bulk: to the last bit, or to 1e-12 where a split or dividend changes the basis.
    """

    name: str
    version: int
    lookback: int
    description: str
    compute: Callable[[Rows], Array]


def _return(sessions: int) -> Feature:
    plural = "s" if sessions > 1 else ""
    return Feature(
        f"ret_{sessions}",
        1,
        sessions,
        f"Total return over {sessions} session{plural}: wealth[D] / wealth[D-{sessions}] - 1, a fraction.",
        lambda rows: rows.at("wealth") / rows.at("wealth", sessions) - 1,
    )


def _momentum_12_1(rows: Rows) -> Array:
    """Return wealth[t - 21] / wealth[t - 252] - 1 (Jegadeesh and Titman 1993, the last month left out)."""
    return rows.at("wealth", _MONTH) / rows.at("wealth", _YEAR) - 1


def _volatility(sessions: int) -> Feature:
    return Feature(
        f"vol_{sessions}",
        1,
        sessions,
        f"Standard deviation (n - 1) of {sessions} simple daily total returns, a fraction a day.",
        lambda rows: rows.moments("return", sessions).std,
    )


def _rsi_14(rows: Rows) -> Array:
    """Return 100 * gains / (gains + losses) over 14 changes by plain sums (Cutler), not Wilder's smoothing.

    With the net change N and the sum A of absolute changes, gains are (A + N) / 2.
    """
    total = 14 * rows.mean("absolute_change", 14)
    net = rows.at("price") - rows.at("price", 14)
    flat = total == 0
    return np.clip(50 + 50 * np.where(flat, 0.0, net) / np.where(flat, 1.0, total), 0, 100)


def _price_to_sma_20(rows: Rows) -> Array:
    window = rows.moments("price", 20)
    return window.offset / window.mean


def _sma_50_200(rows: Rows) -> Array:
    return rows.mean("price", 50) / rows.mean("price", 200) - 1


def _zscore_20(rows: Rows) -> Array:
    window = rows.moments("price", 20)
    return window.offset / np.where(window.std > 0, window.std, np.nan)


def _adv_20(rows: Rows) -> Array:
    return rows.mean("dollar_volume", 20)


_PLAIN = (
    *(_return(sessions) for sessions in (1, 5, _MONTH, 63, _YEAR)),
    Feature(
        "momentum_12_1",
        1,
        _YEAR,
        "Total return from 252 to 21 sessions ago: wealth[D-21] / wealth[D-252] - 1, a fraction.",
        _momentum_12_1,
    ),
    _volatility(_MONTH),
    _volatility(63),
    Feature(
        "rsi_14",
        1,
        14,
        "Relative strength index of 14 changes by plain sums (Cutler), 0 to 100; 50 when nothing moved.",
        _rsi_14,
    ),
    Feature(
        "price_to_sma_20",
        1,
        19,
        "Close over its mean of 20 sessions, D included, less 1, a fraction.",
        _price_to_sma_20,
    ),
    Feature(
        "sma_50_200",
        1,
        199,
        "Mean close of 50 sessions over that of 200, D included, less 1, a fraction.",
        _sma_50_200,
    ),
    Feature(
        "zscore_20",
        1,
        19,
        "Close less its mean of 20 sessions, in standard deviations (n - 1); null when nothing moved.",
        _zscore_20,
    ),
    Feature(
        "adv_20",
        1,
        19,
        "Mean of close * volume over 20 sessions, USD a session; null where the source has no volume.",
        _adv_20,
    ),
)


def _value(feature: Feature, rows: Rows) -> Array:
    return rows.once(feature.name, lambda: feature.compute(rows))


def _remembered(feature: Feature) -> Feature:
    """Return the feature so that rows which also need its rank compute it once."""
    return Feature(
        feature.name,
        feature.version,
        feature.lookback,
        feature.description,
        lambda rows: _value(feature, rows),
    )


def _rank(feature: Feature) -> Feature:
    return Feature(
        f"{feature.name}_rank",
        feature.version,
        feature.lookback,
        f"Rank of {feature.name} among the names with a close on D, 0 (lowest) to 1; ties averaged.",
        lambda rows: rank_across(np.where(np.isfinite(rows.at("price")), _value(feature, rows), np.nan)),
    )


FEATURES: Mapping[str, Feature] = MappingProxyType(
    {
        feature.name: feature
        for feature in (
            *(_remembered(plain) for plain in _PLAIN),
            *(_rank(plain) for plain in _PLAIN),
        )
    }
)


def get_feature(name: str) -> Feature:
    """Return the feature called `name`.

    Raises:
        DataError: there is none.
    """
    if name not in FEATURES:
        raise DataError(f"no feature is called {name!r}; there are {', '.join(sorted(FEATURES))}")
    return FEATURES[name]


def feature_version(name: str) -> int:
    """Return the version of a feature.

    Raises:
        DataError: there is no feature of that name.
    """
    return get_feature(name).version
