"""Features: numbers about names, from prices alone.

What belongs here: the daily features and their bulk history. What does not: formulas (`hrp_core.features`).
"""

import dagster as dg
import pandas as pd

from hrp_core.features.stored import history_features, stored_features
from hrp_core.settings import Settings
from hrp_core.store import table
from hrp_dagster.assets.session_asset import OWNERS, requested_sessions, session_asset
from hrp_dagster.metadata import definition_metadata
from hrp_dagster.resources.platform import Platform

GROUP = "features"


@session_asset(
    group=GROUP,
    kinds={"python", "numpy"},
    deps=["prices"],
    by_range=True,
)
def features(context: dg.AssetExecutionContext, platform: Platform) -> pd.DataFrame:
    """Every registered feature of every name with a price in its look-back window."""
    sessions = requested_sessions(context, platform.clock())
    frame = stored_features(platform.store(), min(sessions), max(sessions))
    return frame.loc[frame["session"].isin(set(sessions))].reset_index(drop=True)


@dg.asset(
    group_name=GROUP,
    kinds={"python", "numpy", "duckdb"},
    owners=OWNERS,
    code_version="1",
    deps=["price_history"],
    description="The features of all sessions before the first partition, loaded at once into `features`.",
    metadata=definition_metadata(table("features"), before=Settings().first_session),
)
def feature_history(platform: Platform) -> pd.DataFrame:
    """Compute every registered feature for the sessions before the first partition."""
    return history_features(platform.store(), platform.settings().first_session)
