"""Numbered scripts, applied once, by whoever comes first."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hrp_core.errors import StoreError
from hrp_core.store.connection import Store
from hrp_core.store.migrate import SchemaStatus, migrate, status
from hrp_core.store.schema import latest_version, migrations, stored_columns
from hrp_core.store.tables import TABLES

NOT_ASSETS = [
    "hypotheses", "model_deployments", "model_drift_checks", "lineage", "executed_trades", "live_positions",
    "strategy_positions", "reconciliation_runs", "account_snapshots", "ingestion_log", "partition_versions",
    "check_results",
]  # fmt: skip
LABELS = tuple(f"{script.version:04d}_{script.name}" for script in migrations())


def versions(store: Store) -> list[int]:
    with store.read() as connection:
        found = connection.execute("SELECT version FROM schema_version ORDER BY version").fetchall()
    return [version for (version,) in found]


def test_migrating_makes_the_database_and_the_second_time_does_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "hrp.duckdb")
    assert status(store) == SchemaStatus(0, latest_version(), LABELS)
    assert migrate(store) == LABELS
    assert migrate(store) == ()
    assert status(store) == SchemaStatus(latest_version(), latest_version(), ())


def test_migrating_takes_up_where_the_database_stands(store: Store) -> None:
    with store.write() as connection:
        connection.execute("DELETE FROM schema_version WHERE version > 1")
        connection.execute("DROP INDEX executed_trades_by_hypothesis")
        connection.execute("DROP INDEX executed_trades_by_symbol")
        connection.execute("DROP INDEX executed_trades_by_filled_at")
    assert status(store).pending == LABELS[1:]
    assert migrate(store) == LABELS[1:]


def test_threads_that_migrate_at_once_apply_each_script_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "hrp.duckdb")
    threads = [threading.Thread(target=migrate, args=(store,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert versions(store) == list(range(1, latest_version() + 1))


def test_processes_that_migrate_at_once_apply_each_script_once(tmp_path: Path) -> None:
    path = tmp_path / "hrp.duckdb"
    code = (
        "import sys, pathlib\n"
        "from hrp_core.store.connection import Store\n"
        "from hrp_core.store.migrate import migrate\n"
        "sys.stdin.readline()\n"
        "migrate(Store(pathlib.Path(sys.argv[1])))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE) for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert versions(Store(path)) == list(range(1, latest_version() + 1))


def test_a_database_of_a_newer_release_is_neither_migrated_nor_judged(store: Store) -> None:
    with store.write() as connection:
        connection.execute("INSERT INTO schema_version VALUES (999, 'from_the_future')")
    for act in (migrate, status):
        with pytest.raises(StoreError, match="newer release"):
            act(store)


def test_what_is_not_an_asset_has_its_table(store: Store) -> None:
    with store.read() as connection:
        missing = [name for name in NOT_ASSETS if not stored_columns(connection, name)]
    assert missing == []


@pytest.mark.parametrize(
    "name",
    ["executed_trades", "live_positions", "strategy_positions", "reconciliation_runs", "account_snapshots"],
)
def test_rows_of_execution_and_book_carry_mode_and_account(store: Store, name: str) -> None:
    with store.read() as connection:
        columns = stored_columns(connection, name)
    assert {"mode", "account"} <= set(columns)
    prices = {column: kind for column, kind in columns.items() if column.endswith("_price")}
    assert set(prices.values()) <= {"DECIMAL(18,6)"}


def test_no_statement_needs_what_ducklake_lacks() -> None:
    lacking = re.compile(r"PRIMARY KEY|UNIQUE|CHECK\s*\(|SEQUENCE|OR REPLACE|DEFAULT|INDEX|REFERENCES", re.I)
    statements = [migrations()[0].sql, *(table.ddl for table in TABLES.values())]
    without_comments = [re.sub(r"--.*", "", statement) for statement in statements]
    assert [found for text in without_comments if (found := lacking.search(text))] == []
