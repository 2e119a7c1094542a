"""Dagster assets end up in the store whole and by name, or not at all."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import DataError, StoreError
from hrp_core.settings import Mode, Settings
from hrp_core.store.connection import Store
from hrp_core.store.migrate import migrate
from hrp_core.store.reading import read_table
from hrp_core.store.tables import FEATURES, PRICES
from hrp_core.store.versions import PartitionVersion, partition_versions
from hrp_dagster.metadata import definition_metadata
from hrp_dagster.resources import platform as resources
from hrp_dagster.resources.duckdb_io_manager import StoreIOManager

FIRST = date(2022, 1, 3)
DAYS = [date(2022, 12, 14), date(2022, 12, 15), date(2022, 12, 16)]
NOW = datetime(2022, 12, 16, 17, 30, tzinfo=NEW_YORK)
SESSIONS = dg.TimeWindowPartitionsDefinition(
    start=FIRST.isoformat(),
    end="2022-12-31",
    cron_schedule="0 0 * * *",
    fmt="%Y-%m-%d",
    timezone="America/New_York",
    exclusions=["0 0 * * 6", "0 0 * * 0"],
)


def features(days: Sequence[date], momentum: float = 0.5) -> pd.DataFrame:
    rows = [
        {"session": day, "symbol": symbol, "momentum_12_1": momentum}
        for day in days
        for symbol in ("AAPL", "KO")
    ]
    # Features that are not looked at are null.
    return pd.DataFrame(rows, columns=list(FEATURES.column_names)).astype(
        dict.fromkeys(FEATURES.column_names[2:], float)
    )


def features_asset(
    make: Callable[[list[date]], pd.DataFrame], metadata: Mapping[str, Any] | None = None
) -> dg.AssetsDefinition:
    @dg.asset(
        name="features",
        partitions_def=SESSIONS,
        metadata=definition_metadata(FEATURES) if metadata is None else metadata,
        code_version="3",
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def body(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return make([date.fromisoformat(key) for key in context.partition_keys])

    return body


class Platform:
    """A migrated database, a simulated clock, and runs that use both."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "hrp.duckdb")
        migrate(self.store)
        clock = folder / "gateway.json"
        clock.write_text(json.dumps({"now": NOW.isoformat()}))
        self.io_manager = StoreIOManager(
            database=str(self.store.path),
            clock_file=str(clock),
            platform=resources.Platform(home=str(folder)),
        )

    def run(self, *assets: dg.AssetsDefinition, days: Sequence[date] = (), select: str | None = None) -> Any:
        tags = {}
        if len(days) > 1:
            tags = {
                "dagster/asset_partition_range_start": days[0].isoformat(),
                "dagster/asset_partition_range_end": days[-1].isoformat(),
            }
        with dg.DagsterInstance.ephemeral() as instance:
            return dg.materialize(
                list(assets),
                instance=instance,
                resources={"io_manager": self.io_manager},
                partition_key=days[0].isoformat() if len(days) == 1 else None,
                tags=tags,
                selection=select,
            )

    def versions(self, asset: str) -> list[PartitionVersion]:
        with self.store.read() as connection:
            return partition_versions(connection, asset)

    def stored(self) -> dict[tuple[date, str], float]:
        rows = read_table(self.store, FEATURES)
        return dict(
            zip(zip(rows["session"], rows["symbol"], strict=True), rows["momentum_12_1"], strict=True)
        )


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path)


def test_a_partition_is_stored_and_described(platform: Platform) -> None:
    result = platform.run(features_asset(features), days=[DAYS[1]])
    assert platform.stored() == {(DAYS[1], "AAPL"): 0.5, (DAYS[1], "KO"): 0.5}

    [version] = platform.versions("features")
    assert (version.session, version.rows) == (DAYS[1], 2)
    assert (version.run_id, version.code_version) == (result.run_id, "3")
    assert version.written_at == NOW

    [event] = result.asset_materializations_for_node("features")
    assert event.metadata["dagster/row_count"].value == 2
    assert event.metadata["hrp/session"].value == "2022-12-15"
    assert event.metadata["hrp/content_hash"].value == version.content_hash
    assert event.metadata["dagster/table_name"].value == "main.features"
    assert event.tags["dagster/data_version"] == version.content_hash
    unset = dict.fromkeys(FEATURES.column_names)
    assert [record.data for record in event.metadata["preview"].records] == [
        {**unset, "session": "2022-12-15", "symbol": "AAPL", "momentum_12_1": 0.5},
        {**unset, "session": "2022-12-15", "symbol": "KO", "momentum_12_1": 0.5},
    ]


def test_the_data_version_is_the_same_for_the_same_rows(platform: Platform) -> None:
    def data_version(asset: dg.AssetsDefinition) -> str:
        result = platform.run(asset, days=[DAYS[1]])
        return result.asset_materializations_for_node("features")[0].tags["dagster/data_version"]

    first = data_version(features_asset(features))
    assert data_version(features_asset(lambda days: features(days).iloc[::-1])) == first
    assert data_version(features_asset(lambda days: features(days, momentum=0.6))) != first


def test_a_range_of_partitions_in_one_run_replaces_each_and_describes_each(platform: Platform) -> None:
    platform.run(features_asset(lambda days: features(days, momentum=0.1)), days=[DAYS[1]])
    result = platform.run(features_asset(lambda days: features(days).iloc[:-1]), days=DAYS)
    events = result.asset_materializations_for_node("features")
    shown = [
        (event.partition, event.metadata["dagster/row_count"].value, event.metadata["hrp/content_hash"].value)
        for event in events
    ]
    recorded = [
        (str(version.session), version.rows, version.content_hash)
        for version in platform.versions("features")
    ]
    assert shown == recorded
    assert [rows for _, rows, _ in recorded] == [2, 2, 1]
    assert len({event.tags["dagster/data_version"] for event in events}) == 1
    assert set(platform.stored().values()) == {0.5}


def history_asset(table_metadata: Mapping[str, Any]) -> dg.AssetsDefinition:
    @dg.asset(name="feature_history", metadata=table_metadata)
    def body() -> pd.DataFrame:
        return features([date(1990, 1, 2), date(2021, 12, 31)], momentum=0.2)

    return body


def test_history_goes_into_the_table_of_the_partitions_and_leaves_them_alone(platform: Platform) -> None:
    platform.run(features_asset(features), days=[DAYS[1]])
    result = platform.run(history_asset(definition_metadata(FEATURES, before=FIRST)))
    assert len(platform.stored()) == 6
    bulk, partition = platform.versions("features")
    assert (bulk.session, bulk.rows) == (None, 4)
    assert (partition.session, partition.rows) == (DAYS[1], 2)
    [event] = result.asset_materializations_for_node("feature_history")
    assert event.metadata["dagster/row_count"].value == 4
    assert event.tags["dagster/data_version"] == bulk.content_hash


def test_an_asset_without_partitions_and_without_a_bulk_slice_is_refused(platform: Platform) -> None:
    with pytest.raises(StoreError, match="names no bulk slice"):
        platform.run(history_asset(definition_metadata(FEATURES)))


def test_an_asset_that_names_no_declared_table_is_refused(platform: Platform) -> None:
    asset = features_asset(features, {"partition_expr": "session", "hrp/table": "fetures"})
    with pytest.raises(StoreError, match="no asset table 'fetures'"):
        platform.run(asset, days=[DAYS[1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="momentum_12_1"), "missing momentum_12_1"),
        (lambda frame: frame.assign(momentum_1_0=0.0), "not declared momentum_1_0"),
        (lambda frame: frame.assign(momentum_12_1="high"), "DOUBLE"),
        (lambda frame: frame.assign(session=DAYS[2]), "has rows of 2022-12-16"),
        (lambda frame: pd.concat([frame, frame]), "2022-12-15 AAPL 2 times"),
    ],
)
def test_a_refused_frame_leaves_the_old_partition(
    platform: Platform, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    platform.run(features_asset(features), days=[DAYS[1]])
    before = platform.stored(), platform.versions("features")
    with pytest.raises(DataError, match=message):
        platform.run(features_asset(lambda days: change(features(days, momentum=0.9))), days=[DAYS[1]])
    assert (platform.stored(), platform.versions("features")) == before


def test_reordered_columns_are_stored_by_name(platform: Platform) -> None:
    prices = pd.DataFrame(
        {
            "session": [DAYS[1]], "symbol": ["KO"], "low": [1.0], "high": [3.0], "open": [2.0],
            "close": [2.5], "dividend": [0.0], "split_factor": [1.0], "volume": [None], "source": ["files"],
        }
    )  # fmt: skip

    @dg.asset(name="prices", partitions_def=SESSIONS, metadata=definition_metadata(PRICES))
    def body() -> pd.DataFrame:
        return prices

    platform.run(body, days=[DAYS[1]])
    [row] = read_table(platform.store, PRICES).to_dict("records")
    assert (row["open"], row["high"], row["low"], row["close"]) == (2.0, 3.0, 1.0, 2.5)
    assert (row["split_factor"], row["dividend"]) == (1.0, 0.0)


def test_an_empty_frame_is_stored_as_an_empty_partition(platform: Platform) -> None:
    result = platform.run(features_asset(lambda _: features([])), days=[DAYS[1]])
    assert platform.stored() == {}
    [version] = platform.versions("features")
    assert (version.session, version.rows) == (DAYS[1], 0)
    [event] = result.asset_materializations_for_node("features")
    assert event.metadata["dagster/row_count"].value == 0
    assert event.metadata["preview"].records == []


def test_an_input_is_the_slice_of_its_partition(platform: Platform) -> None:
    seen: dict[str, pd.DataFrame] = {}
    upstream = features_asset(features)

    @dg.asset(partitions_def=SESSIONS)
    def one_session(features: pd.DataFrame) -> None:
        seen["one"] = features

    @dg.asset(
        partitions_def=SESSIONS,
        ins={
            "features": dg.AssetIn(
                partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1),
                metadata={"columns": ["session"]},
            )
        },
    )
    def two_sessions(features: pd.DataFrame) -> None:
        seen["two"] = features

    for day in DAYS:
        platform.run(upstream, days=[day])
    platform.run(upstream, one_session, days=[DAYS[1]], select="one_session")
    platform.run(upstream, two_sessions, days=[DAYS[1]], select="two_sessions")
    assert list(seen["one"]["session"]) == [DAYS[1]] * 2
    assert list(seen["two"]["session"]) == [DAYS[0]] * 2 + [DAYS[1]] * 2
    assert list(seen["two"].columns) == ["session"]


def test_the_input_of_a_bulk_load_is_the_history_alone(platform: Platform) -> None:
    seen: list[pd.DataFrame] = []
    upstream = history_asset(definition_metadata(FEATURES, before=FIRST))

    @dg.asset
    def trained_model(feature_history: pd.DataFrame) -> None:
        seen.append(feature_history)

    platform.run(features_asset(features), days=[DAYS[1]])
    platform.run(upstream, trained_model)
    assert sorted(set(seen[0]["session"])) == [date(1990, 1, 2), date(2021, 12, 31)]


def test_settings_give_the_database_and_the_clock_of_the_mode(tmp_path: Path) -> None:
    platform = resources.Platform(home=str(tmp_path))
    sim, paper = (
        StoreIOManager.from_settings(Settings.model_validate({"home": tmp_path, "mode": mode}), platform)
        for mode in (Mode.SIM, Mode.PAPER)
    )
    assert (sim.database, sim.clock_file) == (
        str(tmp_path / "sim" / "hrp.duckdb"),
        str(tmp_path / "sim" / "gateway.json"),
    )
    assert (paper.database, paper.clock_file) == (str(tmp_path / "paper" / "hrp.duckdb"), None)
