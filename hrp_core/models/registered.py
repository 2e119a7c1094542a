"""Scores of the universe by a model of the registry.

What belongs here: giving a version its features and joining its answer to the symbols by key. What does not:
factors (`scoring`), and where models live (`registry`).
"""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hrp_core.errors import DataError, ModelError
from hrp_core.models.registry import LoadedModel, ModelRegistry
from hrp_core.models.scoring import prediction_rows


def score_model(
    strategy_id: str,
    model_name: str,
    features: pd.DataFrame,
    session: date,
    registry: ModelRegistry,
    *,
    version: str | None = None,
) -> pd.DataFrame:
    """Score each symbol with one version of a registered model.

    A name with a missing feature is scored only by a model that says it can (gradient boosting); a name
    without any feature never is. Names without a score stay in the result, with nulls.

    Args:
        strategy_id: whose prediction it is.
        model_name: registered model.
        features: one row a symbol of `session`, in any order, with the columns the model was trained on.
        session: the session scored.
        registry: holds the model.
        version: pinned version; default: the one in production, resolved once.

    Returns:
        One row a symbol with the columns of `PREDICTION_COLUMNS`, sorted by symbol.

    Raises:
        DataError: a symbol stands twice, rows are of another session, or a feature is missing.
        ModelError: the version is not there or does not load, features have changed their version since the
            training, or the model does not give one number a row.
    """
    if "session" in features.columns and not (features["session"].dropna() == session).all():
        raise DataError(f"the features to score hold other sessions than {session}; select that one")
    if features["symbol"].duplicated().any():
        twice = features.loc[features["symbol"].duplicated(), "symbol"].iloc[0]
        raise DataError(f"the features of {session} hold {twice} twice; run market_data_job again")
    pinned = str(version) if version is not None else registry.resolve(model_name)
    model = registry.load(model_name, pinned)
    model.spec.check(features, f"{model_name} version {pinned}")
    ordered = features.sort_values("symbol", ignore_index=True)
    rows = ordered.set_index("symbol")[list(model.spec.features)].astype(np.float64)
    finite = np.isfinite(rows.to_numpy())
    rows = rows.where(finite)
    able = np.asarray(finite.any(axis=1) if model.spec.handles_missing else finite.all(axis=1), dtype=bool)
    scores = pd.Series(np.nan, index=rows.index, dtype=np.float64)
    if able.any():
        scores.loc[rows.index[able]] = _answer(model, rows.loc[able])
    return prediction_rows(strategy_id, ordered["symbol"], scores.reset_index(drop=True), model_name, pinned)


def _answer(model: LoadedModel, rows: pd.DataFrame) -> NDArray[np.float64]:
    """Return one score a row; an answer that carries symbols is joined by them, whatever its order."""
    label = f"{model.name} version {model.version}"
    try:
        answer: Any = model.predict(rows)
    # A user's model is arbitrary code.
    except Exception as error:
        raise ModelError(
            f"{label} failed on {len(rows)} names: {type(error).__name__}: {error}; "
            "repair the model, or roll back"
        ) from error
    if isinstance(answer, pd.DataFrame):
        if answer.shape[1] != 1:
            raise ModelError(f"{label} gave {answer.shape[1]} columns; it must give one score a name")
        answer = answer.iloc[:, 0]
    if isinstance(answer, pd.Series):
        if set(answer.index) == set(rows.index) and answer.index.is_unique:
            answer = answer.reindex(rows.index)
        elif not answer.index.equals(pd.RangeIndex(len(rows))):
            raise ModelError(f"{label} gave scores for other names than it was asked for; repair the model")
    try:
        scores = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{label} gave no numbers ({error}); repair the model") from error
    if scores.shape not in ((len(rows),), (len(rows), 1)):
        raise ModelError(
            f"{label} gave an answer of shape {scores.shape} for {len(rows)} names; one a name is needed"
        )
    return np.where(np.isfinite(scores), scores, np.nan).reshape(len(rows))
