"""A trained model beside a factor: scored, netted into one basket, watched, replayed."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest
from desk import FIRST, Desk

from hrp_core.errors import ModelError, NoPredecessorError
from hrp_core.models.deployments import PRODUCTION
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.tracking import Tracking, import_mlflow
from hrp_core.platform import PlatformAPI
from hrp_core.replay import History, check_parity
from hrp_core.store import read_table, table
from hrp_dagster.runs import run_job

MODEL = "us_equity_ranker"
SMALL = {"model_name": MODEL, "learner": "ridge", "since": "2018-01-02", "folds": 2}


def train(desk: Desk, **changes: object) -> Mapping[str, Any]:
    config = {"trained_model": {**SMALL, **changes}}
    return run_job(desk.settings, "training_job", config=config).metadata["trained_model"]


def promote(desk: Desk, version: object) -> ModelRegistry:
    registry = ModelRegistry(Tracking(desk.settings.home))
    now = desk.settings.clock().now()
    registry.promote(MODEL, str(version), actor="test", reason="first", store=desk.store, now=now)
    return registry


def test_a_model_is_trained_promoted_traded_and_watched(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = train(desk)
    assert isinstance(trained["oos_t_stat"], float)
    assert str(trained["last_session"]) < "2022-11-03"  # labels of 21 sessions after one of lag have matured
    assert (trained["mlflow_experiment"], str(trained["mlflow_ui"]).split()[:2]) == ("hrp", ["mlflow", "ui"])
    registry = promote(desk, trained["version"])
    assert registry.aliases(MODEL) == {PRODUCTION: trained["version"]}

    monkeypatch.setenv("HRP_MLFLOW_UI", "http://127.0.0.1:5000")
    desk.at(FIRST, "18:30")
    shown = desk.run("predictions_job", FIRST).metadata["predictions"]
    assert shown["mlflow_runs"] == {f"{MODEL} {trained['version']}": trained["mlflow_run"]}
    assert f"(http://127.0.0.1:5000/#/models/{MODEL}/versions/" in str(shown["mlflow_ui"])
    desk.run("live_trader_job", FIRST)
    predictions = read_table(desk.store, table("predictions"), sessions=[FIRST])
    versions = predictions.groupby("strategy_id")["model_version"].unique()
    assert versions["HYP-2026-002"].tolist() == [trained["version"]]
    assert versions["HYP-2026-001"].tolist() == ["factor-v1"]

    second = desk.next_day(FIRST)
    desk.evening(second)
    third = desk.next_day(second)
    parity = check_parity(History.from_store(desk.store), desk.journal)
    assert (len(parity.sessions), parity.differences) == (2, ())

    positions = read_table(desk.store, table("positions"), sessions=[second])
    by_owner = positions.groupby(["symbol", positions["strategy_id"] == ""])["shares"].sum().unstack()
    assert (by_owner[True] == by_owner[False]).all()
    assert set(positions["strategy_id"]) == {"", "HYP-2026-001", "HYP-2026-002"}

    drift: Mapping[str, Any] = desk.run("drift_monitor_job", third).metadata["model_drift"]
    assert drift["models_checked"] == 1
    assert drift["status"] in ("insufficient", "ok", "drift_detected")
    assert drift["rollbacks"] == {}
    with desk.store.read() as connection:
        [count] = connection.execute(
            "SELECT count(*) FROM model_drift_checks WHERE session = ?", [third]
        ).fetchone() or (0,)
    assert count == drift["dagster/row_count"] > 10

    api = PlatformAPI(settings=desk.settings)
    found = api.check_model_drift(MODEL)
    assert found["summary"]["total_checks"] == count
    recorded = api.query_readonly("SELECT * FROM model_drift_checks WHERE session = ?", (third,))
    assert len(recorded) == count  # looking records nothing
    kept = api.get_model_predictions(MODEL, as_of_date=FIRST).set_index("symbol")["prediction"]
    scored = api.predict_model(MODEL, list(kept.index), FIRST).set_index("symbol")["prediction"]
    assert scored.to_dict() == kept.to_dict()
    model = api.get_deployed_strategies().set_index("strategy_id").loc["HYP-2026-002"]
    assert (model["model_version"], model["deployed_at"].date()) == (trained["version"], FIRST)
    with pytest.raises(NoPredecessorError, match="hrp halt"):
        api.rollback_deployment(MODEL, actor="me", reason="a test")


def test_a_strategy_without_a_model_in_production_is_named_and_stops_nobody(desk: Desk) -> None:
    desk.at(FIRST, "18:30")
    run = desk.run("predictions_job", FIRST)
    errors: Any = run.metadata["predictions"]["errors"]
    assert list(errors) == ["HYP-2026-002"]
    desk.run("live_trader_job", FIRST)
    assert desk.gateway.state().orders_received == 5
    drift = desk.run("drift_monitor_job", FIRST).metadata["model_drift"]
    assert drift["status"] == "insufficient"  # it never had one, so nothing has drifted


def test_a_training_that_fails_leaves_a_failed_mlflow_run_and_no_version(desk: Desk) -> None:
    with pytest.raises(ModelError, match="no learner is called 'magic'"):
        train(desk, learner="magic")
    tracking = Tracking(desk.settings.home)
    client = import_mlflow().MlflowClient(tracking.uri, tracking.uri)
    [run] = client.search_runs([tracking.set_up()])
    with dg.DagsterInstance.get() as instance:
        [failed] = instance.get_runs(filters=dg.RunsFilter(job_name="training_job"))
    assert (run.info.status, run.data.tags["dagster_run_id"]) == ("FAILED", failed.run_id)
    assert ModelRegistry(tracking).versions() == []
