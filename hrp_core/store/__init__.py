"""DuckDB: research data and projections of the journal.

What belongs here: the declaration of every table, short transactional connections, migrations, the atomic
replacement of a partition slice, and reading back with declared types. What does not: what the numbers mean.
"""

from hrp_core.store.connection import Store
from hrp_core.store.lineage import EventType, append_event, log_event, read_lineage
from hrp_core.store.migrate import SchemaStatus, migrate, status
from hrp_core.store.reading import (
    StoredRange,
    newest_session,
    read_slice,
    read_table,
    select_rows,
    stored_ranges,
)
from hrp_core.store.readonly import query_readonly
from hrp_core.store.slices import Before, Sessions, Slice, replace_slice
from hrp_core.store.tables import TABLES, Column, ColumnType, Table, table
from hrp_core.store.versions import PartitionVersion, partition_versions

__all__ = [
    "TABLES",
    "Before",
    "Column",
    "ColumnType",
    "EventType",
    "PartitionVersion",
    "SchemaStatus",
    "Sessions",
    "Slice",
    "Store",
    "StoredRange",
    "Table",
    "append_event",
    "log_event",
    "migrate",
    "newest_session",
    "partition_versions",
    "query_readonly",
    "read_lineage",
    "read_slice",
    "read_table",
    "replace_slice",
    "select_rows",
    "status",
    "stored_ranges",
    "table",
]
