"""Taking a database to the schema version of the code.

What belongs here: applying the numbered scripts and saying which are pending (`hrp db migrate|status`).
Asset tables are not migrated into being: the first write creates them from their declaration.
"""

from dataclasses import dataclass

from hrp_core.store.connection import Store
from hrp_core.store.schema import database_version, latest_version, migrations, refuse_newer


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Where a database stands.

    Attributes:
        version: schema version of the database; 0 when it does not exist or was never migrated.
        latest: schema version of the code.
        pending: names of the scripts that `migrate` would apply, in order.
    """

    version: int
    latest: int
    pending: tuple[str, ...]


def migrate(store: Store) -> tuple[str, ...]:
    """Bring the database to the newest schema, creating the file where it is missing.

    Each script is one transaction that first reads the version again, so several processes may call this at
    once, and a kill leaves the database at a whole version.

    Returns:
        The names of the scripts that this call applied; empty when there was nothing to do.

    Raises:
        StoreError: the database is newer than the code, or stays locked.
    """
    applied: list[str] = []
    for script in migrations():
        with store.write(migrating=True) as connection:
            version = database_version(connection)
            refuse_newer(version, store.path)
            if version >= script.version:
                continue
            connection.execute(script.sql)
            connection.execute("INSERT INTO schema_version VALUES (?, ?)", [script.version, script.name])
        applied.append(_label(script.version, script.name))
    return tuple(applied)


def status(store: Store) -> SchemaStatus:
    """Return the schema version of the database and the scripts it lacks.

    Raises:
        StoreError: the database is newer than the code, or stays locked.
    """
    version = 0
    if store.path.exists():
        with store.read(any_version=True) as connection:
            version = database_version(connection)
    refuse_newer(version, store.path)
    pending = tuple(_label(script.version, script.name) for script in migrations()[version:])
    return SchemaStatus(version, latest_version(), pending)


def _label(version: int, name: str) -> str:
    return f"{version:04d}_{name}"
