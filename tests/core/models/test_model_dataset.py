from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models_support import SESSIONS, features_of, market

from hrp_core.errors import DataError, NotReadyError
from hrp_core.market import Panel
from hrp_core.models.dataset import available_features, build_training_set, centred_rank
from hrp_core.models.splits import walk_forward


def test_a_label_is_the_return_from_the_execution_session_over_the_horizon():
    panel = market()
    data = build_training_set(features_of(panel), panel, ["ret_21"], as_of=SESSIONS[99], horizon=10, lag=1)
    row = data.features.position(SESSIONS[50])
    np.testing.assert_allclose(data.label[row], panel.close[61] / panel.close[51] - 1, rtol=1e-15)


def test_only_labels_that_have_matured_are_there():
    panel = market()
    data = build_training_set(features_of(panel), panel, ["ret_21"], as_of=SESSIONS[99], horizon=10, lag=1)
    known = np.isfinite(data.label).any(axis=1)
    assert data.sessions[-1] == SESSIONS[99]
    assert data.sessions[np.flatnonzero(known)[-1]] == SESSIONS[88]


@given(st.integers(60, 400), st.floats(0.2, 5))
def test_nothing_in_the_data_changes_when_what_follows_does(row, factor):
    panel = market()
    close = panel.close.copy()
    close[row + 1 :] *= factor
    changed = Panel(panel.sessions, panel.symbols, {"close": close})
    one, other = (
        build_training_set(features_of(each), each, ["ret_5"], as_of=SESSIONS[row], horizon=5)
        for each in (panel, changed)
    )
    np.testing.assert_array_equal(one.label, other.label)
    np.testing.assert_array_equal(one.features.field("ret_5"), other.features.field("ret_5"))


def test_a_name_without_a_price_at_an_end_of_its_label_has_none():
    panel = market()
    close = panel.close.copy()
    close[61, 3] = np.nan
    data = build_training_set(
        features_of(panel),
        Panel(panel.sessions, panel.symbols, {"close": close}),
        ["ret_21"],
        as_of=SESSIONS[99],
        horizon=10,
    )
    row = data.features.position(SESSIONS[50])
    assert np.flatnonzero(np.isnan(data.label[row])).tolist() == [3]


def test_data_that_cannot_be_learned_from_is_refused_with_the_next_step():
    panel = market()
    features = features_of(panel)
    empty = features.assign(adv_20=np.nan)
    assert available_features(empty, ["ret_5", "adv_20", "unknown"]) == ("ret_5",)
    with pytest.raises(DataError, match="adv_20: no name has ever had a value"):
        build_training_set(empty, panel, ["ret_5", "adv_20"], as_of=SESSIONS[99])
    with pytest.raises(DataError, match="not among the stored features: unknown"):
        build_training_set(features, panel, ["unknown"], as_of=SESSIONS[99])
    with pytest.raises(NotReadyError, match="no label has matured"):
        build_training_set(features, panel, ["ret_5"], as_of=SESSIONS[20], horizon=21)


def test_ranks_are_centred_and_a_thin_cross_section_has_none():
    ranks = centred_rank(np.array([[1.0, 2, 3, 4, 5], [7, 7, 8, 9, np.nan], [2, 2, 1, 4, 4]]))
    np.testing.assert_allclose(ranks[0], [-0.4, -0.2, 0, 0.2, 0.4], atol=1e-15)
    assert np.isnan(ranks[1]).all()
    assert ranks[2].sum() == pytest.approx(0)


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 30), st.integers(1, 300), st.integers(0, 500))
def test_no_label_of_a_training_range_reaches_its_test_range(reach, folds, embargo, min_train, spare):
    sessions = min_train + reach + embargo + folds + spare
    splits = walk_forward(sessions, reach=reach, folds=folds, embargo=embargo, min_train=min_train)
    assert len(splits) == folds
    for split in splits:
        assert len(split.train) >= min_train
        assert split.train[-1] + reach + embargo < split.test[0]
    assert splits[-1].test.stop == sessions
    assert all(one.test.stop == other.test.start for one, other in pairwise(splits))


def test_too_little_history_for_the_folds_is_refused():
    with pytest.raises(NotReadyError, match="too few for 5 folds"):
        walk_forward(530, reach=22)
