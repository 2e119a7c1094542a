"""Trained models and their drift.

What belongs here: the weekly training and the daily look at drift. What does not: the arithmetic
(`hrp_core.models`), and putting a version into production (a person does that, `hrp model promote`).
"""

from types import ModuleType

import dagster as dg
import pandas as pd
from pydantic import Field

from hrp_core.calendar import nyse
from hrp_core.features import FEATURES
from hrp_core.models.service import monitor_drift, monitor_rows, train_model
from hrp_core.models.tracking import EXPERIMENT
from hrp_dagster.assets.session_asset import OWNERS, requested_session, session_asset
from hrp_dagster.metadata import numbers
from hrp_dagster.mlflow_links import run_page
from hrp_dagster.plots import drift_plot, embedded
from hrp_dagster.resources.platform import Platform


class TrainingSetup(dg.Config):
    """How to train; the defaults are those of the weekly job."""

    model_name: str = Field(
        default="us_equity_ranker", description="Name in the registry that gets the new version."
    )
    learner: str = Field(default="gradient_boosting", description="ridge or gradient_boosting.")
    since: str = Field(default="2010-01-04", description="First session to learn from, YYYY-MM-DD.")
    folds: int = Field(default=5, ge=2, description="Walk-forward folds, purged and embargoed.")


@dg.asset(
    group_name="models",
    kinds={"python", "mlflow", "scikitlearn"},
    owners=OWNERS,
    code_version="1",
    deps=["feature_history", "features"],
    description=(
        "A model trained walk-forward on the stored features, with purged and embargoed splits. Registers a "
        "version without an alias: it scores nothing until a person promotes it."
    ),
)
def trained_model(
    context: dg.AssetExecutionContext,
    config: TrainingSetup,
    platform: Platform,
    mlflow: dg.ResourceParam[ModuleType],
) -> dg.MaterializeResult:
    """Train on everything up to the decision session, and log the evidence, whatever it is."""
    clock, registry = platform.clock(), platform.registry()
    trained = train_model(
        platform.store(),
        registry,
        config.model_name,
        as_of=nyse().decision_session(clock.now()),
        since=nyse().next_session_from(pd.Timestamp(config.since).date()),
        learner=config.learner,
        folds=config.folds,
        dagster_run_id=context.run.run_id,
    )
    mlflow.end_run()
    return dg.MaterializeResult(
        metadata={
            "model": trained.name,
            "version": trained.version,
            "mlflow_run": trained.run_id,
            "mlflow_experiment": EXPERIMENT,
            "mlflow_ui": run_page(
                platform.settings().mlflow_ui,
                registry.tracking.uri,
                registry.tracking.set_up(),
                trained.run_id,
            ),
            "first_session": str(trained.first),
            "last_session": str(trained.last),
            "features": list(trained.spec.features),
            **{f"oos_{name}": value for name, value in trained.evaluation.metrics().items()},
        }
    )


@session_asset(
    group="monitoring", kinds={"python", "mlflow"}, deps=["predictions", "features", "model_registry"]
)
def model_drift(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[pd.DataFrame]:
    """Each model in production against its training data; what cannot be checked is an error."""
    clock, settings = platform.clock(), platform.settings()
    session = requested_session(context, clock)
    models = [strategy.model for strategy in platform.strategies() if strategy.model not in FEATURES]
    result = monitor_drift(
        platform.store(),
        platform.registry(),
        models,
        session,
        now=clock.now(),
        auto_rollback=settings.auto_rollback,
    )
    rows = monitor_rows(result, clock.now())
    realized = rows.loc[rows["drift_type"] == "concept", ["model_name", "statistic"]]
    return dg.Output(
        rows,
        metadata={
            "status": result.status.value,
            "models_checked": len(result.reports),
            "models_with_drift": list(result.drifted),
            "rollbacks": result.rollbacks,
            **numbers(**{f"rank_ic_{model}": ic for model, ic in realized.itertuples(index=False)}),
            **embedded("drift", drift_plot(rows)),
        },
    )
