"""The jobs of the day: named selections of assets.

What belongs here: which assets run together. What does not: when (schedules), what they do (assets), and jobs
without assets (`operations`).
"""

import warnings

import dagster as dg

from hrp_dagster.operations import OPERATIONS_JOBS

# decision_job mixes assets that one run may make for many sessions with those that it may not, on purpose: it
# then runs once a session.
warnings.filterwarnings("ignore", message="Asset job decision_job materializes assets with varying Backfill")

history_job = dg.define_asset_job(
    "history_job",
    selection=dg.AssetSelection.assets("price_history", "feature_history"),
    description="Load all prices before the first partition, and their features. Once, at set-up.",
)
market_data_job = dg.define_asset_job(
    "market_data_job",
    selection=dg.AssetSelection.assets("universe", "corporate_actions", "prices", "features"),
    description="Prices of a session and what is computed from them. 17:30 New York.",
)
predictions_job = dg.define_asset_job(
    "predictions_job",
    selection=dg.AssetSelection.assets("predictions", "model_drift", "signals", "target_portfolio"),
    description="Score the universe, watch the models and freeze the plan of the session. 18:15 New York.",
)
live_trader_job = dg.define_asset_job(
    "live_trader_job",
    selection=dg.AssetSelection.assets("trade_gate", "orders"),
    description="Judge the frozen plan of the session and send it, at most once. 18:30 New York.",
)
book_job = dg.define_asset_job(
    "book_job",
    selection=dg.AssetSelection.assets("fills", "positions", "nav", "reconciliation", "execution_quality"),
    description=(
        "Fills, positions and NAV of the book session, compared with the broker, and what they cost. 17:45 "
        "New York, the day after the decision; fills, positions and a provisional NAV at 09:45 and 16:15."
    ),
)

decision_job = dg.define_asset_job(
    "decision_job",
    selection=dg.AssetSelection.assets(
        *("universe", "corporate_actions", "prices", "features"),
        *("predictions", "model_drift", "signals", "target_portfolio"),
    ),
    description=(
        "Everything from the prices of a session to its frozen plan, in one run; sends nothing. By hand, "
        "once the book of the session before is closed."
    ),
)
drift_monitor_job = dg.define_asset_job(
    "drift_monitor_job",
    selection=dg.AssetSelection.assets("model_drift"),
    description="Compare the models in production with their training data. 19:00 New York.",
)
training_job = dg.define_asset_job(
    "training_job",
    selection=dg.AssetSelection.assets("trained_model"),
    description="Train a new version of a model; it scores nothing until a person promotes it. Saturdays.",
)

ALL_JOBS = (
    history_job,
    market_data_job,
    predictions_job,
    live_trader_job,
    book_job,
    decision_job,
    drift_monitor_job,
    training_job,
    *OPERATIONS_JOBS,
)
