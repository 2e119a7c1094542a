"""The IO manager that stores assets in DuckDB: one transaction per output, the whole slice or nothing.

What belongs here: carrying Dagster's context (partition keys, run, clock) to `hrp_core.store` and
`hrp_core.checks`, and the result back as metadata. What does not: SQL. It uses dagster-duckdb's extension
points, because the stock manager deletes in one transaction and inserts by position in another: a failed
insert loses the old partition.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Self

import dagster as dg
import pandas as pd
from dagster._core.storage.db_io_manager import DbIOManager, DbTypeHandler, TableSlice
from dagster_duckdb import DuckDBIOManager
from dagster_duckdb.io_manager import DuckDbClient
from duckdb import DuckDBPyConnection
from pydantic import Field

from hrp_core.calendar import Clock, GatewayClock, WallClock
from hrp_core.checks import import_for_checks
from hrp_core.errors import StoreError
from hrp_core.settings import Mode, Settings
from hrp_core.store import (
    Before,
    Sessions,
    Slice,
    Store,
    Table,
    partition_versions,
    replace_slice,
    select_rows,
    table,
)
from hrp_dagster.checks.verdicts import checks_follow, judge_written
from hrp_dagster.metadata import BEFORE_KEY, CONTENT_HASH_KEY, TABLE_KEY, materialization_metadata
from hrp_dagster.resources.platform import Platform


class StoreClient(DuckDbClient):
    """Opens the store: the transaction, its rollback, the retries and the close are all in `connect`."""

    @staticmethod
    @contextmanager
    def connect(context: dg.OutputContext | dg.InputContext, _: TableSlice) -> Iterator[DuckDBPyConnection]:
        """Yield a connection inside one transaction: writing for an output, read-only for an input."""
        config = _config(context)
        store = Store(Path(config["database"]), wait=config["lock_wait"])
        if isinstance(context, dg.OutputContext) and checks_follow(context):
            import_for_checks(context.asset_key.path[-1])
        with store.write() if isinstance(context, dg.OutputContext) else store.read() as connection:
            yield connection

    @staticmethod
    def delete_table_slice(
        context: dg.OutputContext, table_slice: TableSlice, connection: DuckDBPyConnection
    ) -> None:
        """Do nothing: `replace_slice` deletes, after it has validated the frame."""

    @staticmethod
    def ensure_schema_exists(
        context: dg.OutputContext, table_slice: TableSlice, connection: DuckDBPyConnection
    ) -> None:
        """Do nothing: the one schema, main, is always there."""

    @staticmethod
    def get_table_name(table_slice: TableSlice) -> str:
        """Return schema and table; the database's path belongs to the machine, not to the asset."""
        return f"{table_slice.schema}.{table_slice.table}"


class FrameHandler(DbTypeHandler[pd.DataFrame]):
    """Stores a frame through `replace_slice`, judges it where its checks follow, and reads one slice back.

    Args:
        platform: settings, with the thresholds of the checks.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def handle_output(
        self,
        context: dg.OutputContext,
        table_slice: TableSlice,
        obj: pd.DataFrame,
        connection: DuckDBPyConnection,
    ) -> Mapping[str, Any]:
        """Replace the output's partitions (or bulk slice) by `obj` and describe the materialization.

        The content hash becomes the data version of the materialization; where one run writes a range of
        partitions they share the data version, and each shows its own rows and hash in its metadata.
        """
        declared = table(table_slice.table)
        target, now = _slice(context, context.definition_metadata), _clock(context).now()
        content_hash = replace_slice(
            connection,
            declared,
            obj,
            target,
            context.run_id,
            context.asset_spec.code_version,
            now,
        )
        context.step_context.set_data_version(context.asset_key, dg.DataVersion(content_hash))
        days = () if isinstance(target, Before) else target.days
        if days and checks_follow(context):
            judge_written(context, connection, days, self._platform.settings(), now)
        # Not as the output's metadata: Dagster would store that twice.
        context.step_context.add_asset_metadata(
            {**materialization_metadata(declared, obj, days), CONTENT_HASH_KEY: content_hash},
            asset_key=context.asset_key,
        )
        if len(days) > 1:
            _describe_each_partition(context, connection, declared, obj, days)
        return {}

    def load_input(
        self, context: dg.InputContext, table_slice: TableSlice, connection: DuckDBPyConnection
    ) -> pd.DataFrame:
        """Return the stored rows of the partitions (or the bulk slice) that the input stands for."""
        if context.has_asset_partitions and not context.asset_partition_keys:
            condition: tuple[str, list[object]] = ("false", [])
        else:
            upstream = context.upstream_output
            condition = _slice(context, upstream.definition_metadata if upstream else {}).condition
        return select_rows(
            connection, table(table_slice.table), conditions=[condition], columns=table_slice.columns
        )

    @property
    def supported_types(self) -> Sequence[type[object]]:
        """Frames only."""
        return [pd.DataFrame]


class StoreIOManager(DuckDBIOManager):
    """Stores frames of declared tables in the DuckDB store, atomically; see `definition_metadata` for assets.

    `database` is the path of the DuckDB file (absolute).
    """

    platform: dg.ResourceDependency[Platform]
    clock_file: str | None = Field(
        default=None, description="The simulated gateway's clock file; none for the computer's clock."
    )
    lock_wait: float = Field(
        default=60.0, gt=0, description="Longest wait in seconds for another process that has the file open."
    )

    @classmethod
    def from_settings(cls, settings: Settings, platform: Platform) -> Self:
        """Return the IO manager of one installation and mode."""
        in_sim = settings.mode is Mode.SIM
        return cls(
            database=str(settings.database_path),
            clock_file=str(settings.gateway_file) if in_sim else None,
            platform=platform,
        )

    @staticmethod
    def type_handlers() -> Sequence[DbTypeHandler]:
        """Return nothing: the one handler, of frames, needs the platform (`create_io_manager`)."""
        return []

    @staticmethod
    def default_load_type() -> type:
        """Return what an input without annotation is loaded as."""
        return pd.DataFrame

    def create_io_manager(self, context: dg.InitResourceContext) -> DbIOManager:  # noqa: ARG002
        """Return the manager with our client: the base class hard-codes its own."""
        return _TableIOManager(
            type_handlers=[FrameHandler(self.platform)],
            db_client=StoreClient(),
            database=self.database,
            schema="main",
            io_manager_name="StoreIOManager",
            default_load_type=self.default_load_type(),
        )


class _TableIOManager(DbIOManager):
    """A DbIOManager whose assets may be stored in a table of another name (price_history in prices)."""

    def _get_table_slice(
        self, context: dg.OutputContext | dg.InputContext, output_context: dg.OutputContext
    ) -> TableSlice:
        found = super()._get_table_slice(context, output_context)
        return found._replace(table=(output_context.definition_metadata or {}).get(TABLE_KEY, found.table))


def _describe_each_partition(
    context: dg.OutputContext,
    connection: DuckDBPyConnection,
    declared: Table,
    frame: pd.DataFrame,
    days: Sequence[date],
) -> None:
    """Give the materialization of each partition its own row count, preview and content hash."""
    hashes = {
        version.session: version.content_hash
        for version in partition_versions(connection, declared.name, days)
    }
    keys = frame["session"].astype(str)
    for day in days:
        context.step_context.add_asset_metadata(
            {
                **materialization_metadata(declared, frame[keys == str(day)], [day]),
                CONTENT_HASH_KEY: hashes[day],
            },
            asset_key=context.asset_key,
            partition_key=str(day),
        )


def _slice(context: dg.OutputContext | dg.InputContext, metadata: Mapping[str, Any]) -> Slice:
    if context.has_asset_partitions:
        return Sessions([date.fromisoformat(key) for key in context.asset_partition_keys])
    before = metadata.get(BEFORE_KEY)
    if before is None:
        raise StoreError(
            f"asset {context.asset_key.to_user_string()} has no partitions and names no bulk slice; define "
            "it with definition_metadata(table, before=first_session)"
        )
    return Before(date.fromisoformat(before))


def _config(context: dg.OutputContext | dg.InputContext) -> Mapping[str, Any]:
    config = context.resource_config
    if config is None:
        raise StoreError("the IO manager has no configuration; build it with StoreIOManager.from_settings")
    return config


def _clock(context: dg.OutputContext) -> Clock:
    clock_file = _config(context)["clock_file"]
    return GatewayClock(Path(clock_file)) if clock_file else WallClock()
