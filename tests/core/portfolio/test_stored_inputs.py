"""From rows to what `decide` takes."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from hrp_core.calendar import nyse
from hrp_core.errors import NotReadyError
from hrp_core.market import to_panel
from hrp_core.models.scoring import score_factor, score_strategies
from hrp_core.portfolio.stored import holding_ages, panel_at, score_session, sell_only, to_be_sold
from hrp_core.portfolio.types import Strategy
from hrp_core.store import Sessions, Store, migrate, replace_slice, table

D = date(2022, 12, 15)


def prices(**columns: list[float]) -> pd.DataFrame:
    sessions = [nyse().offset(D, -age) for age in range(len(next(iter(columns.values()))))][::-1]
    return pd.DataFrame(
        [
            {"session": session, "symbol": symbol, "close": close}
            for symbol, closes in columns.items()
            for session, close in zip(sessions, closes, strict=True)
        ]
    ).dropna()


def test_the_panel_has_the_close_of_the_session_and_the_last_one_before() -> None:
    panel = panel_at(
        to_panel(prices(A=[1.0, 2.0], B=[3.0, np.nan]), "close", end=D), D, {"A": True, "B": False}, ["C"]
    )
    assert panel.symbols == ("A", "B", "C")
    np.testing.assert_array_equal(panel.close, [2.0, np.nan, np.nan])
    assert panel.last_price is not None
    np.testing.assert_array_equal(panel.last_price, [2.0, 3.0, np.nan])
    assert panel.in_universe.tolist() == [True, False, False]
    # B had a price a session ago and has none now.
    assert panel.expected is not None
    assert panel.expected.tolist() == [True, True, False]
    assert panel.execution_session == D + timedelta(days=1)


def test_prices_after_the_session_are_not_looked_at() -> None:
    frame = prices(A=[1.0, 2.0, 9.0])
    earlier = nyse().previous(D)
    panel = panel_at(to_panel(frame, "close"), earlier, {"A": True}, [])
    assert panel.close.tolist() == [2.0]


def test_ages_count_sessions_in_a_row() -> None:
    assert holding_ages([{"A"}, {"A", "B"}, {"B"}, {"A", "B"}]) == {"A": 1, "B": 3}
    assert holding_ages([]) == {}


def test_a_factor_is_joined_by_symbol_and_ranked() -> None:
    features = pd.DataFrame({"symbol": ["C", "A", "B"], "momentum_12_1": [0.1, np.nan, 0.3]})
    scored = score_factor("T-1", "momentum_12_1", features)
    assert scored["symbol"].tolist() == ["A", "B", "C"]
    np.testing.assert_array_equal(scored["prediction"], [np.nan, 0.3, 0.1])
    assert scored["rank"].tolist() == [pd.NA, 1, 2]
    assert scored["model_version"].unique().tolist() == ["factor-v1"]


def test_one_failing_strategy_never_stops_the_others() -> None:
    features = pd.DataFrame({"symbol": ["A"], "momentum_12_1": [0.1]})
    result = score_strategies({"T-1": "nothing", "T-2": "momentum_12_1"}, features)
    assert result.predictions["strategy_id"].tolist() == ["T-2"]
    assert "nothing" in result.errors["T-1"]


def test_what_is_not_stored_is_named_with_its_job(tmp_path) -> None:
    from hrp_core.features.stored import stored_features

    store = Store(tmp_path / "x.duckdb")
    migrate(store)
    with pytest.raises(NotReadyError, match="prices"):
        stored_features(store, D, D)


def test_a_name_that_may_only_be_sold_is_scored_and_one_that_is_held_is_not(tmp_path) -> None:
    store = Store(tmp_path / "x.duckdb")
    migrate(store)
    reasons = {
        "IN": "member since 2020-01-01, priced",
        "NOBUY": "left the universe after 2022-12-01, removal policy no-buy",
        "HOLD": "left the universe after 2022-12-01, removal policy hold",
    }
    rows = {
        "universe": [
            {"symbol": symbol, "in_universe": symbol == "IN", "reason": reason}
            for symbol, reason in reasons.items()
        ],
        "features": [{"symbol": symbol, "momentum_12_1": 0.1} for symbol in reasons],
    }
    for name, each in rows.items():
        declared = table(name)
        frame = pd.DataFrame(each).assign(session=D).reindex(columns=list(declared.column_names))
        with store.write() as connection:
            replace_slice(connection, declared, frame, Sessions((D,)), "run", None, datetime.now(UTC))
    strategy = Strategy("S", "S", "momentum_12_1", "rank", Decimal(1), {"top_pct": 0.5})
    scored = score_session(store, [strategy], D).predictions.set_index("symbol")["prediction"]
    assert np.isfinite(scored["NOBUY"])
    assert np.isnan(scored["HOLD"])
    assert sell_only(reasons, reasons.values()) == {"NOBUY"}
    assert to_be_sold(reasons, reasons.values()) == frozenset()
