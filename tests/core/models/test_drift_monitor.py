"""The monitor over what is stored: how many predictions it takes to say anything."""

import pandas as pd
import pytest
from models_support import NOW, SESSIONS

from hrp_core.execution.notices import drift_notices
from hrp_core.models.deployments import Deployment, record_deployment
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.service import MonitorStatus, monitor_drift, monitor_rows
from hrp_core.store import Sessions, Store, replace_slice, table

LAST = SESSIONS[-1]


def put(store: Store, name: str, frame: pd.DataFrame) -> None:
    declared = table(name)
    whole = frame.reindex(columns=list(declared.column_names))
    with store.write() as connection:
        days = Sessions(sorted(frame["session"].unique()))
        replace_slice(connection, declared, whole, days, "test", None, NOW)


def test_a_model_that_was_never_in_production_is_not_scoring_yet_and_a_lost_one_is_an_error(
    registry: ModelRegistry, store: Store
) -> None:
    result = monitor_drift(store, registry, ["alpha"], LAST, now=NOW)
    [row] = monitor_rows(result, NOW).to_dict("records")
    assert (result.status, row["status"]) == (MonitorStatus.INSUFFICIENT, "insufficient")
    assert "not scoring yet: no version of alpha is production" in row["details"]
    assert drift_notices(store) == []
    with store.write() as connection:
        deployment = Deployment("alpha", "9", previous_version=None, actor="test", reason="once")
        record_deployment(connection, deployment, now=NOW)
    assert monitor_drift(store, registry, ["alpha"], LAST, now=NOW).status is MonitorStatus.ERROR


@pytest.mark.parametrize(("age", "rows"), [(0, 9), (7, 20)])
def test_fewer_than_ten_predictions_in_seven_sessions_are_insufficient(
    lab, registry: ModelRegistry, store: Store, age: int, rows: int
) -> None:
    registry.promote("alpha", "1", actor="test", reason="first", store=store, now=NOW)
    put(store, "features", lab.features.loc[lab.features["session"] > SESSIONS[-120]])
    closes = pd.DataFrame(lab.panel.field("close"), list(lab.panel.sessions), list(lab.panel.symbols))
    prices = (
        closes.rename_axis("session").reset_index().melt("session", var_name="symbol", value_name="close")
    )
    put(store, "prices", prices.loc[prices["session"] > SESSIONS[-120]].assign(source="test"))
    names = [f"N{index:02d}" for index in range(rows)]
    scores = pd.DataFrame({"symbol": names, "prediction": 0.5, "rank": 1, "strategy_id": "S"})
    about = {"session": SESSIONS[-1 - age], "model_name": "alpha", "model_version": "1"}
    put(store, "predictions", scores.assign(**about))
    result = monitor_drift(store, registry, ["alpha"], LAST, now=NOW)
    assert result.status is MonitorStatus.INSUFFICIENT
    [row] = monitor_rows(result, NOW).to_dict("records")
    assert (row["subject"], row["status"], row["samples"]) == (
        "prediction",
        "insufficient",
        9 if age == 0 else 0,
    )
    assert "10 are needed" in row["details"]
    put(store, "predictions", scores.head(1).assign(**about).assign(session=SESSIONS[-1 - age]))
    more = pd.DataFrame({"symbol": [f"N{i:02d}" for i in range(10)], "prediction": 0.5, "rank": 1})
    put(store, "predictions", more.assign(**about).assign(strategy_id="S", session=SESSIONS[-7]))
    assert len(monitor_rows(monitor_drift(store, registry, ["alpha"], LAST, now=NOW), NOW)) > 1
