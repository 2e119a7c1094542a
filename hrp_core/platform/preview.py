"""What a run of a job would do, and whether the rules would let it: asked without doing anything.

What belongs here: reading what is stored and recorded. What does not: making a file or a connection, and the
rules themselves, which the steps apply again when they run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from hrp_core.calendar import nyse, require_completed, require_decision_session
from hrp_core.errors import HrpError, NotReadyError, RefusedError
from hrp_core.execution.marks import is_provisional
from hrp_core.execution.planning import require_book
from hrp_core.execution.send_window import SendAt, send_window
from hrp_core.features import FEATURES
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FrozenPlan, LatchState, OrderStatus, PlanStatus
from hrp_core.platform.jobs import JobStatus
from hrp_core.portfolio.freshness import require_fresh_data
from hrp_core.portfolio.strategies import load_strategies
from hrp_core.settings import Settings
from hrp_core.store import Store, read_table, table

READY = "ready"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would come to.

    Attributes:
        status: `ready`, or the status that the run would end with.
        would_run: whether the rules known here would let it do its work.
        reasons: why not, or what is worth knowing.
    """

    job: str
    session: date
    status: str
    would_run: bool
    reasons: tuple[str, ...]


def preview(settings: Settings, job: str, session: date, now: datetime) -> Preview:
    """Return what a run of `job` for `session` would come to at `now`. Nothing is written or connected.

    Args:
        settings: of the installation; a `dry_run` in it counts.
        job: predictions, live-trader, drift-monitor, book; another one is only checked against the clock.
        session: decision session; for book, the session whose orders executed.
        now: from the clock.
    """
    check = _CHECKS.get(job, _check_completed)
    reasons: list[str] = []
    status = READY
    try:
        for item in check(settings, session, now):
            if isinstance(item, JobStatus):
                status = item.value
            else:
                reasons.append(item)
    except RefusedError as error:
        return Preview(job, session, JobStatus.BLOCKED.value, False, (*reasons, str(error)))
    except NotReadyError as error:
        return Preview(job, session, JobStatus.DATA_NOT_READY.value, False, (*reasons, str(error)))
    except HrpError as error:
        return Preview(job, session, JobStatus.FAILURE.value, False, (*reasons, str(error)))
    return Preview(job, session, status, status in (READY, JobStatus.DRY_RUN), tuple(reasons))


def _check_completed(settings: Settings, session: date, now: datetime) -> Iterator[JobStatus | str]:  # noqa: ARG001
    require_completed(session, now)
    yield from ()


def _check_predictions(settings: Settings, session: date, now: datetime) -> Iterator[JobStatus | str]:
    if not load_strategies(settings.strategies):
        yield JobStatus.NO_DEPLOYED_STRATEGIES
        yield f"no strategy in {settings.strategies} is deployed"
        return
    require_decision_session(session, now)
    store = Store(settings.database_path)
    require_fresh_data(store, session)
    for name in ("universe", "features", "prices"):
        _require_stored(store, name, session, "market_data_job")
    if settings.journal_path.exists():
        journal = _journal(settings)
        try:
            require_book(store, journal, session, now)
        finally:
            journal.close()
    yield "afterwards ledger and broker must agree to the share before the plan is frozen"


def _check_trading(settings: Settings, session: date, now: datetime) -> Iterator[JobStatus | str]:
    if not load_strategies(settings.strategies):
        yield JobStatus.NO_STRATEGIES
        yield f"no strategy in {settings.strategies} is deployed"
        return
    require_decision_session(session, now)
    plan, latch = _plan_and_latch(settings, session)
    pending = [intent for intent in plan.intents if intent.status is OrderStatus.PENDING]
    yield f"plan {plan.plan_id} is {plan.status.value}: {len(pending)} of {len(plan.intents)} orders to send"
    if settings.is_dry_run:
        yield JobStatus.DRY_RUN
        yield "a dry run checks and records everything and sends nothing (HRP_DRY_RUN, --trading-dry-run)"
    if not pending:
        return
    if latch[0] is LatchState.HALTED:
        raise RefusedError(f"trading is halted: {latch[1]}")
    if latch[0] is LatchState.REDUCING:
        yield f"only exits would be sent: {latch[1]}"
    if plan.status is not PlanStatus.APPROVED and not settings.is_dry_run:
        raise RefusedError(f"plan {plan.plan_id} is {plan.status.value}, not approved")
    windows = [
        send_window(nyse(), session, kind, SendAt(settings.send_at))
        for kind in sorted({intent.order_type for intent in pending})
    ]
    if not any(window.contains(now) for window in windows):
        raise RefusedError(
            f"orders of {session} may be sent from {windows[0]}; it is {now:%a %Y-%m-%d %H:%M}"
        )
    yield f"orders may be sent from {windows[0]}"


def _check_drift(settings: Settings, session: date, now: datetime) -> Iterator[JobStatus | str]:
    models = sorted({item.model for item in load_strategies(settings.strategies)} - set(FEATURES))
    if not models:
        yield JobStatus.NO_MODELS
        yield "no deployed strategy uses a trained model"
        return
    require_completed(session, now)
    store = Store(settings.database_path)
    _require_stored(store, "features", session, "market_data_job")
    yield f"models: {', '.join(models)}"
    yield f"automatic rollback is {'on' if settings.auto_rollback else 'off'}"


def _check_book(settings: Settings, session: date, now: datetime) -> Iterator[JobStatus | str]:
    store, executed = Store(settings.database_path), nyse().next(session)
    provisional = is_provisional(store, session, now)
    journal = _journal(settings)
    try:
        journal.binding()
    finally:
        journal.close()
    if provisional:
        yield f"the NAV would be provisional, at the broker's prices: {executed} has no official closes yet"
    else:
        _require_stored(store, "prices", executed, "market_data_job")
    asked = session == nyse().book_session(now)
    yield "the broker would be asked" if asked else "the journal would answer alone: the broker has forgotten"


_CHECKS: dict[str, Callable[[Settings, date, datetime], Iterator[JobStatus | str]]] = {
    "predictions": _check_predictions,
    "live-trader": _check_trading,
    "drift-monitor": _check_drift,
    "book": _check_book,
}


def _plan_and_latch(settings: Settings, session: date) -> tuple[FrozenPlan, tuple[LatchState, str]]:
    journal = _journal(settings)
    try:
        plan, latch = journal.latest_plan(session), journal.latch()
    finally:
        journal.close()
    if plan is None:
        raise NotReadyError(f"session {session} has no plan; run predictions_job for it first")
    return plan, (latch.state, f"{latch.by}: {latch.reason}")


def _journal(settings: Settings) -> Journal:
    # Opening a journal makes the file; looking must not.
    if not settings.journal_path.exists():
        raise NotReadyError("there is no order journal yet; run predictions_job first")
    return Journal(settings.journal_path)


def _require_stored(store: Store, name: str, session: date, job: str) -> None:
    if read_table(store, table(name), sessions=[session], columns=["session"]).empty:
        raise NotReadyError(f"{name} of session {session} are not stored; run {job} for it first")
