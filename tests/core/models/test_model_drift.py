import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models_support import NOW, SESSIONS
from scipy import stats

from hrp_core.errors import ModelError
from hrp_core.models.drift import DriftReference, ks_statistic, psi
from hrp_core.models.drift_checks import (
    DriftStatus,
    check_drift,
    failed_report,
    read_verdicts,
    record_drift,
    wants_rollback,
)
from hrp_core.models.registry import ModelRegistry

OK, DRIFT = DriftStatus.OK, DriftStatus.DRIFT
SESSION = SESSIONS[-1]


def congruential(seed, count, shift, scale, digits):
    """Numbers that any language gives again."""
    values = []
    for _ in range(count):
        seed = (1103515245 * seed + 12345) % 2**31
        values.append(seed / 2**31)
    return np.round(shift + scale * np.array(values), digits)


@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    # Expected: DropHighPSIFeatures of feature-engine 1.9.4 (bins=10, strategy="equal_frequency",
    # min_pct_empty_bins=1e-4), attribute psi_values_. The second pair has merged deciles, the third empty
    # bins.
    [
        ((1, 200, 0, 1, 3), (2, 80, 0.1, 1, 3), 0.2967409101446177),
        ((3, 500, 0, 1, 1), (4, 100, 0, 0.5, 1), 3.183470153442496),
        ((5, 60, 0, 1, 3), (6, 10, 0.4, 0.2, 3), 6.907946566129334),
    ],
)
def test_psi_equals_a_published_package(reference, current, expected):
    assert psi(congruential(*reference), congruential(*current)) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 60), st.integers(0, 3))
def test_the_ks_statistic_equals_scipys_also_with_ties(seed, many, few, digits):
    generator = np.random.default_rng(seed)
    reference = np.sort(np.round(generator.normal(size=many), digits))
    current = np.round(generator.normal(0.3, 1.5, size=few), digits)
    expected = stats.ks_2samp(reference, current)[0]
    assert ks_statistic(reference, current) == pytest.approx(expected, abs=1e-12)


@pytest.fixture(scope="module")
def reference(lab) -> DriftReference:
    return ModelRegistry(lab.tracking).drift_reference("alpha", "1")


@pytest.fixture(scope="module")
def predictions(lab) -> pd.DataFrame:
    model = ModelRegistry(lab.tracking).load("alpha", "1")
    recent = lab.features.loc[lab.features["session"] >= SESSIONS[-120]]
    return recent[["session", "symbol"]].assign(prediction=model.predict(recent[list(model.spec.features)]))


def run(reference, lab, features, predictions, closes=True):
    return check_drift(
        reference,
        features,
        predictions,
        lab.panel if closes else None,
        session=SESSION,
        model_name="alpha",
        model_version="1",
    )


def statuses(report):
    return {check.subject: check.status for check in report.checks}


def test_the_world_of_the_training_is_no_drift_and_all_checks_ran(reference, lab, predictions):
    report = run(reference, lab, lab.features, predictions)
    assert report.status is OK
    assert report.summary == {"total_checks": len(report.checks), "drift_detected": False, "num_drifts": 0}
    names = set(statuses(report))
    assert {"ret_1.shock.psi", "ret_5.rank_change.ks", "prediction.psi", "rank_ic"} <= names
    assert {"vol_21.missing", "vol_21.range"} <= names


def test_larger_idiosyncratic_moves_missing_values_and_impossible_ones_are_drift(reference, lab, predictions):
    features = lab.features.copy()
    late = features["session"] >= SESSIONS[-7]
    features.loc[late, "ret_1"] *= 3
    features.loc[late & (features["symbol"] < "N05"), "ret_5"] = np.nan
    features.loc[late & (features["symbol"] == "N09"), "vol_21"] = 50.0
    found = statuses(run(reference, lab, features, predictions))
    for subject in ("ret_1.shock.ks", "ret_5.missing", "vol_21.range"):
        assert found[subject] is DRIFT


def test_scores_that_collapse_are_drift_and_few_ones_are_insufficient(reference, lab, predictions):
    same = predictions.assign(prediction=0.0)
    assert statuses(run(reference, lab, lab.features, same))["prediction.ks"] is DRIFT
    few = run(reference, lab, lab.features, predictions.tail(9))
    assert statuses(few)["prediction.psi"] is DriftStatus.INSUFFICIENT
    assert few.status is DriftStatus.INSUFFICIENT


def test_a_rank_ic_far_below_the_training_is_drift_once_labels_have_matured(reference, lab, predictions):
    label = pd.DataFrame(lab.data.label, list(lab.data.sessions), list(lab.data.features.symbols)).stack()
    wrong = predictions.set_index(["session", "symbol"])
    wrong["prediction"] = -label.reindex(wrong.index)
    wrong["prediction"] = wrong["prediction"].fillna(0.0)
    assert statuses(run(reference, lab, lab.features, wrong.reset_index()))["rank_ic"] is DRIFT
    assert statuses(run(reference, lab, lab.features, wrong.reset_index(), closes=False))["rank_ic"] is (
        DriftStatus.INSUFFICIENT
    )


def test_a_check_that_cannot_run_is_an_error_and_never_no_drift(reference, lab, predictions):
    without = run(reference, lab, lab.features.drop(columns="ret_5"), predictions)
    assert statuses(without)["ret_5"] is DriftStatus.ERROR
    assert without.status is DriftStatus.ERROR
    old = run(reference, lab, lab.features.loc[lab.features["session"] < SESSION], predictions)
    assert [check.details for check in old.checks if check.status is DriftStatus.ERROR] == [
        f"features of session {SESSION} are not stored; run market_data_job for it"
    ]
    broken = run(reference, lab, lab.features, predictions.drop(columns="prediction"))
    assert broken.status is DriftStatus.ERROR
    assert failed_report(SESSION, "alpha", "1", "no reference").status is DriftStatus.ERROR


def test_nothing_after_the_session_matters(reference, lab, predictions):
    earlier = SESSIONS[-20]
    whole, cut = (
        check_drift(
            reference, features, scores, lab.panel, session=earlier, model_name="alpha", model_version="1"
        )
        for features, scores in (
            (lab.features, predictions),
            (
                lab.features[lab.features["session"] <= earlier],
                predictions[predictions["session"] <= earlier],
            ),
        )
    )
    assert whole == cut


def test_a_damaged_reference_is_an_error(tmp_path, reference):
    reference.save(tmp_path)
    assert set(DriftReference.load(tmp_path).subjects) == set(reference.subjects)
    (tmp_path / "reference.json").write_text("{}")
    with pytest.raises(ModelError, match="train the model anew"):
        DriftReference.load(tmp_path)


def test_a_report_replaces_the_earlier_one_of_its_session_and_gives_the_verdicts(
    reference, lab, predictions, store
):
    report = run(reference, lab, lab.features, predictions)
    for _ in range(2):
        record_drift(store, report, now=NOW)
    record_drift(store, failed_report(SESSIONS[-2], "alpha", "1", "broken"), now=NOW)
    with store.read() as connection:
        [(rows, ids)] = connection.execute(
            "SELECT count(*), count(DISTINCT check_id) FROM model_drift_checks"
        ).fetchall()
    assert rows == ids == len(report.checks) + 1
    assert read_verdicts(store, "alpha", "1", end=SESSION) == [DriftStatus.ERROR, OK]


@pytest.mark.parametrize(
    ("verdicts", "enabled", "age", "expected"),
    [
        ([DRIFT] * 5, False, 50, False),
        ([DRIFT] * 3, True, 50, True),
        ([DRIFT] * 2, True, 50, False),
        ([OK, DRIFT, DRIFT, DRIFT], True, 50, True),
        ([DRIFT, DRIFT, OK], True, 50, False),
        ([DRIFT, DRIFT, DriftStatus.ERROR], True, 50, False),
        ([DRIFT] * 3, True, 9, False),
    ],
)
def test_a_rollback_is_asked_for_only_when_turned_on_and_drift_lasts(verdicts, enabled, age, expected):
    assert wants_rollback(verdicts, enabled=enabled, sessions_in_production=age) is expected
