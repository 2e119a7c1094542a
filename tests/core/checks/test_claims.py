"""Each claim on rows that keep it and on rows that break it, through the real store."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.checks import CLAIMS, CheckFailedError, CheckLimits, Finding, refuse_blocking, run_checks
from hrp_core.errors import NotReadyError
from hrp_core.store import Sessions, Store, migrate, replace_slice, table

D = date(2022, 12, 15)
BEFORE = nyse().previous(D)
NOW = datetime(2022, 12, 15, 18, 0, tzinfo=NEW_YORK)
DEFAULTS = CheckLimits()
LENIENT = CheckLimits(max_unexplained_return=0.6)
NAMES = ("AAPL", "BBB", "CCC", "DDD", "EEE", "FFF")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "hrp.duckdb")
    migrate(made)
    return made


def write(store: Store, name: str, rows: Sequence[Mapping[str, object]], session: date = D) -> None:
    declared = table(name)
    frame = pd.DataFrame([{"session": session, **row} for row in rows], columns=list(declared.column_names))
    with store.write() as connection:
        replace_slice(connection, declared, frame, Sessions([session]), "run-1", "1", NOW)


def found(store: Store, asset: str, session: date = D, limits: CheckLimits = DEFAULTS) -> dict[str, Finding]:
    checked = run_checks(store, asset, [session], limits, run_id="run-2", now=NOW)
    return {item.claim.name: item.findings[session] for item in checked}


def universe(store: Store, names: Sequence[str] = NAMES, session: date = D) -> None:
    write(
        store,
        "universe",
        [{"symbol": name, "in_universe": name in names, "reason": "priced"} for name in NAMES],
        session,
    )


def prices(store: Store, closes: Mapping[str, float], session: date = D, **more: float) -> None:
    write(
        store,
        "prices",
        [{"symbol": name, "close": close, "source": "test", **more} for name, close in closes.items()],
        session,
    )


def closes(change: float = 0.0) -> dict[str, float]:
    return {name: 100.0 + number + change for number, name in enumerate(NAMES)}


def test_every_asset_has_a_claim_and_names_are_unique() -> None:
    names = [claim.name for claims in CLAIMS.values() for claim in claims]
    assert len(names) == len(set(names)) == 19
    assert all(claim.threshold(CheckLimits()) for claims in CLAIMS.values() for claim in claims)


def test_a_universe_that_lost_a_fifth_of_its_names_is_broken(store: Store) -> None:
    universe(store, session=BEFORE)
    universe(store, NAMES[:4])
    finding = found(store, "universe")["universe_has_not_shrunk"]
    assert not finding.passed
    assert finding.offending["symbol"].tolist() == ["EEE", "FFF"]
    universe(store, NAMES[:5])
    assert found(store, "universe")["universe_has_not_shrunk"].passed


def test_good_prices_keep_all_claims(store: Store) -> None:
    universe(store)
    prices(store, closes(), BEFORE)
    prices(store, closes(1.0))
    assert all(finding.passed for finding in found(store, "prices").values())


def test_a_price_outside_its_range_is_named(store: Store) -> None:
    universe(store)
    prices(store, {**closes(), "BBB": -1.0})
    finding = found(store, "prices")["prices_match_their_schema"]
    assert (finding.passed, finding.value) == (False, 1.0)
    assert finding.offending[["symbol", "column", "value"]].to_numpy().tolist() == [["BBB", "close", -1.0]]


def test_a_high_below_the_low_is_named(store: Store) -> None:
    universe(store)
    prices(store, closes(), high=10.0, low=11.0)
    finding = found(store, "prices")["prices_match_their_schema"]
    assert set(finding.offending["column"]) == {"high above low"}


def test_a_name_of_yesterday_without_a_price_is_missing(store: Store) -> None:
    universe(store, NAMES[:5])
    prices(store, closes(), BEFORE)
    prices(store, {name: close for name, close in closes(1.0).items() if name != "FFF"})
    finding = found(store, "prices")["prices_are_complete_and_fresh"]
    assert (finding.passed, finding.offending["symbol"].tolist()) == (False, ["FFF"])


def test_the_closes_of_yesterday_delivered_again_are_stale(store: Store) -> None:
    universe(store)
    prices(store, closes(), BEFORE)
    prices(store, closes())
    finding = found(store, "prices")["prices_are_complete_and_fresh"]
    assert not finding.passed
    assert "stale" in finding.observed


def test_prices_without_a_stored_universe_cannot_be_complete(store: Store) -> None:
    prices(store, closes())
    assert not found(store, "prices")["prices_are_complete_and_fresh"].passed


@pytest.mark.parametrize(("factor", "explained"), [(None, False), (2.0, True)])
def test_a_move_is_explained_by_a_split_and_by_nothing_else(
    store: Store, factor: float | None, explained: bool
) -> None:
    universe(store)
    prices(store, closes(), BEFORE)
    rows = [{"symbol": name, "close": close, "source": "t"} for name, close in closes(1.0).items()]
    rows[0] |= {"close": 45.0, "split_factor": factor}
    write(store, "prices", rows)
    if factor:
        action = {"symbol": "AAPL", "kind": "split", "factor": factor, "effective_session": D}
        write(store, "corporate_actions", [action])
    result = found(store, "prices")
    assert result["moves_are_explained"].passed == explained
    assert result["adjusted_prices_follow_the_actions"].passed
    assert found(store, "prices", limits=LENIENT)["moves_are_explained"].passed


def test_a_split_that_the_prices_do_not_know_is_found(store: Store) -> None:
    universe(store)
    prices(store, closes(), BEFORE)
    prices(store, closes(1.0))
    write(
        store,
        "corporate_actions",
        [{"symbol": "CCC", "kind": "split", "factor": 4.0, "effective_session": D}],
    )
    finding = found(store, "prices")["adjusted_prices_follow_the_actions"]
    assert (finding.passed, finding.offending["symbol"].tolist()) == (False, ["CCC"])


def test_an_absurd_split_factor_is_not_plausible(store: Store) -> None:
    action = {"symbol": "AAPL", "kind": "split", "factor": 5000.0, "effective_session": D}
    write(store, "corporate_actions", [action])
    assert not found(store, "corporate_actions")["actions_are_plausible"].passed


def test_features_of_fewer_names_or_with_fewer_values_are_incomplete(store: Store) -> None:
    prices(store, closes())
    full = [{"symbol": name, "ret_1": 0.01, "ret_1_rank": 0.5} for name in NAMES]
    write(store, "features", full, BEFORE)
    write(store, "features", full)
    assert all(finding.passed for finding in found(store, "features").values())
    write(store, "features", full[:5])
    assert not found(store, "features")["features_are_complete"].passed
    write(store, "features", [{**full[0], "ret_1_rank": 1.5}, *full[1:]])
    assert not found(store, "features")["features_match_their_schema"].passed


def test_a_new_listing_without_history_does_not_make_features_incomplete(store: Store) -> None:
    prices(store, closes())
    full = [{"symbol": name, "ret_1": 0.01} for name in NAMES]
    write(store, "features", full[:5], BEFORE)
    write(store, "features", [*full[:5], {"symbol": "FFF"}])
    assert found(store, "features")["features_are_complete"].passed


def prediction(name: str, score: float | None, **more: object) -> dict[str, object]:
    base = {"strategy_id": "S1", "symbol": name, "prediction": score, "model_name": "m", "model_version": "1"}
    return {**base, **more}


def test_a_strategy_with_few_scores_is_a_warning_and_blocks_nobody(store: Store) -> None:
    universe(store)
    write(store, "predictions", [prediction(name, 1.0 if name < "D" else None) for name in NAMES])
    checked = run_checks(store, "predictions", [D], CheckLimits(), run_id="r", now=NOW)
    assert [item.findings[D].passed for item in checked] == [True, False]
    refuse_blocking(checked)


def test_predictions_without_a_model_version_break_their_schema(store: Store) -> None:
    universe(store)
    write(store, "predictions", [prediction("AAPL", 1.0, model_version="")])
    checked = run_checks(store, "predictions", [D], CheckLimits(), run_id="r", now=NOW)
    with pytest.raises(CheckFailedError, match="predictions of 2022-12-15: predictions match their schema"):
        refuse_blocking(checked)


@pytest.mark.parametrize(
    ("signal", "score", "stored", "follows"),
    [(1.0, 2.0, 2.0, True), (1.0, 2.0, 2.5, False), (1.0, None, None, False), (0.5, 2.0, 2.0, False)],
)
def test_a_signal_stands_on_a_stored_prediction(
    store: Store, signal: float, score: float | None, stored: float | None, follows: bool
) -> None:
    write(store, "predictions", [prediction("AAPL", stored)])
    row = {"strategy_id": "S1", "symbol": "AAPL", "signal": signal, "prediction": score, "method": "rank"}
    write(store, "signals", [row])
    assert found(store, "signals")["signals_follow_the_predictions"].passed == follows


@pytest.mark.parametrize(
    ("before", "after", "weight", "within"),
    [(0, 10, 0.10, True), (0, 10, 0.12, False), (12, 10, 0.12, True), (0, 10, 1.2, False)],
)
def test_only_what_is_bought_beyond_a_limit_breaks_it(
    store: Store, before: int, after: int, weight: float, within: bool
) -> None:
    row = {
        **{"strategy_id": "S1", "symbol": "AAPL", "reason": "signal", "note": "", "plan_id": "p"},
        **{"weight_before": 0.0, "weight_target": weight, "shares_before": before, "shares_target": after},
    }
    write(store, "target_portfolio", [row])
    assert found(store, "target_portfolio")["weights_stay_within_limits"].passed == within


def order(**more: object) -> dict[str, object]:
    base: dict[str, object] = {
        **{
            "plan_id": "p",
            "intent_id": "i",
            "allocations": "{}",
            "symbol": "AAPL",
            "con_id": 1,
            "side": "buy",
        },
        **{"quantity": 10, "order_type": "market", "reference_price": Decimal(100), "status": "submitted"},
        **{"filled": 0, "perm_id": 7, "reason": "", "mode": "sim", "account": "DU1"},
    }
    return {**base, **more}


def fill(shares: int, **more: object) -> dict[str, object]:
    base: dict[str, object] = {
        **{"exec_id": "e1", "intent_id": "i", "order_ref": "r", "strategy_id": "S1", "symbol": "AAPL"},
        **{"side": "buy", "shares": shares, "price": Decimal(100), "executed_at": NOW, "mode": "sim"},
        "account": "DU1",
    }
    return {**base, **more}


@pytest.mark.parametrize(("status", "good"), [("submitted", True), ("unknown", False), ("pending", False)])
def test_an_order_of_unknown_fate_is_told(store: Store, status: str, good: bool) -> None:
    write(store, "orders", [order(status=status)])
    assert found(store, "orders")["orders_are_settled_or_working"].passed == good


@pytest.mark.parametrize(
    ("shares", "symbol", "good"), [(10, "AAPL", True), (11, "AAPL", False), (5, "BBB", False)]
)
def test_a_fill_is_of_its_order(store: Store, shares: int, symbol: str, good: bool) -> None:
    write(store, "orders", [order()])
    write(store, "fills", [fill(shares, symbol=symbol)])
    assert found(store, "fills")["fills_match_their_orders"].passed == good


def position(owner: str, shares: int, session: date) -> dict[str, object]:
    return {
        **{"valuation_session": nyse().next(session), "strategy_id": owner, "symbol": "AAPL"},
        **{"shares": shares, "average_price": Decimal(100), "mark": Decimal(100), "mode": "sim"},
        **{"market_value": Decimal(100 * shares), "unrealized_pnl": Decimal(0), "account": "DU1"},
    }


@pytest.mark.parametrize(("account", "strategy", "good"), [(15, 15, True), (16, 16, False), (15, 14, False)])
def test_positions_are_those_before_plus_fills(store: Store, account: int, strategy: int, good: bool) -> None:
    write(store, "positions", [position("", 10, BEFORE), position("S1", 10, BEFORE)], BEFORE)
    write(store, "fills", [fill(10)], BEFORE)
    write(store, "fills", [fill(5)])
    write(store, "positions", [position("", account, D), position("S1", strategy, D)])
    assert found(store, "positions")["positions_are_the_previous_ones_plus_fills"].passed == good


@pytest.mark.parametrize(
    ("factor", "account", "good"),
    [(4.0, 45, True), (0.3, 8, True), (4.0, 15, True), (4.0, 60, False), (None, 45, False)],
)
def test_a_split_of_the_execution_session_comes_before_its_fills(
    store: Store, factor: float | None, account: int, good: bool
) -> None:
    executed = nyse().next(D)
    write(store, "positions", [position("", 10, BEFORE), position("S1", 10, BEFORE)], BEFORE)
    write(store, "fills", [fill(5)])
    write(store, "positions", [position("", account, D), position("S1", account, D)])
    action = {"symbol": "AAPL", "kind": "split", "factor": factor, "effective_session": executed}
    write(store, "corporate_actions", [action], executed)
    assert found(store, "positions")["positions_are_the_previous_ones_plus_fills"].passed == good


@pytest.mark.parametrize(
    ("nav", "moved", "good"), [("1500", 0.1, True), ("1501", 0.1, False), ("1500", -0.3, False)]
)
def test_the_nav_adds_up_and_moves_little(store: Store, nav: str, moved: float, good: bool) -> None:
    write(store, "positions", [position("", 10, D), position("S1", 10, D)])
    row: dict[str, object] = {
        **{"valuation_session": nyse().next(D), "cash": Decimal(500), "market_value": Decimal(1000)},
        **{"nav": Decimal(nav), "gross_exposure": 0.6, "net_exposure": 0.6, "flows": Decimal(0)},
        **{"commissions": Decimal(0), "daily_return": moved, "drawdown": 0.0, "turnover": 0.0},
        **{"positions": 1, "mark_source": "official_close", "mark_time": NOW, "mode": "sim", "account": "D"},
    }
    write(store, "nav", [row])
    assert found(store, "nav")["nav_is_continuous"].passed == good


def test_results_are_kept_for_the_content_they_were_made_of(store: Store) -> None:
    universe(store)
    for change in (1.0, 2.0, 2.0):
        prices(store, closes(change))
        found(store, "prices")
    with store.read() as connection:
        rows = connection.execute(
            "SELECT claim, count(*), count(DISTINCT content_hash) FROM check_results GROUP BY claim"
        ).fetchall()
    assert {(count, contents) for _, count, contents in rows} == {(2, 2)}


def test_many_sessions_are_judged_at_once_each_by_itself(store: Store) -> None:
    days = nyse().between(nyse().offset(D, -4), D)
    for number, day in enumerate(days):
        universe(store, session=day)
        prices(store, closes(float(number)) | ({"BBB": 300.0} if day == D else {}), day)
    checked = run_checks(store, "prices", days, CheckLimits(), run_id="r", now=NOW)
    assert {item.claim.name: list(item.failed) for item in checked if item.failed} == {
        "moves_are_explained": [D]
    }


def test_an_asset_that_was_never_written_cannot_be_judged(store: Store) -> None:
    with pytest.raises(NotReadyError, match="prices of session 2022-12-15 was never written"):
        found(store, "prices")


@pytest.mark.parametrize("measured", [[], [("e1", "10")], [("e1", "10"), ("e2", "20")]])
def test_a_fill_that_was_not_measured_or_at_another_price_is_named(store: Store, measured) -> None:
    def rows(parts) -> list[dict[str, object]]:
        common = {"strategy_id": "S1", "symbol": "AAPL", "side": "buy", "shares": 5, "mode": "sim"}
        return [{**common, "account": "DU1", "exec_id": name, "price": Decimal(at)} for name, at in parts]

    ordered = {"order_ref": "o1", "executed_at": NOW}
    write(store, "fills", [{**row, **ordered} for row in rows([("e1", "10"), ("e2", "20")])])
    write(store, "execution_quality", [{**row, "is_cross": False} for row in rows(measured)])
    finding = found(store, "execution_quality")["every_fill_is_measured"]
    assert finding.passed == (len(measured) == 2)
    assert finding.offending["exec_id"].tolist() == [n for n in ("e1", "e2") if n not in dict(measured)]
