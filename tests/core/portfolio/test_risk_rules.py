"""Each risk rule by table: it allows, acts, answers a missing input as declared, and lets exits through.

The tables are keyed by the list of the rules: a rule without a row fails. Past 400 lines for that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from decisions import FULL, NAN, D, basket, ledger, panel, signals, strategy

from hrp_core.calendar import nyse
from hrp_core.errors import SettingsError
from hrp_core.portfolio import LedgerState, Plan, PortfolioLimits, SessionPanel, Strategy, decide
from hrp_core.portfolio.risk import BY_CODE, RULES, Basket, Stage, docs_page
from hrp_core.portfolio.risk.rules import duplicates, price_collar
from hrp_core.portfolio.types import (
    NEVER_VALUED,
    Performance,
    Reason,
    RuleAction,
    StrategySignals,
    SymbolAction,
)
from hrp_core.settings import PROJECT_ROOT, Settings

TEN = dict.fromkeys("ABCDEFGHIJ", 10.0)
UP = {name: float(index) for index, name in enumerate("ABCDEFGHIJ")}


@dataclass(frozen=True)
class Case:
    """One decision: J and I are wanted, $100,000 unless said otherwise, everything at $10."""

    limits: PortfolioLimits = FULL
    account: LedgerState = field(default_factory=lambda: ledger(100_000))
    market: SessionPanel = field(default_factory=lambda: panel(TEN))
    said: StrategySignals = field(default_factory=lambda: signals(UP, "IJ"))
    deployed: Strategy = field(default_factory=strategy)
    locked: Mapping[str, Decimal] = field(default_factory=dict)
    controls: Mapping[str, SymbolAction] = field(default_factory=dict)
    performance: Performance | None = NEVER_VALUED
    reducing: bool = False

    def decide(self) -> Plan:
        return decide(
            self.market,
            [self.said],
            self.account,
            [self.deployed],
            self.limits,
            self.locked,
            self.controls,
            self.performance,
            reducing=self.reducing,
        )


def limited(**changes: object) -> PortfolioLimits:
    return replace(FULL, **changes)  # type: ignore[arg-type]


def traded(value: float) -> SessionPanel:
    return replace(panel(TEN), traded_value=np.full(10, value))


SECTORS = {"I": "Energy", "J": "Banks", "A": "Energy"}
LOST = Performance(daily_return=-0.03, drawdown=0.15)
FINE = Performance(daily_return=-0.0299, drawdown=0.1499)
HELD = ledger(50_000, S={"A": 5000})  # A is not wanted: an exit

# By rule: a decision that it allows, and one in which it acts.
ALLOWS: dict[str, Case] = {
    "max_positions": Case(limited(max_positions=2)),
    "restricted": Case(limited(restricted=("A",))),
    "stale_price": Case(market=panel(TEN | {"A": NAN})),
    "stale_prediction": Case(),
    "min_order_value": Case(limited(min_order_value=Decimal(50_000))),
    "commission": Case(limited(max_commission_pct=0.01, commission_minimum=Decimal(400))),
    "latch": Case(),
    "daily_loss": Case(limited(max_daily_loss_pct=0.03), performance=FINE),
    "drawdown": Case(limited(max_drawdown_pct=0.15), performance=FINE),
    "price_collar": Case(limited(price_collar_pct=0.05)),
    "max_position_pct": Case(limited(max_position_pct=0.5)),
    "max_order_pct": Case(limited(max_order_pct=0.5)),
    "max_volume_pct": Case(limited(max_volume_pct=0.05), market=traded(1_000_000)),
    "sector": Case(limited(max_sector_pct=0.5, sectors=SECTORS)),
    "exposure": Case(limited(max_gross=1.0, max_net=1.0)),
    "turnover": Case(limited(max_turnover_pct=0.5), account=ledger(40_000, S={"I": 5000, "J": 1000})),
    "cash": Case(),
}
ACTS: dict[str, tuple[Case, dict[str, int]]] = {
    "max_positions": (Case(limited(max_positions=1)), {"J": 10_000}),
    "restricted": (Case(limited(restricted=("I",))), {"J": 10_000}),
    "stale_price": (Case(market=panel(TEN | {"I": NAN})), {"J": 10_000}),
    "stale_prediction": (Case(said=replace(signals(UP, "IJ"), session=nyse().previous(D))), {}),
    "min_order_value": (Case(limited(min_order_value=Decimal("50000.01"))), {}),
    "commission": (Case(limited(max_commission_pct=0.01, commission_minimum=Decimal("500.01"))), {}),
    "latch": (Case(reducing=True), {}),
    "daily_loss": (Case(limited(max_daily_loss_pct=0.03), performance=LOST), {}),
    "drawdown": (Case(limited(max_drawdown_pct=0.15), performance=LOST), {}),
    # The account's cap counts what a strategy without predictions is stuck with.
    "max_position_pct": (
        Case(limited(max_position_pct=0.5), account=ledger(80_000, OLD={"J": 2000})),
        {"I": 5000, "J": 3000},
    ),
    "max_order_pct": (Case(limited(max_order_pct=0.15)), {"I": 1500, "J": 1500}),
    "max_volume_pct": (Case(limited(max_volume_pct=0.05), market=traded(200_000)), {"I": 1000, "J": 1000}),
    "sector": (Case(limited(max_sector_pct=0.25, sectors=SECTORS)), {"I": 2500, "J": 2500}),
    "exposure": (Case(limited(max_gross=0.8, max_net=0.5)), {"I": 2500, "J": 2500}),
    "turnover": (
        Case(limited(max_turnover_pct=0.5), account=HELD),
        {"A": -5000},  # the sale alone is half of the account
    ),
    "cash": (Case(limited(cash_buffer_pct=0.02)), {"I": 4900, "J": 4900}),
}
JUDGED = [rule.code for rule in RULES if rule.stage is not Stage.SENDING]


def changes(plan: Plan, code: str) -> list[RuleAction]:
    return [
        each.action for each in plan.verdicts if each.rule == code and each.action is not RuleAction.ALLOW
    ]


@pytest.mark.parametrize("code", JUDGED)
def test_a_rule_leaves_alone_what_is_inside_its_limit(code: str) -> None:
    plan = ALLOWS[code].decide()
    assert changes(plan, code) == []
    off = replace(ALLOWS[code], limits=ALLOWS[code].limits.without_rules())
    assert basket(plan) == basket(off.decide()) != {}


@pytest.mark.parametrize("code", [code for code in JUDGED if code != "price_collar"])
def test_a_rule_acts_beyond_its_limit_and_says_so(code: str) -> None:
    case, expected = ACTS[code]
    plan = case.decide()
    assert basket(plan) == expected
    said = [each for each in plan.verdicts if each.rule == code]
    assert said
    assert all(each.reason for each in said)
    for each in said:
        if each.before is not None and each.after is not None:
            assert each.action is (RuleAction.CLIP if each.after else RuleAction.BLOCK)
            assert each.after < each.before
    reasons = {target.reason for target in plan.targets}
    assert code == "stale_prediction" or reasons & set(BY_CODE[code].reasons)


@pytest.mark.parametrize(
    "code", [code for code in JUDGED if code not in ("price_collar", "stale_prediction")]
)
def test_no_rule_holds_back_an_exit(code: str) -> None:
    case, _ = ACTS[code]
    # A is held and not wanted any more, on a day on which the rule acts.
    holding = dict(case.account.strategy_shares) | {"S": {"A": 5}}
    plan = replace(case, account=ledger(str(case.account.cash), **holding)).decide()
    assert basket(plan)["A"] == -5


def test_stale_predictions_sell_nothing() -> None:
    case, _ = ACTS["stale_prediction"]
    assert basket(replace(case, account=HELD).decide()) == {}
    unknown = replace(case, account=HELD, said=replace(case.said, session=None)).decide()
    assert (basket(unknown), unknown.targets[0].reason) == ({}, Reason.HOLD_STALE)


def a_basket(**changes: object) -> Basket:
    """Return purchases of 100 shares of two names at $10, of an account worth $100,000."""
    price = np.array([100_000, 100_000])
    whole = Basket(
        held=np.zeros(2, dtype=np.int64),
        after=np.array([100, 100]),
        price=price,
        value_price=price,
        order_price=price,
        reference=price,
        traded_value=np.array([np.nan, 1e6]),
        sector=None,
        working=np.zeros(2, dtype=np.int64),
        base_units=10**9,
        performance=NEVER_VALUED,
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("price", "allowed"), [(105_000, 100), (105_001, 0), (95_000, 100), (94_999, 0), (100_000, 100)]
)
def test_the_price_collar_blocks_a_price_too_far_from_the_last_adjusted_close(
    price: int, allowed: int
) -> None:
    ruling = price_collar(a_basket(order_price=np.array([price, 100_000])), limited(price_collar_pct=0.05))
    assert ruling is not None
    assert ruling.allowed.tolist() == [allowed, 100]


# By rule: the input that is missing, and how much of 100 shares each name may still be bought.
MISSING: dict[str, tuple[Callable[[], Basket], PortfolioLimits, list[int]]] = {
    "price_collar": (
        lambda: a_basket(reference=np.array([0, 100_000])),
        limited(price_collar_pct=0.05),
        [0, 100],
    ),
    "daily_loss": (lambda: a_basket(performance=None), limited(max_daily_loss_pct=0.03), [0, 0]),
    "drawdown": (lambda: a_basket(performance=Performance(0.0)), limited(max_drawdown_pct=0.15), [0, 0]),
    "max_order_pct": (lambda: a_basket(base_units=0), limited(max_order_pct=0.15), [0, 0]),
    "exposure": (lambda: a_basket(base_units=0), limited(max_gross=1.0), [0, 0]),
    "max_volume_pct": (lambda: a_basket(), limited(max_volume_pct=0.05), [100, 100]),
    "sector": (
        lambda: a_basket(sector=np.array([-1, 0]), base_units=2 * 10**7),
        limited(max_sector_pct=0.25, max_unknown_sector_pct=0.10),
        [20, 50],
    ),
}


@pytest.mark.parametrize("code", sorted(MISSING))
def test_a_missing_input_does_what_the_table_says(code: str) -> None:
    make, limits, allowed = MISSING[code]
    judge = BY_CODE[code].judge
    assert judge is not None
    ruling = judge(make(), limits)
    assert ruling is not None
    assert ruling.missing is not None
    assert ruling.missing.any()
    assert ruling.missing_reason
    assert np.minimum(ruling.allowed, 100).tolist() == allowed


def test_every_rule_stands_in_every_table() -> None:
    declared = {rule.code for rule in RULES if rule.missing != "-"}
    assert declared - {"stale_price", "stale_prediction"} == set(MISSING)
    assert set(ALLOWS) == set(JUDGED)
    assert set(ACTS) | {"price_collar"} == set(JUDGED)
    assert [rule.code for rule in RULES if rule.stage is Stage.SENDING] == ["duplicate_intent"]
    assert len(BY_CODE) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_rule_can_be_set_and_is_on_by_default(rule) -> None:
    for name in rule.limits:
        assert getattr(Settings.model_validate({}), name) == getattr(PortfolioLimits(), name)
        assert getattr(PortfolioLimits(), name) is not None


def test_a_pair_that_was_there_before_is_a_duplicate() -> None:
    assert duplicates([(1, "a"), (2, "a"), (1, "b"), (1, "a")]).tolist() == [False, False, False, True]


def test_the_page_of_the_rules_is_current() -> None:
    page = (PROJECT_ROOT / "docs" / "risk-rules.md").read_text(encoding="utf-8")
    assert page == docs_page(), "run: python -m hrp_core.portfolio.risk > docs/risk-rules.md"


# --- readings that a table cannot tell ---------------------------------------------------------------


def test_a_source_without_volume_is_said_once_and_limits_nothing() -> None:
    plan = Case(limited(max_volume_pct=0.05)).decide()
    assert basket(plan) == {"I": 5000, "J": 5000}
    [said] = plan.verdicts
    assert (said.rule, said.symbol, said.action) == ("max_volume_pct", "", RuleAction.ALLOW)
    assert "no volume" in said.reason


def test_a_loss_limit_that_is_reached_is_a_halt_and_says_the_figures() -> None:
    limits = limited(max_daily_loss_pct=0.03, max_drawdown_pct=0.15)
    plan = Case(limits, account=HELD, performance=LOST).decide()
    halts = {each.rule: each.reason for each in plan.verdicts if each.action is RuleAction.HALT}
    assert halts == {
        "daily_loss": "the account lost 3.00% in the session, the limit is 3.00%",
        "drawdown": "the account is 15.00% below its highest value, the limit is 15.00%",
    }
    assert basket(plan) == {"A": -5000}


def test_working_orders_count_towards_exposure_sector_and_turnover() -> None:
    working = {"H": Decimal(40_000)}
    free = Case(limited(), locked=working).decide()
    assert basket(free) == {"I": 3000, "J": 3000}  # their cash is set aside; the places are three
    tight = Case(limited(max_gross=0.8), locked=working).decide()
    assert basket(tight) == {"I": 2000, "J": 2000}
    sector = Case(
        limited(max_sector_pct=0.5, sectors={"H": "X", "I": "X", "J": "Y"}), locked=working
    ).decide()
    assert basket(sector) == {"I": 1000, "J": 5000}
    turnover = Case(limited(max_turnover_pct=0.5), locked=working).decide()
    assert basket(turnover) == {"I": 500, "J": 500}


def test_names_of_unknown_sector_share_one_cap() -> None:
    plan = Case(limited(max_sector_pct=0.25, max_unknown_sector_pct=0.10, sectors={"A": "X"})).decide()
    assert basket(plan) == {"I": 500, "J": 500}


def test_the_first_basket_of_an_empty_book_is_not_limited_by_turnover() -> None:
    assert basket(Case(limited(max_turnover_pct=0.1)).decide()) == {"I": 5000, "J": 5000}


def test_rules_that_drop_small_orders_look_again_after_the_others_have_clipped() -> None:
    limits = limited(max_volume_pct=0.05, min_order_value=Decimal(1000))
    plan = Case(limits, market=traded(19_000)).decide()  # 5 % are $950
    assert basket(plan) == {}
    assert {each.rule for each in plan.verdicts} == {"max_volume_pct", "min_order_value"}


def test_a_small_sale_of_the_account_goes_when_it_is_a_strategys_exit() -> None:
    said = [signals(UP, "J", "X"), signals(UP, "IJ", "Y")]
    deployed = [strategy("X", "0.5"), strategy("Y", "0.5")]
    account = ledger(0, X={"I": 30, "J": 50}, Y={"J": 20})
    # X sells its 30 I, Y buys 25: the account sells 5, worth $50.
    limits = limited(min_order_value=Decimal(100))
    plan = decide(panel(TEN), said, account, deployed, limits)
    assert basket(plan)["I"] == -5


@pytest.mark.parametrize(
    ("action", "ordered"),
    [
        (SymbolAction.FREEZE, {"I": 5000}),  # J keeps its place
        (SymbolAction.NO_BUY, {"I": 5000}),
        (SymbolAction.EXIT, {"I": 10_000, "J": -1000}),
    ],
)
def test_a_wanted_name_that_a_person_decided_about_is_not_bought(
    action: SymbolAction, ordered: dict[str, int]
) -> None:
    plan = Case(account=ledger(90_000, S={"J": 1000}), controls={"J": action}).decide()
    assert basket(plan) == ordered
    assert action is SymbolAction.EXIT or any(each.rule == "restricted" for each in plan.verdicts)


def test_a_frozen_name_is_not_even_sold_and_a_no_buy_name_is() -> None:
    account = ledger(50_000, S={"A": 5000})
    frozen = Case(account=account, controls={"A": SymbolAction.FREEZE}).decide()
    assert "A" not in basket(frozen)
    assert {t.symbol: t.reason for t in frozen.targets}["A"] is Reason.HOLD_FROZEN
    assert basket(Case(account=account, controls={"A": SymbolAction.NO_BUY}).decide())["A"] == -5000


def test_an_ordered_exit_sells_even_what_a_paused_strategy_holds() -> None:
    paused = Case(account=HELD, deployed=strategy(paused=True), controls={"A": SymbolAction.EXIT}).decide()
    assert basket(paused) == {"A": -5000}
    assert paused.targets[0].reason is Reason.EXIT_ORDERED


def test_a_retired_strategy_sells_what_has_a_price_and_needs_no_scores() -> None:
    retired = replace(strategy(), retired=True)
    account = ledger(0, S={"A": 10, "B": 10})
    market = panel(TEN | {"B": NAN}, last={"B": 10.0})
    plan = decide(market, [], account, [retired], FULL)
    assert basket(plan) == {"A": -10}
    assert {t.symbol: t.reason for t in plan.targets} == {"A": Reason.EXIT_RETIRED, "B": Reason.HOLD_NO_PRICE}


# --- turnover control --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "ordered"),
    [(4001, {}), (4000, {"J": 1000}), (5999, {}), (6000, {"J": -1000}), (5000, {})],
)
def test_a_holding_near_its_target_is_left_alone(held: int, ordered: dict[str, int]) -> None:
    # The target is half of $100,000 at $10; the band is a fifth of it.
    limits = limited(band_pct=0.2, band_nav_pct=0.005, max_position_pct=0.5)
    account = ledger(100_000 - 10 * held, S={"J": held})
    plan = Case(limits, account=account, said=signals(UP, "J")).decide()
    assert basket(plan) == ordered


def test_the_band_is_at_least_a_share_of_the_equity_and_entries_and_exits_pass_it() -> None:
    limits = limited(band_pct=0.2, band_nav_pct=0.5, max_position_pct=0.1)
    plan = Case(limits, account=ledger(93_000, S={"A": 100, "I": 600})).decide()
    assert basket(plan) == {"A": -100, "J": 1000}


def test_while_cash_is_below_zero_the_band_holds_back_no_sale() -> None:
    limits = limited(band_pct=0.2, band_nav_pct=0.005)
    plan = Case(limits, account=ledger(-2000, S={"I": 5100, "J": 5100})).decide()
    assert basket(plan) == {"I": -100, "J": -100}


def test_a_strategy_may_switch_the_band_off_for_itself() -> None:
    own = replace(strategy(), band=0.0)
    limits = limited(band_pct=0.2, band_nav_pct=0.005)
    plan = Case(limits, account=ledger(0, S={"I": 5001, "J": 4999}), deployed=own).decide()
    assert basket(plan) == {"I": -1, "J": 1}


def test_outside_its_schedule_a_strategy_keeps_what_it_holds_but_leaves_removed_names() -> None:
    weekly = replace(strategy(), rebalance="weekly")  # D is a Thursday
    market = replace(panel(TEN, outside="B"), removed=frozenset("B"))
    account = ledger(0, S={"A": 10, "B": 10})
    plan = Case(account=account, market=market, deployed=weekly).decide()
    assert basket(plan) == {"B": -10}
    assert {t.symbol: t.reason for t in plan.targets} == {
        "A": Reason.HOLD_SCHEDULE,
        "B": Reason.EXIT_REMOVED,
    }
    thursday = Case(account=account, market=market, deployed=replace(weekly, rebalance="thursday")).decide()
    assert basket(thursday)["A"] == -10


def test_a_name_is_held_for_the_smallest_number_of_sessions_and_takes_its_place() -> None:
    young = replace(strategy(), min_holding_sessions=3)
    account = ledger(50_000, S={"A": 5000})
    for since, ordered in ((date(2022, 12, 14), {}), (date(2022, 12, 13), {"A": -5000, "J": 10_000})):
        aged = replace(account, held_since={"S": {"A": since}})
        plan = Case(limited(max_positions=1), account=aged, deployed=young, said=signals(UP, "J")).decide()
        assert basket(plan) == ordered
    removed = replace(panel(TEN, outside="A"), removed=frozenset("A"))
    aged = replace(account, held_since={"S": {"A": date(2022, 12, 15)}})
    plan = Case(limited(), account=aged, market=removed, deployed=young, said=signals(UP, "J")).decide()
    assert basket(plan)["A"] == -5000


def test_a_strategys_own_limits_bind_it_and_nobody_else() -> None:
    tight = replace(strategy("X", "0.5"), limits={"max_positions": 1, "max_order_pct": 0.1})
    loose = strategy("Y", "0.5")
    said = [signals(UP, "HIJ", "X"), signals(UP, "I", "Y")]
    plan = decide(panel(TEN), said, ledger(100_000), [tight, loose], limited(max_order_pct=0.6))
    # X: one name, at most a tenth of its $50,000; Y: $50,000 of I.
    assert basket(plan) == {"J": 500, "I": 5000}
    assert {each.strategy_id for each in plan.verdicts} == {"X"}


def test_a_strategys_limit_that_is_looser_than_the_accounts_is_refused() -> None:
    loose = replace(strategy(), limits={"max_position_pct": 0.2})
    with pytest.raises(SettingsError, match=r"S: its limit max_position_pct is 0\.2, looser than"):
        Case(limited(max_position_pct=0.1), deployed=loose).decide()
