"""The drift checks of one model on one session, what they add up to, and what may follow from them.

What belongs here: running checks, their rows, the verdict, the rollback rule. What does not: the statistics
(`drift`) and the alias move (`registry`).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hrp_core.calendar import nyse
from hrp_core.errors import HrpError, NotReadyError
from hrp_core.market import Panel, to_panel
from hrp_core.models.dataset import forward_return
from hrp_core.models.drift import (
    IC_SESSIONS,
    SCALE_SESSIONS,
    SHOCK_FEATURE,
    SHOCK_WINDOW,
    WINDOW,
    DriftReference,
    ks_statistic,
    missing_rates,
    psi,
    watched,
    window_size,
)
from hrp_core.models.evaluate import rank_ic
from hrp_core.store import Store

MIN_PREDICTIONS = 10
_OUT_OF_RANGE = 0.01
_LEAST_IC_SESSIONS = 21


class DriftStatus(StrEnum):
    """Outcome of a check, and of all checks of a model."""

    OK = "ok"
    DRIFT = "drift"
    INSUFFICIENT = "insufficient"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """One row of `model_drift_checks`, without session and model.

    Attributes:
        drift_type: feature, prediction or concept.
        subject: what was checked, such as ret_1.shock.psi.
        status: the outcome.
        statistic: what was measured; None where nothing was.
        threshold: beyond it is drift (below it for the rank IC); None where there is none.
        samples: values that the statistic rests on.
        details: why, in words, unless all is well.
    """

    drift_type: str
    subject: str
    status: DriftStatus
    statistic: float | None = None
    threshold: float | None = None
    samples: int = 0
    details: str = ""


@dataclass(frozen=True, slots=True)
class DriftReport:
    """All checks of one model on one session."""

    session: date
    model_name: str
    model_version: str
    checks: tuple[DriftCheck, ...]

    @property
    def status(self) -> DriftStatus:
        """Drift if any check found it, else error if any could not run.

        Else insufficient if no prediction could be judged, else ok.
        """
        found = {check.status for check in self.checks}
        for status in (DriftStatus.DRIFT, DriftStatus.ERROR):
            if status in found:
                return status
        judged = [check for check in self.checks if check.drift_type == "prediction"]
        enough = any(check.status is not DriftStatus.INSUFFICIENT for check in judged)
        return DriftStatus.OK if enough else DriftStatus.INSUFFICIENT

    @property
    def summary(self) -> dict[str, int | bool]:
        """`total_checks`, `drift_detected`, `num_drifts`."""
        drifts = sum(check.status is DriftStatus.DRIFT for check in self.checks)
        return {"total_checks": len(self.checks), "drift_detected": drifts > 0, "num_drifts": drifts}


def history_start(session: date) -> date:
    """Return the first session whose features the checks of `session` need."""
    calendar = nyse()
    reach = min(SHOCK_WINDOW + SCALE_SESSIONS + WINDOW, len(calendar.between(calendar.first, session)) - 1)
    return calendar.offset(session, -reach)


def prediction_start(session: date, reference: DriftReference) -> date:
    """Return the first session whose predictions (and closes) the checks of `session` need."""
    calendar = nyse()
    reach = IC_SESSIONS + reference.horizon + reference.lag
    return calendar.offset(session, -min(reach, len(calendar.between(calendar.first, session)) - 1))


def check_drift(
    reference: DriftReference,
    features: pd.DataFrame,
    predictions: pd.DataFrame,
    closes: Panel | None,
    *,
    session: date,
    model_name: str,
    model_version: str,
) -> DriftReport:
    """Compare the last `WINDOW` sessions with what was normal when the model was trained.

    What stops a check becomes that check's result (`error`): it never passes for "no drift", and never keeps
    the other checks from running.

    Args:
        reference: logged with the model.
        features: columns session, symbol and the model's features, from `history_start(session)`.
        predictions: columns session, symbol, prediction of this model, from `prediction_start`.
        closes: adjusted closes from `prediction_start`; None leaves rank-IC decay unjudged.
        session: the session judged; later rows are not looked at.
        model_name: registered model.
        model_version: version that made the predictions.
    """
    checks: list[DriftCheck] = []

    def guarded(drift_type: str, subject: str, run: Callable[[], list[DriftCheck]]) -> None:
        try:
            checks.extend(run())
        # Whatever stops a check, a bug included, must surface as a failed check and not as silence.
        except Exception as error:  # noqa: BLE001
            detail = str(error) if isinstance(error, HrpError) else f"{type(error).__name__}: {error}"
            checks.append(DriftCheck(drift_type, subject, DriftStatus.ERROR, details=detail))

    guarded("feature", "features", lambda: _feature_checks(reference, features, session))
    guarded("prediction", "prediction", lambda: _prediction_checks(reference, predictions, session))
    guarded("concept", "rank_ic", lambda: [_decay(reference, predictions, closes, session)])
    return DriftReport(session, model_name, model_version, tuple(checks))


def failed_report(session: date, model_name: str, model_version: str, reason: str) -> DriftReport:
    """Return the report of a model that could not be checked at all (no reference, no features)."""
    check = DriftCheck("feature", "reference", DriftStatus.ERROR, details=reason)
    return DriftReport(session, model_name, model_version, (check,))


def wants_rollback(
    verdicts: Sequence[DriftStatus],
    *,
    enabled: bool = False,
    consecutive: int = 3,
    sessions_in_production: int,
    settle: int = 10,
) -> bool:
    """Return whether to ask for a rollback; off unless a person turned it on.

    Hysteresis: one bad session moves nothing, and neither does a version that has just been put in place,
    because its first windows still hold what its predecessor met.

    Args:
        verdicts: of this version, oldest first, one a session.
        enabled: whether automatic rollback is on.
        consecutive: how many verdicts in a row must be drift, the newest included.
        sessions_in_production: since this version was put in place.
        settle: least such sessions.
    """
    if consecutive < 1:
        raise ValueError(f"consecutive must be at least 1, not {consecutive}")
    newest = list(verdicts)[-consecutive:]
    return (
        enabled
        and sessions_in_production >= settle
        and len(newest) == consecutive
        and all(verdict is DriftStatus.DRIFT for verdict in newest)
    )


def drift_rows(report: DriftReport, *, now: datetime) -> pd.DataFrame:
    """Return a report as rows of `model_drift_checks`; `now` is timezone-aware."""
    if now.tzinfo is None:
        raise ValueError(f"a moment needs a time zone: {now!r}")
    prefix = f"{report.session}/{report.model_name}/{report.model_version}"
    return pd.DataFrame(
        [
            {
                "check_id": f"{prefix}/{check.drift_type}/{check.subject}",
                "session": report.session,
                "model_name": report.model_name,
                "model_version": report.model_version,
                "drift_type": check.drift_type,
                "subject": check.subject,
                "status": check.status.value,
                "statistic": check.statistic,
                "threshold": check.threshold,
                "samples": check.samples,
                "details": json.dumps({"message": check.details}) if check.details else "{}",
                "checked_at": now,
            }
            for check in report.checks
        ]
    )


def record_drift(store: Store, report: DriftReport, *, now: datetime) -> None:
    """Store a report in place of an earlier one of the same session, model and version (one transaction)."""
    rows = drift_rows(report, now=now)
    columns = ", ".join(rows.columns)
    with store.write() as connection:
        connection.execute(
            "DELETE FROM model_drift_checks WHERE session = ? AND model_name = ? AND model_version = ?",
            [report.session, report.model_name, report.model_version],
        )
        connection.register("drift_rows", rows)
        connection.execute(f"INSERT INTO model_drift_checks ({columns}) SELECT {columns} FROM drift_rows")


def read_verdicts(store: Store, model_name: str, model_version: str, *, end: date) -> list[DriftStatus]:
    """Return the stored verdicts of a version up to `end`, oldest first, one a checked session."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT session, drift_type, subject, status FROM model_drift_checks WHERE model_name = ? "
            "AND model_version = ? AND session <= ? ORDER BY session",
            [model_name, model_version, end],
        ).fetchall()
    by_session: dict[date, list[DriftCheck]] = {}
    for session, drift_type, subject, status in rows:
        by_session.setdefault(session, []).append(DriftCheck(drift_type, subject, DriftStatus(status)))
    return [
        DriftReport(session, model_name, model_version, tuple(checks)).status
        for session, checks in by_session.items()
    ]


def newest_drift(store: Store, model_name: str, model_version: str) -> DriftReport | None:
    """Return the checks of a version that were recorded for its newest session; None without any."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT session, drift_type, subject, status, statistic, threshold, samples FROM "
            "model_drift_checks WHERE model_name = ? AND model_version = ? "
            "QUALIFY session = max(session) OVER () ORDER BY drift_type, subject",
            [model_name, model_version],
        ).fetchall()
    if not rows:
        return None
    checks = tuple(
        DriftCheck(kind, subject, DriftStatus(status), statistic, threshold, samples)
        for _, kind, subject, status, statistic, threshold, samples in rows
    )
    return DriftReport(rows[0][0], model_name, model_version, checks)


def _feature_checks(reference: DriftReference, features: pd.DataFrame, session: date) -> list[DriftCheck]:
    shocks = [SHOCK_FEATURE] if f"{SHOCK_FEATURE}.shock" in reference.subjects else []
    names = list(dict.fromkeys([*reference.features, *shocks]))
    absent = [name for name in names if name not in features.columns]
    there = [name for name in names if name not in absent]
    known = features.loc[(features["session"] <= session) & (features["session"] >= history_start(session))]
    if known.empty or known["session"].max() < session:
        raise NotReadyError(f"features of session {session} are not stored; run market_data_job for it")
    panel = to_panel(known, *there, end=session)
    recent = panel.window(len(panel.sessions) - WINDOW, len(panel.sessions))
    checks = [
        DriftCheck("feature", name, DriftStatus.ERROR, details="not among the stored features")
        for name in absent
    ]
    none = np.full((len(panel.sessions), len(panel.symbols)), np.nan)
    for subject, family, values in watched(panel, none):
        if family != "prediction" and subject in reference.subjects:
            checks += _distribution(reference, "feature", subject, values[-window_size(family) :])
    for name, rate in missing_rates(recent).items():
        limit = reference.missing[name]
        checks.append(_above("feature", f"{name}.missing", rate, limit, recent.field(name).size))
        values = recent.field(name)[np.isfinite(recent.field(name))]
        low, high = reference.ranges[name]
        outside = float(((values < low) | (values > high)).mean()) if len(values) else None
        checks.append(_above("feature", f"{name}.range", outside, _OUT_OF_RANGE, len(values)))
    return checks


def _prediction_checks(
    reference: DriftReference, predictions: pd.DataFrame, session: date
) -> list[DriftCheck]:
    panel = _prediction_panel(predictions, session)
    if panel is None:
        detail = f"no predictions up to session {session}"
        return [DriftCheck("prediction", "prediction", DriftStatus.INSUFFICIENT, details=detail)]
    first = nyse().offset(session, 1 - WINDOW)
    inside = np.array([day >= first for day in panel.sessions], dtype=bool)
    checks: list[DriftCheck] = []
    for subject, family, values in watched(
        Panel(panel.sessions, panel.symbols, {}), panel.field("prediction")
    ):
        if family == "prediction":
            checks += _distribution(reference, "prediction", subject, values[inside])
    return checks


def _decay(
    reference: DriftReference, predictions: pd.DataFrame, closes: Panel | None, session: date
) -> DriftCheck:
    panel = _prediction_panel(predictions, session)
    if reference.ic_threshold is None or closes is None or panel is None:
        detail = (
            "the training history was too short to know what is normal"
            if reference.ic_threshold is None
            else "no closes were given"
            if closes is None
            else "no predictions"
        )
        return DriftCheck("concept", "rank_ic", DriftStatus.INSUFFICIENT, details=detail)
    known = closes.window(0, closes.position(session) + 1)
    label = forward_return(known.close, reference.horizon, reference.lag)
    aligned = pd.DataFrame(label, list(known.sessions), list(known.symbols)).reindex(
        index=list(panel.sessions), columns=list(panel.symbols)
    )
    ic = rank_ic(panel.field("prediction"), aligned.to_numpy(dtype=np.float64))
    matured = ic[np.isfinite(ic)][-IC_SESSIONS:]
    if len(matured) < _LEAST_IC_SESSIONS:
        detail = f"{len(matured)} sessions have matured labels, {_LEAST_IC_SESSIONS} are needed"
        return DriftCheck(
            "concept", "rank_ic", DriftStatus.INSUFFICIENT, samples=len(matured), details=detail
        )
    # A mean over fewer sessions is noisier by the root of their number: widen the limit accordingly.
    spread = reference.ic_mean - reference.ic_threshold
    limit = reference.ic_mean - spread * np.sqrt(IC_SESSIONS / len(matured))
    mean = float(matured.mean())
    status = DriftStatus.DRIFT if mean < limit else DriftStatus.OK
    detail = (
        f"mean rank IC fell from {reference.ic_mean:.3f} at training" if status is DriftStatus.DRIFT else ""
    )
    return DriftCheck("concept", "rank_ic", status, mean, float(limit), len(matured), detail)


def _prediction_panel(predictions: pd.DataFrame, session: date) -> Panel | None:
    known = predictions.loc[
        (predictions["session"] <= session) & predictions["prediction"].notna(),
        ["session", "symbol", "prediction"],
    ]
    return to_panel(known, "prediction", end=session) if len(known) else None


def _distribution(
    reference: DriftReference, drift_type: str, name: str, window: NDArray[np.float64]
) -> list[DriftCheck]:
    subject = reference.subjects[name]
    values = window[np.isfinite(window)]
    limits = {"psi": subject.psi_threshold, "ks": subject.ks_threshold}
    least = max(MIN_PREDICTIONS, subject.least_samples)
    if len(values) < least:
        detail = f"{len(values)} values in the last sessions, {least} are needed"
        return [
            DriftCheck(
                drift_type, f"{name}.{test}", DriftStatus.INSUFFICIENT, None, limit, len(values), detail
            )
            for test, limit in limits.items()
        ]
    found = {"psi": psi(subject.sample, values), "ks": ks_statistic(subject.sample, values)}
    return [
        _above(drift_type, f"{name}.{test}", found[test], limit, len(values))
        for test, limit in limits.items()
    ]


def _above(drift_type: str, subject: str, statistic: float | None, limit: float, samples: int) -> DriftCheck:
    if statistic is None or not np.isfinite(statistic):
        detail = "there is no value to judge"
        return DriftCheck(drift_type, subject, DriftStatus.INSUFFICIENT, None, limit, samples, detail)
    drifted = statistic > limit
    detail = f"{statistic:.4f} is above {limit:.4f}" if drifted else ""
    status = DriftStatus.DRIFT if drifted else DriftStatus.OK
    return DriftCheck(drift_type, subject, status, statistic, limit, samples, detail)
