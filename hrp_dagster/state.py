"""The facts that a tick is judged by, gathered by short reads; and the tags by which runs are known again.

What belongs here: reading database, journal and Dagster's runs. What does not: deciding
(`hrp_core.timetable`), and anything that connects to a broker.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import NotReadyError
from hrp_core.execution.bookkeeping import closed_books
from hrp_core.execution.looks import looks_due
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import LatchState
from hrp_core.settings import Mode, Settings
from hrp_core.store import Store
from hrp_core.store.schema import stored_columns
from hrp_core.timetable import DeskState, Run

KEY_TAG = "hrp/key"
SESSION_TAG = "hrp/session"
UNFINISHED_TAG = "hrp/unfinished"
"""Of a run that succeeded and is not done: why. It does not count as finished."""
TRADER_SCHEDULE = "live_trader_schedule"
NOT_SET_UP = "nothing is set up here yet; run `make demo`, or `hrp init` for an installation of your own"
# Two weeks of sessions, and what is around them.
_LOOK_BACK = timedelta(days=21)
_LOOKS_BACK = timedelta(days=2)
# An evaluation must end long before Dagster gives it up (60 s).
_STORE_WAIT = 20.0
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def desk_state(settings: Settings, instance: dg.DagsterInstance, now: datetime) -> DeskState:
    """Return what is known at `now` (timezone-aware).

    An installation without a database gives a state whose `unready` says what to run.

    Raises:
        StoreError: the database stays locked or is broken.
        JournalError: the journal cannot be read.
    """
    try:
        written, provisional = _written(evaluation_store(settings), now)
    except NotReadyError as error:
        reason = str(error) if settings.database_path.exists() else NOT_SET_UP
        return DeskState(unready=reason, simulated=settings.mode is Mode.SIM)
    running, asked, finished = _runs(instance, now)
    facts: dict[str, object] = {}
    # Opening a journal makes the file: an evaluation must leave nothing behind.
    if settings.journal_path.exists():
        journal = Journal(settings.journal_path)
        try:
            latch, snapshot = journal.latch(), journal.newest_snapshot()
            looked = None if snapshot is None else snapshot.asked_at
            facts = {
                "plans": journal.plan_facts(),
                "halted": f"{latch.reason} (by {latch.by})" if latch.state is LatchState.HALTED else "",
                "resumed": latch.at if latch.state is LatchState.ACTIVE else None,
                "looks": looks_due(journal.sent_since(now - _LOOKS_BACK), looked, now),
                "working": len(journal.live_attempts()),
                "looked": looked,
            }
        finally:
            journal.close()
    return DeskState(
        simulated=settings.mode is Mode.SIM,
        dry_run=settings.is_dry_run,
        preopen=settings.send_at == "preopen",
        written=written,
        provisional=provisional,
        running=running,
        asked=asked,
        finished=finished,
        trading_on=_trading_on(instance),
        **facts,  # pyright: ignore[reportArgumentType]
    )


def evaluation_store(settings: Settings) -> Store:
    """Return the store with a wait that fits into an evaluation."""
    return Store(settings.database_path, wait=_STORE_WAIT)


def run_tags(run: Run) -> dict[str, str]:
    """Return the tags by which a run is known again."""
    return {KEY_TAG: run.key, SESSION_TAG: run.session.isoformat()}


def run_request(
    run: Run, settings: Settings, *, job_name: str | None = None
) -> dg.RunRequest | dg.SkipReason:
    """Return the request for a run, or why there is no partition for it.

    Args:
        run: what was decided.
        settings: names the first partition.
        job_name: for sensors with several jobs.
    """
    if run.partitioned and run.session < settings.first_session:
        return dg.SkipReason(
            f"{run.session} lies before the first partition ({settings.first_session}, HRP_FIRST_SESSION)"
        )
    return dg.RunRequest(
        run_key=run.key,
        job_name=job_name,
        partition_key=run.session.isoformat() if run.partitioned else None,
        tags=run_tags(run),
        asset_selection=[dg.AssetKey(name) for name in run.only] or None,
    )


def _written(store: Store, now: datetime) -> tuple[Mapping[str, Mapping[date, datetime]], frozenset[date]]:
    since = (now.astimezone(NEW_YORK) - _LOOK_BACK).date()
    with store.read() as connection:
        if not stored_columns(connection, "partition_versions"):
            return {}, frozenset()
        rows = connection.execute(
            "SELECT asset, session, written_at FROM partition_versions WHERE session >= ?", [since]
        ).fetchall()
        closed = closed_books(connection, since)
    written: dict[str, dict[date, datetime]] = {}
    for asset, session, moment in rows:
        written.setdefault(asset, {})[session] = moment.astimezone(NEW_YORK)
    return written, frozenset(written.get("nav", {})) - closed


def _runs(
    instance: dg.DagsterInstance, now: datetime
) -> tuple[frozenset[str], frozenset[str], frozenset[tuple[str, date]]]:
    running = {run.job_name for run in instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED))}
    today = now.astimezone(NEW_YORK).date()
    days = [(today - timedelta(days=back)).isoformat() for back in range(_LOOK_BACK.days)]
    ours = instance.get_runs(filters=dg.RunsFilter(tags={SESSION_TAG: days}))
    return (
        frozenset(running),
        frozenset(run.tags[KEY_TAG] for run in ours if KEY_TAG in run.tags),
        frozenset(
            (run.job_name, date.fromisoformat(run.tags[SESSION_TAG]))
            for run in ours
            if run.status is dg.DagsterRunStatus.SUCCESS and UNFINISHED_TAG not in run.tags
        ),
    )


def _trading_on(instance: dg.DagsterInstance) -> bool:
    return any(
        state.instigator_name == TRADER_SCHEDULE and state.is_running
        for state in instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
    )
