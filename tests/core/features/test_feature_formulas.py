"""Each formula against the plainest way to write it down, with gaps, splits and dividends."""

from datetime import date

import bottleneck as bn
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.calendar import nyse
from hrp_core.features import FEATURES, compute, compute_session
from hrp_core.features.arrays import moving_mean, moving_moments, rank_across
from hrp_core.market import Panel

SESSIONS = tuple(nyse().between(date(2020, 1, 2), date(2021, 12, 31)))
PLAIN = tuple(name for name in FEATURES if not name.endswith("_rank"))


def random_panel(seed: int, sessions: int = 330, names: int = 5, *, actions: bool = True) -> Panel:
    """Closes in cents with gaps, and volumes; with splits and dividends where asked for."""
    generator = np.random.default_rng(seed)
    close = np.round(50 * np.exp(np.cumsum(generator.normal(0, 0.02, (sessions, names)), axis=0)), 2)
    close[generator.random(close.shape) < 0.002] = np.nan
    volume = np.where(
        generator.random(close.shape) < 0.002, np.nan, generator.integers(0, 9_000, close.shape)
    )
    fields = {"close": close, "volume": volume}
    if actions:
        chance = generator.random(close.shape)
        fields["split_factor"] = np.where(
            chance < 0.005, generator.choice([2.0, 3.0, 0.1], close.shape), np.nan
        )
        fields["dividend"] = np.where(chance > 0.98, 0.37, 0.0)
    symbols = tuple(f"S{number}" for number in range(names))
    return Panel(SESSIONS[:sessions], symbols, fields)


def by_pandas(panel: Panel) -> dict[str, pd.DataFrame]:
    """The definitions, by pandas, of a panel that needs no adjusting."""
    close = pd.DataFrame(panel.close)
    value = close * pd.DataFrame(panel.field("volume"))
    change = close.diff()
    gain, loss = change.clip(lower=0).rolling(14).sum(), (-change).clip(lower=0).rolling(14).sum()
    returns = close / close.shift(1) - 1
    sma = {width: close.rolling(width).mean() for width in (20, 50, 200)}
    return {
        **{f"ret_{k}": close / close.shift(k) - 1 for k in (1, 5, 21, 63, 252)},
        "momentum_12_1": close.shift(21) / close.shift(252) - 1,
        "vol_21": returns.rolling(21).std(),
        "vol_63": returns.rolling(63).std(),
        "rsi_14": 100 * gain / (gain + loss),
        "price_to_sma_20": close / sma[20] - 1,
        "sma_50_200": sma[50] / sma[200] - 1,
        "zscore_20": (close - sma[20]) / close.rolling(20).std(),
        "adv_20": value.rolling(20).mean(),
    }


@pytest.mark.parametrize("seed", range(3))
def test_each_feature_agrees_with_its_definition_written_in_pandas(seed):
    panel = random_panel(seed, actions=False)
    computed, expected = compute(panel), by_pandas(panel)
    assert tuple(expected) == PLAIN
    for name, frame in expected.items():
        np.testing.assert_allclose(computed[name], frame.to_numpy(), rtol=1e-9, atol=1e-10, err_msg=name)


def test_a_rank_is_bottlenecks_rank_scaled_to_one_among_the_names_with_a_close():
    panel = random_panel(4)
    computed = compute(panel)
    for name in PLAIN:
        values = np.where(np.isfinite(panel.close), computed[name], np.nan)
        count = np.isfinite(values).sum(axis=1, keepdims=True)
        expected = (bn.nanrankdata(values, axis=1) - 1) / np.maximum(count - 1, 1)
        np.testing.assert_array_equal(
            computed[f"{name}_rank"], np.where(count > 1, expected, np.nan * values + 0.5)
        )


@given(
    st.lists(
        st.lists(st.sampled_from([1.0, 2.0, 3.0, np.nan]), min_size=4, max_size=4), min_size=1, max_size=40
    )
)
def test_ranks_average_ties_and_leave_what_is_missing_missing(rows):
    values = np.array(rows)
    ranked = rank_across(values)
    assert (np.isnan(ranked) == np.isnan(values)).all()
    for row, ranks in zip(values, ranks_of(ranked), strict=True):
        held = row[np.isfinite(row)]
        expected = [
            (np.sum(held < x) + (np.sum(held == x) - 1) / 2) / (len(held) - 1) if len(held) > 1 else 0.5
            for x in held
        ]
        assert ranks == pytest.approx(expected)


def ranks_of(ranked: np.ndarray) -> list[list[float]]:
    return [row[np.isfinite(row)].tolist() for row in ranked]


@pytest.mark.parametrize("seed", range(4))
def test_one_session_alone_equals_the_bulk_also_across_splits_and_dividends(seed):
    panel = random_panel(seed)
    bulk = compute(panel)
    for row in (0, 1, 20, 125, 126, 200, 252, 300, 329):
        alone = compute_session(panel, SESSIONS[row])
        for name in FEATURES:
            np.testing.assert_allclose(alone[name], bulk[name][row], rtol=1e-12, atol=1e-12, err_msg=name)


@given(st.integers(0, 200), st.integers(1, 328))
def test_actions_prices_and_volumes_after_a_session_change_nothing_at_or_before_it(seed, row):
    panel = random_panel(seed)
    after = {name: values.copy() for name, values in panel.fields.items()}
    after["close"][row + 1 :] *= 3
    after["close"][row + 1 :, 0] = np.nan
    after["volume"][row + 1 :] = 1.0
    after["split_factor"][row + 1] = 7.0
    after["dividend"][row + 1 :] = 5.0
    changed, kept = compute(Panel(panel.sessions, panel.symbols, after)), compute(panel)
    for name in FEATURES:
        np.testing.assert_array_equal(changed[name][: row + 1], kept[name][: row + 1], err_msg=name)


@given(st.integers(0, 100))
def test_a_split_changes_no_feature(seed):
    plain = random_panel(seed, actions=False)
    close, split = plain.close.copy(), np.full(plain.close.shape, np.nan)
    close[150:, 1] /= 4
    split[150, 1] = 4.0
    volume = plain.field("volume").copy()
    volume[150:, 1] *= 4
    fields = {"close": close, "volume": volume, "split_factor": split}
    before, after = compute(plain), compute(Panel(plain.sessions, plain.symbols, fields))
    for name in PLAIN:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-11, atol=1e-12, err_msg=name)


def test_a_dividend_is_part_of_returns_and_not_of_the_price_against_its_mean():
    close = np.full((260, 1), 100.0)
    close[255:] = 99.0
    dividend = np.zeros((260, 1))
    dividend[255] = 1.0
    panel = Panel(SESSIONS[:260], ("A",), {"close": close, "dividend": dividend})
    computed = compute(panel)
    assert computed["ret_1"][255, 0] == pytest.approx(0.0, abs=1e-15)
    assert computed["ret_252"][259, 0] == pytest.approx(0.0, abs=1e-15)
    assert computed["price_to_sma_20"][255, 0] == pytest.approx(99 / 99.95 - 1)


def test_without_volume_there_is_no_dollar_volume_and_all_else_is_there():
    panel = random_panel(1, actions=False)
    bare = compute(Panel(panel.sessions, panel.symbols, {"close": panel.close}))
    assert np.isnan(bare["adv_20"]).all()
    assert np.isnan(bare["adv_20_rank"]).all()
    full = compute(panel)
    for name in PLAIN[:-1]:
        np.testing.assert_array_equal(bare[name], full[name])


def test_a_price_that_stands_still_is_neutral_and_has_no_zscore():
    panel = Panel(SESSIONS[:260], ("A", "B"), {"close": np.full((260, 2), 12.34)})
    last = compute_session(panel, SESSIONS[259])
    assert last["rsi_14"].tolist() == [50.0, 50.0]
    assert last["vol_21"].tolist() == [0.0, 0.0]
    assert np.isnan(last["zscore_20"]).all()
    assert last["ret_252_rank"].tolist() == [0.5, 0.5]


def test_a_price_that_only_rises_has_a_strength_of_100():
    close = np.linspace(10, 20, 40)[:, None] ** 1.3
    strength = compute(Panel(SESSIONS[:40], ("A",), {"close": close}))["rsi_14"]
    assert strength[14:].min() == pytest.approx(100.0)
    assert np.nanmax(strength) <= 100.0


@given(st.integers(0, 50), st.integers(0, 400), st.integers(2, 30), st.integers(0, 40))
def test_a_moving_window_depends_on_its_own_rows_alone_to_the_last_bit(seed, origin, width, first):
    values = np.random.default_rng(seed).normal(0, 1, (45, 3))
    values[5] = 1e12
    values[11, 1] = np.nan
    mean, moments = moving_mean(values, width, 0, origin), moving_moments(values, width, 0, origin)
    np.testing.assert_array_equal(moving_mean(values, width, first, origin), mean[first:])
    for end in range(width - 1, 45):
        own, begin = values[end - width + 1 : end + 1], origin + end - width + 1
        np.testing.assert_array_equal(moving_mean(own, width, width - 1, begin)[0], mean[end])
        np.testing.assert_array_equal(moving_moments(own, width, width - 1, begin).std[0], moments.std[end])
        np.testing.assert_allclose(mean[end], own.mean(axis=0), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(moments.std[end], own.std(axis=0, ddof=1), rtol=1e-9, atol=1e-12)
    assert np.isnan(mean[: width - 1]).all()
