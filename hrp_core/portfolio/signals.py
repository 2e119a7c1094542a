"""Rules that turn predictions into signals.

What belongs here: the rules on arrays of one session, the public function on frames, and the check of their
parameters. What does not: prices, weights and shares (`construction`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hrp_core.errors import DataError
from hrp_core.portfolio.types import Strategy, StrategySignals

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SignalRule:
    """A method and its parameters.

    Attributes:
        method: rank, threshold, zscore or topk_dropout.
        top_pct: rank: share of the scored names to hold, above 0, at most 1.
        threshold: threshold: least prediction to hold; zscore: least z-score.
        short: whether the mirrored rule gives the short leg (-1): the bottom names, or predictions at or
            below minus the threshold. Not for topk_dropout.
        k: topk_dropout: names to hold.
        n_drop: topk_dropout: most names replaced in one session.
        min_holding: topk_dropout: sessions a name is held before it may be replaced.

    Raises:
        ValueError: the method is unknown or a parameter out of range.
    """

    method: str = "rank"
    top_pct: float = 0.1
    threshold: float = 0.0
    short: bool = False
    k: int = 20
    n_drop: int = 2
    min_holding: int = 1

    def __post_init__(self) -> None:
        if self.method not in PARAMETERS:
            raise ValueError(f"Unknown method: {self.method!r}. Known methods: {', '.join(PARAMETERS)}")
        for name in ("k", "n_drop", "min_holding"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < (1 if name == "k" else 0):
                raise ValueError(
                    f"{name} must be a whole number, at least {1 if name == 'k' else 0}: {value!r}"
                )
        for name in ("top_pct", "threshold"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise ValueError(f"{name} must be a number: {value!r}")
        if not isinstance(self.short, bool):
            raise ValueError(f"short must be true or false: {self.short!r}")  # noqa: TRY004
        if not 0 < self.top_pct <= 1:
            raise ValueError(f"top_pct must be above 0 and at most 1: {self.top_pct!r}")
        if self.short and self.method == "topk_dropout":
            raise ValueError("topk_dropout has no short leg")


PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "rank": ("top_pct", "short"),
    "threshold": ("threshold", "short"),
    "zscore": ("threshold", "short"),
    "topk_dropout": ("k", "n_drop", "min_holding"),
}


def strategy_rule(method: str, parameters: Mapping[str, object]) -> SignalRule:
    """Return the rule of a strategy.

    Raises:
        ValueError: unknown method, a parameter that the method does not have, or one out of range.
    """
    known = PARAMETERS.get(method, ())
    for name in parameters:
        if method in PARAMETERS and name not in known:
            raise ValueError(f"{name} is not a parameter of {method}, which has {', '.join(known)}")
    return SignalRule(method=method, **parameters)  # type: ignore[arg-type]


def predictions_to_signals(
    predictions: pd.DataFrame,
    method: str = "rank",
    top_pct: float = 0.1,
    threshold: float = 0.0,
    *,
    short: bool = False,
    k: int = 20,
    n_drop: int = 2,
    min_holding: int = 1,
    held: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Return `predictions` with a column `signal`, the rows as they came.

    A row without a finite prediction is not a name: it is not counted and its signal is 0. Equal predictions
    go by symbol.

    - rank: the top ``ceil(n * top_pct)`` of the n scored names, at least one, get 1.0, the others 0.0.
    - threshold: 1.0 where the prediction is at least `threshold`.
    - zscore: the cross-sectional z-score (prediction - mean) / sample standard deviation; all 0 when the
      predictions have no spread.
    - topk_dropout: hold `k` names, replace at most `n_drop` a session and none before it was held for
      `min_holding` sessions (the TopkDropout strategy of Microsoft's qlib).

    Args:
        predictions: columns symbol and prediction; with a column session the rule runs for each session by
            itself, for topk_dropout from one to the next in order.
        method: the rule.
        top_pct: for rank.
        threshold: for threshold.
        short: whether rank and threshold also give a short leg of -1.0: the bottom names, or the predictions
            at or below ``-threshold``; no name is in both legs.
        k: for topk_dropout.
        n_drop: for topk_dropout.
        min_holding: for topk_dropout.
        held: for topk_dropout: the names held before the first session, and for how many sessions.

    Raises:
        ValueError: unknown method or a parameter out of range.
        DataError: a column is missing, predictions are no numbers, or a symbol occurs twice in a session.
    """
    rule = SignalRule(method, top_pct, threshold, short, k, n_drop, min_holding)
    for column in ("symbol", "prediction"):
        if column not in predictions.columns:
            raise DataError(f"predictions have no column {column!r}; they need symbol and prediction")
    keys = ["session", "symbol"] if "session" in predictions.columns else ["symbol"]
    if predictions.duplicated(keys).any():
        twice = predictions.loc[predictions.duplicated(keys), "symbol"].iloc[0]
        raise DataError(
            f"{twice} is predicted twice for one session; predictions need one row a name and session"
        )
    try:
        scores = predictions["prediction"].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"column 'prediction' does not hold numbers ({error})") from error
    symbols = predictions["symbol"].to_numpy(dtype=object)
    blocks = (
        list(predictions.groupby("session", sort=True).indices.values())
        if "session" in predictions.columns
        else [np.arange(len(predictions))]
    )
    signal = np.zeros(len(predictions))
    holding = dict(held or {})
    for block in blocks:
        rows = block[np.argsort(symbols[block].astype(str), kind="stable")]
        signal[rows], holding = _apply(rule, symbols[rows], scores[rows], holding)
    return predictions.assign(signal=signal)


def strategy_signals(
    strategy: Strategy,
    symbols: Sequence[str],
    predictions: Scores,
    held: Mapping[str, int] | None = None,
) -> StrategySignals:
    """Return what a strategy's rule makes of its predictions of one session.

    Args:
        strategy: its method and parameters.
        symbols: n symbols it was asked to score, in any order.
        predictions: shape (n,), aligned with `symbols`; NaN = not scored.
        held: for topk_dropout: the names held, and for how many sessions.

    Returns:
        Sorted by symbol; the signal is +1, 0 or -1 (of a z-score: its sign where it reaches the threshold).

    Raises:
        ValueError: method or parameters are invalid.
        DataError: a symbol occurs twice, or symbols and predictions differ in number.
    """
    rule = strategy_rule(strategy.method, strategy.parameters)
    names = np.array(symbols, dtype=object)
    scores = np.asarray(predictions, dtype=np.float64)
    if len(set(symbols)) != len(symbols) or scores.shape != names.shape:
        raise DataError(
            f"{strategy.strategy_id}: {len(symbols)} symbols ({len(set(symbols))} distinct) and predictions "
            f"of shape {scores.shape} do not fit together; each symbol needs one prediction or NaN"
        )
    order = np.argsort(names.astype(str), kind="stable")
    names, scores = names[order], scores[order]
    signal, _ = _apply(rule, names, scores, dict(held or {}))
    if rule.method == "zscore":
        long = (signal > 0) & (signal >= rule.threshold)
        short = (signal < 0) & (signal <= -rule.threshold) & rule.short
        signal = long.astype(np.float64) - short.astype(np.float64)
    return StrategySignals(strategy.strategy_id, tuple(names.tolist()), scores, signal)


def _apply(
    rule: SignalRule, symbols: NDArray[np.object_], scores: Scores, held: dict[str, int]
) -> tuple[Scores, dict[str, int]]:
    """Return the signals of one session and what is held after it; `symbols` are sorted."""
    if rule.method == "topk_dropout":
        return _topk_dropout(rule, symbols, scores, held)
    return _RULES[rule.method](rule, np.where(np.isfinite(scores), scores, np.nan)), held


def _rank(rule: SignalRule, scores: Scores) -> Scores:
    scored = np.isfinite(scores)
    n = int(scored.sum())
    # Exact: 70 * 0.1 is 7.000000000000001 in floating point, and its ceiling 8.
    count = max(1, ceil(Fraction(str(rule.top_pct)) * n)) if n else 0
    signal = np.zeros(len(scores))
    # NaN sorts last; a stable sort keeps equal scores in the order of their symbols.
    best = np.argsort(-scores, kind="stable")[:n]
    signal[best[:count]] = 1.0
    if rule.short:
        signal[best[max(count, n - count) :]] = -1.0
    return signal


def _threshold(rule: SignalRule, scores: Scores) -> Scores:
    long = scores >= rule.threshold
    short = (scores <= -rule.threshold) & ~long & rule.short
    return long.astype(np.float64) - short.astype(np.float64)


def _zscore(rule: SignalRule, scores: Scores) -> Scores:  # noqa: ARG001
    scored = np.isfinite(scores)
    values = scores[scored]
    signal = np.zeros(len(scores))
    # Compared, not computed: the standard deviation of equal floats need not be exactly 0.
    if len(values) > 1 and values.min() < values.max():
        spread = values.std(ddof=1)
        if spread > 0:
            signal[scored] = (values - values.mean()) / spread
    return signal


_RULES: Mapping[str, Callable[[SignalRule, Scores], Scores]] = {
    "rank": _rank,
    "threshold": _threshold,
    "zscore": _zscore,
}


def _topk_dropout(
    rule: SignalRule, symbols: NDArray[np.object_], scores: Scores, held: dict[str, int]
) -> tuple[Scores, dict[str, int]]:
    """Hold k names and replace few of them a session.

    A held name without a score keeps its place: missing is not zero.
    """
    best = np.argsort(-np.where(np.isfinite(scores), scores, np.nan), kind="stable")
    best = best[: int(np.isfinite(scores).sum())]
    is_held = np.isin(symbols[best].astype(str), np.array(list(held), dtype=str))
    free = rule.k - len(held)
    fresh = best[~is_held][: max(rule.n_drop + free, 0)]
    compared = best[is_held | np.isin(best, fresh)]
    worst = compared[max(len(compared) - rule.n_drop, 0) :]
    leaving = {
        symbol for symbol in symbols[worst].tolist() if symbol in held and held[symbol] >= rule.min_holding
    }
    entering = symbols[fresh[: max(len(leaving) + free, 0)]].tolist()
    after = {symbol: age + 1 for symbol, age in held.items() if symbol not in leaving}
    after |= dict.fromkeys(entering, 1)
    chosen = np.isin(symbols.astype(str), np.array(list(after), dtype=str)) & np.isfinite(scores)
    return chosen.astype(np.float64), after
