"""The two kinds of models that are trained here, behind one small interface.

What belongs here: hyper-parameters, fitting and walk-forward prediction. What does not: judging predictions
(`evaluate`). A model made elsewhere does not pass through here: it is registered as an MLflow pyfunc.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hrp_core.errors import ModelError
from hrp_core.models.dataset import TrainingSet
from hrp_core.models.splits import Split


class Predictor(Protocol):
    """A fitted model."""

    def predict(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        """Return one score a row."""
        ...


class Learner(Protocol):
    """A kind of model; equal inputs give equal models."""

    @property
    def name(self) -> str:
        """Short name."""
        ...

    @property
    def handles_missing(self) -> bool:
        """Whether rows with missing features are learned from and scored."""
        ...

    def fit(self, rows: pd.DataFrame, target: NDArray[np.float64]) -> Predictor:
        """Return a scikit-learn estimator fitted to one row and target a name and session."""
        ...


@dataclass(frozen=True, slots=True)
class GradientBoosting:
    """Histogram gradient boosting, strongly regularised; scores names with missing features too."""

    iterations: int = 100
    learning_rate: float = 0.05
    leaves: int = 8
    min_leaf: int = 200
    l2: float = 1.0
    seed: int = 0

    @property
    def name(self) -> str:
        """Short name."""
        return "gradient_boosting"

    @property
    def handles_missing(self) -> bool:
        """Missing features take a branch of their own."""
        return True

    def fit(self, rows: pd.DataFrame, target: NDArray[np.float64]) -> Predictor:
        """Return the fitted trees."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(
            max_iter=self.iterations,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.min_leaf,
            l2_regularization=self.l2,
            # Early stopping would hold out random rows, whose labels overlap those it learns from.
            early_stopping=False,  # pyright: ignore[reportArgumentType]
            random_state=self.seed,
        ).fit(rows, target)


@dataclass(frozen=True, slots=True)
class RidgeRegression:
    """Linear regression on standardised features with an L2 penalty; needs every feature of a row."""

    alpha: float = 10.0

    @property
    def name(self) -> str:
        """Short name."""
        return "ridge"

    @property
    def handles_missing(self) -> bool:
        """Rows with a missing feature are neither learned from nor scored."""
        return False

    def fit(self, rows: pd.DataFrame, target: NDArray[np.float64]) -> Predictor:
        """Return the fitted regression with its scaling."""
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        model: Any = make_pipeline(StandardScaler(), Ridge(alpha=self.alpha))
        return model.fit(rows, target)


LEARNERS: dict[str, type[GradientBoosting] | type[RidgeRegression]] = {
    "gradient_boosting": GradientBoosting,
    "ridge": RidgeRegression,
}


def usable(data: TrainingSet, learner: Learner) -> NDArray[np.bool_]:
    """Return which cells the learner can score, shape (T, n)."""
    finite = np.stack([np.isfinite(values) for values in data.features.fields.values()])
    enough = finite.any(axis=0) if learner.handles_missing else finite.all(axis=0)
    return np.asarray(enough, dtype=bool)


def fit(data: TrainingSet, learner: Learner, rows: Sequence[int], target: NDArray[np.float64]) -> Predictor:
    """Return the learner fitted to some sessions.

    Args:
        data: the training set.
        learner: kind of model.
        rows: positions of the sessions to learn from.
        target: shape (T, n).

    Raises:
        ModelError: no cell of those sessions has both features and a target.
    """
    mask = np.zeros(target.shape, dtype=bool)
    mask[list(rows)] = True
    mask &= usable(data, learner) & np.isfinite(target)
    if not mask.any():
        first, last = data.sessions[rows[0]], data.sessions[rows[-1]]
        raise ModelError(
            f"no name has all it takes to fit {learner.name} between {first} and {last}: features are "
            "missing throughout; load more history, or leave out features that the price source cannot give"
        )
    return learner.fit(data.rows(mask), target[mask])


def predict(
    data: TrainingSet, learner: Learner, model: Predictor, rows: Sequence[int]
) -> NDArray[np.float64]:
    """Return the scores of some sessions, shape (T, n), NaN elsewhere."""
    mask = np.zeros(data.label.shape, dtype=bool)
    mask[list(rows)] = True
    mask &= usable(data, learner)
    scores = np.full(mask.shape, np.nan)
    if mask.any():
        scores[mask] = model.predict(data.rows(mask))
    return scores


def out_of_sample(
    data: TrainingSet, learner: Learner, splits: Sequence[Split], target: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return scores of each fold's test sessions by a model that never saw them, shape (T, n), else NaN."""
    scores = np.full(target.shape, np.nan)
    for split in splits:
        fold = predict(data, learner, fit(data, learner, split.train, target), split.test)
        scores[split.test.start : split.test.stop] = fold[split.test.start : split.test.stop]
    return scores
