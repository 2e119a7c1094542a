from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hrp_core.market import Panel
from hrp_core.models.dataset import centred_rank
from hrp_core.models.evaluate import decile_means, evaluate, newey_west_error, rank_ic
from hrp_core.models.leakage import (
    failures,
    no_feature_knows_the_future,
    scores_are_plausible,
    shuffle_within_rows,
    shuffled_labels_teach_nothing,
)
from hrp_core.models.learners import RidgeRegression, fit, out_of_sample, predict
from hrp_core.models.splits import walk_forward


def noise(seed: int, rows: int = 60, names: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, names))


@given(st.integers(0, 500))
def test_the_rank_ic_is_spearmans_correlation_of_what_both_have(seed):
    scores, label = np.round(noise(seed), 1).astype(np.float64), noise(seed + 1)
    scores[0, :4], label[0, 2:6] = np.nan, np.nan
    for row, found in enumerate(rank_ic(scores, label)):
        both = np.isfinite(scores[row]) & np.isfinite(label[row])
        assert found == pytest.approx(stats.spearmanr(scores[row][both], label[row][both])[0])


def test_the_rank_ic_is_unknown_without_names_or_without_a_spread():
    scores, label = noise(1, 3), noise(2, 3)
    scores[0, 4:] = np.nan
    scores[1] = 1.0
    assert np.isnan(rank_ic(scores, label)).tolist() == [True, True, False]


def test_the_newey_west_error_is_the_formula_and_grows_with_overlap():
    series = np.array([1.0, 2.0, 4.0, 3.0, 5.0])
    centred = series - 3.0
    by_hand = (centred @ centred + 2 * 0.5 * (centred[1:] @ centred[:-1])) ** 0.5 / 5
    assert newey_west_error(series, 1) == pytest.approx(by_hand)
    overlapping = np.convolve(np.random.default_rng(0).normal(size=2000), np.ones(21), mode="valid")
    assert newey_west_error(overlapping, 21) > 3 * newey_west_error(overlapping, 0)


def test_perfect_scores_get_the_best_of_every_statistic():
    label = noise(3, 50, 20)
    result = evaluate(label, label, horizon=1)
    assert (result.mean_ic, result.hit_rate, result.sessions) == (pytest.approx(1), 1, 50)
    means = decile_means(label, label)
    assert (np.diff(means) > 0).all()
    assert result.decile_spread == pytest.approx(means[-1] - means[0])


def test_scores_that_never_change_have_no_turnover_and_fresh_ones_a_lot():
    label = noise(4, 50, 20)
    assert evaluate(np.tile(noise(5, 1, 20), (50, 1)), label, horizon=1).turnover == 0
    assert evaluate(noise(6, 50, 20), label, horizon=1).turnover > 0.7


def test_nothing_to_judge_gives_numbers_that_are_not_logged():
    empty = evaluate(np.full((5, 9), np.nan), np.full((5, 9), np.nan), horizon=1)
    assert empty.sessions == 0
    assert "mean_ic" not in empty.metrics()


def with_feature(data, values):
    fields = {**data.features.fields, "planted": values}
    return replace(data, features=Panel(data.features.sessions, data.features.symbols, fields))


def shifted(values, by):
    result = np.full(values.shape, np.nan)
    result[: len(values) - by] = values[by:]
    return result


@pytest.mark.parametrize("by", [0, 1, 2])
def test_a_label_shifted_into_a_feature_is_caught(lab, by):
    leaks = failures(no_feature_knows_the_future(with_feature(lab.data, shifted(lab.data.label, by))))
    assert len(leaks) == 1
    assert "feature planted" in leaks[0]


def test_a_label_hidden_in_noise_and_the_return_of_the_next_session_are_caught(lab):
    generator = np.random.default_rng(0)
    hidden = centred_rank(lab.data.label) + generator.normal(0, 1, lab.data.label.shape)
    for values in (hidden, lab.data.next_return):
        assert failures(no_feature_knows_the_future(with_feature(lab.data, values)))


def test_honest_features_and_scores_pass(lab):
    assert failures(no_feature_knows_the_future(lab.data)) == []
    assert scores_are_plausible(0.05, 9.0).passed
    assert not scores_are_plausible(0.3, 9.0).passed
    assert not scores_are_plausible(1.0, float("nan")).passed


def test_with_shuffled_labels_the_out_of_sample_rank_ic_is_within_two_standard_errors_of_zero(lab):
    splits = walk_forward(len(lab.data.sessions) - 6, reach=lab.data.reach, folds=3, min_train=250)
    ridge = RidgeRegression()
    check = shuffled_labels_teach_nothing(
        lab.data, lambda label: out_of_sample(lab.data, ridge, splits, centred_rank(label))
    )
    assert check.passed
    assert abs(check.t_stat) <= 2


def test_a_procedure_that_learns_from_what_it_is_judged_on_is_caught(lab):
    data = with_feature(lab.data, noise(8, *lab.data.label.shape))
    everything = range(len(data.sessions))

    def cheat(label):
        target = centred_rank(label)
        return predict(
            data, RidgeRegression(), fit(data, RidgeRegression(), everything, target), everything
        ) + (0.1 * target)

    assert not shuffled_labels_teach_nothing(data, cheat).passed


def test_a_shuffle_keeps_each_sessions_values_and_its_gaps():
    values = noise(7, 20)
    values[:, 3] = np.nan
    shuffled = shuffle_within_rows(values, np.random.default_rng(0))
    assert np.isnan(shuffled[:, 3]).all()
    np.testing.assert_array_equal(np.sort(shuffled, axis=1), np.sort(values, axis=1))
    assert not np.array_equal(shuffled, values, equal_nan=True)
