"""Events are appended in order and found again."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from hrp_core.store.connection import Store
from hrp_core.store.lineage import EventType, append_event, log_event, read_lineage

NOW = datetime(2022, 12, 15, 23, 30, tzinfo=UTC)
LATER = datetime(2022, 12, 16, 14, 0, tzinfo=UTC)


def test_an_event_is_found_with_everything_it_says(store: Store) -> None:
    details = {"plan_id": "sim-1", "equity": Decimal("100000.0000"), "session": date(2022, 12, 15)}
    assert log_event(store, EventType.PLAN_FROZEN, "predictions_job", "HYP-2026-001", details, now=NOW) == 1
    [event] = read_lineage(store).to_dict("records")
    assert event["event_type"] == "plan_frozen"
    assert (event["actor"], event["hypothesis_id"]) == ("predictions_job", "HYP-2026-001")
    assert json.loads(event["details"]) == {
        "equity": "100000.0000", "plan_id": "sim-1", "session": "2022-12-15",
    }  # fmt: skip
    assert event["occurred_at"].isoformat() == "2022-12-15T18:30:00-05:00"


def test_events_of_one_moment_keep_their_order_newest_first(store: Store) -> None:
    with store.write() as connection:
        for actor in ("a", "b", "c"):
            append_event(connection, EventType.ORDER_SUBMITTED, actor, now=NOW)
    assert read_lineage(store)["actor"].tolist() == ["c", "b", "a"]
    assert read_lineage(store, limit=2)["actor"].tolist() == ["c", "b"]


def test_events_are_selected_by_strategy_kind_and_time(store: Store) -> None:
    log_event(store, EventType.ORDER_FILLED, "a", "HYP-2026-001", now=NOW)
    log_event(store, EventType.ORDER_FILLED, "b", "HYP-2026-002", now=LATER)
    log_event(store, EventType.TRADING_HALTED, "c", now=LATER)
    assert read_lineage(store, hypothesis_id="HYP-2026-001")["actor"].tolist() == ["a"]
    assert read_lineage(store, event_type=EventType.ORDER_FILLED)["actor"].tolist() == ["b", "a"]
    assert read_lineage(store, since=LATER)["actor"].tolist() == ["c", "b"]
    assert read_lineage(store, event_type=EventType.ORDER_FILLED, since=LATER)["actor"].tolist() == ["b"]


def test_an_event_of_unknown_kind_or_time_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="lunch"):
        log_event(store, "lunch", "me", now=NOW)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="time zone"):
        log_event(store, EventType.CASH_RECORDED, "me", now=NOW.replace(tzinfo=None))
    assert read_lineage(store).empty
