"""Training: from a data set to a registered model with its evidence.

What belongs here: the order of the steps and what is logged. What does not: the steps themselves, and putting
a version into production (`registry`): a new version has no alias.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hrp_core.errors import ModelError
from hrp_core.models import plots
from hrp_core.models.dataset import TrainingSet, centred_rank
from hrp_core.models.drift import DriftReference, calibrate
from hrp_core.models.evaluate import Evaluation, decile_means, evaluate, rank_ic
from hrp_core.models.leakage import (
    LeakCheck,
    failures,
    no_feature_knows_the_future,
    scores_are_plausible,
    shuffle_within_rows,
    shuffled_labels_teach_nothing,
)
from hrp_core.models.learners import GradientBoosting, Learner, Predictor, fit, out_of_sample, predict, usable
from hrp_core.models.spec import ModelSpec, registered_spec
from hrp_core.models.splits import Split, walk_forward
from hrp_core.models.tracking import Tracking, import_mlflow

DRIFT_ARTIFACT = "drift"
# skops refuses the trees of a file from elsewhere; these are fitted in this very run.
_TRUSTED = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train.

    Attributes:
        model_name: name in the registry.
        learner: kind of model.
        folds: walk-forward folds.
        embargo: sessions left out before each test range, besides the purged ones.
        min_train: least sessions to learn from.
        seed: of shuffles and samples.
    """

    model_name: str
    learner: Learner = field(default_factory=GradientBoosting)
    folds: int = 5
    embargo: int = 5
    min_train: int = 504
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A registered version with its evidence.

    Attributes:
        name: name in the registry.
        version: version in the registry.
        run_id: MLflow run.
        spec: what the model must be given.
        evaluation: out-of-sample result, whatever it is.
        checks: searches for leaks; all passed, else there would be no model.
        importance: fall of the last fold's mean rank IC when a feature is shuffled, by feature.
        first: first session learned from.
        last: last session learned from (the last with matured labels).
    """

    name: str
    version: str
    run_id: str
    spec: ModelSpec
    evaluation: Evaluation
    checks: tuple[LeakCheck, ...]
    importance: Mapping[str, float]
    first: date
    last: date


def train(
    data: TrainingSet,
    config: TrainingConfig,
    tracking: Tracking,
    *,
    dagster_run_id: str | None = None,
    code_version: str | None = None,
) -> TrainedModel:
    """Train, judge out of sample, and register a version without an alias.

    Walk-forward folds give the out-of-sample scores; the registered model is then fitted to all matured rows.
    Everything is logged into the open MLflow run, or into one of its own.

    Args:
        data: features and matured labels.
        config: how to train.
        tracking: where MLflow lives.
        dagster_run_id: tags the MLflow run.
        code_version: of the code that trains; default: the version of the installed package.

    Raises:
        ModelError: a check found a leak; the run keeps the evidence and nothing is registered.
        NotReadyError: too little history.
    """
    matured = np.flatnonzero(np.isfinite(data.label).any(axis=1))
    first, count = int(matured[0]), int(matured[-1]) + 1
    with tracking.run(f"train {config.model_name}", dagster_run_id) as run_id:
        mlflow = import_mlflow()
        mlflow.log_params(_parameters(data, config, first, count))
        mlflow.set_tag("hrp.code_version", code_version or package_version("hrp-dagster"))
        splits = _splits(data, config, first, count)
        target = data.target
        scores = out_of_sample(data, config.learner, splits, target)
        result = evaluate(scores, data.label, horizon=data.horizon)
        mlflow.log_metrics({f"oos_{name}": value for name, value in result.metrics().items()})
        checks = _leak_checks(data, config, splits, result)
        mlflow.log_dict({"checks": [asdict(check) for check in checks]}, "leakage.json")
        if found := failures(checks):
            mlflow.set_tag("hrp.leak", "; ".join(found)[:4000])
            raise ModelError(f"{config.model_name} was not registered, there is a leak: {'; '.join(found)}")
        weights = _importance(data, config, splits[-1], target)
        _log_evidence(data, scores, weights)
        spec = registered_spec(
            data.names, horizon=data.horizon, handles_missing=config.learner.handles_missing
        )
        mlflow.log_dict(spec.to_metadata(), "features.json")
        model = fit(data, config.learner, range(first, count), target)
        final = predict(data, config.learner, model, range(len(data.sessions)))
        _log_reference(calibrate(data, final, scores, seed=config.seed))
        version = _log_model(data, config, spec, model)
        mlflow.set_tag("hrp.version", version)
    return TrainedModel(
        config.model_name,
        version,
        run_id,
        spec,
        result,
        tuple(checks),
        weights,
        data.sessions[first],
        data.sessions[count - 1],
    )


def _splits(data: TrainingSet, config: TrainingConfig, first: int, count: int) -> list[Split]:
    folds = walk_forward(
        count - first,
        reach=data.reach,
        folds=config.folds,
        embargo=config.embargo,
        min_train=config.min_train,
    )
    return [
        Split(range(first, first + fold.train.stop), range(first + fold.test.start, first + fold.test.stop))
        for fold in folds
    ]


def _leak_checks(
    data: TrainingSet, config: TrainingConfig, splits: list[Split], result: Evaluation
) -> list[LeakCheck]:
    def procedure(label: NDArray[np.float64]) -> NDArray[np.float64]:
        return out_of_sample(data, config.learner, splits, centred_rank(label))

    return [
        *no_feature_knows_the_future(data),
        scores_are_plausible(result.mean_ic, result.t_stat),
        shuffled_labels_teach_nothing(data, procedure, seed=config.seed),
    ]


def _importance(
    data: TrainingSet, config: TrainingConfig, split: Split, target: NDArray[np.float64]
) -> dict[str, float]:
    """Return the fall of the mean rank IC on the last test range when one feature is shuffled.

    Permutation importance (Breiman 2001), shuffled among the names of a session: what a feature adds to the
    ranking of names, not to the timing of the market.
    """
    model = fit(data, config.learner, split.train, target)
    rows = slice(split.test.start, split.test.stop)
    window = TrainingSet(
        data.features.window(rows.start, rows.stop),
        data.label[rows],
        data.next_return[rows],
        data.horizon,
        data.lag,
    )
    return {
        name: _mean_ic(window, config, model) - _mean_ic(_shuffled(window, name, config.seed), config, model)
        for name in data.names
    }


def _shuffled(data: TrainingSet, name: str, seed: int) -> TrainingSet:
    generator = np.random.default_rng(seed)
    fields = dict(data.features.fields)
    fields[name] = shuffle_within_rows(fields[name], generator)
    features = type(data.features)(data.features.sessions, data.features.symbols, fields)
    return TrainingSet(features, data.label, data.next_return, data.horizon, data.lag)


def _mean_ic(data: TrainingSet, config: TrainingConfig, model: Predictor) -> float:
    scores = predict(data, config.learner, model, range(len(data.sessions)))
    ic = rank_ic(scores, data.label)
    known = ic[np.isfinite(ic)]
    return float(known.mean()) if len(known) else 0.0


def _parameters(data: TrainingSet, config: TrainingConfig, first: int, count: int) -> dict[str, Any]:
    learner = config.learner
    hyper = asdict(learner) if hasattr(learner, "__dataclass_fields__") else {}  # pyright: ignore[reportArgumentType]
    return {
        "learner": learner.name,
        **{f"{learner.name}.{name}": value for name, value in hyper.items()},
        "features": json.dumps(list(data.names)),
        "horizon": data.horizon,
        "lag": data.lag,
        "first_session": str(data.sessions[first]),
        "last_session": str(data.sessions[count - 1]),
        "symbols": len(data.features.symbols),
        "folds": config.folds,
        "embargo": config.embargo,
        "min_train": config.min_train,
        "seed": config.seed,
    }


def _log_evidence(data: TrainingSet, scores: NDArray[np.float64], weights: Mapping[str, float]) -> None:
    mlflow = import_mlflow()
    mlflow.log_dict(dict(weights), "importance.json")
    mlflow.log_figure(plots.cumulative_ic(data.sessions, rank_ic(scores, data.label)), "plots/rank_ic.png")
    mlflow.log_figure(plots.decile_returns(decile_means(scores, data.label)), "plots/deciles.png")
    mlflow.log_figure(plots.importance(weights), "plots/importance.png")


def _log_reference(reference: DriftReference) -> None:
    with tempfile.TemporaryDirectory() as folder:
        reference.save(Path(folder))
        import_mlflow().log_artifacts(folder, DRIFT_ARTIFACT)


def _log_model(data: TrainingSet, config: TrainingConfig, spec: ModelSpec, model: Predictor) -> str:
    """Log and register the fitted model; return its version."""
    import_mlflow()
    import mlflow.sklearn as mlflow_sklearn
    from mlflow.models import infer_signature

    example: pd.DataFrame = data.rows(usable(data, config.learner)).head(2)
    logged = mlflow_sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(example, model.predict(example)),
        # Finding them out by itself takes MLflow five seconds.
        pip_requirements=[f"scikit-learn=={package_version('scikit-learn')}", "skops"],
        skops_trusted_types=_TRUSTED,
        registered_model_name=config.model_name,
        metadata=spec.to_metadata(),
    )
    version = logged.registered_model_version
    if version is None:
        raise ModelError(f"MLflow logged {config.model_name} without registering it; train again")
    return str(version)
