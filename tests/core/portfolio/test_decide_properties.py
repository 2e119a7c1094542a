import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
from decisions import NAN, D, basket, ledger, panel, strategy
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.portfolio import (
    LedgerState,
    Plan,
    PortfolioLimits,
    SessionPanel,
    Strategy,
    StrategySignals,
    decide,
    strategy_signals,
)
from hrp_core.portfolio.types import OrderType, Reason

SYMBOLS = [f"S{index:02d}" for index in range(12)]
KEPT = {Reason.HOLD_NO_SCORE, Reason.HOLD_NO_PRICE, Reason.HOLD_INCOMPLETE, Reason.HOLD_PAUSED}


@dataclass(frozen=True)
class Inputs:
    panel: SessionPanel
    signals: list[StrategySignals]
    ledger: LedgerState
    strategies: list[Strategy]
    limits: PortfolioLimits

    def decide(self) -> Plan:
        return decide(self.panel, self.signals, self.ledger, self.strategies, self.limits)


@st.composite
def inputs(draw: st.DrawFn) -> Inputs:
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    prices = {symbol: float(round(generator.uniform(1, 400), 4)) for symbol in SYMBOLS}
    unpriced = draw(st.sets(st.sampled_from(SYMBOLS), max_size=2))
    weights = draw(st.sampled_from([["1"], ["0.5", "0.5"], ["0.7", "0.3"], ["0.2", "0.3", "0.5"]]))
    deployed, said, held = [], [], {}
    for index, weight in enumerate(weights):
        name = f"H{index}"
        top = draw(st.sampled_from([0.1, 0.25, 0.6, 1.0]))
        deployed.append(replace(strategy(name, weight), parameters={"top_pct": top}))
        scores = generator.normal(size=len(SYMBOLS))
        scores[draw(st.lists(st.integers(0, 11), max_size=2))] = NAN
        if draw(st.integers(0, 5)):
            said.append(replace(strategy_signals(deployed[-1], SYMBOLS, scores), session=D))
        held[name] = {
            symbol: draw(st.integers(1, 60)) for symbol in draw(st.sets(st.sampled_from(SYMBOLS), max_size=5))
        }
    limits = PortfolioLimits(
        max_positions=draw(st.integers(1, 14)),
        max_position_pct=draw(st.sampled_from([0.1, 0.3, 1.0])),
        min_order_value=Decimal(draw(st.sampled_from([0, 100, 500]))),
        cash_buffer_pct=draw(st.sampled_from([0.0, 0.02])),
        min_coverage=0.8,
        capital=Decimal(draw(st.sampled_from(["1", "0.5"]))),
        order_type=draw(st.sampled_from([OrderType.MARKET, OrderType.LIMIT_ON_OPEN])),
    ).without_rules()
    return Inputs(
        panel({symbol: NAN if symbol in unpriced else price for symbol, price in prices.items()}, last=prices)
        if unpriced
        else panel(prices),
        said,
        ledger(draw(st.integers(0, 100_000)), **held),
        deployed,
        limits,
    )


@given(inputs(), st.randoms(use_true_random=False))
def test_the_order_of_the_inputs_changes_nothing(given_inputs, rng):
    order = list(range(len(SYMBOLS)))
    rng.shuffle(order)
    market = given_inputs.panel
    assert market.last_price is not None
    shuffled = Inputs(
        replace(
            market,
            symbols=tuple(market.symbols[index] for index in order),
            close=market.close[order],
            in_universe=market.in_universe[order],
            last_price=market.last_price[order],
        ),
        [_reordered(each, order) for each in _shuffled(given_inputs.signals, rng)],
        replace(
            given_inputs.ledger,
            shares=_shuffled_mapping(given_inputs.ledger.shares, rng),
            strategy_shares=_shuffled_mapping(given_inputs.ledger.strategy_shares, rng),
        ),
        _shuffled(given_inputs.strategies, rng),
        given_inputs.limits,
    )
    # By their text: a NaN score does not equal itself.
    assert repr(shuffled.decide()) == repr(given_inputs.decide())


def _reordered(each: StrategySignals, order: list[int]) -> StrategySignals:
    symbols = tuple(each.symbols[index] for index in order)
    return replace(each, symbols=symbols, prediction=each.prediction[order], signal=each.signal[order])


def _shuffled(items: list, rng: random.Random) -> list:
    return rng.sample(items, len(items))


def _shuffled_mapping(items: Mapping, rng: random.Random) -> dict:
    return dict(rng.sample(list(items.items()), len(items)))


@given(inputs())
def test_strategies_sum_to_the_account_and_orders_lead_from_before_to_target(given_inputs):
    plan = given_inputs.decide()
    change: dict[str, int] = {}
    by_strategy: dict[tuple[str, str], int] = {}
    for target in plan.targets:
        delta = target.shares_target - target.shares_before
        change[target.symbol] = change.get(target.symbol, 0) + delta
        by_strategy[target.strategy_id, target.symbol] = delta
    assert basket(plan) == {symbol: delta for symbol, delta in change.items() if delta}
    given_to: dict[tuple[str, str], int] = {}
    for order in plan.orders:
        assert sum(shares for _, shares in order.allocations) == order.side.sign * order.quantity
    for cross in plan.crosses:
        assert sum(shares for _, shares in cross.shares) == 0
    for each, parts in [(o, o.allocations) for o in plan.orders] + [(c, c.shares) for c in plan.crosses]:
        for strategy_id, shares in parts:
            given_to[strategy_id, each.symbol] = given_to.get((strategy_id, each.symbol), 0) + shares
    assert given_to == {key: delta for key, delta in by_strategy.items() if delta}
    before = {
        (strategy_id, symbol): shares
        for strategy_id, held in given_inputs.ledger.strategy_shares.items()
        for symbol, shares in held.items()
    }
    listed = {(t.strategy_id, t.symbol): t.shares_before for t in plan.targets if t.shares_before}
    assert listed == before


@given(inputs())
def test_what_is_missing_sells_nothing(given_inputs):
    said = {each.strategy_id: each for each in given_inputs.signals}
    closes = dict(zip(given_inputs.panel.symbols, given_inputs.panel.close, strict=True))
    for target in given_inputs.decide().targets:
        if target.reason in KEPT:
            assert target.shares_target == target.shares_before
        if target.strategy_id not in said:
            assert target.reason is Reason.HOLD_INCOMPLETE
        if target.shares_target < target.shares_before:
            assert np.isfinite(target.prediction)
            assert np.isfinite(closes[target.symbol])


@given(inputs())
def test_targets_respect_the_limits(given_inputs):
    plan, limits = given_inputs.decide(), given_inputs.limits
    base = plan.equity * limits.capital
    cap = base * Decimal(str(limits.max_position_pct))
    account = {symbol: sum(t.shares_target for t in plan.targets if t.symbol == symbol) for symbol in SYMBOLS}
    before = given_inputs.ledger.shares
    kept = {t.symbol for t in plan.targets if t.reason in KEPT and t.shares_before}
    for order in plan.orders:
        value = order.quantity * order.reference_price
        left = any(t.symbol == order.symbol and t.shares_before and not t.shares_target for t in plan.targets)
        # A sale by which a strategy leaves a name goes, whatever its worth.
        exits = account[order.symbol] == 0 or (order.leg == "decrease" and left)
        assert value >= limits.min_order_value or exits
        if order.leg == "increase":
            assert account[order.symbol] * order.reference_price <= cap
    assert min(account.values()) >= 0
    held_after = {symbol for symbol, shares in account.items() if shares}
    entered = held_after - before.keys()
    assert not entered or len(held_after) <= limits.max_positions
    # Above the largest number only what stays for want of data, or is too small a trade to leave.
    assert len(held_after - kept - (held_after & before.keys())) <= limits.max_positions


@given(inputs())
def test_cash_after_the_basket_keeps_the_reserve_whenever_something_is_bought(given_inputs):
    plan, limits = given_inputs.decide(), given_inputs.limits
    spent = sum(
        order.side.sign * order.quantity * (order.limit_price or order.reference_price)
        for order in plan.orders
    )
    commissions = sum(
        max(limits.commission_minimum, order.quantity * limits.commission_per_share) for order in plan.orders
    )
    base = plan.equity * limits.capital
    reserve = plan.equity - base * (1 - Decimal(str(limits.cash_buffer_pct)))
    if any(order.leg == "increase" for order in plan.orders):
        assert plan.cash - spent - commissions >= reserve - Decimal("0.0001")


@given(inputs())
def test_a_decision_can_be_made_again_byte_for_byte(given_inputs):
    assert repr(given_inputs.decide()) == repr(given_inputs.decide())
