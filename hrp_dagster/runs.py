"""Running Dagster jobs from the command line, in this process, on the project's instance.

The runs carry the tag by which the web UI lists them on its job and asset pages.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError  # not exported

from hrp_core.errors import RefusedError
from hrp_core.settings import Settings
from hrp_dagster.definitions import build_defs
from hrp_dagster.partitions import KEY_FORMAT
from hrp_dagster.resources.platform import Platform

_LOCATION_TAG = {".dagster/repository": "__repository__@hrp_dagster.definitions"}
_open_instance: ContextVar[dg.DagsterInstance | None] = ContextVar("open_instance", default=None)
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True)
class JobRun:
    """One finished run.

    Attributes:
        metadata: what each asset recorded, by asset name; the value by metadata name.
    """

    job: str
    run_id: str
    partition_key: str | None
    metadata: Mapping[str, Mapping[str, object]]


@lru_cache(maxsize=8)
def _definitions(
    settings_json: str, dry_run: bool | None = None, auto_rollback: bool | None = None
) -> dg.Definitions:
    settings = Settings.model_validate_json(settings_json)
    if dry_run is None and auto_rollback is None:
        return build_defs(settings)
    platform = Platform(home=str(settings.home), dry_run=dry_run, auto_rollback=auto_rollback)
    return build_defs(settings, platform=platform)


def job_assets(settings: Settings, name: str) -> list[str]:
    """Return the assets that a job materializes, in the order in which they run."""
    layer = _definitions(settings.model_dump_json()).resolve_job_def(name).asset_layer
    selected = layer.selected_asset_keys
    return [key.path[-1] for key in layer.asset_graph.toposorted_asset_keys if key in selected]


@contextmanager
def keeping_instance() -> Iterator[dg.DagsterInstance]:
    """Yield the project's Dagster instance; inside another such block, the one that is open there.

    Opening it takes a sixth of a second, as long as a small job.
    """
    opened = _open_instance.get()
    if opened is not None:
        yield opened
        return
    with dg.DagsterInstance.get() as instance, _holding_databases():
        token = _open_instance.set(instance)
        try:
            yield instance
        finally:
            _open_instance.reset(token)


@contextmanager
def _holding_databases() -> Iterator[None]:
    """Keep one idle connection to each of Dagster's sqlite files.

    Dagster opens and closes one for every event, and sqlite folds its write-ahead log into the file whenever
    the last connection closes: half of a small run's time.
    """
    with ExitStack() as held:
        for name in ("event_log.db", "runs.db"):
            path = Path(os.environ["HRP_DAGSTER_STATE"]) / name
            if path.exists():
                connection = held.enter_context(closing(sqlite3.connect(path)))
                # A connection that has read nothing yet has not opened the file.
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield


def run_job(
    settings: Settings,
    name: str,
    session: date | None = None,
    *,
    through: date | None = None,
    only: Sequence[str] | None = None,
    checked: bool = False,
    config: Mapping[str, Mapping[str, object]] | None = None,
    definitions: dg.Definitions | None = None,
    dry_run: bool | None = None,
    auto_rollback: bool | None = None,
    tags: Mapping[str, str] | None = None,
) -> JobRun:
    """Run a job and wait for it.

    Args:
        settings: whose state the job works on.
        name: job name, such as ``live_trader_job``.
        session: partition; None for a job without partitions.
        through: with it, one run covers all sessions from `session` to `through`.
        only: run these assets of the job alone, without their checks.
        checked: with `only`: run their checks too, without which the trade gate lets nothing be sent.
        config: configuration by asset.
        definitions: default: those of `settings`.
        dry_run: overrides HRP_DRY_RUN for this run.
        auto_rollback: overrides HRP_AUTO_ROLLBACK for this run.
        tags: more tags of the run.

    Raises:
        HrpError: what a step raised, unchanged.
        RefusedError: a blocking check failed.
    """
    key = None if session is None else session.strftime(KEY_FORMAT)
    run_tags = {**_LOCATION_TAG, **(tags or {})}
    if key is not None and through is not None:
        run_tags["dagster/asset_partition_range_start"] = key
        run_tags["dagster/asset_partition_range_end"] = through.strftime(KEY_FORMAT)
        key = None
    if definitions is None:
        definitions = _definitions(settings.model_dump_json(), dry_run, auto_rollback)
    job = definitions.resolve_job_def(name)
    if only is not None:
        assets = {dg.AssetKey(asset) for asset in only}
        known = job.asset_layer.asset_graph.asset_check_keys if checked else ()
        job = job.get_subset(
            asset_selection=assets, asset_check_selection={key for key in known if key.asset_key in assets}
        )
    with keeping_instance() as instance:
        try:
            result = job.execute_in_process(
                instance=instance,
                partition_key=key,
                tags=run_tags,
                run_config={
                    **_QUIET,
                    "ops": {asset: {"config": values} for asset, values in (config or {}).items()},
                },
            )
        except DagsterAssetCheckFailedError as error:
            raise RefusedError(
                f"a blocking check stopped {name} of {key}: {error}; its offending rows are in the Dagster UI"
            ) from error
    metadata: dict[str, dict[str, object]] = {}
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        metadata[materialization.asset_key.path[-1]] = {
            label: value.value for label, value in materialization.metadata.items()
        }
    return JobRun(name, result.run_id, key, metadata)
