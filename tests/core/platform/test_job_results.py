"""What a run amounts to: statuses and exit codes, as tables."""

from datetime import date, datetime, time

import pytest

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import (
    BrokerConnectionError,
    HrpError,
    NotReadyError,
    ReconciliationBreakError,
    RefusedError,
)
from hrp_core.ledger.types import Latch, LatchState
from hrp_core.models.service import MonitorStatus
from hrp_core.platform.jobs import JobStatus, drift_result, failed_result, predictions_result, trading_result
from hrp_core.platform.status import next_step


@pytest.mark.parametrize(
    ("deployed", "processed", "errors", "status", "code"),
    [
        (0, 0, {}, "no_deployed_strategies", 0),
        (2, 2, {}, "success", 0),
        (2, 1, {"B": "no model"}, "partial_failure", 1),
        (2, 0, {"A": "x", "B": "y"}, "failure", 1),
    ],
)
def test_predictions(deployed: int, processed: int, errors: dict[str, str], status: str, code: int) -> None:
    result = predictions_result(deployed, 20 * processed, processed, errors)
    assert (result.status, result.status.exit_code, result.errors) == (status, code, errors)
    assert (result.predictions_generated, result.strategies_processed) == (20 * processed, processed)


@pytest.mark.parametrize(
    ("by_status", "more", "status", "code"),
    [
        ({"submitted": 5}, {}, "success", 0),
        ({"filled": 4, "partially_filled": 1, "cancelled": 1}, {}, "success", 0),
        ({}, {}, "success", 0),
        ({"submitted": 4, "rejected": 1}, {}, "partial_failure", 1),
        ({"submitted": 4, "unknown": 1}, {}, "partial_failure", 1),
        ({"submitted": 4, "pending": 1}, {"stopped": "the line is down"}, "partial_failure", 1),
        ({"submitted": 5}, {"skipped": ("KO",)}, "partial_failure", 1),
        ({"rejected": 5}, {}, "failure", 1),
        ({"expired": 5}, {}, "failure", 1),
        ({"pending": 5}, {"dry_run": True}, "dry_run", 0),
    ],
)
def test_trading(by_status: dict[str, int], more: dict[str, object], status: str, code: int) -> None:
    arguments = {"sent": 3, "dry_run": False, "positions": 7, **more}
    result = trading_result(by_status, **arguments)  # type: ignore[arg-type]
    assert (result.status, result.status.exit_code) == (status, code)
    assert (result.orders_submitted, result.positions_synced) == (0 if status == "dry_run" else 3, 7)
    assert bool(result.errors) == (code == 1)


@pytest.mark.parametrize(("status", "code"), [(each, int(each == "error")) for each in MonitorStatus])
def test_drift(status: MonitorStatus, code: int) -> None:
    result = drift_result(status.value, 2, ["alpha"], {"alpha": "1"})
    assert (result.status, result.status.exit_code) == (status.value, code)
    assert (result.models_checked, result.models_with_drift, result.rollbacks_triggered) == (
        2,
        ("alpha",),
        {"alpha": "1"},
    )


@pytest.mark.parametrize(
    ("error", "trading", "drift"),
    [
        (RefusedError("no"), "blocked", "blocked"),
        (ReconciliationBreakError("no"), "blocked", "blocked"),
        (NotReadyError("not yet"), "data_not_ready", "data_not_ready"),
        (BrokerConnectionError("gone"), "failure", "error"),
    ],
)
def test_a_run_that_ended_with_an_error(error: HrpError, trading: str, drift: str) -> None:
    for job, status in (("live-trader", trading), ("predictions", trading), ("drift-monitor", drift)):
        result = failed_result(job, error)
        assert (result.status, result.errors) == (status, {"job": str(error)})
        assert result.status.exit_code == (3 if status == "blocked" else 1)


def test_every_promised_status_exists() -> None:
    promised = (
        "success partial_failure no_deployed_strategies dry_run no_strategies blocked data_not_ready failure "
        "no_models ok drift_detected insufficient error"
    )
    assert {status.value for status in JobStatus} == set(promised.split())


D = date(2022, 12, 15)
STORED = {"prices": D, "nav": None}


@pytest.mark.parametrize(
    ("newest", "latch", "says"),
    [
        ({}, LatchState.ACTIVE, "hrp data load"),
        ({"prices": date(2022, 12, 14)}, LatchState.ACTIVE, "market_data_job of 2022-12-15"),
        ({**STORED, "nav": date(2022, 12, 13)}, LatchState.ACTIVE, "book_job of 2022-12-14"),
        (STORED, LatchState.ACTIVE, "predictions_job of 2022-12-15"),
        (STORED, LatchState.HALTED, "halted by me: drawdown"),
    ],
)
def test_the_next_step_follows_from_what_is_there(newest, latch: LatchState, says: str) -> None:
    now = datetime.combine(D, time(18, 30), NEW_YORK)
    assert says in next_step(now, newest, None, Latch(latch, "me", "drawdown"))
