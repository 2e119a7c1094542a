"""What drift is measured on, with which statistics, and what is normal: pure functions of arrays.

What belongs here: PSI, KS, the subjects they are applied to and the calibration of their thresholds on the
training window. What does not: running the checks of a session (`drift_checks`), storing results.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hrp_core.errors import ModelError, NotReadyError
from hrp_core.market import Panel
from hrp_core.models.dataset import TrainingSet, centred_rank
from hrp_core.models.evaluate import rank_ic

WINDOW = 7  # sessions that are looked at together
SHOCK_WINDOW = 10  # the same for shocks, whose statistic is the noisiest: fewer sessions miss more
SCALE_SESSIONS = 63  # a name's own quarter, against which the size of a move is measured
IC_SESSIONS = 63  # matured sessions whose mean rank IC is judged
SHOCK_FEATURE = "ret_1"
# Wanted false alarms a session, by family: together 2 in 250 sessions, half of them for shocks.
ALARM_RATES = {"shock": 0.004, "rank": 0.002, "prediction": 0.002}
IC_ALARM_RATE = 0.004
EPSILON = 1e-4
_BINS = 10
_SAMPLE = 20_000
_CALIBRATION_WINDOWS = 2_000
_LEAST_WINDOWS = 50
# Below these nobody calls it drift, however calm the training window was.
_PSI_FLOOR, _KS_FLOOR = 0.1, 0.1
_MISSING_MARGIN = 0.10


@dataclass(frozen=True, slots=True)
class Subject:
    """One distribution that is watched.

    Attributes:
        family: shock, rank or prediction; thresholds are calibrated for a family together.
        sample: shape (m,), sorted: what was normal.
        psi_threshold: PSI above it is drift.
        ks_threshold: KS statistic above it is drift.
        least_samples: fewer values than this in a window are too few to judge.
    """

    family: str
    sample: NDArray[np.float64]
    psi_threshold: float
    ks_threshold: float
    least_samples: int


@dataclass(frozen=True, slots=True)
class DriftReference:
    """What was normal when a model was trained.

    Attributes:
        features: the model's features.
        subjects: distributions by name.
        missing: highest normal share of missing values, by feature.
        ranges: lowest and highest normal value, by feature: the observed range widened by half of it on
            either side.
        ic_mean: mean out-of-sample rank IC.
        ic_threshold: a lower mean over `IC_SESSIONS` sessions is decay; None = history too short to say.
        horizon: sessions of the label.
        lag: sessions from the decision to the label's start.
    """

    features: tuple[str, ...]
    subjects: Mapping[str, Subject]
    missing: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]
    ic_mean: float
    ic_threshold: float | None
    horizon: int
    lag: int

    def save(self, folder: Path) -> None:
        """Write the reference as `reference.json` and `samples.npz`."""
        samples = {name: subject.sample for name, subject in self.subjects.items()}
        np.savez_compressed(folder / "samples.npz", allow_pickle=False, **samples)
        plain = asdict(self)
        for subject in plain["subjects"].values():
            del subject["sample"]
        (folder / "reference.json").write_text(json.dumps(plain, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "DriftReference":
        """Read what `save` wrote.

        Raises:
            ModelError: a file is missing or damaged.
        """
        try:
            plain = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
            with np.load(folder / "samples.npz") as samples:
                subjects = {
                    name: Subject(sample=samples[name], **kept)
                    for name, kept in plain.pop("subjects").items()
                }
            ranges = {name: (float(low), float(high)) for name, (low, high) in plain.pop("ranges").items()}
            return cls(subjects=subjects, ranges=ranges, features=tuple(plain.pop("features")), **plain)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"the drift reference in {folder} cannot be read ({error}); train the model anew"
            ) from error


def psi(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Return the population stability index of two samples: sum of (c - r) ln(c / r) over bins.

    Bins are the deciles of the reference (linear interpolation, equal edges merged), closed on the right and
    open-ended outside; r and c are shares, an empty bin counts as `EPSILON`.
    """
    inner = _deciles(reference)
    return _divergence(_shares(reference, inner), _shares(current, inner))


def ks_statistic(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Return the two-sample Kolmogorov-Smirnov statistic: the largest distance of the distributions.

    Equals `scipy.stats.ks_2samp`; the reference must be sorted, which makes it a hundred times faster. No
    p-value: values of one session depend on each other, thresholds are calibrated instead.
    """
    values = np.sort(current)
    at = np.searchsorted(values, values, "right") / len(values)
    before = np.searchsorted(values, values, "left") / len(values)
    # The largest distance is at a current value or just before one: between them only one function moves.
    far = np.abs(at - np.searchsorted(reference, values, "right") / len(reference)).max()
    near = np.abs(before - np.searchsorted(reference, values, "left") / len(reference)).max()
    return float(max(far, near))


def watched(features: Panel, scores: NDArray[np.float64]) -> Iterator[tuple[str, str, NDArray[np.float64]]]:
    """Yield (name, family, values of shape (T, n)) of everything that is watched.

    - `<feature>.rank_change`, `prediction.rank_change`: how far each name moved through the cross-section
      since the session before. The ranks of one session are evenly spaced by construction, so their level
      cannot drift; what can is how fast names move through them.
    - `ret_1.shock`: the idiosyncratic part of the returns without the market's level and scale. It is the
      distance of a name's return from the session's median return, in units of the name's own mean distance
      over the `SCALE_SESSIONS` sessions before, divided by the root of how much larger the market's moves
      have become since: in a turbulent market larger distances are normal.
    - `prediction`: the scores as they are.

    A `<feature>_rank` beside its feature moves exactly with it and is left out.

    Args:
        features: T sessions.
        scores: shape (T, n), NaN = not scored.
    """
    for name, values in features.fields.items():
        base = name.removesuffix("_rank")
        if base == name or base not in features.fields:
            yield f"{name}.rank_change", "rank", _change(centred_rank(values))
    if SHOCK_FEATURE in features.fields:
        yield f"{SHOCK_FEATURE}.shock", "shock", _shock(features.field(SHOCK_FEATURE))
    yield "prediction", "prediction", np.where(np.isfinite(scores), scores, np.nan)
    yield "prediction.rank_change", "prediction", _change(centred_rank(scores))


def calibrate(
    data: TrainingSet,
    scores: NDArray[np.float64],
    out_of_sample: NDArray[np.float64],
    *,
    seed: int = 0,
) -> DriftReference:
    """Return what was normal over a training window.

    For each subject PSI and KS of many windows of `window_size` sessions are measured against the whole. A
    threshold is median + m (99 % quantile - median), with one m for a family, such that at least one of the
    family's statistics exceeds its threshold in a share `ALARM_RATES` of the windows (the maximum over the
    family, as in Westfall and Young 1993): many checks do not make many alarms.

    Args:
        data: the training set.
        scores: of the very model that will be used, over the whole window, shape (T, n), NaN = none. A fitted
            model is a fixed function, so its scores move only with its features; the models of the folds are
            other functions, whose scores differ without any drift.
        out_of_sample: scores of the folds, shape (T, n), NaN = none: only they can tell a normal rank IC.
        seed: of the reference samples.

    Raises:
        NotReadyError: the window is too short to know what is normal.
    """
    generator = np.random.default_rng(seed)
    samples: dict[str, tuple[str, NDArray[np.float64], int]] = {}
    measured: dict[str, NDArray[np.float64]] = {}
    for name, family, values in watched(data.features, scores):
        finite = values[np.isfinite(values)]
        windows = _windows(values, window_size(family))
        counts = np.array([np.isfinite(window).sum() for window in windows])
        least = max(10, int(np.median(counts[counts > 0])) // 2) if counts.any() else 10
        if (counts >= least).sum() < _LEAST_WINDOWS:
            raise NotReadyError(
                f"{int((counts >= least).sum())} windows of {name} are too few to know what is normal "
                f"({_LEAST_WINDOWS} needed); train on more history"
            )
        sample = np.sort(generator.choice(finite, min(len(finite), _SAMPLE), replace=False))
        samples[name] = (family, sample, least)
        measured[name] = _measure(sample, windows, least)
    thresholds: dict[str, NDArray[np.float64]] = {}
    for family in {family for family, _, _ in samples.values()}:
        members = {name: measured[name] for name in samples if samples[name][0] == family}
        thresholds |= _family_thresholds(members, ALARM_RATES[family])
    ic = rank_ic(out_of_sample, data.label)
    return DriftReference(
        features=data.names,
        subjects={
            name: Subject(family, sample, float(thresholds[name][0]), float(thresholds[name][1]), least)
            for name, (family, sample, least) in samples.items()
        },
        missing=_normal_missing(data.features),
        ranges=_normal_ranges(data.features),
        ic_mean=float(np.nanmean(ic)),
        ic_threshold=_ic_threshold(ic[np.isfinite(ic)]),
        horizon=data.horizon,
        lag=data.lag,
    )


def window_size(family: str) -> int:
    """Return how many sessions a family of subjects is judged on."""
    return SHOCK_WINDOW if family == "shock" else WINDOW


def missing_rates(features: Panel) -> dict[str, float]:
    """Return the share of missing values by feature, among names with any feature at all; NaN without any."""
    finite = {name: np.isfinite(values) for name, values in features.fields.items()}
    present = np.logical_or.reduce(list(finite.values()))
    if not present.any():
        return dict.fromkeys(finite, float("nan"))
    return {name: float(1 - here[present].mean()) for name, here in finite.items()}


def _shares(values: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.bincount(np.searchsorted(inner, values, side="left"), minlength=len(inner) + 1)
    shares = counts / len(values)
    shares[shares == 0] = EPSILON
    return shares


def _deciles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inner edges of the bins, shape (at most 9,)."""
    return np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)))[1:-1]


def _divergence(was: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    return float(((now - was) * np.log(now / was)).sum())


def _change(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.full(ranks.shape, np.nan)
    result[1:] = ranks[1:] - ranks[:-1]
    return result


def _shock(returns: NDArray[np.float64]) -> NDArray[np.float64]:
    frame = pd.DataFrame(np.where(np.isfinite(returns), returns, np.nan))
    distance = frame.sub(frame.median(axis=1), axis=0).abs()
    usual = distance.rolling(SCALE_SESSIONS, min_periods=SCALE_SESSIONS // 2).mean().shift(1)
    move = frame.mean(axis=1).abs()
    before = move.rolling(SCALE_SESSIONS, min_periods=SCALE_SESSIONS // 2).mean().shift(WINDOW)
    turbulence = (
        (move.rolling(WINDOW, min_periods=1).mean() / before.where(before > 0)).clip(lower=1).fillna(1)
    )
    scaled = distance.div(usual.where(usual > 0)).div(np.sqrt(turbulence), axis=0)
    return scaled.to_numpy(dtype=np.float64)


def _window_ends(sessions: int, size: int) -> NDArray[np.int64]:
    ends = np.arange(size, sessions + 1)
    if len(ends) <= _CALIBRATION_WINDOWS:
        return ends
    return ends[np.linspace(0, len(ends) - 1, _CALIBRATION_WINDOWS).astype(np.int64)]


def _windows(values: NDArray[np.float64], size: int) -> list[NDArray[np.float64]]:
    return [values[end - size : end] for end in _window_ends(len(values), size)]


def _measure(
    sample: NDArray[np.float64], windows: Sequence[NDArray[np.float64]], least: int
) -> NDArray[np.float64]:
    """Return PSI and KS of each window, shape (windows, 2), NaN where it has too few values."""
    inner = _deciles(sample)
    was = _shares(sample, inner)
    result = np.full((len(windows), 2), np.nan)
    for row, window in enumerate(windows):
        values = window[np.isfinite(window)]
        if len(values) >= least:
            result[row] = _divergence(was, _shares(values, inner)), ks_statistic(sample, values)
    return result


def _family_thresholds(
    measured: Mapping[str, NDArray[np.float64]], alarm_rate: float
) -> dict[str, NDArray[np.float64]]:
    statistics = np.concatenate(list(measured.values()), axis=1)
    statistics = statistics[np.isfinite(statistics).any(axis=1)]
    middle = np.nanmedian(statistics, axis=0)
    # A statistic that never moved would make every later movement infinitely large.
    scale = np.maximum(np.nanquantile(statistics, 0.99, axis=0) - middle, 1e-3)
    largest = np.nanmax((statistics - middle) / scale, axis=1)
    limit = middle + np.quantile(largest, 1 - alarm_rate) * scale
    floors = np.array([_PSI_FLOOR, _KS_FLOOR])
    return {name: np.maximum(limit[2 * i : 2 * i + 2], floors) for i, name in enumerate(measured)}


def _normal_missing(features: Panel) -> dict[str, float]:
    ends = _window_ends(len(features.sessions), WINDOW)[::10]
    # The median leaves out the first year, in which no long look-back is filled.
    rates = pd.DataFrame([missing_rates(features.window(int(end) - WINDOW, int(end))) for end in ends])
    return {str(name): min(float(rates[name].median()) + _MISSING_MARGIN, 0.999) for name in rates.columns}


def _normal_ranges(features: Panel) -> dict[str, tuple[float, float]]:
    ranges = {}
    for name, values in features.fields.items():
        finite = values[np.isfinite(values)]
        low, high = float(finite.min()), float(finite.max())
        ranges[name] = (low - (high - low) / 2, high + (high - low) / 2)
    return ranges


def _ic_threshold(ic: NDArray[np.float64]) -> float | None:
    if len(ic) < 4 * IC_SESSIONS:
        return None
    rolling = np.convolve(ic, np.full(IC_SESSIONS, 1 / IC_SESSIONS), mode="valid")
    return float(np.quantile(rolling, IC_ALARM_RATE))
