"""A slice is replaced whole, by name and by type, or nothing changes."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from hrp_core.errors import DataError, NotReadyError, StoreError
from hrp_core.store.connection import Store
from hrp_core.store.reading import (
    StoredRange,
    newest_session,
    read_slice,
    read_table,
    select_rows,
    stored_ranges,
)
from hrp_core.store.schema import stored_columns
from hrp_core.store.slices import Before, Sessions, Slice, replace_slice
from hrp_core.store.tables import (
    FEATURES,
    FILLS,
    NAV,
    PREDICTIONS,
    PRICES,
    TABLES,
    UNIVERSE,
    Column,
    ColumnType,
    Table,
)
from hrp_core.store.versions import partition_versions

NOW = datetime(2022, 12, 15, 22, 30, tzinfo=UTC)
DAY, NEXT = date(2022, 12, 15), date(2022, 12, 16)

# One feature is enough to show what a table does.
NARROW = Table("features", (*FEATURES.columns[:2], FEATURES.column("momentum_12_1")), FEATURES.key, "…")


def prices(day: date, *closes: float) -> pd.DataFrame:
    """One row a close, for the names A, B, C …; high and low differ."""
    return pd.DataFrame(
        {
            "session": [day] * len(closes),
            "symbol": [chr(ord("A") + number) for number in range(len(closes))],
            "open": [None] * len(closes),
            "high": [close + 1 for close in closes],
            "low": [close - 1 for close in closes],
            "close": list(closes),
            "volume": [float("nan")] * len(closes),
            "split_factor": [1.0] * len(closes),
            "dividend": [0.0] * len(closes),
            "source": ["sample"] * len(closes),
        }
    )


def fills(**changes: Any) -> pd.DataFrame:
    row = {
        "session": DAY,
        "exec_id": "0001",
        "intent_id": None,
        "order_ref": "",
        "strategy_id": "HYP-2026-001",
        "symbol": "A",
        "side": "buy",
        "shares": 10,
        "price": Decimal("12.5"),
        "commission": None,
        "executed_at": NOW,
        "mode": "sim",
        "account": "DU1234567",
    }
    return pd.DataFrame([row | changes])


def put(
    connection: duckdb.DuckDBPyConnection, table: Table, frame: pd.DataFrame, sessions: Slice | None = None
) -> str:
    return replace_slice(connection, table, frame, sessions or Sessions([DAY]), "run-1", "v1", NOW)


def closes(connection: duckdb.DuckDBPyConnection) -> dict[date, list[float]]:
    found: dict[date, list[float]] = {}
    for row in select_rows(connection, PRICES).itertuples():
        found.setdefault(row.session, []).append(row.close)  # pyright: ignore[reportArgumentType]
    return found


def test_the_slice_is_replaced_and_other_sessions_stay(connection: duckdb.DuckDBPyConnection) -> None:
    put(connection, PRICES, prices(DAY, 1.0, 2.0))
    put(connection, PRICES, prices(NEXT, 3.0), Sessions([NEXT]))
    put(connection, PRICES, prices(DAY, 4.0))
    assert closes(connection) == {DAY: [4.0], NEXT: [3.0]}


def test_one_frame_replaces_a_range_of_sessions(connection: duckdb.DuckDBPyConnection) -> None:
    put(connection, PRICES, prices(DAY, 9.0))
    frame = pd.concat([prices(NEXT, 1.0), prices(DAY, 2.0, 3.0)])
    put(connection, PRICES, frame, Sessions([NEXT, DAY, DAY]))
    assert closes(connection) == {DAY: [2.0, 3.0], NEXT: [1.0]}


def test_columns_go_in_by_name_whatever_their_order(connection: duckdb.DuckDBPyConnection) -> None:
    frame = prices(DAY, 10.0)
    # high and low, of the same type, change places
    swapped = frame[["source", "session", "symbol", "open", "low", "high", *frame.columns[5:-1]]]
    put(connection, PRICES, swapped)
    stored = read_slice(connection, PRICES, Sessions([DAY]))
    assert list(stored.columns) == list(PRICES.column_names)
    assert (stored["high"][0], stored["low"][0], stored["source"][0]) == (11.0, 9.0, "sample")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (prices(DAY, 1.0).drop(columns="close"), "missing close"),
        (prices(DAY, 1.0).assign(vwap=1.0), "not declared vwap"),
        (pd.concat([prices(DAY, 1.0), prices(DAY, 1.0)[["low"]]], axis=1), "repeated low"),
        (prices(DAY, 1.0).set_index("session"), "missing session"),
        (prices(DAY, 1.0).assign(close="1.0"), r"prices\.close .*string"),
        (prices(DAY, 1.0).assign(close=pd.Series([Decimal(1)])), r"prices\.close .*decimal"),
        (prices(DAY, 1.0).assign(close=True), r"prices\.close .*bool"),
        (prices(DAY, 1.0).assign(close=None), r"prices\.close must not be empty, 1 of 1"),
        (prices(DAY, 1.0, 2.0).assign(close=[1.0, np.nan]), r"prices\.close must not be empty, 1 of 2"),
        (prices(DAY, 1.0).assign(symbol=7), r"prices\.symbol .*int"),
        (prices(DAY, 1.0, 2.0).assign(symbol=["A", 7]), r"prices\.symbol"),
        (prices(DAY, 1.0).assign(symbol=None), r"prices\.symbol must not be empty"),
        (prices(DAY, 1.0).assign(session="2022-12-15"), r"prices\.session .*string"),
        (prices(DAY, 1.0, 2.0).assign(session=[DAY, NOW]), "datetime"),
        (prices(DAY, 1.0).assign(session=pd.Timestamp("2022-12-15 16:00")), "time of day"),
        (prices(DAY, 1.0).assign(session=pd.Timestamp("2022-12-15", tz="UTC")), r"prices\.session"),
        (prices(NEXT, 1.0), "replaces 2022-12-15 but has rows of 2022-12-16"),
        (pd.concat([prices(DAY, 1.0), prices(DAY, 2.0)]), r"repeats the key .*2022-12-15 A 2 times"),
    ],
)
def test_a_frame_that_breaks_the_declaration_changes_nothing(
    store: Store, frame: pd.DataFrame, message: str
) -> None:
    with store.write() as connection:
        content_hash = put(connection, PRICES, prices(DAY, 5.0, 6.0))
    with pytest.raises(DataError, match=message), store.write() as connection:
        put(connection, PRICES, frame)
    with store.read() as connection:
        assert closes(connection) == {DAY: [5.0, 6.0]}
        assert [version.content_hash for version in partition_versions(connection, "prices")] == [
            content_hash
        ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"executed_at": datetime(2022, 12, 15, 9, 30)}, r"fills\.executed_at .*timezone-aware"),  # noqa: DTZ001
        ({"executed_at": pd.Timestamp("2022-12-15 09:30")}, r"fills\.executed_at .*timezone-aware"),
        ({"executed_at": DAY}, r"fills\.executed_at .*no time zone"),
        ({"price": 12.5}, r"fills\.price .*six places.*double"),
        ({"price": Decimal("12.1234567")}, r"fills\.price .*loss"),
        ({"price": Decimal("1e15")}, r"fills\.price"),
        ({"price": Decimal("Infinity")}, r"fills\.price"),
        ({"commission": Decimal("1.00001")}, r"fills\.commission .*loss"),
        ({"shares": 10.5}, r"fills\.shares .*truncated"),
        ({"shares": "10"}, r"fills\.shares .*string"),
        ({"shares": True}, r"fills\.shares .*bool"),
        ({"shares": 2**63}, r"fills\.shares"),
    ],
)
def test_a_value_that_would_change_on_the_way_is_refused(
    connection: duckdb.DuckDBPyConnection, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        put(connection, FILLS, fills(**changes))


def test_whole_numbers_in_other_clothes_are_taken(connection: duckdb.DuckDBPyConnection) -> None:
    put(connection, FILLS, fills(shares=10.0, price=12, symbol=pd.Categorical(["A"])[0]))
    stored = read_slice(connection, FILLS, Sessions([DAY])).iloc[0]
    assert (stored["shares"], stored["price"]) == (10, Decimal("12.000000"))
    assert stored["commission"] is None
    assert stored["executed_at"] == NOW


def test_an_empty_frame_is_a_legal_first_write(connection: duckdb.DuckDBPyConnection) -> None:
    put(connection, PRICES, prices(DAY))
    assert select_rows(connection, PRICES).empty
    [version] = partition_versions(connection, "prices")
    assert (version.session, version.rows) == (DAY, 0)


def test_an_empty_frame_empties_the_slice(connection: duckdb.DuckDBPyConnection) -> None:
    put(connection, PRICES, prices(DAY, 1.0))
    put(connection, PRICES, prices(NEXT, 2.0), Sessions([NEXT]))
    put(connection, PRICES, pd.DataFrame(columns=list(PRICES.column_names)))
    assert closes(connection) == {NEXT: [2.0]}


def test_history_in_bulk_replaces_what_is_before_the_first_session(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    put(connection, PRICES, prices(NEXT, 1.0), Sessions([NEXT]))
    put(connection, PRICES, pd.concat([prices(DAY, 2.0), prices(date(1990, 1, 2), 3.0)]), Before(NEXT))
    put(connection, PRICES, prices(date(1990, 1, 2), 4.0), Before(NEXT))
    assert closes(connection) == {date(1990, 1, 2): [4.0], NEXT: [1.0]}
    bulk, partition = partition_versions(connection, "prices")
    assert (bulk.session, bulk.rows) == (None, 1)
    assert (partition.session, partition.rows) == (NEXT, 1)


def test_history_in_bulk_may_not_reach_into_the_partitions(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(DataError, match="replaces the sessions before 2022-12-16 but has rows of 2022-12-16"):
        put(connection, PRICES, pd.concat([prices(DAY, 2.0), prices(NEXT, 1.0)]), Before(NEXT))


def test_what_is_recorded_of_a_write(connection: duckdb.DuckDBPyConnection) -> None:
    content_hash = put(connection, PRICES, prices(DAY, 1.0, 2.0))
    [version] = partition_versions(connection, "prices", [DAY, NEXT])
    assert version.content_hash == content_hash
    assert (version.asset, version.session, version.rows) == ("prices", DAY, 2)
    assert (version.run_id, version.code_version, version.written_at) == ("run-1", "v1", NOW)
    assert str(version.written_at) == "2022-12-15 17:30:00-05:00"


def test_a_range_is_recorded_by_session_also_where_it_has_no_rows(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    put(connection, PRICES, prices(DAY, 1.0, 2.0), Sessions([DAY, NEXT]))
    recorded = {version.session: version.rows for version in partition_versions(connection, "prices")}
    assert recorded == {DAY: 2, NEXT: 0}


def test_a_rewritten_partition_has_one_current_version(connection: duckdb.DuckDBPyConnection) -> None:
    put(connection, PRICES, prices(DAY, 1.0))
    latest = put(connection, PRICES, prices(DAY, 2.0))
    assert [version.content_hash for version in partition_versions(connection, "prices")] == [latest]


def test_a_column_declared_later_joins_the_table_at_the_next_write(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    before = pd.DataFrame({"session": [DAY], "symbol": ["A"], "momentum_12_1": [0.5]})
    put(connection, NARROW, before)
    wider = Table(
        NARROW.name,
        (*NARROW.columns, Column("reversal_5", ColumnType.DOUBLE, "…", nullable=True)),
        NARROW.key,
        NARROW.description,
    )
    assert np.isnan(select_rows(connection, wider)["reversal_5"][0])
    put(connection, wider, before.assign(session=NEXT, reversal_5=0.1), Sessions([NEXT]))
    assert select_rows(connection, wider)["reversal_5"].tolist() == pytest.approx([np.nan, 0.1], nan_ok=True)


@pytest.mark.parametrize(
    "changed",
    [
        Column("momentum_12_1", ColumnType.TEXT, "…", nullable=True),
        Column("reversal_5", ColumnType.DOUBLE, "…"),
    ],
)
def test_a_table_that_contradicts_the_declaration_asks_for_a_migration(
    connection: duckdb.DuckDBPyConnection, changed: Column
) -> None:
    put(connection, FEATURES, pd.DataFrame(columns=list(FEATURES.column_names)))
    kept = tuple(column for column in FEATURES.columns if column.name != changed.name)
    table = Table(FEATURES.name, (*kept, changed), FEATURES.key, FEATURES.description)
    with pytest.raises(StoreError, match=rf"features\.{changed.name} .*migration"):
        put(connection, table, pd.DataFrame(columns=list(table.column_names)))


def test_a_database_that_was_not_migrated_is_not_ready() -> None:
    with duckdb.connect() as bare, pytest.raises(NotReadyError, match="hrp db migrate"):
        put(bare, PRICES, prices(DAY, 1.0))


def test_a_naive_moment_of_writing_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(ValueError, match="time zone"):
        replace_slice(connection, PRICES, prices(DAY, 1.0), Sessions([DAY]), "run-1", None, naive)


@pytest.mark.parametrize("days", [[], [datetime(2022, 12, 15, tzinfo=UTC)], ["2022-12-15"]])
def test_a_slice_is_made_of_dates(days: list[Any]) -> None:
    with pytest.raises(DataError, match=r"datetime\.date"):
        Sessions(days)


def test_a_failed_first_write_leaves_no_table(store: Store) -> None:
    with pytest.raises(DataError), store.write() as connection:
        put(connection, PRICES, pd.concat([prices(DAY, 1.0), prices(DAY, 2.0)]))
    with store.read() as connection:
        assert stored_columns(connection, "prices") == {}


def test_a_table_never_written_is_not_ready_rather_than_empty(store: Store) -> None:
    with pytest.raises(NotReadyError, match="materialize the asset nav"):
        read_table(store, NAV)


def test_reading_a_part(store: Store) -> None:
    with store.write() as connection:
        put(connection, PRICES, pd.concat([prices(NEXT, 3.0, 4.0), prices(DAY, 1.0, 2.0)]), Before(date.max))
    assert read_table(store, PRICES)["close"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert read_table(store, PRICES, start=NEXT)["close"].tolist() == [3.0, 4.0]
    assert read_table(store, PRICES, end=DAY)["close"].tolist() == [1.0, 2.0]
    assert read_table(store, PRICES, sessions=[])["close"].tolist() == []
    part = read_table(store, PRICES, sessions=[DAY], columns=["close", "symbol"])
    assert part.to_dict("list") == {"close": [1.0, 2.0], "symbol": ["A", "B"]}
    with pytest.raises(StoreError, match="no column 'vwap'"):
        read_table(store, PRICES, columns=["vwap"])


def test_how_much_is_stored_is_known_for_every_table(store: Store) -> None:
    assert newest_session(store, PRICES) is None
    with store.write() as connection:
        put(connection, PRICES, pd.concat([prices(NEXT, 3.0, 4.0), prices(DAY, 1.0)]), Before(date.max))
        put(connection, FEATURES, pd.DataFrame(columns=list(FEATURES.column_names)))
    assert newest_session(store, PRICES) == NEXT
    assert newest_session(store, FEATURES) is None
    ranges = {stored.table: stored for stored in stored_ranges(store)}
    assert list(ranges) == list(TABLES)
    assert ranges["prices"] == StoredRange("prices", DAY, NEXT, 3)
    assert ranges["features"] == StoredRange("features", None, None, 0)
    assert ranges["nav"] == StoredRange("nav", None, None, 0)


@pytest.mark.parametrize("rows", [0, 2])
def test_the_dtypes_of_a_result_do_not_depend_on_its_rows(
    connection: duckdb.DuckDBPyConnection, rows: int
) -> None:
    scored = pd.DataFrame(
        {
            "session": DAY,
            "strategy_id": "HYP-2026-001",
            "symbol": ["A", "B"],
            "prediction": [0.5, None],
            "rank": [1, None],
            "model_name": "momentum_12_1",
            "model_version": "1",
        }
    )
    put(connection, PREDICTIONS, scored.head(rows))
    put(connection, FILLS, fills().head(rows))
    put(
        connection,
        UNIVERSE,
        pd.DataFrame({"session": [DAY], "symbol": "A", "in_universe": True, "reason": ""}).head(rows),
    )
    dtypes = {
        str(dtype)
        for table, columns in (
            (PREDICTIONS, ["prediction", "rank", "session"]),
            (FILLS, ["shares", "price", "executed_at"]),
            (UNIVERSE, ["in_universe"]),
        )
        for dtype in select_rows(connection, table, columns=columns).dtypes
    }
    assert dtypes == {"float64", "Int32", "object", "int64", "bool", "datetime64[us, America/New_York]"}


def test_sessions_come_back_as_dates_and_money_as_decimals(connection: duckdb.DuckDBPyConnection) -> None:
    put(connection, FILLS, fills(session=pd.Timestamp(DAY), commission=Decimal("1.25")))
    row = read_slice(connection, FILLS, Sessions([DAY])).iloc[0]
    assert type(row["session"]) is date
    assert row["session"] == DAY
    assert (row["price"], row["commission"]) == (Decimal("12.500000"), Decimal("1.2500"))
    assert isinstance(row["price"], Decimal)
    assert row["executed_at"].isoformat() == "2022-12-15T17:30:00-05:00"
