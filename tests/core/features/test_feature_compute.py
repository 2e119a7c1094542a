from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.calendar import nyse
from hrp_core.errors import DataError, NotReadyError
from hrp_core.features import (
    FEATURES,
    compute,
    compute_session,
    feature_version,
    features_frame,
    lookback,
    window_start,
)
from hrp_core.market import Panel, SampleSource, to_panel
from hrp_core.store import table

SESSIONS = tuple(nyse().between(date(2020, 1, 2), date(2021, 12, 31)))


def panel_of(close: np.ndarray) -> Panel:
    symbols = tuple(f"S{index}" for index in range(close.shape[1]))
    return Panel(SESSIONS[: len(close)], symbols, {"close": close})


def random_closes(seed: int, sessions: int = 300, names: int = 4) -> np.ndarray:
    generator = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(generator.normal(0, 0.02, (sessions, names)), axis=0))
    close[generator.random(close.shape) < 0.02] = np.nan
    return close


def test_momentum_is_the_return_from_252_to_21_sessions_ago():
    close = np.ones((260, 1))
    close[7 + 252 - 252], close[7 + 252 - 21] = 50.0, 60.0
    momentum = compute(panel_of(close))["momentum_12_1"]
    assert momentum[7 + 252, 0] == pytest.approx(0.2)
    assert np.isnan(momentum[:252]).all()


@pytest.mark.parametrize("bad", [np.nan, 0.0, -1.0, np.inf])
def test_momentum_is_missing_where_an_end_of_it_is_no_price(bad):
    for offset in (252, 21):
        close = np.full((253, 2), 10.0)
        close[252 - offset, 0] = bad
        momentum = compute(panel_of(close))["momentum_12_1"][252]
        assert np.isnan(momentum[0])
        assert momentum[1] == 0.0


def test_momentum_of_the_sample_agrees_with_its_definition():
    frame = SampleSource().load(date(2021, 6, 1), date(2022, 12, 15))
    panel = to_panel(frame)
    day = panel.position(date(2022, 12, 15))
    expected = panel.close[day - 21] / panel.close[day - 252] - 1
    np.testing.assert_array_equal(compute_session(panel, date(2022, 12, 15))["momentum_12_1"], expected)


@given(st.integers(0, 1000), st.integers(0, 299))
def test_one_session_alone_equals_the_same_session_in_bulk(seed, row):
    panel = panel_of(random_closes(seed))
    alone, bulk = compute_session(panel, SESSIONS[row]), compute(panel)
    for name in FEATURES:
        np.testing.assert_array_equal(alone[name], bulk[name][row])


@given(st.integers(0, 1000), st.integers(252, 298), st.floats(0.1, 10))
def test_nothing_at_or_before_a_session_changes_when_what_follows_does(seed, row, factor):
    close = random_closes(seed)
    changed = close.copy()
    changed[row + 1 :] *= factor
    changed[row + 1 :, 0] = np.nan
    after, before = compute(panel_of(changed)), compute(panel_of(close))
    for name in FEATURES:
        np.testing.assert_array_equal(after[name][: row + 1], before[name][: row + 1])


@pytest.mark.parametrize("sessions", [1, 21, 230, 252])
def test_a_short_history_has_features_that_are_all_missing(sessions):
    panel = panel_of(np.ones((sessions, 2)))
    assert np.isnan(compute(panel)["momentum_12_1"]).all()
    assert np.isnan(compute_session(panel, SESSIONS[sessions - 1])["momentum_12_1"]).all()


def test_the_frame_of_a_range_equals_the_bulk_and_lists_names_that_have_no_value():
    close = random_closes(3)
    close[:, 1] = np.nan
    close[290:, 1] = 5.0
    panel = panel_of(close)
    frame = features_frame(panel, SESSIONS[288], SESSIONS[299])
    assert frame.columns.tolist() == ["session", "symbol", *FEATURES]
    assert frame.groupby("session").size().tolist() == [3, 3, *[4] * 10]
    wide = frame.pivot(index="session", columns="symbol", values="momentum_12_1")
    bulk = pd.DataFrame(compute(panel)["momentum_12_1"][288:], wide.index, list(panel.symbols))
    np.testing.assert_array_equal(wide.to_numpy(), bulk[wide.columns].to_numpy())


def test_a_name_gone_for_longer_than_the_look_back_has_no_row():
    close = np.ones((300, 2))
    close[10:, 1] = np.nan
    frame = features_frame(panel_of(close), SESSIONS[260], SESSIONS[263])
    assert frame.groupby("session")["symbol"].agg(list).tolist() == [
        ["S0", "S1"],
        ["S0", "S1"],
        ["S0"],
        ["S0"],
    ]


def test_a_window_that_starts_where_it_must_gives_the_same_frame_as_all_history():
    last = date(2022, 12, 15)
    source = SampleSource()
    window = to_panel(source.load(window_start(last), last))
    history = to_panel(source.load(date(2015, 1, 2), last))
    pd.testing.assert_frame_equal(features_frame(window, last, last), features_frame(history, last, last))


def test_the_window_reaches_back_by_the_look_back_and_stops_at_the_calendar():
    assert lookback() == 252
    assert window_start(date(2022, 12, 15)) == nyse().offset(date(2022, 12, 15), -252)
    assert window_start(date(1990, 3, 1)) == nyse().first


def test_an_empty_panel_gives_an_empty_frame():
    panel = to_panel(pd.DataFrame({"session": [], "symbol": [], "close": []}))
    assert features_frame(panel, SESSIONS[0], SESSIONS[0]).columns.tolist() == [
        "session",
        "symbol",
        *FEATURES,
    ]


def test_an_unknown_feature_and_an_unknown_session_are_refused():
    panel = panel_of(np.ones((2, 1)))
    with pytest.raises(DataError, match="no feature is called 'momentun'"):
        compute(panel, ["momentun"])
    with pytest.raises(NotReadyError, match="not in the panel"):
        compute_session(panel, SESSIONS[5])


def test_every_feature_says_its_version_and_what_it_is():
    for name, feature in FEATURES.items():
        assert feature.name == name
        assert feature_version(name) == feature.version >= 1
        assert feature.description


def test_the_table_of_features_has_one_column_a_feature():
    assert table("features").column_names == ("session", "symbol", *FEATURES)


def test_the_result_may_begin_later_than_its_history():
    panel = panel_of(random_closes(5))
    bulk, late = compute(panel), compute(panel, start=SESSIONS[270])
    for name in FEATURES:
        np.testing.assert_array_equal(late[name], bulk[name][270:])
