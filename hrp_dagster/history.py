"""Keeping Dagster's own history small: old runs go, those that sent orders stay.

What belongs here: what is deleted, and giving the space back. Ticks are purged by Dagster itself
(`retention` in dagster.yaml). The records of the business are the journal and the database, not this.
"""

import logging
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage

from hrp_core.timetable import TRADER

_log = logging.getLogger(__name__)

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_PAGE = 500


@dataclass(frozen=True, slots=True)
class CleanedHistory:
    """What a clean-up did.

    Attributes:
        deleted: runs that are gone.
        kept: runs as old that stay, because they sent orders.
        bytes_before: size of Dagster's state; 0 where it is no folder of this machine.
    """

    deleted: int
    kept: int
    bytes_before: int
    bytes_after: int


def clean_history(instance: dg.DagsterInstance, now: datetime, keep_days: int) -> CleanedHistory:
    """Delete finished runs that are older than `keep_days`, except those of the trader, and compact.

    Args:
        instance: whose history.
        now: of the computer's clock, timezone-aware; Dagster stamps its runs by it.
        keep_days: days that a finished run stays.
    """
    state = _state_folder(instance)
    before = _size(state)
    old = dg.RunsFilter(statuses=_FINISHED, created_before=now - timedelta(days=keep_days))
    runs: list[dg.DagsterRun] = []
    while page := instance.get_runs(filters=old, limit=_PAGE, cursor=runs[-1].run_id if runs else None):
        runs += page
    doomed = [run.run_id for run in runs if run.job_name != TRADER]
    for run_id in doomed:
        _delete(instance, run_id)
    if doomed:
        _compact(state)
    return CleanedHistory(len(doomed), len(runs) - len(doomed), before, _size(state))


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    instance.delete_run(run_id)
    instance.compute_log_manager.delete_logs(prefix=[run_id])


def _state_folder(instance: dg.DagsterInstance) -> Path | None:
    storage = instance.event_log_storage
    if not isinstance(storage, ConsolidatedSqliteEventLogStorage):
        return None
    return Path(storage.get_db_path()).parent


def _size(folder: Path | None) -> int:
    if folder is None:
        return 0
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _compact(folder: Path | None) -> None:
    if folder is None:
        return
    for path in sorted(folder.rglob("*.db")):
        try:
            with closing(sqlite3.connect(path, timeout=10)) as connection:
                connection.execute("VACUUM")
        except sqlite3.OperationalError as error:
            # Another process writes just now; the space is given back the next night.
            _log.warning("%s was not compacted: %s", path.name, error)
