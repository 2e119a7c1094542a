"""What a run of a job amounts to: one small result a job, with the statuses that were promised.

What belongs here: judging what the steps of a job report, as pure functions; Dagster's assets and the command
line use the same. What does not: doing the work, and saying beforehand what would happen (`preview`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from hrp_core.errors import HrpError, NotReadyError, RefusedError
from hrp_core.ledger.types import OrderStatus

# What the broker took, whatever it does with it later.
_TAKEN = frozenset(
    {
        OrderStatus.SUBMITTED,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.FILLED,
        OrderStatus.PENDING_CANCEL,
        OrderStatus.CANCELLED,
        OrderStatus.HELD,
    }
)


class JobStatus(StrEnum):
    """What became of a run."""

    SUCCESS = "success"
    PARTIAL_FAILURE = "partial_failure"  # part of it failed and is named in `errors`; the rest is done
    FAILURE = "failure"
    BLOCKED = "blocked"  # a safety rule said no
    DATA_NOT_READY = "data_not_ready"  # an input does not exist yet
    NO_DEPLOYED_STRATEGIES = "no_deployed_strategies"  # predictions
    NO_STRATEGIES = "no_strategies"  # live-trader
    DRY_RUN = "dry_run"  # live-trader: everything but the sending
    NO_MODELS = "no_models"  # drift-monitor, like those that follow
    OK = "ok"
    DRIFT_DETECTED = "drift_detected"
    INSUFFICIENT = "insufficient"
    ERROR = "error"  # a check could not run, which is not "no drift"

    @property
    def exit_code(self) -> int:
        """What a command ends with: 0 done, 1 failed in whole or part, 3 refused by a safety rule."""
        if self is JobStatus.BLOCKED:
            return 3
        return int(self in _FAILED)


_FAILED = frozenset({JobStatus.PARTIAL_FAILURE, JobStatus.FAILURE, JobStatus.DATA_NOT_READY, JobStatus.ERROR})


@dataclass(frozen=True, slots=True)
class JobResult:
    """What every job says: its status, and by name what failed (the name `job`: the whole of it)."""

    status: JobStatus
    errors: Mapping[str, str] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True, slots=True)
class PredictionsResult(JobResult):
    """Result of the job `predictions`.

    Attributes:
        predictions_generated: scores, over all strategies.
        strategies_processed: strategies that have scores.
    """

    predictions_generated: int = 0
    strategies_processed: int = 0


@dataclass(frozen=True, slots=True)
class TradingResult(JobResult):
    """Result of the job `live-trader`.

    Attributes:
        orders_submitted: orders handed to the broker by this run.
        positions_synced: names held, on which ledger and broker agreed to the share.
    """

    orders_submitted: int = 0
    positions_synced: int = 0


@dataclass(frozen=True, slots=True)
class DriftResult(JobResult):
    """Result of the job `drift-monitor`.

    Attributes:
        models_checked: models in production that were looked at.
        models_with_drift: names of those with drift.
        rollbacks_triggered: version now in production, by model that was rolled back.
    """

    models_checked: int = 0
    models_with_drift: tuple[str, ...] = ()
    rollbacks_triggered: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BookResult(JobResult):
    """Result of the job `book`.

    Attributes:
        executions: of the session's orders.
        positions: names held after it.
        nav: USD; None where the session could not be valued.
        provisional: whether it is at the broker's prices, before the official closes are stored.
    """

    executions: int = 0
    positions: int = 0
    nav: Decimal | None = None
    provisional: bool = False


RESULTS: Mapping[str, type[JobResult]] = {
    "predictions": PredictionsResult,
    "live-trader": TradingResult,
    "drift-monitor": DriftResult,
    "book": BookResult,
}


def predictions_result(
    deployed: int, generated: int, processed: int, errors: Mapping[str, str]
) -> PredictionsResult:
    """Judge a scoring.

    Args:
        deployed: strategies that are deployed or paused.
        generated: scores.
        processed: strategies that have scores.
        errors: message by strategy that has none. One strategy's failure never stops the others.
    """
    if not deployed:
        status = JobStatus.NO_DEPLOYED_STRATEGIES
    elif errors:
        status = JobStatus.PARTIAL_FAILURE if processed else JobStatus.FAILURE
    else:
        status = JobStatus.SUCCESS
    return PredictionsResult(status, generated, processed, errors=dict(errors))


def trading_result(
    by_status: Mapping[str, int],
    *,
    sent: int,
    dry_run: bool,
    positions: int = 0,
    stopped: str = "",
    skipped: Sequence[str] = (),
) -> TradingResult:
    """Judge the sending of a plan.

    Args:
        by_status: how many orders of the plan stand at which state.
        sent: orders handed to the broker by this run.
        dry_run: nothing was to be sent.
        positions: names held, on which ledger and broker agreed.
        stopped: why sending ended early.
        skipped: symbols left unsent, because their contract is locked or only exits may go.
    """
    if dry_run:
        return TradingResult(JobStatus.DRY_RUN, 0, positions)
    taken = sum(count for status, count in by_status.items() if status in _TAKEN)
    errors = {
        f"orders {status}": f"{count} orders are {status}; see `hrp orders`"
        for status, count in sorted(by_status.items())
        if status not in _TAKEN and count
    }
    if stopped:
        errors["stopped"] = stopped
    if skipped:
        errors["skipped"] = f"not sent: {', '.join(skipped)}"
    failed = JobStatus.PARTIAL_FAILURE if taken else JobStatus.FAILURE
    status = failed if errors else JobStatus.SUCCESS
    return TradingResult(status, sent, positions, errors=errors)


def drift_result(
    status: str, checked: int, drifted: Sequence[str], rollbacks: Mapping[str, str]
) -> DriftResult:
    """Return the result of the drift monitor; `status` is one of `hrp_core.models.service.MonitorStatus`."""
    found = JobStatus(status)
    errors = {"checks": "a check could not run; see `hrp model drift`"} if found is JobStatus.ERROR else {}
    return DriftResult(found, checked, tuple(drifted), dict(rollbacks), errors=errors)


def failed_result(job: str, error: HrpError) -> JobResult:
    """Return the result of a run that ended with an error.

    Args:
        job: key of `RESULTS`, or another job.
        error: what ended it.
    """
    status = JobStatus.ERROR if job == "drift-monitor" else JobStatus.FAILURE
    if isinstance(error, RefusedError):
        status = JobStatus.BLOCKED
    elif isinstance(error, NotReadyError):
        status = JobStatus.DATA_NOT_READY
    return RESULTS.get(job, JobResult)(status, errors={"job": str(error)})
