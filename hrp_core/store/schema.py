"""What the schema of a database is, and what the code wants it to be.

What belongs here: the numbered migration scripts, the version of a database, and the columns of its tables.
Applying scripts is `hrp_core.store.migrate`; refusing another version is `hrp_core.store.connection`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import duckdb
from duckdb import DuckDBPyConnection

from hrp_core.errors import StoreError
from hrp_core.store.tables import Table

_SCRIPT_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered script that takes a database from version - 1 to version."""

    version: int
    name: str
    sql: str


@lru_cache(maxsize=1)
def migrations() -> tuple[Migration, ...]:
    """Return the scripts of this installation, by version, from 1 without a gap.

    Raises:
        StoreError: the numbering has a gap or a duplicate (the installation is damaged).
    """
    found = sorted(
        (
            Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8"))
            for entry in (files("hrp_core.store") / "migrations").iterdir()
            if (match := _SCRIPT_NAME.fullmatch(entry.name))
        ),
        key=lambda migration: migration.version,
    )
    versions = [migration.version for migration in found]
    if not found or versions != list(range(1, len(found) + 1)):
        raise StoreError(
            f"the migration scripts are numbered {versions}, not 1, 2, 3 …; reinstall the package"
        )
    return tuple(found)


def latest_version() -> int:
    """Return the schema version that this code reads and writes."""
    return migrations()[-1].version


def stored_columns(connection: DuckDBPyConnection, table_name: str) -> dict[str, str]:
    """Return the types of a table's columns by name; empty where the table does not exist."""
    # A name that is not in the catalog is refused before anything runs, so the transaction goes on. Asking
    # information_schema instead describes every table to find one: an eighth of a session's time.
    try:
        found = connection.execute("SELECT name, type FROM pragma_table_info(?)", [table_name]).fetchall()
    except duckdb.CatalogException:
        return {}
    return dict(found)


def ensure_table(connection: DuckDBPyConnection, table: Table) -> None:
    """Create an asset table where it is missing, and add nullable columns that were declared since.

    Columns that the declaration has lost stay, and are empty in new rows.

    Raises:
        StoreError: a stored column has another type, or a new one may not be empty: that needs a migration.
    """
    stored = stored_columns(connection, table.name)
    if not stored:
        connection.execute(table.ddl)
        return
    for column in table.columns:
        if column.name not in stored and column.nullable:
            connection.execute(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {column.type}")
        elif stored.get(column.name) != column.type:
            raise StoreError(
                f"{table.name}.{column.name} is {stored.get(column.name, 'missing')} in the database and "
                f"{column.type} in the code; add a migration that changes it, then run `hrp db migrate`"
            )


def database_version(connection: DuckDBPyConnection) -> int:
    """Return the schema version of the connected database; 0 when it was never migrated."""
    try:
        row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    except duckdb.CatalogException:
        return 0
    return int(row[0]) if row else 0


def refuse_newer(version: int, database: object) -> None:
    """Refuse a database that a newer release has migrated.

    Raises:
        StoreError: `version` is above the newest script of this installation.
    """
    if version > latest_version():
        raise StoreError(
            f"{database} has schema version {version}, this installation knows {latest_version()}: a newer "
            "release has migrated it; update this installation, or point HRP_DATABASE at another file"
        )
