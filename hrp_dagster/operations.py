"""Jobs without assets: asking the broker between the jobs of the day, and keeping house.

What belongs here: ops, each one call into the domain with its metadata. What does not: when they run.
"""

import dagster as dg

from hrp_core.calendar import WallClock
from hrp_core.errors import NotReadyError
from hrp_core.execution.config import ClientRole
from hrp_core.execution.expiry import close_plans
from hrp_core.execution.looks import coverage_gaps
from hrp_core.execution.open_monitor import monitor_open
from hrp_core.execution.preflight import preflight
from hrp_core.execution.preopen import preopen_check
from hrp_core.execution.preopen_judgement import SymbolLock
from hrp_core.execution.projections import project_book
from hrp_core.execution.send_window import SendAt
from hrp_core.execution.sync import sync_broker
from hrp_core.ledger.types import ExternalPolicy
from hrp_core.market.freshness import recent_universe
from hrp_core.portfolio.types import SymbolAction
from hrp_dagster.history import clean_history
from hrp_dagster.resources.ibkr import IBKRResource
from hrp_dagster.resources.platform import Platform
from hrp_dagster.state import UNFINISHED_TAG

_PREVIEWED = 5


@dg.op(description="Ask the broker for everything, journal it, and check that it adds up.")
def ask_broker(context: dg.OpExecutionContext, platform: Platform, ibkr: IBKRResource) -> None:
    """Bring the journal and the live tables up to date; the connection ends with the step."""
    settings, journal, now = platform.settings(), platform.journal(), platform.clock().now()
    with ibkr.connect(settings, ClientRole.READER) as broker:
        report = sync_broker(
            broker,
            journal,
            now,
            mode=settings.mode.value,
            external=ExternalPolicy(settings.external_orders),
        )
    close_plans(journal, now, SendAt(settings.send_at), dry_run=settings.is_dry_run)
    project_book(platform.store(), journal)
    context.add_output_metadata(
        {
            "new_executions": report.new_executions,
            "open_orders": len(report.snapshot.open_orders),
            "unknown": list(report.unknown),
            "resolved": list(report.expired),
            "coverage_gaps": [str(gap) for gap in coverage_gaps(journal, now)],
        }
    )


@dg.op(description="Whether the broker answers and would take an order; nothing is placed.")
def ask_preview(context: dg.OpExecutionContext, platform: Platform, ibkr: IBKRResource) -> None:
    """Connect as the doctor: heartbeat, and a preview of one share."""
    settings, clock = platform.settings(), platform.clock()
    symbols = recent_universe(platform.store(), sessions=1)[:_PREVIEWED]
    if not symbols:
        raise NotReadyError("no universe is stored yet; run market_data_job first")
    with ibkr.connect(settings, ClientRole.DOCTOR) as broker:
        report = preflight(broker, symbols, clock.now())
    context.add_output_metadata(
        {
            "broker_time": report.broker_time.isoformat(),
            "previewed": report.symbol,
            "warning": report.preview.warning,
        }
    )


@dg.op(description="Whether what waits at the broker is what was decided; what is not is taken back.")
def check_before_open(context: dg.OpExecutionContext, platform: Platform, ibkr: IBKRResource) -> None:
    """Compare working orders, positions and prior closes; a name whose price basis changed is frozen."""
    settings, journal, clock = platform.settings(), platform.journal(), platform.clock()

    def lock(found: SymbolLock) -> None:
        journal.control_symbol(
            found.symbol,
            SymbolAction.FREEZE,
            until=found.until,
            by="preopen_check",
            reason=found.reason,
            now=clock.now(),
        )

    report = preopen_check(
        settings,
        platform.store(),
        journal,
        lambda: ibkr.connect(settings, ClientRole.WRITER, sends=False),
        clock,
        lock=lock,
    )
    context.add_output_metadata(
        {
            "working": len(report.working),
            "concerns": [concern.message for concern in report.concerns],
            "frozen": [found.symbol for found in report.locks],
            "withdrawn": [item.order_ref for item in report.withdrawn],
            "halted": report.halted,
        }
    )


@dg.op(description="Stays connected through the open and journals what the broker says.")
def watch_open(context: dg.OpExecutionContext, platform: Platform, ibkr: IBKRResource) -> None:
    """Watch the open; what it leaves unfilled stays or is cancelled (HRP_RESIDUAL_POLICY)."""
    settings = platform.settings()
    report = monitor_open(
        settings,
        platform.store(),
        platform.journal(),
        lambda: ibkr.connect(settings, ClientRole.WRITER, sends=False),
        platform.clock(),
    )
    if not report.finished:
        # Not a failure, and not done: the timetable asks again, and the policy is applied then.
        context.instance.add_run_tags(context.run_id, {UNFINISHED_TAG: report.stopped})
        context.log.warning("the watch over the open is not finished: %s", report.stopped)
    context.add_output_metadata(
        {
            "finished": report.finished,
            "stopped": report.stopped,
            "orders": len(report.orders),
            "withdrawn": [item.order_ref for item in report.withdrawn],
            "missing": list(report.missing),
        }
    )


@dg.op(description="Delete old runs, but for those that sent orders, and give their space back.")
def tidy_history(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Runs are stamped by the computer's clock, in sim too."""
    cleaned = clean_history(
        context.instance, WallClock().now(), keep_days=platform.settings().run_history_days
    )
    context.add_output_metadata(
        {
            "runs_deleted": cleaned.deleted,
            "runs_kept": cleaned.kept,
            "bytes_before": cleaned.bytes_before,
            "bytes_after": cleaned.bytes_after,
        }
    )


@dg.job(
    description="Executions, orders and positions from the broker into the journal. Started by fills_sensor."
)
def sync_job() -> None:
    """Ask the broker."""
    ask_broker()


@dg.job(
    description="Hours before the orders: does the broker answer, would it take one? By preflight_sensor."
)
def preflight_job() -> None:
    """Ask for a preview."""
    ask_preview()


@dg.job(description="The basket at the broker against the plan. 08:45 New York on the day it executes.")
def preopen_job() -> None:
    """Check before the open."""
    check_before_open()


@dg.job(description="The open, watched from 09:25 to 09:45 New York on the day the basket executes.")
def open_monitor_job() -> None:
    """Watch the open."""
    watch_open()


@dg.job(description="Old runs are deleted, those that sent orders stay. 04:10 every night.")
def cleanup_job() -> None:
    """Keep house."""
    tidy_history()


OPERATIONS_JOBS = (sync_job, preflight_job, preopen_job, open_monitor_job, cleanup_job)
