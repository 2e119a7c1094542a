"""`hrp job`: run one of the day's jobs for a session, as its schedule would, or say what that would do.

What belongs here: parsing, starting the run, and printing its result. What does not: what a result is
(`hrp_core.platform.jobs`).
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import typer

from hrp_core.calendar import nyse
from hrp_core.errors import HrpError
from hrp_core.execution.marks import is_provisional
from hrp_core.ledger.journal import Journal
from hrp_core.platform.jobs import (
    BookResult,
    JobResult,
    JobStatus,
    TradingResult,
    drift_result,
    failed_result,
    predictions_result,
    trading_result,
)
from hrp_core.platform.preview import preview
from hrp_core.portfolio.strategies import load_strategies
from hrp_core.settings import Settings
from hrp_core.store import Store
from hrp_core.timetable import PROVISIONAL_BOOK
from hrp_dagster.cli.context import JsonOption, err, load_settings, out, parse_session, print_json

app = typer.Typer(help="Run the jobs of the day.", no_args_is_help=True)

Metadata = Mapping[str, Mapping[str, Any]]


class JobName(StrEnum):
    """Jobs by their public names."""

    MARKET_DATA = "market-data"
    PREDICTIONS = "predictions"
    LIVE_TRADER = "live-trader"
    BOOK = "book"
    DRIFT_MONITOR = "drift-monitor"
    DECISION = "decision"
    PREFLIGHT = "preflight"
    PREOPEN = "preopen"
    OPEN_MONITOR = "open-monitor"
    SYNC = "sync"
    HISTORY = "history"
    TRAINING = "training"
    CLEANUP = "cleanup"

    @property
    def of_session(self) -> bool:
        """Whether a run is for one session; the others are about now."""
        return self in _OF_SESSION

    @property
    def dagster_name(self) -> str:
        """The job's name in Dagster, whose names have underscores."""
        return f"{self.value.replace('-', '_')}_job"


_OF_SESSION = frozenset(
    {
        *(JobName.MARKET_DATA, JobName.PREDICTIONS, JobName.LIVE_TRADER, JobName.BOOK),
        *(JobName.DRIFT_MONITOR, JobName.DECISION),
    }
)


@app.command("run")
def run(
    name: Annotated[JobName, typer.Argument(metavar="JOB", help="Which job; listed above.")],
    session: Annotated[
        str | None, typer.Option(help="Decision session YYYY-MM-DD; default: the one of the clock.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and whether it may; do nothing.")
    ] = False,
    trading_dry_run: Annotated[
        bool | None,
        typer.Option(
            "--trading-dry-run/--no-trading-dry-run",
            help="live-trader: everything but the sending; default: HRP_DRY_RUN.",
        ),
    ] = None,
    auto_rollback: Annotated[
        bool | None,
        typer.Option(
            "--auto-rollback/--no-auto-rollback",
            help="drift-monitor: whether drift that stays moves a model back; default: HRP_AUTO_ROLLBACK.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a job in this process; the run shows in the Dagster UI.

    Of one session: market-data, predictions, live-trader, book, drift-monitor,
    decision (market data and predictions in one run).

    About now: preflight, preopen, open-monitor, sync (these ask the broker),
    history, training, cleanup.

    Exit 0 done, 1 failed in whole or part, 3 refused by a safety rule.
    """
    if trading_dry_run is not None and name is not JobName.LIVE_TRADER:
        raise typer.BadParameter("--trading-dry-run is for live-trader; see --dry-run")
    if auto_rollback is not None and name is not JobName.DRIFT_MONITOR:
        raise typer.BadParameter("--auto-rollback is for drift-monitor")
    if session is not None and not name.of_session:
        raise typer.BadParameter(f"{name.value} is about now: it takes no --session")
    settings = load_settings()
    chosen = _session(settings, name, session)
    if dry_run:
        given = {"dry_run": trading_dry_run, "auto_rollback": auto_rollback}
        kept = {key: value for key, value in given.items() if value is not None}
        _show_preview(settings.model_copy(update=kept), name, chosen, as_json)
        return
    try:
        result, run_id, assets = _run(settings, name, chosen, trading_dry_run, auto_rollback)
    except HrpError as error:
        if as_json:
            _print_result(name, chosen, failed_result(name.value, error), None, {}, as_json)
        raise
    _print_result(name, chosen, result, run_id, assets, as_json)
    if result.status.exit_code:
        raise typer.Exit(result.status.exit_code)


def _session(settings: Settings, name: JobName, given: str | None) -> date:
    if given is not None:
        chosen = parse_session(given)
        nyse().close(chosen)
        return chosen
    now = settings.clock().now()
    return nyse().book_session(now) if name is JobName.BOOK else nyse().decision_session(now)


def _run(
    settings: Settings, name: JobName, session: date, dry_run: bool | None, auto_rollback: bool | None
) -> tuple[JobResult, str | None, Metadata]:
    """Run a job and return its result, the run's id, and what each asset recorded."""
    deployed = len(load_strategies(settings.strategies))
    if not deployed and name in (JobName.PREDICTIONS, JobName.DECISION):
        return predictions_result(0, 0, 0, {}), None, {}
    if not deployed and name is JobName.LIVE_TRADER:
        return TradingResult(JobStatus.NO_STRATEGIES), None, {}
    from hrp_dagster.runs import run_job

    done = run_job(
        settings,
        name.dagster_name,
        session if name.of_session else None,
        only=_only(settings, name, session),
        checked=True,
        dry_run=dry_run,
        auto_rollback=auto_rollback,
    )
    return _result(settings, name, done.metadata), done.run_id, done.metadata


def _only(settings: Settings, name: JobName, session: date) -> tuple[str, ...] | None:
    """Return the assets that the job's schedule would run at this time; None for all."""
    if name is not JobName.BOOK:
        return None
    provisional = is_provisional(Store(settings.database_path), session, settings.clock().now())
    return PROVISIONAL_BOOK if provisional else None


def _result(settings: Settings, name: JobName, metadata: Metadata) -> JobResult:
    """Return the result of a finished run from what its assets recorded; other assets do not matter."""
    if name in (JobName.PREDICTIONS, JobName.DECISION):
        scored = metadata.get("predictions", {})
        return predictions_result(
            int(scored.get("deployed", 0)),
            int(scored.get("predictions", 0)),
            int(scored.get("strategies", 0)),
            scored.get("errors", {}),
        )
    if name is JobName.LIVE_TRADER:
        sent = metadata.get("orders", {})
        return trading_result(
            sent.get("by_status", {}),
            sent=int(sent.get("sent", 0)),
            dry_run=bool(sent.get("dry_run", False)),
            positions=_positions_synced(settings),
            stopped=str(sent.get("stopped_early", "")),
            skipped=sent.get("skipped", []),
        )
    if name is JobName.DRIFT_MONITOR:
        drift = metadata.get("model_drift", {})
        return drift_result(
            str(drift.get("status", JobStatus.ERROR)),
            int(drift.get("models_checked", 0)),
            drift.get("models_with_drift", []),
            drift.get("rollbacks", {}),
        )
    if name is JobName.BOOK:
        valued = metadata.get("nav", {})
        nav = valued.get("nav")
        return BookResult(
            JobStatus.SUCCESS,
            int(metadata.get("fills", {}).get("executions", 0)),
            int(metadata.get("positions", {}).get("names", 0)),
            None if nav is None else Decimal(str(nav)),
            provisional=bool(valued.get("provisional", False)),
        )
    return JobResult(JobStatus.SUCCESS)


def _positions_synced(settings: Settings) -> int:
    """Return the names in the newest complete snapshot, which the run compared with the ledger."""
    journal = Journal(settings.journal_path)
    try:
        snapshot = journal.newest_snapshot()
        return 0 if snapshot is None else len(snapshot.shares)
    finally:
        journal.close()


def _called(name: JobName, session: date) -> str:
    return f"{name.value} of {session}" if name.of_session else name.value


def _print_result(
    name: JobName, session: date, result: JobResult, run_id: str | None, assets: Metadata, as_json: bool
) -> None:
    if as_json:
        about = {"job": name.value, "session": session if name.of_session else None, "run_id": run_id}
        # Tables and schemas, which Dagster shows, are no plain values.
        plain = {
            asset: {
                label: value
                for label, value in values.items()
                if type(value) in (bool, int, float, str, list, dict)
            }
            for asset, values in assets.items()
        }
        print_json({**about, **asdict(result), "assets": plain})
        return
    ran = "" if run_id is None else f" (run {run_id[:8]})"
    out.print(f"{_called(name, session)}: {result.status.value}{ran}.", markup=False)
    for label, value in asdict(result).items():
        if label not in ("status", "errors"):
            shown = ", ".join(map(str, value)) or "none" if isinstance(value, tuple | dict) else value
            out.print(f"  {label.replace('_', ' ')}: {shown}", markup=False)
    for asset, values in assets.items():
        out.print(f"  {asset}: {values.get('dagster/row_count', 0)} rows", markup=False)
    for what, message in result.errors.items():
        err.print(f"  {what}: {message}", markup=False, highlight=False, soft_wrap=True)


def _show_preview(settings: Settings, name: JobName, session: date, as_json: bool) -> None:
    from hrp_dagster.runs import job_assets

    found = preview(settings, name.value, session, settings.clock().now())
    only = _only(settings, name, session) if found.would_run else None
    assets = [asset for asset in job_assets(settings, name.dagster_name) if only is None or asset in only]
    if as_json:
        print_json({**asdict(found), "assets": assets})
        return
    word = "would run" if found.would_run else "would not do its work"
    out.print(f"{_called(name, session)} {word}: {found.status}. Nothing was done.", markup=False)
    if assets:
        out.print(f"  assets: {', '.join(assets)}", markup=False)
    for reason in found.reasons:
        out.print(f"  {reason}", markup=False)
