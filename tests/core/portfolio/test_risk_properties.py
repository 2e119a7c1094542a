"""After all rules the basket satisfies every limit at once, and no rule buys or sells what was not wanted."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
from decisions import D, basket, ledger, panel, strategy
from hypothesis import given, settings
from hypothesis import strategies as st

from hrp_core.money import to_units
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
from hrp_core.portfolio.construction import fraction
from hrp_core.portfolio.risk.rules import outside_collar
from hrp_core.portfolio.types import NEVER_VALUED, OrderSide, Performance, RuleAction, SymbolAction

SYMBOLS = [f"S{index:02d}" for index in range(12)]

Inputs = tuple[
    SessionPanel,
    list[StrategySignals],
    LedgerState,
    list[Strategy],
    PortfolioLimits,
    dict[str, Decimal],
    dict[str, SymbolAction],
    Performance,
]


@st.composite
def inputs(draw: st.DrawFn) -> Inputs:
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    prices = {symbol: float(round(generator.uniform(1, 400), 4)) for symbol in SYMBOLS}
    values = np.exp(generator.uniform(11, 16, len(SYMBOLS)))
    values[draw(st.lists(st.integers(0, 11), max_size=3))] = np.nan
    deployed, said, held = [], [], {}
    for index, weight in enumerate(draw(st.sampled_from([["1"], ["0.5", "0.5"], ["0.2", "0.3", "0.5"]]))):
        name = f"H{index}"
        own = draw(
            st.sampled_from([{}, {"max_order_pct": 0.05}, {"max_turnover_pct": 0.1, "max_positions": 2}])
        )
        deployed.append(replace(strategy(name, weight), parameters={"top_pct": 0.4}, limits=own))
        said.append(replace(strategy_signals(deployed[-1], SYMBOLS, generator.normal(size=12)), session=D))
        held[name] = {
            symbol: draw(st.integers(1, 60)) for symbol in draw(st.sets(st.sampled_from(SYMBOLS), max_size=5))
        }
    kinds = draw(st.lists(st.sampled_from(["X", "Y", "Z", ""]), min_size=12, max_size=12))
    limits = PortfolioLimits(
        max_positions=draw(st.integers(5, 14)),
        max_position_pct=draw(st.sampled_from([0.1, 0.3, 1.0])),
        min_order_value=Decimal(draw(st.sampled_from([0, 100, 500]))),
        max_order_pct=draw(st.sampled_from([None, 0.05, 0.15])),
        max_gross=draw(st.sampled_from([0.6, 1.0, 1.0])),
        max_turnover_pct=draw(st.sampled_from([None, 0.5, 1.0])),
        sectors=draw(st.sampled_from([None, {n: k for n, k in zip(SYMBOLS, kinds, strict=True) if k}])),
        restricted=draw(st.sampled_from([(), ("S03", "S04")])),
    )
    locked = {
        name: Decimal(draw(st.integers(0, 20_000)))
        for name in draw(st.sets(st.sampled_from(SYMBOLS), max_size=2))
    }
    controls = draw(
        st.dictionaries(st.sampled_from(SYMBOLS), st.sampled_from(list(SymbolAction)), max_size=2)
    )
    lost = [Performance(-0.04, 0.02), Performance(0.0, 0.2)]
    performance = draw(st.sampled_from([NEVER_VALUED, *[Performance(0.01, 0.02)] * 5, *lost]))
    market = replace(panel(prices), traded_value=values)
    account = ledger(draw(st.sampled_from([-500, 20_000, 100_000, 500_000])), **held)
    return market, said, account, deployed, limits, locked, controls, performance


def held_after(plan: Plan, account: LedgerState) -> dict[str, int]:
    ordered = basket(plan)
    return {name: account.shares.get(name, 0) + ordered.get(name, 0) for name in SYMBOLS}


@settings(max_examples=300)
@given(inputs())
def test_after_all_rules_the_basket_satisfies_every_limit_at_once(given_inputs: Inputs) -> None:
    market, _, account, _, limits, locked, controls, performance = given_inputs
    plan = decide(*given_inputs)
    bought = {order.symbol: order for order in plan.orders if order.leg == "increase"}
    if not bought:
        return
    assert (performance.daily_return or 0) > -0.03
    assert (performance.drawdown or 0) < 0.15
    price = dict(zip(market.symbols, market.close.tolist(), strict=True))
    volume = dict(zip(market.symbols, market.traded_value.tolist(), strict=True))  # type: ignore[union-attr]
    units = {name: to_units(value) for name, value in price.items()}
    after = held_after(plan, account)
    value = {name: after[name] * units[name] / 10_000 for name in SYMBOLS}
    base, working = float(plan.equity), float(sum(locked.values()))
    for name, order in bought.items():
        worth = order.quantity * float(order.reference_price)
        assert order.side is OrderSide.BUY
        assert name not in limits.restricted
        assert name not in locked
        assert name not in controls
        assert value[name] <= limits.max_position_pct * base + 0.01
        assert worth <= (limits.max_order_pct or 1) * base + 0.01
        assert not worth > 0.05 * volume[name] + 0.01  # no volume: not applicable
        assert worth >= limits.min_order_value
        assert max(1.0, 0.005 * order.quantity) <= 0.01 * worth + 0.0001
        if limits.sectors is not None:
            sector = limits.sectors.get(name)
            peers = [each for each in SYMBOLS if limits.sectors.get(each) == sector]
            total = sum(value[each] + float(locked.get(each, 0)) for each in peers)
            assert total <= (0.10 if sector is None else 0.25) * base + 0.01
    assert sum(value.values()) + working <= limits.max_gross * base + 0.01  # type: ignore[operator]
    if limits.max_turnover_pct is not None and (account.shares or locked):
        traded = sum(order.quantity * float(order.reference_price) for order in plan.orders)
        assert traded + working <= limits.max_turnover_pct * base + 0.01
    cost = sum(max(Decimal(1), order.quantity * Decimal("0.005")) for order in plan.orders)
    spent = sum(order.side.sign * order.quantity * order.reference_price for order in plan.orders)
    assert plan.cash - spent - cost - sum(locked.values()) >= plan.equity * Decimal("0.02") - Decimal("0.01")
    held = {name for name, shares in after.items() if shares or name in locked}
    entered = held - account.shares.keys() - locked.keys()
    assert not entered or len(held) <= limits.max_positions


@settings(max_examples=300)
@given(inputs())
def test_no_rule_sells_more_or_buys_what_was_not_wanted(given_inputs: Inputs) -> None:
    market, said, account, deployed, limits, locked, controls, performance = given_inputs
    plan = decide(*given_inputs)
    wanted = {
        (each.strategy_id, name)
        for each in said
        for name, signal in zip(each.symbols, each.signal, strict=True)
        if signal > 0
    }
    # The rules that act on the basket, off; those that choose the names, as they are.
    quiet = replace(
        limits.without_rules(),
        restricted=limits.restricted,
        band_pct=limits.band_pct,
        band_nav_pct=limits.band_nav_pct,
        min_order_value=Decimal(0),
        cash_buffer_pct=0.0,
    )
    same = [
        replace(each, limits={k: v for k, v in each.limits.items() if k == "max_positions"})
        for each in deployed
    ]
    free = {
        (row.strategy_id, row.symbol): row
        for row in decide(market, said, account, same, quiet, locked, controls, performance).targets
    }
    for row in plan.targets:
        loose = free[row.strategy_id, row.symbol]
        if row.shares_target > row.shares_before:
            assert (row.strategy_id, row.symbol) in wanted
        if row.shares_target < row.shares_before:
            assert row.shares_target >= min(loose.shares_target, row.shares_before)
        # A sale that ends a holding is never held back.
        if loose.shares_before and not loose.shares_target:
            assert not row.shares_target


@given(inputs())
def test_every_change_of_a_rule_is_a_verdict(given_inputs: Inputs) -> None:
    plan = decide(*given_inputs)
    clipped = {each.symbol for each in plan.verdicts if each.action in (RuleAction.CLIP, RuleAction.BLOCK)}
    for row in plan.targets:
        if (
            row.reason.value.startswith(("clip_", "block_", "drop_", "skip_restricted"))
            and row.reason != "clip_short"
        ):
            assert row.symbol in clipped


@given(st.integers(0, 10**16), st.integers(0, 10**10), st.integers(1, 99_999))
def test_the_collar_is_exact_for_any_price_a_quote_can_have(distance: int, reference: int, part: int) -> None:
    share = part / 100_000
    found = outside_collar(np.array([distance]), np.array([reference]), share)
    assert found.tolist() == [distance > reference * fraction(share)]
