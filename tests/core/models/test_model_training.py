import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from models_support import NAMES, SESSIONS

from hrp_core.errors import ModelError
from hrp_core.features import FEATURES
from hrp_core.market import Panel
from hrp_core.models.learners import GradientBoosting, RidgeRegression, fit, out_of_sample, predict, usable
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.splits import walk_forward
from hrp_core.models.tracking import Tracking, import_mlflow
from hrp_core.models.training import TrainingConfig, train


def test_the_run_of_the_caller_holds_all_the_evidence(lab):
    client = import_mlflow().MlflowClient(lab.tracking.uri, lab.tracking.uri)
    run = client.get_run(lab.mlflow_run_id)
    assert lab.trained.run_id == lab.mlflow_run_id
    assert run.info.status == "FINISHED"
    assert run.data.tags["dagster_run_id"] == "dagster-7"
    assert run.data.tags["hrp.code_version"] == "abc123"
    assert run.data.metrics["oos_mean_ic"] == lab.trained.evaluation.mean_ic
    assert run.data.params["first_session"] == str(lab.trained.first)
    assert run.data.params["last_session"] == str(SESSIONS[-1 - 6]) == str(lab.trained.last)
    kept = {
        item.path
        for folder in ("", "plots", "drift")
        for item in client.list_artifacts(run.info.run_id, folder)
    }
    assert {
        "leakage.json",
        "importance.json",
        "features.json",
        "plots/rank_ic.png",
        "drift/samples.npz",
    } <= kept


def test_the_model_carries_its_features_versions_and_look_backs(lab):
    spec = ModelRegistry(lab.tracking).load("alpha", "1").spec
    assert spec == lab.trained.spec
    assert spec.features == NAMES
    assert spec.versions == {name: FEATURES[name].version for name in NAMES}
    assert spec.lookbacks == {name: FEATURES[name].lookback for name in NAMES}
    assert (spec.horizon, spec.handles_missing) == (5, True)


def test_training_finds_nothing_in_noise_and_says_so(lab):
    assert abs(lab.trained.evaluation.mean_ic) < 3 * lab.trained.evaluation.standard_error
    assert all(check.passed for check in lab.trained.checks)
    assert set(lab.trained.importance) == set(NAMES)


def test_a_planted_leak_stops_the_training_and_nothing_is_registered(lab, home):
    fields = {**lab.data.features.fields, "planted": lab.data.label}
    leaky = replace(lab.data, features=Panel(lab.data.features.sessions, lab.data.features.symbols, fields))
    tracking = Tracking(home)
    config = TrainingConfig("leaky", RidgeRegression(), folds=2, min_train=250)
    with pytest.raises(ModelError, match="feature planted"):
        train(leaky, config, tracking)
    assert ModelRegistry(tracking).versions("leaky") == []
    client = import_mlflow().MlflowClient(tracking.uri, tracking.uri)
    run = client.search_runs([client.get_experiment_by_name("hrp").experiment_id], "tags.`hrp.leak` != ''")[0]
    assert run.info.status == "FAILED"


@pytest.mark.parametrize("learner", [GradientBoosting(iterations=5), RidgeRegression()])
def test_equal_data_gives_equal_models(lab, learner):
    rows = range(300)
    one, other = (
        predict(lab.data, learner, fit(lab.data, learner, rows, lab.data.target), rows) for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)


def test_only_boosting_takes_names_with_missing_features(lab):
    gaps = {name: values.copy() for name, values in lab.data.features.fields.items()}
    gaps["vol_21"][:, 0] = np.nan
    data = replace(lab.data, features=Panel(lab.data.features.sessions, lab.data.features.symbols, gaps))
    assert usable(data, GradientBoosting())[400, 0]
    assert not usable(data, RidgeRegression())[400, 0]


def test_out_of_sample_scores_stand_in_the_test_ranges_alone_and_know_nothing_later(lab):
    splits = walk_forward(600, reach=6, folds=2, min_train=250)
    scores = out_of_sample(lab.data, RidgeRegression(), splits, lab.data.target)
    inside = np.zeros(len(scores), dtype=bool)
    inside[splits[0].test.start : splits[-1].test.stop] = True
    assert np.isnan(scores[~inside]).all()
    assert np.isfinite(scores[inside]).any()
    changed = lab.data.target.copy()
    changed[splits[0].test.start :] *= -1
    later = out_of_sample(lab.data, RidgeRegression(), splits, changed)
    first = slice(splits[0].test.start, splits[0].test.stop)
    np.testing.assert_array_equal(scores[first], later[first])


def test_two_processes_may_set_up_the_same_home_at_once(tmp_path):
    code = (
        "import sys; from pathlib import Path; from hrp_core.models.tracking import Tracking; "
        "print(Tracking(Path(sys.argv[1])).set_up())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0], answers
    assert answers[0][0] == answers[1][0]


def test_a_run_at_another_mlflow_is_refused(lab, home):
    mlflow = import_mlflow()
    with lab.tracking.run("here"), pytest.raises(ModelError, match="an MLflow run is open at"):  # noqa: SIM117
        with Tracking(home).run("elsewhere"):
            pass
    assert mlflow.active_run() is None


def test_a_frame_of_rows_has_one_row_a_cell(lab):
    mask = np.zeros(lab.data.label.shape, dtype=bool)
    mask[100, 3] = True
    expected = {name: [values[100, 3]] for name, values in lab.data.features.fields.items()}
    pd.testing.assert_frame_equal(lab.data.rows(mask), pd.DataFrame(expected))
