"""Scores of the universe, and what each strategy makes of them.

What belongs here: predictions and signals of a session. What does not: holdings and money.
"""

import dagster as dg
import pandas as pd

from hrp_core.platform.jobs import predictions_result
from hrp_core.portfolio.freshness import require_fresh_data
from hrp_core.portfolio.stored import score_session, session_signals, signals_frame
from hrp_dagster.assets.session_asset import requested_session, session_asset
from hrp_dagster.mlflow_links import scored_by
from hrp_dagster.plots import embedded, predictions_plot
from hrp_dagster.resources.platform import Platform

GROUP = "predictions"


@session_asset(group=GROUP, kinds={"python"}, deps=["universe", "features", "model_registry"])
def predictions(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[pd.DataFrame]:
    """One score a strategy and name; a strategy that cannot be scored is left out and named in `errors`."""
    session, strategies = requested_session(context, platform.clock()), platform.strategies()
    require_fresh_data(platform.store(), session)
    result = score_session(platform.store(), strategies, session, platform.registry())
    for strategy_id, message in result.errors.items():
        context.log.error("%s was not scored: %s", strategy_id, message)
    outcome = predictions_result(
        deployed=len(strategies),
        generated=int(result.predictions["prediction"].notna().sum()),
        processed=int(result.predictions["strategy_id"].nunique()),
        errors=result.errors,
    )
    pairs = result.predictions[["model_name", "model_version"]].drop_duplicates()
    models = [(str(name), str(version)) for name, version in pairs.itertuples(index=False)]
    return dg.Output(
        result.predictions.assign(session=session),
        metadata={
            "status": outcome.status.value,
            "models": [f"{name} {version}" for name, version in models],
            **scored_by(platform.registry(), platform.settings().mlflow_ui, models),
            "predictions": outcome.predictions_generated,
            "strategies": outcome.strategies_processed,
            "deployed": len(strategies),
            "errors": result.errors,
            **embedded("predictions", predictions_plot(result.predictions)),
        },
    )


@session_asset(group=GROUP, kinds={"python"}, deps=["predictions"])
def signals(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[pd.DataFrame]:
    """What each strategy's rule makes of its predictions."""
    session = requested_session(context, platform.clock())
    strategies = platform.strategies()
    frame = signals_frame(session_signals(platform.store(), strategies, session), strategies)
    return dg.Output(
        frame.assign(session=session),
        metadata={"long": int((frame["signal"] > 0).sum()), "short": int((frame["signal"] < 0).sum())},
    )
