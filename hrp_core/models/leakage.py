"""Whether an evaluation can be trusted: searches for the future in the features and in the procedure.

What belongs here: checks that every training runs and that refuse a model. What does not: how good an
honest model is (`evaluate`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrp_core.models.dataset import TrainingSet
from hrp_core.models.evaluate import evaluate

# Honest daily factors have mean rank ICs below 0.1. Both limits must be broken: a short history alone can
# show a large mean, a long one a large t-stat.
LEAK_IC = 0.15
LEAK_T = 5.0
_SHUFFLES = 2


@dataclass(frozen=True, slots=True)
class LeakCheck:
    """One check with what was measured.

    Attributes:
        name: what was looked at.
        passed: whether nothing suspicious was found.
        mean_ic: measured mean rank IC.
        t_stat: its t-statistic (standard error as in `Evaluation`).
        detail: what it means and what to do.
    """

    name: str
    passed: bool
    mean_ic: float
    t_stat: float
    detail: str


def no_feature_knows_the_future(data: TrainingSet) -> list[LeakCheck]:
    """Check each feature alone against the label and against the next session's return.

    A label (or a part of it) that was shifted into a feature correlates far beyond any honest factor. Returns
    one row a feature: the worse of the two.
    """
    checks = []
    for name, values in data.features.fields.items():
        found = [
            (evaluate(values, data.label, horizon=data.horizon), "label"),
            (evaluate(values, data.next_return, horizon=1), "return of the next session"),
        ]
        result, what = max(found, key=lambda pair: abs(np.nan_to_num(pair[0].mean_ic)))
        leaks = [one for one, _ in found if _implausible(one.mean_ic, one.t_stat)]
        checks.append(
            LeakCheck(
                f"feature {name}",
                not leaks,
                result.mean_ic,
                result.t_stat,
                f"mean rank IC with the {what}; beyond {LEAK_IC} with |t| above {LEAK_T:g} it must hold data "
                "from after its session: correct the feature",
            )
        )
    return checks


def scores_are_plausible(mean_ic: float, t_stat: float) -> LeakCheck:
    """Check the out-of-sample result as a whole with the same limits."""
    return LeakCheck(
        "out-of-sample scores",
        not _implausible(mean_ic, t_stat),
        mean_ic,
        t_stat,
        f"beyond {LEAK_IC} with |t| above {LEAK_T:g} the scores know what they cannot: look for a leak",
    )


def shuffled_labels_teach_nothing(
    data: TrainingSet,
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    seed: int = 0,
) -> LeakCheck:
    """Check that the whole procedure finds nothing where there is nothing to find.

    Labels are shuffled among the names of each session, then the procedure is run on them: the mean rank IC
    of its scores with the shuffled labels must be within two standard errors of 0. Pure chance exceeds that
    once in 20 times, so a second, independent shuffle is made when the first one does; a procedure that
    learns from what it is judged on exceeds it each time.

    Args:
        data: the training set.
        score: from labels, shape (T, n), to out-of-sample scores of the same shape.
        seed: of the shuffles.
    """
    mean, t_stat = float("nan"), float("nan")
    for shuffle in range(_SHUFFLES):
        shuffled = shuffle_within_rows(data.label, np.random.default_rng([seed, shuffle]))
        # Independent shuffles leave no overlap between sessions, so no lags.
        result = evaluate(score(shuffled), shuffled, horizon=0)
        mean, t_stat = result.mean_ic, result.t_stat
        if abs(mean) <= 2 * result.standard_error:
            return LeakCheck("shuffled labels", True, mean, t_stat, "within two standard errors of 0")
    return LeakCheck(
        "shuffled labels",
        False,
        mean,
        t_stat,
        f"beyond two standard errors of 0 in {_SHUFFLES} independent shuffles: the procedure learns from "
        "what it is judged on; correct it",
    )


def shuffle_within_rows(values: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Return `values` with the finite ones of each row permuted among themselves, shape (T, n)."""
    result = values.copy()
    for row in result:
        finite = np.flatnonzero(np.isfinite(row))
        row[finite] = row[generator.permutation(finite)]
    return result


def failures(checks: Sequence[LeakCheck]) -> list[str]:
    """Return one line a failed check."""
    return [
        f"{check.name}: mean rank IC {check.mean_ic:.3f} (t {check.t_stat:.1f}); {check.detail}"
        for check in checks
        if not check.passed
    ]


def _implausible(mean_ic: float, t_stat: float) -> bool:
    # A leak can be so exact that the ICs do not vary and there is no t-stat.
    return abs(mean_ic) > LEAK_IC and not abs(t_stat) <= LEAK_T
