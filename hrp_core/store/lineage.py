"""The audit trail: who did what, when, to which strategy.

What belongs here: the kinds of events, appending one and reading them. Rows are only ever added.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import pandas as pd
from duckdb import DuckDBPyConnection

from hrp_core.store.connection import Store
from hrp_core.store.frames import from_arrow
from hrp_core.store.tables import Column, ColumnType


class EventType(StrEnum):
    """What can happen that someone may later ask about."""

    DATA_LOADED = "data_loaded"
    FEATURES_COMPUTED = "features_computed"
    MODEL_TRAINED = "model_trained"
    MODEL_PROMOTED = "model_promoted"
    MODEL_ROLLED_BACK = "model_rolled_back"
    PREDICTION_GENERATED = "prediction_generated"
    PLAN_FROZEN = "plan_frozen"
    PLAN_APPROVED = "plan_approved"
    PLAN_REJECTED = "plan_rejected"
    PLAN_CHANGED = "plan_changed"
    GATE_VERDICT = "gate_verdict"
    ORDER_SUBMITTED = "order_submitted"
    ORDER_FILLED = "order_filled"
    ORDER_REJECTED = "order_rejected"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_RESOLVED = "order_resolved"
    DRIFT_DETECTED = "drift_detected"
    RECONCILIATION_BREAK = "reconciliation_break"
    TRADING_HALTED = "trading_halted"
    TRADING_RESUMED = "trading_resumed"
    LIVE_ARMED = "live_armed"
    LIVE_DISARMED = "live_disarmed"
    STRATEGY_CHANGED = "strategy_changed"
    SYMBOL_CONTROLLED = "symbol_controlled"
    CASH_RECORDED = "cash_recorded"
    SPLIT_TAKEN = "split_taken"


_COLUMNS = (
    Column("event_id", ColumnType.BIGINT, "Order in which events were recorded."),
    Column("event_type", ColumnType.TEXT, "An `EventType`."),
    Column("actor", ColumnType.TEXT, "Person or job."),
    Column("hypothesis_id", ColumnType.TEXT, "Strategy concerned.", True),
    Column("details", ColumnType.TEXT, "JSON object."),
    Column("occurred_at", ColumnType.MOMENT, "When it happened."),
)


def log_event(
    store: Store,
    event_type: EventType,
    actor: str,
    hypothesis_id: str | None = None,
    details: Mapping[str, object] | None = None,
    *,
    now: datetime,
) -> int:
    """Append one event in a transaction of its own (see `append_event`)."""
    with store.write() as connection:
        return append_event(connection, event_type, actor, hypothesis_id, details, now=now)


def append_event(
    connection: DuckDBPyConnection,
    event_type: EventType,
    actor: str,
    hypothesis_id: str | None = None,
    details: Mapping[str, object] | None = None,
    *,
    now: datetime,
) -> int:
    """Append one event to the lineage, in the caller's transaction.

    Args:
        connection: open for writing.
        event_type: what happened.
        actor: person or job that did it.
        hypothesis_id: strategy concerned, where there is one.
        details: anything else worth knowing; dates, moments, Decimals and paths become text.
        now: when it happened, timezone-aware.

    Returns:
        The event's id: one more than that of the event before.

    Raises:
        ValueError: `event_type` is unknown, or `now` has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError(f"a moment needs a time zone: {now!r}")
    row = connection.execute("SELECT coalesce(max(event_id), 0) + 1 FROM lineage").fetchone()
    event_id = int(row[0]) if row else 1
    connection.execute(
        "INSERT INTO lineage (event_id, event_type, actor, hypothesis_id, details, occurred_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        [
            event_id,
            EventType(event_type).value,
            actor,
            hypothesis_id,
            json.dumps(details or {}, default=str, sort_keys=True),
            now,
        ],
    )
    return event_id


def read_lineage(
    store: Store,
    *,
    hypothesis_id: str | None = None,
    event_type: EventType | None = None,
    since: datetime | None = None,
    limit: int = 100,
) -> pd.DataFrame:
    """Return the newest events first.

    Args:
        store: the database.
        hypothesis_id: only events of this strategy.
        event_type: only events of this kind.
        since: only events at or after this moment, timezone-aware.
        limit: most rows returned.

    Returns:
        Columns event_id, event_type, actor, hypothesis_id, details (JSON text), occurred_at (New York time).
    """
    conditions = {"hypothesis_id = ?": hypothesis_id, "event_type = ?": event_type, "occurred_at >= ?": since}
    given = {condition: value for condition, value in conditions.items() if value is not None}
    with store.read() as connection:
        found = connection.execute(
            f"SELECT {', '.join(column.name for column in _COLUMNS)} FROM lineage "
            f"WHERE {' AND '.join(given) or 'true'} ORDER BY event_id DESC LIMIT ?",
            [*given.values(), limit],
        ).to_arrow_table()
    return from_arrow(_COLUMNS, found)
