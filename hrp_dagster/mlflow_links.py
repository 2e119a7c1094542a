"""Where MLflow shows a run or a version: what the pages of `trained_model` and `predictions` lead to.

What belongs here: addresses of MLflow's pages as Dagster metadata. What does not: MLflow itself
(`hrp_core.models.tracking`).
"""

import shlex
from collections.abc import Iterable, Mapping
from urllib.parse import quote

import dagster as dg

from hrp_core.features import FEATURES
from hrp_core.models.registry import ModelRegistry


def run_page(ui: str | None, tracking_uri: str, experiment_id: str, run_id: str) -> dg.MetadataValue:
    """Return the link to a run's page, or without an address the command that starts the UI.

    Args:
        ui: address of a running MLflow UI (`HRP_MLFLOW_UI`); None without one.
        tracking_uri: where MLflow keeps runs.
        experiment_id: of the run.
        run_id: of MLflow.
    """
    if ui is None:
        return dg.MetadataValue.text(
            f"mlflow ui --backend-store-uri {shlex.quote(tracking_uri)} --host 127.0.0.1"
        )
    return dg.MetadataValue.url(f"{ui}/#/experiments/{quote(experiment_id)}/runs/{quote(run_id)}")


def version_pages(ui: str, scored: Iterable[tuple[str, str]]) -> dg.MetadataValue:
    """Return a link to the page of each (model, version), which leads on to its run."""
    return dg.MetadataValue.md(
        "\n".join(
            f"- [{name} {version}]({ui}/#/models/{quote(name, safe='')}/versions/{quote(version)})"
            for name, version in scored
        )
    )


def scored_by(
    registry: ModelRegistry, ui: str | None, scored: Iterable[tuple[str, str]]
) -> Mapping[str, dg.MetadataValue]:
    """Return the MLflow run of each registered (model, version); nothing where only factors scored.

    Args:
        registry: holds the versions.
        ui: address of a running MLflow UI; None: no links.
        scored: model and version of the predictions, factors included.

    Raises:
        ModelError: the registry cannot be read.
    """
    models = [pair for pair in scored if pair[0] not in FEATURES]
    if not models:
        return {}
    runs = {f"{name} {version}": registry.run_id(name, version) for name, version in models}
    found: dict[str, dg.MetadataValue] = {"mlflow_runs": dg.MetadataValue.json(runs)}
    if ui is not None:
        found["mlflow_ui"] = version_pages(ui, models)
    return found
