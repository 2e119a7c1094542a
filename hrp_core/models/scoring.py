"""Scores of the universe for one session.

What belongs here: turning features into predictions, joined by symbol. What does not: what to hold of it
(`hrp_core.portfolio`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hrp_core.errors import HrpError, NotReadyError
from hrp_core.features import FEATURES, feature_version

PREDICTION_COLUMNS = ("strategy_id", "symbol", "prediction", "rank", "model_name", "model_version")


@dataclass(frozen=True, slots=True)
class ScoringResult:
    """Predictions of all strategies that could be scored, and why the others could not.

    Attributes:
        predictions: columns of `PREDICTION_COLUMNS`, one row a strategy and symbol of the universe;
            `prediction` and `rank` are null where the name has no score. Rank 1 is the best.
        errors: message by strategy id.
    """

    predictions: pd.DataFrame
    errors: dict[str, str]


def score_factor(strategy_id: str, factor: str, features: pd.DataFrame) -> pd.DataFrame:
    """Score each symbol with the value of one feature.

    Args:
        strategy_id: whose prediction it is.
        factor: a registered feature, which is a column of `features`.
        features: one row a symbol of the session.

    Returns:
        One row a symbol with the columns of `PREDICTION_COLUMNS`, sorted by symbol.

    Raises:
        NotReadyError: the features hold no such column.
    """
    if factor not in features.columns:
        raise NotReadyError(f"feature {factor!r} is not among the stored features; run market_data_job again")
    frame = features[["symbol", factor]].sort_values("symbol", ignore_index=True)
    score = frame[factor].astype(float).where(np.isfinite(frame[factor].astype(float)))
    return prediction_rows(strategy_id, frame["symbol"], score, factor, f"factor-v{feature_version(factor)}")


def prediction_rows(
    strategy_id: str, symbols: pd.Series, score: pd.Series, model_name: str, model_version: str
) -> pd.DataFrame:
    """Return scores as rows of `PREDICTION_COLUMNS`.

    Args:
        strategy_id: whose predictions they are.
        symbols: sorted.
        score: one a symbol, in the same order and with the same index; NaN = not scored.
        model_name: what scored them.
        model_version: which version of it.
    """
    return pd.DataFrame(
        {
            "strategy_id": strategy_id,
            "symbol": symbols,
            "prediction": score,
            # Ties go to the symbol that comes first, as in the signals.
            "rank": score.rank(ascending=False, method="first").astype("Int64"),
            "model_name": model_name,
            "model_version": model_version,
        }
    )


def score_strategies(
    models: dict[str, str],
    features: pd.DataFrame,
    registered: Callable[[str, str, pd.DataFrame], pd.DataFrame] | None = None,
) -> ScoringResult:
    """Score every strategy; the failure of one never stops the others.

    Args:
        models: what scores each strategy, by strategy id: a feature, or else a registered model.
        features: one row a symbol of the session.
        registered: from strategy id, model name and features to predictions (`registered.score_model` with
            session and registry bound); None where only features can score.
    """
    frames: list[pd.DataFrame] = []
    errors: dict[str, str] = {}
    for strategy_id, model in sorted(models.items()):
        try:
            if registered is None or model in FEATURES:
                frames.append(score_factor(strategy_id, model, features))
            else:
                frames.append(registered(strategy_id, model, features))
        except HrpError as error:
            errors[strategy_id] = str(error)
    predictions = (
        pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(PREDICTION_COLUMNS))
    )
    return ScoringResult(predictions, errors)
