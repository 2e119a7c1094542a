"""Prices and what comes with them: the first step of the day.

What belongs here: reading the price source. What does not: features, and anything about positions.
"""

import dagster as dg
import pandas as pd

from hrp_core.market.load import load_corporate_actions, load_history, load_prices, load_universe
from hrp_core.settings import Settings
from hrp_core.store import table
from hrp_dagster.assets.session_asset import OWNERS, requested_sessions, session_asset
from hrp_dagster.metadata import definition_metadata
from hrp_dagster.resources.ibkr import IBKRResource
from hrp_dagster.resources.platform import Platform

GROUP = "market_data"


@session_asset(group=GROUP, kinds={"python"}, by_range=True)
def universe(context: dg.AssetExecutionContext, platform: Platform, ibkr: IBKRResource) -> pd.DataFrame:
    """A name with an official close on the session may be bought; the others are listed with the reason."""
    with platform.open_source(ibkr) as source:
        return load_universe(source, requested_sessions(context, platform.clock()))


@session_asset(group=GROUP, kinds={"python"}, deps=["universe"], by_range=True)
def corporate_actions(
    context: dg.AssetExecutionContext, platform: Platform, ibkr: IBKRResource
) -> pd.DataFrame:
    """Taken from the price source; the shipped sample is adjusted already and has none."""
    with platform.open_source(ibkr) as source:
        return load_corporate_actions(source, requested_sessions(context, platform.clock()))


@session_asset(group=GROUP, kinds={"python"}, deps=["universe", "corporate_actions"], by_range=True)
def prices(context: dg.AssetExecutionContext, platform: Platform, ibkr: IBKRResource) -> pd.DataFrame:
    """Official bars as the source gives them; open, high, low and volume are null where it has none."""
    with platform.open_source(ibkr) as source:
        return load_prices(source, requested_sessions(context, platform.clock()))


@dg.asset(
    group_name=GROUP,
    kinds={"python", "duckdb"},
    owners=OWNERS,
    code_version="1",
    description=(
        "All bars before the first partition, loaded at once into the table `prices`: thousands of "
        "partitions would cost minutes and gigabytes."
    ),
    metadata=definition_metadata(table("prices"), before=Settings().first_session),
)
def price_history(platform: Platform, ibkr: IBKRResource) -> pd.DataFrame:
    """Load everything the source has before the first session that is a partition."""
    with platform.open_source(ibkr) as source:
        return load_history(source, platform.settings().first_session)
