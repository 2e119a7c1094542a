"""How good predictions were: statistics of cross-sections, session by session.

What belongs here: pure functions of arrays. What does not: making predictions (`learners`), judging whether
the evaluation itself can be trusted (`leakage`).
"""

from dataclasses import asdict, dataclass

import bottleneck as bn
import numpy as np
from numpy.typing import NDArray

from hrp_core.models.dataset import MIN_NAMES, centred_rank


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What predictions were worth, over the sessions that have both scores and labels.

    Attributes:
        sessions: sessions with a rank IC.
        mean_ic: mean of the daily rank ICs.
        standard_error: of `mean_ic`, Newey-West with `lags` lags.
        t_stat: mean_ic / standard_error.
        lags: the label's horizon: daily labels that span h sessions overlap, so neighbouring ICs correlate up
            to h - 1 sessions apart and the plain t-stat would be too large by up to the root of h.
        icir: mean IC / standard deviation of the daily ICs (not annualised).
        decile_spread: mean label of the top tenth less that of the bottom tenth of names, a fraction.
        hit_rate: share of sessions with a positive rank IC.
        turnover: mean share of the top tenth that was not there the session before.
    """

    sessions: int
    mean_ic: float
    standard_error: float
    t_stat: float
    lags: int
    icir: float
    decile_spread: float
    hit_rate: float
    turnover: float

    def metrics(self) -> dict[str, float]:
        """Return the finite numbers, as MLflow wants them."""
        return {name: float(value) for name, value in asdict(self).items() if np.isfinite(value)}


def rank_ic(scores: NDArray[np.float64], label: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Spearman correlation of scores and labels in each session.

    Args:
        scores: shape (T, n), NaN = not scored.
        label: shape (T, n), NaN = unknown.

    Returns:
        Shape (T,); NaN with fewer than `MIN_NAMES` names, or where all scores or all labels are equal.
    """
    both = np.isfinite(scores) & np.isfinite(label)
    x = centred_rank(np.where(both, scores, np.nan))
    y = centred_rank(np.where(both, label, np.nan))
    x, y = np.where(both, x, 0.0), np.where(both, y, 0.0)
    # Centred ranks sum to zero in each row, also with ties.
    with np.errstate(invalid="ignore", divide="ignore"):
        result = (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return np.where(both.sum(axis=1) >= MIN_NAMES, result, np.nan)


def newey_west_error(series: NDArray[np.float64], lags: int) -> float:
    """Return the standard error of the mean of a series whose values correlate up to `lags` apart.

    Newey and West (1987) with Bartlett weights 1 - k / (lags + 1); lags = 0 is the plain standard error (with
    divisor n). NaN values are left out; NaN with fewer than 2 values.
    """
    values = series[np.isfinite(series)]
    if len(values) < 2:
        return float("nan")
    centred = values - values.mean()
    variance = float(centred @ centred)
    for k in range(1, min(lags, len(values) - 1) + 1):
        variance += 2 * (1 - k / (lags + 1)) * float(centred[k:] @ centred[:-k])
    return float(np.sqrt(max(variance, 0.0)) / len(values))


def top_tenth(scores: NDArray[np.float64], *, bottom: bool = False) -> NDArray[np.bool_]:
    """Return where the best (or worst) tenth of each session's scores is, at least one name; shape (T, n)."""
    finite = np.isfinite(scores)
    count = finite.sum(axis=1, keepdims=True)
    if not scores.size:
        return np.zeros(scores.shape, dtype=bool)
    ranks = bn.nanrankdata(np.where(finite, scores if bottom else -scores, np.nan), axis=1)
    return finite & (count >= MIN_NAMES) & (ranks <= np.ceil(count / 10))


def decile_means(scores: NDArray[np.float64], label: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean label of each tenth of the scores, lowest first, averaged over sessions."""
    both = np.isfinite(scores) & np.isfinite(label)
    place = centred_rank(np.where(both, scores, np.nan)) + 0.5
    bucket = np.where(np.isfinite(place), np.minimum(np.floor(np.nan_to_num(place) * 10), 9), -1)
    means = np.full(10, np.nan)
    for tenth in range(10):
        inside = bucket == tenth
        names = inside.sum(axis=1)
        sums = np.where(inside, label, 0.0).sum(axis=1)
        if names.any():
            means[tenth] = float((sums[names > 0] / names[names > 0]).mean())
    return means


def evaluate(scores: NDArray[np.float64], label: NDArray[np.float64], *, horizon: int) -> Evaluation:
    """Return what `scores` were worth.

    Args:
        scores: shape (T, n), NaN = not scored.
        label: forward returns, shape (T, n), NaN = unknown.
        horizon: sessions that the labels span.
    """
    ic = rank_ic(scores, label)
    known = ic[np.isfinite(ic)]
    mean = float(known.mean()) if len(known) else float("nan")
    error = newey_west_error(ic, horizon)
    spread = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
    both = np.where(np.isfinite(label), scores, np.nan)
    top, bottom = _row_means(label, top_tenth(both)), _row_means(label, top_tenth(both, bottom=True))
    judged = scores[np.isfinite(ic)]
    return Evaluation(
        sessions=len(known),
        mean_ic=mean,
        standard_error=error,
        t_stat=_ratio(mean, error),
        lags=horizon,
        icir=_ratio(mean, spread),
        decile_spread=_mean(top - bottom),
        hit_rate=float((known > 0).mean()) if len(known) else float("nan"),
        turnover=_turnover(judged),
    )


def _turnover(scores: NDArray[np.float64]) -> float:
    held = top_tenth(scores)
    size = held[1:].sum(axis=1)
    fresh = (held[1:] & ~held[:-1]).sum(axis=1)
    return _mean(fresh[size > 0] / size[size > 0])


def _row_means(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    count = mask.sum(axis=1)
    sums = np.where(mask, values, 0.0).sum(axis=1)
    return np.divide(sums, count, out=np.full(len(values), np.nan), where=count > 0)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _ratio(value: float, scale: float) -> float:
    return value / scale if scale > 0 else float("nan")
