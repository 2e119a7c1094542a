"""Training and drift monitoring on what is stored: the functions that jobs and the command line call.

What belongs here: reading the store and putting the steps together. What does not: the steps (`training`,
`drift_checks`, `registry`).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

import pandas as pd

from hrp_core.calendar import nyse
from hrp_core.errors import HrpError, ModelError, NotPromotedError, NotReadyError
from hrp_core.features import FEATURES, INPUT_FIELDS
from hrp_core.market import Panel, adjusted_close, to_panel
from hrp_core.models.dataset import available_features, build_training_set
from hrp_core.models.deployments import was_deployed
from hrp_core.models.drift import WINDOW
from hrp_core.models.drift_checks import (
    MIN_PREDICTIONS,
    DriftCheck,
    DriftReport,
    DriftStatus,
    check_drift,
    drift_rows,
    failed_report,
    history_start,
    prediction_start,
    read_verdicts,
    record_drift,
    wants_rollback,
)
from hrp_core.models.learners import LEARNERS
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.training import TrainedModel, TrainingConfig, train
from hrp_core.store import Store, read_table, table

_log = logging.getLogger(__name__)


class MonitorStatus(StrEnum):
    """Result of the drift monitor over all models."""

    NO_MODELS = "no_models"
    OK = "ok"
    DRIFT_DETECTED = "drift_detected"
    INSUFFICIENT = "insufficient"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class MonitorResult:
    """What the drift monitor found.

    Attributes:
        reports: one a model version in production.
        rollbacks: models that were rolled back, with the version now in production.
    """

    status: MonitorStatus
    reports: tuple[DriftReport, ...]
    rollbacks: dict[str, str]

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the models with drift."""
        return tuple(report.model_name for report in self.reports if report.status is DriftStatus.DRIFT)


def train_model(
    store: Store,
    registry: ModelRegistry,
    model_name: str,
    *,
    as_of: date,
    since: date | None = None,
    learner: str = "gradient_boosting",
    folds: int = 5,
    dagster_run_id: str | None = None,
) -> TrainedModel:
    """Train on the stored features and prices up to `as_of`, and register a version without an alias.

    Args:
        store: holds features and prices.
        registry: where the version goes.
        model_name: name in the registry.
        as_of: last session whose close may be known.
        since: first session learned from; default: all that is stored.
        learner: key of `LEARNERS`.
        folds: walk-forward folds.
        dagster_run_id: tags the MLflow run.

    Raises:
        ModelError: unknown learner, or a check found a leak.
        NotReadyError: too little history is stored.
    """
    if learner not in LEARNERS:
        raise ModelError(f"no learner is called {learner!r}; there are {', '.join(sorted(LEARNERS))}")
    features = read_table(store, table("features"), start=since, end=as_of)
    if features.empty:
        raise NotReadyError("no features are stored to train on; run `hrp data load`")
    names = available_features(features, list(FEATURES))
    data = build_training_set(
        features, stored_closes(store, features["session"].min(), as_of), names, as_of=as_of
    )
    config = TrainingConfig(model_name, LEARNERS[learner](), folds=folds)
    return train(data, config, registry.tracking, dagster_run_id=dagster_run_id)


def stored_closes(store: Store, start: date, end: date) -> Panel:
    """Return the stored closes from `start` to `end`, adjusted for splits and dividends."""
    prices = read_table(
        store, table("prices"), start=start, end=end, columns=["session", "symbol", *INPUT_FIELDS]
    )
    panel = to_panel(prices, *INPUT_FIELDS, end=end)
    return Panel(panel.sessions, panel.symbols, {"close": adjusted_close(panel, dividends=True)})


def monitor_drift(
    store: Store,
    registry: ModelRegistry,
    models: Sequence[str],
    session: date,
    *,
    now: datetime,
    auto_rollback: bool = False,
    actor: str = "drift_monitor",
) -> MonitorResult:
    """Check every model in production for drift, record the checks, and roll back where that is turned on.

    Args:
        store: holds features, predictions and prices; `model_drift_checks` is written.
        registry: names the version in production and holds its reference.
        models: registered models of the deployed strategies; features are no models.
        session: the session judged.
        now: timezone-aware.
        auto_rollback: whether drift that stays may move the alias.
        actor: who is named for a rollback.

    Raises:
        NoPredecessorError: a rollback was due and there is no earlier version: trading must halt.
    """
    reports = []
    rollbacks: dict[str, str] = {}
    for name in sorted(set(models)):
        try:
            version = registry.resolve(name)
        except NotPromotedError as error:
            # Without a first version nothing was ever scored, and nothing can have drifted. One that was in
            # production and is not any more is an error.
            with store.read() as connection:
                lost = was_deployed(connection, name)
            reports.append(
                failed_report(session, name, "", str(error)) if lost else _not_scoring(session, name, error)
            )
            continue
        except ModelError as error:
            reports.append(failed_report(session, name, "", str(error)))
            continue
        report = _judge(store, registry, name, version, session)
        record_drift(store, report, now=now)
        reports.append(report)
        verdicts = read_verdicts(store, name, version, end=session) if auto_rollback else []
        if wants_rollback(verdicts, enabled=auto_rollback, sessions_in_production=len(verdicts)):
            moved = registry.rollback(
                name,
                actor=actor,
                reason=f"drift on {session} and the sessions before",
                store=store,
                now=now,
            )
            rollbacks[name] = moved.version
    return MonitorResult(_overall(reports), tuple(reports), rollbacks)


def monitor_rows(result: MonitorResult, now: datetime) -> pd.DataFrame:
    """Return the checks as rows of the `model_drift` table."""
    columns = list(table("model_drift").column_names)
    frames = [drift_rows(report, now=now) for report in result.reports]
    if not frames:
        return pd.DataFrame(columns=columns)
    return pd.concat(frames, ignore_index=True)[columns].astype({"statistic": float, "threshold": float})


def own_predictions(store: Store, name: str, version: str, start: date, end: date) -> pd.DataFrame:
    """Return the stored predictions of one model version: session, symbol, prediction, each once.

    Raises:
        NotReadyError: predictions were never stored.
    """
    rows = read_table(store, table("predictions"), start=start, end=end)
    mine = (rows["model_name"] == name) & (rows["model_version"] == version)
    return rows.loc[mine, ["session", "symbol", "prediction"]].drop_duplicates()


def _judge(store: Store, registry: ModelRegistry, name: str, version: str, session: date) -> DriftReport:
    try:
        reference = registry.drift_reference(name, version)
        start = prediction_start(session, reference)
        with store.reading():
            features = read_table(store, table("features"), start=history_start(session), end=session)
            predictions = own_predictions(store, name, version, start, session)
            closes = stored_closes(store, start, session)
        first = nyse().offset(session, 1 - WINDOW)
        recent = int((predictions["prediction"].notna() & (predictions["session"] >= first)).sum())
        if recent < MIN_PREDICTIONS:
            return _too_few(session, name, version, recent)
        return check_drift(
            reference,
            features,
            predictions,
            closes,
            session=session,
            model_name=name,
            model_version=version,
        )
    except HrpError as error:
        _log.warning("drift of %s version %s could not be checked: %s", name, version, error)
        return failed_report(session, name, version, str(error))


def _not_scoring(session: date, name: str, error: NotPromotedError) -> DriftReport:
    check = DriftCheck(
        "prediction", "prediction", DriftStatus.INSUFFICIENT, details=f"not scoring yet: {error}"
    )
    return DriftReport(session, name, "", (check,))


def _too_few(session: date, name: str, version: str, recent: int) -> DriftReport:
    detail = f"{recent} predictions in the last {WINDOW} sessions, {MIN_PREDICTIONS} are needed"
    check = DriftCheck("prediction", "prediction", DriftStatus.INSUFFICIENT, samples=recent, details=detail)
    return DriftReport(session, name, version, (check,))


def _overall(reports: Sequence[DriftReport]) -> MonitorStatus:
    found = {report.status for report in reports}
    if not found:
        return MonitorStatus.NO_MODELS
    for status, result in (
        (DriftStatus.DRIFT, MonitorStatus.DRIFT_DETECTED),
        (DriftStatus.ERROR, MonitorStatus.ERROR),
        (DriftStatus.INSUFFICIENT, MonitorStatus.INSUFFICIENT),
    ):
        if status in found:
            return result
    return MonitorStatus.OK
