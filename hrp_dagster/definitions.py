"""The Dagster code location.

What belongs here: putting assets, jobs and resources together. `build_defs` returns a fresh `Definitions`, so
that tests and tools replace one part without patching. Loading needs no broker, no gateway and no database.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from hrp_core.log import mask_records
from hrp_core.settings import Settings
from hrp_dagster.assets import (
    book,
    execution,
    features,
    market_data,
    models,
    monitoring,
    portfolio,
    predictions,
)
from hrp_dagster.assets.external import EXTERNAL_ASSETS
from hrp_dagster.checks import build_all_checks
from hrp_dagster.jobs import ALL_JOBS
from hrp_dagster.resources.duckdb_io_manager import StoreIOManager
from hrp_dagster.resources.ibkr import IBKRResource
from hrp_dagster.resources.mlflow_run import mlflow_run
from hrp_dagster.resources.platform import Platform
from hrp_dagster.schedules import build_schedules
from hrp_dagster.sensors import ALL_SENSORS


def build_defs(settings: Settings | None = None, **resource_overrides: Any) -> dg.Definitions:
    """Return the definitions of one installation.

    Args:
        settings: default: read from the environment.
        resource_overrides: resources by key (`platform`, `ibkr`, `mlflow`, `io_manager`) in place of the
            usual ones.
    """
    settings = settings or Settings()
    platform = resource_overrides.get("platform") or Platform(home=str(settings.home))
    resources: Mapping[str, Any] = {
        "platform": platform,
        "ibkr": IBKRResource(),
        "mlflow": mlflow_run,
        "io_manager": StoreIOManager.from_settings(settings, platform),
        **resource_overrides,
    }
    return dg.Definitions(
        assets=[
            *dg.load_assets_from_modules(
                [market_data, features, models, predictions, portfolio, execution, book, monitoring]
            ),
            *EXTERNAL_ASSETS,
        ],
        asset_checks=build_all_checks(),
        jobs=ALL_JOBS,
        schedules=build_schedules(settings, ALL_JOBS),
        sensors=ALL_SENSORS,
        resources=resources,
        # Six assets take 4 s in one process instead of 25 s with a process, and its imports, for each.
        executor=dg.in_process_executor,
    )


# Dagster stores what is logged in a run: account numbers must not get there.
mask_records()
defs = build_defs()
