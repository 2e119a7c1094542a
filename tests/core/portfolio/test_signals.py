from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.errors import DataError
from hrp_core.portfolio import Strategy, predictions_to_signals, strategy_signals

NAN = float("nan")


def frame(**scores: float) -> pd.DataFrame:
    return pd.DataFrame({"symbol": list(scores), "prediction": list(scores.values())})


def signals(predictions: pd.DataFrame, *arguments, **keywords) -> dict[str, float]:
    result = predictions_to_signals(predictions, *arguments, **keywords)
    return dict(zip(result["symbol"], result["signal"], strict=True))


def strategy(method: str, **parameters: float | int | str) -> Strategy:
    return Strategy("S", "s", "m", method, Decimal(1), parameters)


@pytest.mark.parametrize(
    ("names", "top_pct", "held"),
    [(20, 0.1, 2), (20, 0.25, 5), (21, 0.1, 3), (3, 0.1, 1), (1, 0.01, 1), (70, 0.1, 7), (5, 1.0, 5)],
)
def test_rank_holds_the_top_share_of_the_names_rounded_up_and_at_least_one(names, top_pct, held):
    predictions = pd.DataFrame(
        {"symbol": [f"S{i:02d}" for i in range(names)], "prediction": np.arange(names, dtype=float)}
    )
    result = predictions_to_signals(predictions, top_pct=top_pct)["signal"]
    assert result.tolist() == [0.0] * (names - held) + [1.0] * held


def test_rank_is_the_default_with_a_tenth():
    predictions = pd.DataFrame({"symbol": [f"S{i}" for i in range(20)], "prediction": np.arange(20.0)})
    assert predictions_to_signals(predictions)["signal"].sum() == 2.0


@pytest.mark.parametrize("missing", [NAN, float("inf"), -float("inf"), None])
def test_a_score_that_is_not_finite_is_not_a_name(missing):
    predictions = pd.DataFrame({"symbol": list("ABCDE"), "prediction": [1.0, 2.0, 3.0, 4.0, missing]})
    # A quarter of four names, not of five.
    assert signals(predictions, top_pct=0.25) == {"A": 0, "B": 0, "C": 0, "D": 1, "E": 0}


def test_no_scored_name_gives_no_signal():
    assert set(signals(frame(A=NAN, B=NAN)).values()) == {0.0}
    assert predictions_to_signals(frame())["signal"].tolist() == []


def test_equal_predictions_go_by_symbol_whatever_the_order_of_rows():
    assert signals(frame(C=1.0, A=1.0, B=1.0), top_pct=0.34) == {"A": 1, "B": 1, "C": 0}


def test_rows_come_back_in_their_order_with_index_and_other_columns():
    predictions = frame(B=2.0, A=1.0).assign(model="m").set_axis([7, 3])
    result = predictions_to_signals(predictions, top_pct=0.5)
    assert result.columns.tolist() == ["symbol", "prediction", "model", "signal"]
    assert result["signal"].to_dict() == {7: 1.0, 3: 0.0}
    assert "signal" not in predictions


def test_each_session_is_ruled_by_itself():
    one = frame(A=1.0, B=2.0).assign(session=date(2022, 1, 3))
    two = frame(A=9.0, B=2.0).assign(session=date(2022, 1, 4))
    result = predictions_to_signals(pd.concat([two, one]), top_pct=0.5)
    assert result["signal"].tolist() == [1.0, 0.0, 0.0, 1.0]


def test_threshold_holds_what_reaches_it():
    assert signals(frame(A=0.05, B=0.03, C=NAN), "threshold", threshold=0.05) == {"A": 1, "B": 0, "C": 0}
    assert signals(frame(A=0.0, B=-0.1), "threshold") == {"A": 1, "B": 0}


def test_zscore_is_cross_sectional_with_mean_0_and_standard_deviation_1():
    values = signals(frame(A=1.0, B=2.0, C=6.0, D=NAN), "zscore")
    assert values["D"] == 0.0
    scored = np.array([values[name] for name in "ABC"])
    assert scored.mean() == pytest.approx(0)
    assert scored.std(ddof=1) == pytest.approx(1)


@pytest.mark.parametrize("scores", [{"A": 0.1, "B": 0.1, "C": 0.1}, {"A": 5.0}, {"A": 0.3, "B": NAN}])
def test_zscore_is_0_everywhere_when_there_is_no_spread(scores):
    assert set(signals(frame(**scores), "zscore").values()) == {0.0}


def test_the_short_leg_mirrors_the_long_one_and_shares_no_name_with_it():
    scores = frame(A=5.0, B=1.0, C=0.0, D=-1.0, E=-5.0)
    assert signals(scores, top_pct=0.2, short=True) == {"A": 1, "B": 0, "C": 0, "D": 0, "E": -1}
    assert signals(scores, "threshold", threshold=1.0, short=True) == {
        "A": 1,
        "B": 1,
        "C": 0,
        "D": -1,
        "E": -1,
    }
    assert signals(frame(A=1.0, B=2.0, C=3.0), top_pct=0.6, short=True) == {"A": -1, "B": 1, "C": 1}
    assert signals(frame(A=1.0), top_pct=1.0, short=True) == {"A": 1}


def held_by_session(scores: list[dict[str, float]], **keywords) -> list[str]:
    days = [date(2022, 1, 3 + index) for index in range(len(scores))]
    predictions = pd.concat([frame(**row).assign(session=day) for row, day in zip(scores, days, strict=True)])
    result = predictions_to_signals(predictions, "topk_dropout", **keywords)
    return ["".join(sorted(result[(result.session == day) & (result.signal > 0)].symbol)) for day in days]


def test_topk_dropout_holds_k_and_replaces_at_most_n_drop_a_session():
    up, down = (
        {name: float(i) for i, name in enumerate("ABCDEF")},
        {name: -float(i) for i, name in enumerate("ABCDEF")},
    )
    assert held_by_session([up, down, down, down], k=3, n_drop=1) == ["DEF", "ADE", "ABD", "ABC"]
    assert held_by_session([up, down], k=3, n_drop=3) == ["DEF", "ABC"]
    assert held_by_session([up, down], k=3, n_drop=0) == ["DEF", "DEF"]


def test_topk_dropout_keeps_a_name_for_its_minimum_holding():
    up, down = {"A": 1.0, "B": 2.0}, {"A": 2.0, "B": 1.0}
    assert held_by_session([up, down, down], k=1, n_drop=1, min_holding=2) == ["B", "B", "A"]


def test_topk_dropout_keeps_the_place_of_a_held_name_without_a_score():
    up, hole = {"A": 1.0, "B": 2.0, "C": 3.0}, {"A": 5.0, "B": 2.0, "C": NAN}
    # C is held and unscored: it neither signals nor gives its place away.
    assert held_by_session([up, hole, up], k=2, n_drop=1) == ["BC", "A", "BC"]


def test_topk_dropout_continues_from_what_is_held():
    scores = frame(A=3.0, B=2.0, C=1.0)
    assert signals(scores, "topk_dropout", k=1, n_drop=1, held={"C": 5}) == {"A": 1, "B": 0, "C": 0}
    assert signals(scores, "topk_dropout", k=1, n_drop=0, held={"C": 5}) == {"A": 0, "B": 0, "C": 1}
    assert signals(scores, "topk_dropout", k=1, n_drop=1, min_holding=9, held={"C": 5})["C"] == 1


@given(
    st.lists(st.floats(-5, 5) | st.just(NAN), min_size=1, max_size=12),
    st.sets(st.integers(0, 11)),
    st.integers(1, 6),
    st.integers(0, 4),
)
def test_topk_dropout_never_holds_more_than_k_nor_replaces_more_than_n_drop(scores, held_index, k, n_drop):
    names = [f"S{index:02d}" for index in range(12)]
    held = {names[index]: 3 for index in held_index}
    predictions = pd.DataFrame({"symbol": names[: len(scores)], "prediction": scores})
    result = signals(predictions, "topk_dropout", k=k, n_drop=n_drop, held=held)
    chosen = {name for name, value in result.items() if value > 0}
    scored = {n for n, score in zip(predictions.symbol, scores, strict=True) if np.isfinite(score)}
    assert chosen <= scored
    assert len((held.keys() & scored) - chosen) <= n_drop
    assert len(chosen | (held.keys() - scored)) <= max(k, len(held))


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"method": "best"}, "Unknown method: 'best'"),
        ({"top_pct": 0.0}, "top_pct must be above 0"),
        ({"top_pct": 1.1}, "top_pct must be above 0 and at most 1"),
        ({"threshold": NAN}, "threshold must be a number"),
        ({"method": "topk_dropout", "k": 0}, "k must be a whole number, at least 1"),
        ({"method": "topk_dropout", "n_drop": -1}, "n_drop must be a whole number"),
        ({"method": "topk_dropout", "short": True}, "no short leg"),
    ],
)
def test_a_wrong_parameter_is_refused(keywords, says):
    with pytest.raises(ValueError, match=says):
        predictions_to_signals(frame(A=1.0), **keywords)


@pytest.mark.parametrize(
    ("predictions", "says"),
    [
        (pd.DataFrame({"symbol": ["A"]}), "no column 'prediction'"),
        (pd.DataFrame({"symbol": ["A", "A"], "prediction": [1.0, 2.0]}), "A is predicted twice"),
        (pd.DataFrame({"symbol": ["A"], "prediction": ["high"]}), "does not hold numbers"),
    ],
)
def test_a_wrong_frame_is_refused(predictions, says):
    with pytest.raises(DataError, match=says):
        predictions_to_signals(predictions)


def test_the_signals_of_a_strategy_are_sorted_and_aligned():
    result = strategy_signals(strategy("rank", top_pct=0.5), ["B", "C", "A"], np.array([3.0, NAN, 1.0]))
    assert result.symbols == ("A", "B", "C")
    np.testing.assert_array_equal(result.prediction, [1.0, 3.0, NAN])
    np.testing.assert_array_equal(result.signal, [0.0, 1.0, 0.0])


@pytest.mark.parametrize(("threshold", "expected"), [(0.0, [0, 0, 1]), (0.9, [0, 0, 1]), (1.2, [0, 0, 0])])
def test_a_zscore_strategy_holds_the_names_above_average_that_reach_the_threshold(threshold, expected):
    result = strategy_signals(strategy("zscore", threshold=threshold), list("ABC"), np.array([1.0, 2.0, 6.0]))
    assert result.signal.tolist() == expected
    flat = strategy_signals(strategy("zscore"), list("AB"), np.array([1.0, 1.0]))
    assert flat.signal.tolist() == [0.0, 0.0]


def test_signals_of_a_strategy_need_one_prediction_a_symbol():
    with pytest.raises(DataError, match=r"2 symbols \(1 distinct"):
        strategy_signals(strategy("rank"), ["A", "A"], np.array([1.0, 2.0]))
    with pytest.raises(DataError, match="do not fit together"):
        strategy_signals(strategy("rank"), ["A"], np.array([1.0, 2.0]))


@given(st.permutations(list("ABCDEFGH")), st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_reordering_rows_never_moves_a_signal_to_another_name(order, scores):
    by_symbol = dict(zip("ABCDEFGH", map(float, scores), strict=True))
    for method in ("rank", "threshold", "zscore", "topk_dropout"):
        straight = signals(frame(**by_symbol), method, top_pct=0.3, threshold=2.0, k=3)
        shuffled = signals(frame(**{name: by_symbol[name] for name in order}), method, 0.3, 2.0, k=3)
        assert shuffled == straight
