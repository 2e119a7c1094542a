"""The content hash: one value for the same stored rows, whoever wrote them however."""

import hashlib
import string
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.store.reading import select_rows
from hrp_core.store.schema import migrations
from hrp_core.store.slices import Before, Sessions, replace_slice
from hrp_core.store.tables import FEATURES, FILLS, NAV, PREDICTIONS, TABLES, ColumnType, Table

NOW = datetime(2022, 12, 15, 22, 30, tzinfo=UTC)
DAY, NEXT = date(2022, 12, 15), date(2022, 12, 16)

VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.DATE: st.dates(date(1990, 1, 2), date(2100, 1, 1)),
    ColumnType.TEXT: st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    ColumnType.DOUBLE: st.floats(allow_nan=False),
    ColumnType.BIGINT: st.integers(-(2**53), 2**53),
    ColumnType.INTEGER: st.integers(-(2**31), 2**31 - 1),
    ColumnType.BOOLEAN: st.booleans(),
    ColumnType.MOMENT: st.datetimes(datetime(1990, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    ColumnType.PRICE: st.decimals(0, 10**9, places=6),
    ColumnType.CASH: st.decimals(-(10**9), 10**9, places=4),
}


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """One database for all examples of a property: every example replaces the same slice."""
    with duckdb.connect() as in_memory:
        in_memory.execute("SET TimeZone = 'America/New_York'")
        in_memory.execute(migrations()[0].sql)
        yield in_memory


# One feature is enough to show what a table does.
NARROW = Table("features", (*FEATURES.columns[:2], FEATURES.column("momentum_12_1")), FEATURES.key, "…")


def put(connection: duckdb.DuckDBPyConnection, table: Table, frame: pd.DataFrame) -> str:
    return replace_slice(connection, table, frame, Sessions([DAY]), "run-1", None, NOW)


def features(*momentum: float | None) -> pd.DataFrame:
    symbols = list(string.ascii_uppercase[: len(momentum)])
    return pd.DataFrame({"session": [DAY] * len(momentum), "symbol": symbols, "momentum_12_1": momentum})


def plain(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {name: [None if pd.isna(value) else value for value in frame[name]] for name in frame.columns}


@st.composite
def frames(draw: st.DrawFn, table: Table) -> pd.DataFrame:
    """Rows of any table with any values; symbols, or else sessions or numbers, keep the keys apart."""
    rows = draw(st.integers(0, 4)) if len(table.key) > 1 else draw(st.integers(0, 1))
    frame: dict[str, list[Any]] = {}
    for column in table.columns:
        values = VALUES[column.type] | st.none() if column.nullable else VALUES[column.type]
        frame[column.name] = draw(st.lists(values, min_size=rows, max_size=rows))
    frame["session"] = [DAY] * rows
    if len(table.key) > 1:
        frame[table.key[-1]] = [f"K{row}" for row in range(rows)]
        if table.column(table.key[-1]).type is ColumnType.DATE:
            frame[table.key[-1]] = [date(2022, 1, 3 + row) for row in range(rows)]
        elif table.column(table.key[-1]).type is ColumnType.INTEGER:
            frame[table.key[-1]] = list(range(rows))
    return pd.DataFrame(frame)


def any_table_with_rows() -> st.SearchStrategy[tuple[Table, pd.DataFrame]]:
    return st.sampled_from(list(TABLES.values())).flatmap(
        lambda table: st.tuples(st.just(table), frames(table))
    )


@given(written=any_table_with_rows(), random=st.randoms())
def test_any_rows_come_back_as_written_and_hash_alike_in_any_order(
    database: duckdb.DuckDBPyConnection, written: tuple[Table, pd.DataFrame], random: Any
) -> None:
    table, frame = written
    content_hash = put(database, table, frame)
    stored = select_rows(database, table)
    assert plain(stored) == plain(frame.sort_values(list(table.key)))
    shuffled = frame.sample(frac=1, random_state=random.randrange(2**32))
    columns = random.sample(list(frame.columns), len(frame.columns))
    assert put(database, table, shuffled[columns]) == content_hash
    assert put(database, table, stored) == content_hash


def test_the_canonical_form_is_the_documented_one(connection: duckdb.DuckDBPyConnection) -> None:
    # Anybody can recompute the hash from this form; a change of it would disown every recorded hash.
    content_hash = put(connection, NARROW, features(0.1, None))
    form = (
        "features (session DATE, symbol VARCHAR, momentum_12_1 DOUBLE)\n"
        "10:2022-12-15,1:A,19:0.10000000000000001\n"
        "10:2022-12-15,1:B,-"
    )
    assert content_hash == hashlib.sha256(form.encode()).hexdigest()


def test_the_canonical_form_of_money_and_moments(connection: duckdb.DuckDBPyConnection) -> None:
    row = {
        "session": DAY, "exec_id": "1", "intent_id": None, "order_ref": "", "strategy_id": "S", "symbol": "A",
        "side": "buy", "shares": 10, "price": Decimal("12.5"), "commission": Decimal("-0.0050"),
        "executed_at": NOW, "mode": "sim", "account": "DU1",
    }  # fmt: skip
    content_hash = put(connection, FILLS, pd.DataFrame([row]))
    header = FILLS.ddl.removeprefix("CREATE TABLE IF NOT EXISTS ").replace(" NOT NULL", "")
    form = (
        f"{header}\n10:2022-12-15,1:1,-,0:,1:S,1:A,3:buy,2:10,"
        "9:12.500000,7:-0.0050,16:1671143400000000,3:sim,3:DU1"
    )
    assert content_hash == hashlib.sha256(form.encode()).hexdigest()


def test_the_hash_of_no_rows_is_that_of_the_declaration(connection: duckdb.DuckDBPyConnection) -> None:
    form = "features (session DATE, symbol VARCHAR, momentum_12_1 DOUBLE)\n"
    assert put(connection, NARROW, features()) == hashlib.sha256(form.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.astype({"symbol": "category"}),
        lambda frame: frame.astype({"symbol": "string"}),
        lambda frame: frame.assign(session=pd.to_datetime(frame["session"])),
        lambda frame: frame.astype({"momentum_12_1": "Float64"}),
        lambda frame: frame.astype({"momentum_12_1": object}),
        lambda frame: frame.assign(momentum_12_1=frame["momentum_12_1"].replace(0.0, -0.0)),
        lambda frame: frame.set_index(np.array([7, 7, 9])),
    ],
)
def test_the_hash_does_not_know_the_dtypes_of_the_frame(
    connection: duckdb.DuckDBPyConnection, change: Any
) -> None:
    frame = features(0.5, 0.0, np.nan)
    assert put(connection, NARROW, change(frame)) == put(connection, NARROW, frame)


def test_a_nullable_rank_hashes_alike_as_float_and_as_integer(connection: duckdb.DuckDBPyConnection) -> None:
    frame = pd.DataFrame(
        {
            "session": DAY, "strategy_id": "S", "symbol": ["A", "B"], "prediction": [0.5, np.nan],
            "rank": [1.0, np.nan], "model_name": "m", "model_version": "1",
        }
    )  # fmt: skip
    as_float = put(connection, PREDICTIONS, frame)
    assert put(connection, PREDICTIONS, frame.astype({"rank": "Int32"})) == as_float


def test_any_other_value_gives_another_hash(connection: duckdb.DuckDBPyConnection) -> None:
    frames = [
        features(0.5, 0.25),
        features(0.25, 0.5),
        features(0.5),
        features(0.5, None),
        features(0.5, np.nextafter(0.25, 1)),
        features(0.5, 0.25).assign(symbol=["A", "C"]),
        features(0.5, 0.25).assign(symbol=["A", "B "]),
    ]
    assert len({put(connection, NARROW, frame) for frame in frames}) == len(frames)


def test_the_hash_of_several_sessions_depends_on_which_session_has_the_rows(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    both = Sessions([DAY, NEXT])
    hashes = {
        replace_slice(connection, NARROW, features(0.5).assign(session=day), target, "run-1", None, NOW)
        for day in (DAY, NEXT)
        for target in (both, Before(date(2023, 1, 3)), Sessions([day]))
    }
    assert len(hashes) == 6


def test_the_hash_of_nav_covers_every_column(connection: duckdb.DuckDBPyConnection) -> None:
    base: dict[str, Any] = {
        column.name: {
            ColumnType.DATE: DAY, ColumnType.TEXT: "x", ColumnType.DOUBLE: 1.0, ColumnType.INTEGER: 1,
            ColumnType.CASH: Decimal(1), ColumnType.MOMENT: NOW,
        }[column.type]
        for column in NAV.columns
    }  # fmt: skip
    other: dict[ColumnType, Any] = {
        ColumnType.DATE: NEXT, ColumnType.TEXT: "y", ColumnType.DOUBLE: 2.0, ColumnType.INTEGER: 2,
        ColumnType.CASH: Decimal(2), ColumnType.MOMENT: datetime(2022, 12, 15, tzinfo=UTC),
    }  # fmt: skip
    changed = [base | {column.name: other[column.type]} for column in NAV.columns if column.name != "session"]
    hashes = {put(connection, NAV, pd.DataFrame([row])) for row in [base, *changed]}
    assert len(hashes) == len(NAV.columns)
