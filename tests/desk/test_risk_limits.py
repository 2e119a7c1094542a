"""The risk limits in the daily run: frozen with the plan, the latch set, the same in replay."""

from datetime import date, datetime, time

import pytest
from desk import FIRST, Desk

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import NotReadyError, RefusedError
from hrp_core.execution.planning import read_performance, require_book
from hrp_core.ledger.types import FrozenPlan, LatchState
from hrp_core.replay import History, check_parity


def plan_of(desk: Desk, session: date) -> FrozenPlan:
    plan = desk.journal.latest_plan(session)
    assert plan is not None
    return plan


def set_nav(desk: Desk, valued: date, **columns: float) -> None:
    with desk.store.write() as connection:
        for name, value in columns.items():
            connection.execute(f"UPDATE nav SET {name} = ? WHERE valuation_session = ?", [value, valued])


@pytest.mark.desk("booked")
def test_a_drawdown_halts_trading_and_says_so(desk: Desk) -> None:
    second = nyse().next(FIRST)
    set_nav(desk, second, drawdown=0.2)
    desk.at(second, "18:30")
    desk.run("predictions_job", second)
    latch = desk.journal.latch()
    assert (latch.state, latch.by) == (LatchState.HALTED, "risk")
    assert latch.reason == "the account is 20.00% below its highest value, the limit is 15.00%"
    plan = plan_of(desk, second)
    assert all(intent.leg == "decrease" for intent in plan.intents)
    halts = [each["rule"] for each in plan.verdicts if each["action"] == "halt"]
    assert halts == ["drawdown"]
    sent = desk.gateway.state().orders_received
    if plan.intents:
        with pytest.raises(RefusedError, match="trading is halted by risk"):
            desk.run("live_trader_job", second)
    assert desk.gateway.state().orders_received == sent


@pytest.mark.desk("booked")
def test_a_daily_loss_lets_only_exits_go_and_planning_again_is_the_same_plan(desk: Desk) -> None:
    second = nyse().next(FIRST)
    set_nav(desk, second, daily_return=-0.04)
    desk.at(second, "18:30")
    desk.run("predictions_job", second)
    first = plan_of(desk, second)
    assert desk.journal.latch().state is LatchState.REDUCING
    set_at = desk.journal.latch().at
    desk.run("predictions_job", second)
    assert plan_of(desk, second).plan_id == first.plan_id
    assert desk.journal.latch().at == set_at
    assert all(intent.leg == "decrease" for intent in first.intents)
    desk.run("live_trader_job", second)
    desk.next_day(second)
    parity = check_parity(History.from_store(desk.store), desk.journal)
    assert (parity.sessions, parity.differences) == ((FIRST, second), ())


@pytest.mark.desk("booked")
def test_a_latch_of_a_person_is_never_loosened(desk: Desk) -> None:
    second = nyse().next(FIRST)
    set_nav(desk, second, daily_return=-0.04)
    desk.at(second, "18:30")
    now = desk.gateway.state().now
    desk.journal.set_latch(LatchState.HALTED, by="a person", reason="looking", now=now)
    desk.run("predictions_job", second)
    assert (desk.journal.latch().state, desk.journal.latch().by) == (LatchState.HALTED, "a person")


def test_without_the_nav_of_the_session_nothing_is_planned_until_its_evening_is_over(desk: Desk) -> None:
    def wait_for_book(session: date, clock: str) -> None:
        now = datetime.combine(session, time.fromisoformat(clock), NEW_YORK)
        require_book(desk.store, desk.journal, session, now)

    assert read_performance(desk.store, FIRST) is not None
    wait_for_book(FIRST, "18:15")
    desk.evening(FIRST)
    assert plan_of(desk, FIRST).intents  # an account that never had a NAV
    second, third = nyse().next(FIRST), nyse().next(nyse().next(FIRST))
    # The first NAV is waited for as long as it takes: without any, no loss limit could be judged.
    for clock in ("18:15", "20:01"):
        with pytest.raises(NotReadyError, match=f"run book_job of {FIRST} first"):
            wait_for_book(second, clock)
    desk.next_day(FIRST)
    assert read_performance(desk.store, second) is not None
    wait_for_book(second, "18:15")
    assert read_performance(desk.store, third) is None  # of which the rules make: nothing is bought
    with pytest.raises(NotReadyError, match=f"run book_job of {second} first"):
        wait_for_book(third, "20:00")
    wait_for_book(third, "20:01")


@pytest.mark.desk("planned")
def test_the_plan_keeps_its_limits_and_verdicts_under_its_hash(desk: Desk) -> None:
    plan = plan_of(desk, FIRST)
    limits = plan.inputs["limits"]
    assert isinstance(limits, dict)
    assert (limits["max_order_pct"], limits["max_drawdown_pct"]) == (0.15, 0.15)
    assert {each["rule"] for each in plan.verdicts} == {"max_volume_pct"}  # the sample has no volume


def test_with_the_default_band_small_differences_are_not_traded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HRP_BAND_PCT", "HRP_BAND_NAV_PCT"):
        monkeypatch.delenv(name)
    desk.evening(FIRST)
    second = desk.next_day(FIRST)
    desk.evening(second)
    reasons = {each["reason"] for each in plan_of(desk, second).targets}
    assert "hold_band" in reasons <= {"hold_band", "signal"}
    assert plan_of(desk, second).intents == ()
