"""Replay runs the risk rules of the daily run, with what it earned itself, and says what they changed."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from hrp_core.calendar import nyse
from hrp_core.ledger.nav import Returns
from hrp_core.market import SampleSource
from hrp_core.portfolio.types import NEVER_VALUED, PortfolioLimits, RuleAction, Strategy
from hrp_core.replay import History, Policy, ReplayedSession, RuleChanges, replay, rule_changes, summarize

START, END = date(2010, 1, 4), date(2010, 2, 26)
CRASH = date(2010, 1, 20)
CASH = Decimal(100_000)
MOMENTUM = Strategy("T-1", "momentum", "momentum_12_1", "rank", Decimal(1), {"top_pct": 0.5})
OFF = PortfolioLimits().without_rules()


@pytest.fixture(scope="module")
def prices() -> pd.DataFrame:
    return SampleSource().load(date(2008, 6, 2), date(2010, 6, 30))


@pytest.fixture(scope="module")
def history(prices: pd.DataFrame) -> History:
    return History.from_prices(prices)


def run(history: History, limits: PortfolioLimits, strategy: Strategy = MOMENTUM) -> list[ReplayedSession]:
    policy = Policy((strategy,), limits)
    return replay(history, nyse().between(START, END), lambda _: policy, cash=CASH)


def changed(results: list[ReplayedSession]) -> dict[str, RuleChanges]:
    return {each.rule: each for each in rule_changes(results)}


def fallen(prices: pd.DataFrame, by: float) -> History:
    """Return the history in which every name loses a share of its value on one session and stays there."""
    changed = prices.copy()
    rows = changed["session"] >= CRASH
    changed.loc[rows, "close"] = (changed.loc[rows, "close"] * (1 - by)).round(4)
    return History.from_prices(changed)


def test_a_daily_loss_stops_entries_for_its_session_and_trading_goes_on(prices: pd.DataFrame) -> None:
    results = run(fallen(prices, 0.10), replace(OFF, max_daily_loss_pct=0.06))
    assert changed(results)["daily_loss"].sessions == (CRASH,)
    by_session = {each.session: each for each in results}
    assert all(order.leg == "decrease" for order in by_session[CRASH].plan.orders)
    later = [each for each in results if each.session > CRASH]
    assert any(order.leg == "increase" for each in later for order in each.plan.orders)
    assert summarize(results, CASH)["halted_from"] is None


def test_a_drawdown_ends_trading_and_the_summary_says_from_when(prices: pd.DataFrame) -> None:
    results = run(fallen(prices, 0.3), replace(OFF, max_drawdown_pct=0.15))
    assert summarize(results, CASH)["halted_from"] == CRASH
    assert [each.halted for each in results] == [each.session >= CRASH for each in results]
    assert not any(each.fills for each in results if each.halted)
    assert any(each.fills for each in results if not each.halted)
    [halt, *_] = [v for each in results for v in each.plan.verdicts if v.action is RuleAction.HALT]
    assert (halt.rule, halt.symbol) == ("drawdown", "")


def test_what_each_rule_changed_is_listed_by_session_and_name(history: History) -> None:
    results = run(history, replace(OFF, max_order_pct=0.02))
    change = changed(results)["max_order_pct"]
    assert change.sessions[0] == START
    assert 0 < change.names <= 20
    # What cannot be switched off: cash, and the smallest order.
    assert set(changed(run(history, OFF))) <= {"cash", "min_order_value"}


def test_the_band_trades_less_and_exits_all_the_same(history: History) -> None:
    free, banded = run(history, OFF), run(history, replace(OFF, band_pct=0.2, band_nav_pct=0.005))
    assert sum(len(each.fills) for each in banded) < sum(len(each.fills) for each in free) / 3
    exits = {
        (each.session, row.symbol)
        for each in banded
        for row in each.plan.targets
        if row.shares_before and np.isfinite(row.prediction) and not row.signal
    }
    sold = {
        (each.session, order.symbol)
        for each in banded
        for order in each.plan.orders
        if order.leg == "decrease"
    }
    assert exits
    assert exits <= sold


def test_a_weekly_strategy_trades_on_the_first_session_of_a_week(history: History) -> None:
    results = run(history, OFF, replace(MOMENTUM, rebalance="weekly"))
    traded = {each.session for each in results if each.fills}
    assert traded
    for session in traded:
        assert nyse().previous(session).isocalendar()[1] != session.isocalendar()[1]


def test_no_name_is_sold_for_its_score_before_its_smallest_holding(history: History) -> None:
    results = run(history, OFF, replace(MOMENTUM, min_holding_sessions=10))
    since: dict[str, date] = {}
    sold = 0
    for each in results:
        for row in each.plan.targets:
            if row.shares_before > row.shares_target:
                sold += 1
                assert len(nyse().between(since[row.symbol], each.session)) >= 10
        held = {row.symbol: row.shares_target for row in each.plan.targets if row.shares_target}
        since = {name: since.get(name, nyse().next(each.session)) for name in held}
    assert sold


def test_returns_are_net_of_flows() -> None:
    earned = Returns(Decimal(100))
    assert earned.performance() is NEVER_VALUED
    earned.add_nav(Decimal(110))
    earned.add_flow(Decimal(-33))
    earned.add_nav(Decimal(77))
    assert earned.performance().daily_return == 0.0
    assert earned.performance().drawdown == 0.0
    earned.add_nav(Decimal("69.3"))
    assert earned.performance().daily_return == pytest.approx(-0.1)
    assert earned.performance().drawdown == pytest.approx(0.1)
