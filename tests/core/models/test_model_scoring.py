from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_support import NAMES, NOW, SESSIONS

from hrp_core.errors import DataError, ModelError
from hrp_core.models.registered import score_model
from hrp_core.models.registry import LoadedModel, ModelRegistry
from hrp_core.models.scoring import PREDICTION_COLUMNS, score_strategies
from hrp_core.models.spec import ModelSpec
from hrp_core.models.tracking import import_mlflow

SESSION = SESSIONS[-1]


@pytest.fixture(scope="module")
def shared(lab) -> ModelRegistry:
    return ModelRegistry(lab.tracking)


@pytest.fixture(scope="module")
def rows(lab) -> pd.DataFrame:
    return lab.features.loc[lab.features["session"] == SESSION].reset_index(drop=True)


def score(rows, registry):
    return score_model("HYP-2026-002", "alpha", rows, SESSION, registry, version="1")


@settings(max_examples=25)
@given(data=st.data())
def test_a_score_stays_with_its_name_whatever_the_order_and_the_company(shared, rows, data):
    everything = score(rows, shared).set_index("symbol")["prediction"]
    kept = data.draw(st.permutations(range(len(rows))))[: data.draw(st.integers(1, len(rows)))]
    strangers = rows.sample(3, random_state=1).assign(symbol=["AAA", "MMM", "ZZZ"])
    mixed = pd.concat([rows.iloc[kept], strangers]).sample(frac=1, random_state=data.draw(st.integers(0, 99)))
    found = score(mixed, shared).set_index("symbol")["prediction"]
    assert set(found.index) == {*rows["symbol"].iloc[kept], "AAA", "MMM", "ZZZ"}
    own = found.drop(["AAA", "MMM", "ZZZ"])
    np.testing.assert_array_equal(own, everything[own.index])


def test_predictions_have_their_columns_sorted_and_pinned_to_a_version(shared, rows):
    found = score(rows.sample(frac=1, random_state=0), shared)
    assert tuple(found.columns) == PREDICTION_COLUMNS
    assert found["symbol"].is_monotonic_increasing
    assert set(found["model_version"]) == {"1"}
    assert sorted(found["rank"]) == list(range(1, len(rows) + 1))


def test_the_version_in_production_is_the_default(registry, store, rows):
    registry.promote("alpha", "2", actor="ana", reason="first", store=store, now=NOW)
    found = score_model("HYP-2026-002", "alpha", rows, SESSION, registry)
    assert set(found["model_version"]) == {"2"}


def test_boosting_scores_names_with_gaps_but_none_without_any_feature(shared, rows):
    gaps = rows.copy()
    gaps.loc[0, "ret_21"] = np.nan
    gaps.loc[1, list(NAMES)] = np.nan
    found = score(gaps, shared)["prediction"]
    assert np.isfinite(found[0])
    assert np.isnan(found[1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda rows: rows.drop(columns="ret_5"), DataError, "missing: ret_5"),
        (lambda rows: rows.assign(ret_5="x"), DataError, "ret_5 are not"),
        (lambda rows: pd.concat([rows, rows[:1]]), DataError, "hold N00 twice"),
        (lambda rows: rows.assign(session=SESSIONS[-2]), DataError, "other sessions"),
    ],
)
def test_features_the_model_was_not_made_for_are_refused(shared, rows, change, error, message):
    with pytest.raises(error, match=message):
        score(change(rows), shared)


def test_a_feature_with_another_version_than_at_the_training_is_refused(shared, rows, lab, monkeypatch):
    loaded = shared.load("alpha", "1")
    spec = ModelSpec(NAMES, {**loaded.spec.versions, "ret_5": 99}, {}, 5, True)
    old = ModelRegistry(lab.tracking)
    monkeypatch.setattr(old, "load", lambda name, version: LoadedModel(name, version, spec, loaded.pyfunc))
    with pytest.raises(ModelError, match=r"ret_5 .trained with version 99, now 1"):
        score(rows, old)


def test_one_model_that_fails_does_not_stop_the_other_strategies(shared, rows):
    scorer = lambda strategy, model, features: score_model(  # noqa: E731
        strategy, model, features, SESSION, shared, version="1"
    )
    result = score_strategies({"A": "ret_5", "B": "alpha", "C": "unknown"}, rows, scorer)
    assert result.predictions["strategy_id"].unique().tolist() == ["A", "B"]
    assert list(result.errors) == ["C"]


@pytest.fixture
def user_model(registry):
    """Registers a user's own pyfunc and returns its version."""
    mlflow = import_mlflow()
    from mlflow.models import infer_signature

    def register(answer, signed=True):
        class Own(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None):
                return answer(model_input)

        example = pd.DataFrame({"ret_21": [0.1], "vol_21": [0.2]})
        with registry.tracking.run("by hand"):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=Own(),
                signature=infer_signature(example, np.array([0.1])) if signed else None,
                pip_requirements=[],
                registered_model_name="own",
            )
        return partial(
            score_model, "U", "own", registry=registry, version=str(logged.registered_model_version)
        )

    return register


def test_a_pyfunc_of_the_user_is_taken_as_it_is_and_joined_by_its_symbols(user_model, rows):
    backwards = user_model(lambda frame: (frame["ret_21"] / frame["vol_21"]).iloc[::-1])
    gaps = rows.copy()
    gaps.loc[0, "vol_21"] = np.nan
    found = backwards(features=gaps, session=SESSION)["prediction"]
    np.testing.assert_allclose(found[1:], (rows["ret_21"] / rows["vol_21"])[1:])
    assert np.isnan(found[0])


def test_a_pyfunc_that_answers_nonsense_or_says_nothing_of_its_inputs_is_an_error(user_model, rows):
    with pytest.raises(ModelError, match="shape"):
        user_model(lambda rows: np.zeros(len(rows) - 1))(features=rows, session=SESSION)
    with pytest.raises(ModelError, match="failed on 20 names: ZeroDivisionError"):
        user_model(lambda rows: 1 / len(rows[:0]))(features=rows, session=SESSION)
    with pytest.raises(ModelError, match="log it with a signature"):
        user_model(lambda frame: np.zeros(len(frame)), signed=False)(features=rows, session=SESSION)
