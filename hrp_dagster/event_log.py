"""Dagster's event log as dagster.yaml configures it: account numbers in the texts of errors are masked.

What belongs here: what is changed on the way into the log. What does not: the errors themselves, which
whoever runs a job gets whole, and what assets log, which is masked where it is logged (`hrp_core.log`).
"""

from typing import Any

from dagster._core.events import DagsterEvent  # not exported, like what follows
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage
from dagster_shared.error import SerializableErrorInfo

from hrp_core.log import redact


class MaskedEventLog(ConsolidatedSqliteEventLogStorage):
    """The event log of all runs in one sqlite file, with errors masked as our own logs are."""

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event; its errors and their causes name accounts as DU***67."""
        masked: dict[str, Any] = {}
        if event.error_info is not None:
            masked["error_info"] = _masked_error(event.error_info)
        if event.dagster_event is not None and (named := _masked_event(event.dagster_event)):
            masked["dagster_event"] = named
        super().store_event(event._replace(**masked) if masked else event)


def _masked_event(event: DagsterEvent) -> DagsterEvent | None:
    """Return the event with its errors masked; None where it has none."""
    # The data of every kind of event is a named tuple; the failure of a run holds that of its first step too.
    data: Any = event.event_specific_data
    masked: dict[str, Any] = {}
    if isinstance(error := getattr(data, "error", None), SerializableErrorInfo):
        masked["error"] = _masked_error(error)
    if isinstance(step := getattr(data, "first_step_failure_event", None), DagsterEvent):
        masked["first_step_failure_event"] = _masked_event(step) or step
    return event._replace(event_specific_data=data._replace(**masked)) if masked else None


def _masked_error(error: SerializableErrorInfo) -> SerializableErrorInfo:
    return error._replace(
        message=redact(error.message),
        cause=None if error.cause is None else _masked_error(error.cause),
        context=None if error.context is None else _masked_error(error.context),
    )
