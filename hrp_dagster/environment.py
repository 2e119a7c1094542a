"""The process environment that Dagster and its companions expect, set in one place.

Every entry point calls `prepare_environment` before Dagster is imported: state goes to one absolute place,
telemetry is off.
"""

import os
from pathlib import Path

from hrp_core.settings import PROJECT_ROOT, Settings

_OFF_SWITCHES = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    # ib_insync predates Python 3.12's warnings; they would bury the first page of output.
    "PYTHONWARNINGS": "ignore::DeprecationWarning",
}


def dagster_state(settings: Settings) -> Path:
    """Return where Dagster keeps runs, events and logs."""
    return settings.home / "dagster"


def prepare_environment(settings: Settings) -> None:
    """Point Dagster at this installation and switch telemetry off, for this process and its children."""
    state = dagster_state(settings)
    state.mkdir(parents=True, exist_ok=True)
    settings.mode_dir.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(PROJECT_ROOT)
    os.environ["HRP_DAGSTER_STATE"] = str(state)
    os.environ["HRP_HOME"] = str(settings.home)
    for name, value in _OFF_SWITCHES.items():
        os.environ.setdefault(name, value)
