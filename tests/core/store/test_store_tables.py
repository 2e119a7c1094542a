"""What every declaration of a table keeps."""

import re

import duckdb
import pytest

from hrp_core.errors import StoreError
from hrp_core.store.schema import stored_columns
from hrp_core.store.tables import TABLES, ColumnType, Table, table

EVERY = pytest.mark.parametrize("declared", TABLES.values(), ids=lambda declared: declared.name)


@EVERY
def test_session_leads_the_columns_and_the_key(declared: Table) -> None:
    assert declared.columns[0].name == declared.key[0] == "session"
    assert declared.columns[0].type is ColumnType.DATE


@EVERY
def test_columns_are_named_once_described_and_plain(declared: Table) -> None:
    assert len(set(declared.column_names)) == len(declared.columns)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in declared.column_names)
    assert declared.description.endswith(".")
    assert all(column.description.endswith(".") for column in declared.columns)


@EVERY
def test_key_columns_are_never_empty(declared: Table) -> None:
    assert not any(declared.column(name).nullable for name in declared.key)


@EVERY
def test_the_ddl_makes_exactly_the_declared_columns(
    declared: Table, connection: duckdb.DuckDBPyConnection
) -> None:
    connection.execute(declared.ddl)
    stored = stored_columns(connection, declared.name)
    assert list(stored.items()) == [(column.name, column.type.value) for column in declared.columns]


@pytest.mark.parametrize("name", ["orders", "fills", "positions", "nav"])
def test_rows_of_execution_and_book_carry_mode_and_account(name: str) -> None:
    assert {"mode", "account"} <= set(table(name).column_names)


def test_an_unknown_table_or_column_is_named() -> None:
    with pytest.raises(StoreError, match="no asset table 'trades'"):
        table("trades")
    with pytest.raises(StoreError, match="table nav has no column 'equity'"):
        table("nav").column("equity")
