"""A migrated database on disk, and one in memory for what needs no file."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from hrp_core.store.connection import Store
from hrp_core.store.migrate import migrate
from hrp_core.store.schema import migrations


@pytest.fixture
def store(tmp_path: Path) -> Store:
    migrated = Store(tmp_path / "hrp.duckdb")
    migrate(migrated)
    return migrated


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as in_memory:
        in_memory.execute("SET TimeZone = 'America/New_York'")
        for script in migrations():
            in_memory.execute(script.sql)
        yield in_memory
