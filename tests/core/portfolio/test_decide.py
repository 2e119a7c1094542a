"""What `decide` makes of signals, holdings and limits, by example.

Past 400 lines: one function, and every reason that it can give.
"""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from decisions import FULL, NAN, PLAIN, D, E, basket, ledger, one, panel, row, signals, strategy

from hrp_core.errors import DataError, NotReadyError, SettingsError
from hrp_core.portfolio import PortfolioLimits, decide, limits_from_settings
from hrp_core.portfolio.types import Cross, OrderSide, OrderType, Reason
from hrp_core.settings import Settings

TEN = dict.fromkeys("ABCDEFGHIJ", 10.0)
UP = {name: float(index) for index, name in enumerate("ABCDEFGHIJ")}


def test_a_new_account_buys_the_wanted_names_in_equal_parts():
    plan = one(TEN, UP, "IJ", ledger(100_000))
    assert (plan.session, plan.execution_session) == (D, E)
    assert (plan.equity, plan.cash) == (Decimal(100_000), Decimal(100_000))
    assert basket(plan) == {"I": 5000, "J": 5000}
    order = plan.orders[0]
    assert (order.side, order.leg, order.order_type) == (OrderSide.BUY, "increase", OrderType.MARKET)
    assert (order.reference_price, order.allocations) == (Decimal("10.0000"), (("S", 5000),))
    target = row(plan, "I")
    assert (target.reason, target.shares_before, target.shares_target) == (Reason.SIGNAL, 0, 5000)
    assert (target.weight_before, target.weight_target) == (0.0, 0.5)
    assert {each.symbol for each in plan.targets} == {"I", "J"}


def test_the_defaults_hold_at_most_a_tenth_of_the_equity_in_a_name():
    plan = one(TEN, UP, "IJ", ledger(100_000), PLAIN)
    assert basket(plan) == {"I": 1000, "J": 1000}


def test_equity_is_cash_and_shares_at_the_close_of_the_session():
    plan = one({"A": 12.34567, "B": 1.0}, {"A": 1.0, "B": 0.0}, "A", ledger("5.50", S={"A": 100}))
    # 12.34567 is no tradable price: money has four places.
    assert plan.equity == Decimal("5.50") + 100 * Decimal("12.3457")


def test_capital_is_the_share_of_the_equity_that_is_used():
    plan = one(TEN, UP, "IJ", ledger(100_000), replace(FULL, capital=Decimal("0.5")))
    assert basket(plan) == {"I": 2500, "J": 2500}
    assert plan.equity == Decimal(100_000)
    assert row(plan, "I").weight_target == 0.25


@pytest.mark.parametrize(("cash", "shares"), [("99.99", 3), ("100.00", 4), ("100.01", 4)])
def test_whole_shares_do_not_hang_on_the_last_bit_of_a_float(cash, shares):
    # 0.1 of 1000 at 25.00, next to the border: 0.1 * 1000 / 25 is 4.000000000000001 or 4 by luck in floats.
    limits = replace(FULL, max_position_pct=0.1)
    plan = one({"A": 25.0}, {"A": 1.0}, "A", ledger(str(Decimal(cash) * 10)), limits)
    assert basket(plan) == {"A": shares}


def test_a_finite_score_that_says_so_sells_and_the_rest_is_rebalanced():
    plan = one(TEN, UP, "IJ", ledger(0, S={"A": 100, "I": 300, "J": 100}))
    assert basket(plan) == {"A": -100, "I": -50, "J": 150}
    assert [(order.symbol, order.leg) for order in plan.orders] == [
        ("A", "decrease"),
        ("I", "decrease"),
        ("J", "increase"),
    ]
    assert row(plan, "A").reason is Reason.EXIT
    assert row(plan, "A").weight_before == 0.2


def test_what_is_already_as_wanted_orders_nothing():
    plan = one(TEN, UP, "IJ", ledger(0, S={"I": 100, "J": 100}))
    assert plan.orders == ()
    assert row(plan, "I").reason is Reason.SIGNAL


def test_a_nan_score_on_a_held_name_holds_that_name_alone():
    universe = {f"S{index:02d}": 10.0 for index in range(20)}
    scores = {name: float(index) for index, name in enumerate(universe)} | {"S03": NAN}
    account = ledger(10_000, S={"S03": 100, "S04": 100})
    plan = one(universe, scores, ["S19"], account, PLAIN)
    assert row(plan, "S03").reason is Reason.HOLD_NO_SCORE
    assert row(plan, "S03").shares_target == 100
    assert row(plan, "S04").reason is Reason.EXIT
    assert basket(plan) == {"S04": -100, "S19": 120}


@pytest.mark.parametrize("score", [1.0, -1.0])
def test_a_held_name_without_a_close_is_held_and_valued_at_its_last_price(score):
    closes = TEN | {"A": NAN}
    for wanted in ("AJ", "J"):
        plan = decide(
            panel(closes, last={"A": 8.0}),
            [signals(UP | {"A": score}, wanted)],
            ledger(1000, S={"A": 100}),
            [strategy()],
            FULL,
        )
        assert plan.equity == Decimal(1800)
        held = row(plan, "A")
        assert (held.reason, held.shares_target, held.price) == (Reason.HOLD_NO_PRICE, 100, None)
        assert "8.0000" in held.note
        assert "A" not in basket(plan)


def test_a_wanted_name_that_lacks_a_price_today_does_not_make_the_others_grow():
    closes = TEN | {"A": NAN}
    account = ledger(0, S={"A": 100, "I": 100})
    plan = decide(panel(closes, last={"A": 10.0}), [signals(UP, "AI")], account, [strategy()], FULL)
    assert plan.orders == ()


@pytest.mark.parametrize("last", [NAN, None])
def test_a_held_name_that_never_had_a_price_makes_the_plan_impossible(last):
    market = panel(TEN | {"A": NAN}, last=None if last is None else {"A": last})
    with pytest.raises(NotReadyError, match="no price for A, held"):
        decide(market, [signals(UP, "J")], ledger(0, S={"A": 1}), [strategy()], FULL)


def test_a_wanted_name_without_a_price_is_not_bought():
    plan = one(TEN | {"I": NAN}, UP, "IJ", ledger(1000))
    assert row(plan, "I").reason is Reason.SKIP_NO_PRICE
    assert basket(plan) == {"J": 100}


def test_a_name_outside_the_universe_is_not_bought_and_not_increased_but_may_be_sold():
    market = panel(TEN, outside="GHI")
    account = ledger(1000, S={"G": 10, "H": 90})
    said = signals(UP, "GHIJ")
    plan = decide(market, [said], account, [strategy()], FULL)
    assert row(plan, "I").reason is Reason.SKIP_NOT_IN_UNIVERSE
    assert row(plan, "G").shares_target == 10
    # Equity 2000, three names: 66 shares each.
    assert basket(plan) == {"H": -24, "J": 66}


def test_a_name_whose_removal_policy_is_exit_is_sold_without_a_score():
    market = replace(panel(TEN, outside="GH"), removed=frozenset("G"))
    account = ledger(0, S={"G": 10, "H": 90})
    said = signals({**UP, "G": NAN, "H": NAN}, "J")
    plan = decide(market, [said], account, [strategy()], replace(FULL, min_coverage=0.7))
    assert (row(plan, "G").reason, row(plan, "G").shares_target) == (Reason.EXIT_REMOVED, 0)
    assert (row(plan, "H").reason, row(plan, "H").shares_target) == (Reason.HOLD_NO_SCORE, 90)
    assert basket(plan) == {"G": -10, "J": 10}


def test_a_sale_that_would_take_the_account_below_zero_is_left_out():
    # A person has sold what S believes to hold; the ledger sums up, and the account is flat.
    account = ledger(1000, S={"G": 10}, EXTERNAL={"G": -10})
    plan = one(TEN, UP, "J", account)
    assert row(plan, "G").reason is Reason.CLIP_SHORT
    assert "G" not in basket(plan)


def test_a_delivery_that_lacks_names_is_no_complete_prediction_set():
    # Half of the names had a price yesterday and have none today: they are missing, not gone.
    half = {name: score if name > "E" else NAN for name, score in UP.items()}
    market = replace(
        panel(TEN | dict.fromkeys("ABCDE", NAN), outside="ABCDE", last=TEN),
        expected=np.ones(10, dtype=bool),
    )
    plan = decide(market, [signals(half, "J")], ledger(0, S={"G": 10}), [strategy()], FULL)
    assert (plan.orders, row(plan, "G").reason) == ((), Reason.HOLD_INCOMPLETE)


def test_a_paused_strategy_keeps_even_a_removed_name():
    market = replace(panel(TEN, outside="G"), removed=frozenset("G"))
    plan = decide(market, [], ledger(0, S={"G": 10}), [strategy(paused=True)], FULL)
    assert (plan.orders, row(plan, "G").reason) == ((), Reason.HOLD_PAUSED)


def test_a_strategy_without_predictions_orders_nothing_and_keeps_its_holdings():
    plan = decide(panel(TEN), [], ledger(1000, S={"A": 5}), [strategy()], FULL)
    assert plan.orders == ()
    assert row(plan, "A").reason is Reason.HOLD_INCOMPLETE
    assert row(plan, "A").shares_target == 5
    assert plan.notes == ("S has no predictions for this session: it keeps its holdings and orders nothing",)


def test_too_few_scores_are_no_prediction_set():
    universe = {f"S{index:02d}": 10.0 for index in range(20)}
    scores = {name: float(index) for index, name in enumerate(universe)}
    account = ledger(1000, S={"S01": 5})
    enough = one(universe, scores | {"S02": NAN}, ["S19"], account, PLAIN)
    too_few = one(universe, scores | {"S02": NAN, "S03": NAN}, ["S19"], account, PLAIN)
    missing_rows = one(universe, dict(list(scores.items())[2:]), ["S19"], account, PLAIN)
    assert enough.orders
    for plan in (too_few, missing_rows):
        assert plan.orders == ()
        assert row(plan, "S01").reason is Reason.HOLD_INCOMPLETE
    assert "scores for 18 of 20 names, fewer than 95%" in too_few.notes[0]


def test_a_held_name_that_was_not_asked_about_makes_the_set_incomplete():
    scores = {name: score for name, score in UP.items() if name != "A"}
    plan = one(TEN, scores, "J", ledger(1000, S={"A": 5}), replace(FULL, min_coverage=0.5))
    assert plan.orders == ()
    assert "was not asked to score A" in plan.notes[0]


def test_an_empty_universe_is_no_reason_to_sell():
    market = panel(TEN, outside=TEN)
    plan = decide(market, [signals(UP, "J")], ledger(1000, S={"A": 5}), [strategy()], FULL)
    assert plan.orders == ()
    assert row(plan, "A").reason is Reason.HOLD_INCOMPLETE


def test_a_paused_strategy_keeps_what_it_has():
    plan = decide(panel(TEN), [signals(UP, "J")], ledger(1000, S={"A": 5}), [strategy(paused=True)], FULL)
    assert plan.orders == ()
    assert row(plan, "A").reason is Reason.HOLD_PAUSED


def test_what_a_strategy_holds_that_is_no_longer_deployed_stays():
    said = [signals(UP, "J"), signals(UP, "J", "OLD")]
    plan = decide(panel(TEN), said, ledger(1000, OLD={"A": 5}), [strategy()], FULL)
    assert row(plan, "A", "OLD").reason is Reason.HOLD_UNDEPLOYED
    assert "A" not in basket(plan)
    assert "OLD: signals left aside, it is not deployed" in plan.notes


def test_the_strongest_names_fill_the_largest_number_of_positions():
    plan = one(TEN, UP, "FGHIJ", ledger(1000), replace(FULL, max_positions=2))
    assert basket(plan) == {"I": 50, "J": 50}
    assert row(plan, "F").reason is Reason.DROP_MAX_POSITIONS


def test_a_holding_that_stays_takes_a_place_from_a_new_name_but_sells_nothing():
    scores = UP | {"A": NAN}
    account = ledger(1000, S={"A": 10, "I": 10})
    limits = replace(FULL, max_positions=2, min_coverage=0.9)
    plan = one(TEN, scores, "IJ", account, limits)
    # J is the strongest, but A keeps one of the two places and I is still wanted.
    assert row(plan, "J").reason is Reason.DROP_MAX_POSITIONS
    assert set(basket(plan)) == {"I"}
    assert basket(plan)["I"] > 0


def test_places_are_shared_between_strategies_by_rank_not_by_score():
    said = [
        signals({name: score * 1000 for name, score in UP.items()}, "HIJ", "X"),
        signals({name: -score for name, score in UP.items()}, "ABC", "Y"),
    ]
    deployed = [strategy("X", "0.5"), strategy("Y", "0.5")]
    plan = decide(panel(TEN), said, ledger(10_000), deployed, replace(FULL, max_positions=3))
    assert set(basket(plan)) == {"A", "J", "B"}


def test_two_strategies_share_the_account_by_capital_weight_and_one_basket():
    said = [signals(UP, "IJ", "X"), signals(UP, "J", "Y")]
    deployed = [strategy("X", "0.6"), strategy("Y", "0.4")]
    plan = decide(panel(TEN), said, ledger(10_000), deployed, FULL)
    assert basket(plan) == {"I": 300, "J": 700}
    order = next(order for order in plan.orders if order.symbol == "J")
    assert order.allocations == (("X", 300), ("Y", 400))


def test_strategies_that_trade_against_each_other_cross_and_order_nothing():
    said = [signals(UP, "J", "X"), signals(UP, "I", "Y")]
    deployed = [strategy("X", "0.5"), strategy("Y", "0.5")]
    plan = decide(panel(TEN), said, ledger(0, X={"I": 50}, Y={"J": 50}), deployed, FULL)
    assert plan.orders == ()
    assert (row(plan, "I", "X").shares_target, row(plan, "I", "Y").shares_target) == (0, 50)
    assert plan.crosses == (
        Cross("I", (("X", -50), ("Y", 50)), Decimal(10)),
        Cross("J", (("X", 50), ("Y", -50)), Decimal(10)),
    )


@pytest.mark.parametrize("order_type", [OrderType.LIMIT_ON_OPEN, OrderType.LIMIT_ON_CLOSE])
def test_orders_with_a_limit_stand_a_gap_from_the_close_and_are_paid_for_at_it(order_type):
    limits = replace(FULL, order_type=order_type, limit_gap_pct=0.05)
    plan = one(TEN, UP, "IJ", ledger(1000, A={}, S={"H": 10}), limits)
    assert {(order.symbol, order.order_type, order.limit_price) for order in plan.orders} == {
        ("H", order_type, Decimal("9.5000")),
        ("I", order_type, Decimal("10.5000")),
        ("J", order_type, Decimal("10.5000")),
    }
    # 1000 and the 95 that the sale brings at least buy 104 shares at 10.50 at most: 52 of each name.
    assert basket(plan) == {"H": -10, "I": 52, "J": 52}
    assert one(TEN, UP, "IJ", ledger(1100), FULL).orders[0].limit_price is None


def test_a_limit_is_rounded_to_the_side_on_which_it_promises_no_worse_price():
    limits = replace(FULL, order_type=OrderType.LIMIT_ON_OPEN, limit_gap_pct=0.033)
    closes = TEN | {"I": 10.0001, "J": 10.0001}
    plan = one(closes, UP, "I", ledger(1000, S={"J": 10}), limits)
    assert [order.limit_price for order in plan.orders] == [Decimal("9.6701"), Decimal("10.3301")]


def test_the_account_does_not_buy_more_of_a_name_because_another_strategy_is_stuck_with_it():
    said = [signals(UP, "J", "X")]
    deployed = [strategy("X", "0.5"), strategy("Y", "0.5")]
    limits = replace(FULL, max_position_pct=0.2)
    # Y holds 15 % of J and has no predictions; X wants 10 % of it.
    plan = decide(panel(TEN), said, ledger(850, Y={"J": 15}), deployed, limits)
    assert row(plan, "J", "X").reason is Reason.CLIP_WEIGHT
    assert basket(plan) == {"J": 5}
    assert row(plan, "J", "X").note == "wanted 10 shares"


def test_a_change_worth_less_than_the_smallest_order_is_not_traded():
    limits = replace(FULL, min_order_value=Decimal(100))
    plan = one(TEN, UP, "IJ", ledger(0, S={"I": 104, "J": 96}), limits)
    assert plan.orders == ()
    assert row(plan, "I").reason is Reason.DROP_SMALL_ORDER
    assert (row(plan, "I").shares_target, row(plan, "I").note) == (104, "wanted 100 shares")


def test_an_exit_is_traded_however_small():
    limits = replace(FULL, min_order_value=Decimal(100))
    plan = one(TEN, UP, "J", ledger(0, S={"A": 1, "J": 100}), limits)
    assert basket(plan) == {"A": -1}


def test_cash_keeps_its_buffer_and_room_for_commissions():
    limits = replace(FULL, cash_buffer_pct=0.02, commission_minimum=Decimal(1))
    plan = one(TEN, UP, "IJ", ledger(100_000), limits)
    # 100,000 - 2,000 buffer - 2 commissions, over two names at 10.
    assert basket(plan) == {"I": 4899, "J": 4899}
    assert row(plan, "I").reason is Reason.CLIP_CASH
    assert row(plan, "I").note == "wanted 5000 shares"


def test_sales_of_the_same_basket_pay_for_its_purchases():
    plan = one(TEN, UP, "J", ledger(0, S={"A": 100}))
    assert basket(plan) == {"A": -100, "J": 100}


def test_without_cash_a_purchase_is_left_out_and_says_why():
    scores = UP | {"A": NAN}
    limits = replace(FULL, min_coverage=0.9)
    plan = one(TEN, scores, "J", ledger(5, S={"A": 100}), limits)
    assert plan.orders == ()
    assert (row(plan, "J").reason, row(plan, "J").shares_target) == (Reason.CLIP_CASH, 0)


def test_an_overdrawn_account_still_exits_and_buys_nothing():
    plan = one(TEN, UP, "J", ledger(-5000, S={"A": 100}))
    assert plan.equity == Decimal(-4000)
    assert basket(plan) == {"A": -100}


def test_a_price_above_the_weight_of_the_name_says_so():
    plan = one({"A": 5000.0}, {"A": 1.0}, "A", ledger(1000))
    assert plan.orders == ()
    assert row(plan, "A").note == "one share costs more than the name's weight"


def test_a_short_signal_exits_in_a_long_only_account_and_is_noted():
    said = replace(signals(UP, "J"), signal=np.array([-1.0, *[0.0] * 8, 1.0]))
    plan = decide(panel(TEN), [said], ledger(0, S={"A": 10}), [strategy()], FULL)
    assert basket(plan) == {"A": -10, "J": 10}
    assert "S: 1 short signals; the account is long-only" in plan.notes


def test_a_scored_name_that_the_market_does_not_know_is_left_aside_and_noted():
    plan = one(TEN, UP | {"AA": 99.0}, ["AA", "J"], ledger(1000))
    assert basket(plan) == {"J": 100}
    assert "S: 1 scored names are not in the panel and left aside" in plan.notes


def test_no_strategy_and_no_holding_is_an_empty_plan():
    plan = decide(panel(TEN), [], ledger(1000), [], FULL)
    assert (plan.targets, plan.orders, plan.notes, plan.equity) == ((), (), (), Decimal(1000))


def test_contradicting_inputs_are_refused():
    market, account = panel(TEN), ledger(1000)
    arguments = ([signals(UP, "J")], account, [strategy()], FULL)
    with pytest.raises(DataError, match="do not sum to the account's in A"):
        decide(market, [], replace(account, shares={"A": 1}), [strategy()], FULL)
    with pytest.raises(DataError, match="lacks held names: ZZ"):
        decide(market, [], ledger(0, S={"ZZ": 1}), [strategy()], FULL)
    with pytest.raises(DataError, match="after session 2022-12-15"):
        decide(market, [], replace(account, as_of=date(2022, 12, 16)), [strategy()], FULL)
    with pytest.raises(DataError, match="given twice"):
        decide(market, [signals(UP, "J")] * 2, account, [strategy()], FULL)
    with pytest.raises(DataError, match="given twice"):
        decide(market, [], account, [strategy(weight="0.5")] * 2, FULL)
    with pytest.raises(DataError, match="symbols occur twice"):
        decide(replace(market, symbols=("A",) * 10), *arguments)
    with pytest.raises(DataError, match="arrays differ in length"):
        decide(replace(market, close=market.close[:3]), *arguments)
    with pytest.raises(DataError, match="a signal is not a number"):
        decide(market, [replace(signals(UP), signal=np.full(10, NAN))], account, [strategy()], FULL)
    with pytest.raises(SettingsError, match="more than 1"):
        decide(market, [], account, [strategy("X", "0.6"), strategy("Y", "0.6")], FULL)


def test_the_limits_come_from_the_settings():
    assert limits_from_settings(Settings.model_validate({})) == PortfolioLimits()


def test_a_locked_name_keeps_its_shares_takes_a_place_and_its_cash_stays_set_aside():
    closes, scores = {"A": 10.0, "B": 10.0, "C": 10.0}, {"A": 3.0, "B": 2.0, "C": 1.0}
    account = ledger(9_000, S={"B": 100})
    free = decide(panel(closes), [signals(scores, "AC")], account, [strategy()], FULL)
    assert basket(free) == {"A": 500, "B": -100, "C": 500}
    unknown = {"B": Decimal(0), "C": Decimal(6_000)}
    plan = decide(panel(closes), [signals(scores, "AC")], account, [strategy()], FULL, unknown)
    assert basket(plan) == {"A": 300}
    assert (row(plan, "B").reason, row(plan, "B").shares_target) == (Reason.HOLD_LOCKED, 100)
    assert (row(plan, "C").reason, row(plan, "C").shares_target) == (Reason.HOLD_LOCKED, 0)


def test_a_locked_name_takes_a_place_among_the_largest_number_of_names():
    plan = decide(
        panel(TEN), [signals(UP, "IJ")], ledger(100_000), [strategy()], replace(FULL, max_positions=1),
        {"A": Decimal(0)},
    )  # fmt: skip
    assert basket(plan) == {}
    assert row(plan, "J").reason is Reason.DROP_MAX_POSITIONS


@pytest.mark.parametrize(("wanted", "bought"), [("JA", 0), ("J", -10)])
def test_a_name_that_left_the_universe_is_sold_by_its_score_and_never_bought(wanted, bought):
    # Its removal policy is no-buy: it has a score and is not in the universe.
    account = ledger(1000, S={"A": 10})
    market = panel(TEN, outside="A")
    plan = decide(market, [signals(UP, wanted)], account, [strategy()], FULL)
    assert basket(plan).get("A", 0) == bought
    unheld = decide(market, [signals(UP, "JA")], ledger(1000), [strategy()], FULL)
    assert "A" not in basket(unheld)
    assert row(unheld, "A").reason is Reason.SKIP_NOT_IN_UNIVERSE
