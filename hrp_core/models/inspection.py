"""Drift as a person asks for it: a model against its reference now, or any two samples.

What belongs here: looking without recording and without consequences. What does not: the monitor of the day,
which records and may ask for a rollback (`service`).
"""

from datetime import date

import numpy as np
import pandas as pd

from hrp_core.errors import DataError, NotReadyError
from hrp_core.models.drift import WINDOW, ks_statistic, psi
from hrp_core.models.drift_checks import (
    MIN_PREDICTIONS,
    DriftCheck,
    DriftReport,
    DriftStatus,
    check_drift,
    history_start,
    prediction_start,
)
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.service import own_predictions, stored_closes
from hrp_core.store import Store, newest_session, read_table, table

PSI_LIMIT = 0.2
"""Above it a distribution counts as shifted (rule of thumb of credit scoring: 0.1 little, 0.25 much)."""
_KS_FLOOR = 0.1
_KS_ONE_PERCENT = 1.628  # asymptotic critical value of the two-sample statistic at 1 %
_KEYS = ("session", "symbol")


def inspect_drift(
    store: Store, registry: ModelRegistry, model_name: str, current: pd.DataFrame | None = None
) -> DriftReport:
    """Check the version in production against what was normal at its training, and record nothing.

    Args:
        store: holds features, predictions and prices.
        registry: names the version and holds its reference.
        model_name: registered model.
        current: features (session, symbol, one column a feature) to judge instead of the stored ones.

    Raises:
        ModelError: there is no such model, nothing of it is in production, or it has no reference.
        NotReadyError: features or predictions were never stored.
        DataError: `current` lacks session or symbol.
    """
    version = registry.resolve(model_name)
    reference = registry.drift_reference(model_name, version)
    if current is None:
        session = _newest_features(store)
        features = read_table(store, table("features"), start=history_start(session), end=session)
    else:
        absent = [name for name in _KEYS if name not in current.columns]
        if absent or current.empty:
            raise DataError(f"current_data has no {', '.join(absent) or 'rows'}; give session and symbol")
        session, features = current["session"].max(), current
    start = prediction_start(session, reference)
    return check_drift(
        reference,
        features,
        own_predictions(store, model_name, version, start, session),
        stored_closes(store, start, session),
        session=session,
        model_name=model_name,
        model_version=version,
    )


def compare_samples(
    model_name: str, current: pd.DataFrame, reference: pd.DataFrame, session: date
) -> DriftReport:
    """Compare each numeric column that both frames have, by PSI and by the Kolmogorov-Smirnov statistic.

    The limits are those for independent values: PSI above `PSI_LIMIT`; KS above 0.1 and above its critical
    value at 1 %. Returns of one session depend on each other, so that calibrated limits (`inspect_drift`) are
    to be preferred where there is a reference.

    Raises:
        DataError: the frames share no numeric column.
    """
    numeric = [
        str(name)
        for name in reference.select_dtypes("number").columns
        if name in current.columns and name not in _KEYS
    ]
    if not numeric:
        raise DataError("current_data and reference_data share no numeric column; nothing can be compared")
    checks: list[DriftCheck] = []
    for name in numeric:
        was, now = _finite(reference[name], sort=True), _finite(current[name])
        least = min(len(was), len(now))
        if least < MIN_PREDICTIONS:
            detail = f"{least} values, {MIN_PREDICTIONS} are needed"
            checks += [
                DriftCheck(
                    "feature", f"{name}.{test}", DriftStatus.INSUFFICIENT, samples=least, details=detail
                )
                for test in ("psi", "ks")
            ]
            continue
        critical = _KS_ONE_PERCENT * float(np.sqrt((len(was) + len(now)) / (len(was) * len(now))))
        for test, measured, limit in (
            ("psi", psi(was, now), PSI_LIMIT),
            ("ks", ks_statistic(was, now), max(_KS_FLOOR, critical)),
        ):
            drifted = measured > limit
            checks.append(
                DriftCheck(
                    "feature",
                    f"{name}.{test}",
                    DriftStatus.DRIFT if drifted else DriftStatus.OK,
                    measured,
                    limit,
                    len(now),
                    f"{measured:.4f} is above {limit:.4f}" if drifted else "",
                )
            )
    return DriftReport(session, model_name, "", tuple(checks))


def recent_features(store: Store) -> pd.DataFrame:
    """Return the stored features of the last `WINDOW` sessions.

    Raises:
        NotReadyError: none are stored.
    """
    session = _newest_features(store)
    frame = read_table(store, table("features"), start=history_start(session), end=session)
    return frame.loc[frame["session"].isin(sorted(frame["session"].unique())[-WINDOW:])]


def _newest_features(store: Store) -> date:
    session = newest_session(store, table("features"))
    if session is None:
        raise NotReadyError("no features are stored; run `hrp data load`, or market_data_job")
    return session


def _finite(values: pd.Series, sort: bool = False) -> np.ndarray:
    array = values.to_numpy(dtype=np.float64, na_value=np.nan)
    array = array[np.isfinite(array)]
    return np.sort(array) if sort else array
