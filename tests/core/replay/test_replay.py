"""The loop over history: deterministic, blind to the future, and honest at its edges."""

from datetime import date
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from hrp_core.calendar import nyse
from hrp_core.errors import DataError, NotReadyError
from hrp_core.execution.marks import LAST_CLOSE_SESSIONS
from hrp_core.market import SampleSource
from hrp_core.money import to_money
from hrp_core.portfolio.types import PortfolioLimits, Strategy
from hrp_core.replay import History, Policy, replay, summarize

START, END = date(2010, 1, 4), date(2010, 3, 31)
CASH = Decimal(100_000)
MOMENTUM = Strategy("T-1", "momentum", "momentum_12_1", "rank", Decimal(1), {"top_pct": 0.25})


def policy(strategy: Strategy = MOMENTUM, limits: PortfolioLimits | None = None):
    chosen = Policy((strategy,), (limits or PortfolioLimits()).without_rules())
    return lambda _session: chosen


@pytest.fixture(scope="module")
def prices() -> pd.DataFrame:
    return SampleSource().load(date(2008, 6, 2), date(2010, 6, 30))


@pytest.fixture(scope="module")
def history(prices: pd.DataFrame) -> History:
    return History.from_prices(prices)


def run(history: History, **changes):
    sessions = nyse().between(START, END)
    return replay(history, sessions, changes.pop("policy", policy()), cash=CASH, **changes)


def outline(results) -> list[object]:
    return [(each.session, each.plan.orders, each.fills, each.cash, each.nav) for each in results]


def test_the_same_inputs_give_the_same_run(history: History) -> None:
    assert outline(run(history)) == outline(run(history))


def test_prices_after_a_session_change_nothing_at_or_before_it(
    prices: pd.DataFrame, history: History
) -> None:
    cut = date(2010, 2, 16)
    later = prices.copy()
    rows = later["session"] > cut
    rng = np.random.default_rng(7)
    later.loc[rows, "close"] = (later.loc[rows, "close"] * rng.uniform(0.5, 2, rows.sum())).round(4)
    untouched, perturbed = run(history), run(History.from_prices(later))
    known = [index for index, each in enumerate(untouched) if nyse().next(each.session) <= cut]
    assert len(known) > 20
    assert [outline(untouched)[i] for i in known] == [outline(perturbed)[i] for i in known]
    decided = known[-1] + 1
    assert untouched[decided].plan.orders == perturbed[decided].plan.orders
    assert untouched[decided].nav != perturbed[decided].nav


def test_cash_and_nav_follow_from_the_fills(history: History) -> None:
    results = run(history)
    cash, shares = CASH, dict[str, int]()
    for each in results:
        for fill in each.fills:
            cash -= fill.side.sign * fill.shares * fill.price + fill.commission
            shares[fill.symbol] = shares.get(fill.symbol, 0) + fill.side.sign * fill.shares
        session = nyse().next(each.session)
        row = history.panel.position(session)
        value = sum(
            count * Decimal(str(history.panel.close[row, history.panel.symbols.index(symbol)]))
            for symbol, count in shares.items()
        )
        assert (each.cash, each.nav) == (cash, cash + value)
    assert len(shares) >= 5


@pytest.mark.parametrize("factor", [4.0, 0.125, 1.5])
def test_a_split_of_a_held_name_moves_shares_and_no_value(
    prices: pd.DataFrame, history: History, factor: float
) -> None:
    plain = run(history)
    symbol, shares = max(plain[20].ledger.shares.items(), key=lambda held: held[1])
    executed = nyse().next(plain[20].session)
    later = prices.copy()
    rows = (later["symbol"] == symbol) & (later["session"] >= nyse().next(executed))
    for column in ("open", "high", "low", "close"):
        later[column] = later[column].where(~rows, later[column] / factor)
    later["split_factor"] = later["split_factor"].where(
        ~(rows & (later["session"] == nyse().next(executed))), factor
    )
    parted = History.from_prices(later)
    split = run(parted)
    assert split[20].ledger.shares[symbol] == shares
    assert split[21].ledger.shares[symbol] == int(shares * factor)
    assert symbol not in {fill.symbol for fill in split[21].fills}
    # The rest is the rounding of orders to whole shares, and the order that did not go.
    moved = [abs(float(one.nav / other.nav) - 1) for one, other in zip(split, plain, strict=True)]
    assert moved[20] == 0
    assert max(moved) < 0.002
    # What was really traded has the money for the fraction among its cash flows.
    real = run(parted, splits=parted.splits)
    row = parted.panel.position(nyse().next(executed))
    close = Decimal(str(parted.panel.close[row, parted.panel.symbols.index(symbol)]))
    paid = split[21].cash - real[21].cash
    assert abs(paid - (shares * Decimal(str(factor)) - int(shares * factor)) * close) < Decimal("0.001")


def test_limits_of_the_policy_hold(history: History) -> None:
    results = run(history, policy=policy(limits=PortfolioLimits(max_positions=2, max_position_pct=0.05)))
    names: dict[str, int] = {}
    for fill in results[0].fills:
        names[fill.symbol] = names.get(fill.symbol, 0) + fill.shares
        assert fill.shares * fill.price < Decimal(6_000)
    assert len(names) == 2


def test_a_deposit_is_invested_from_its_session_on(history: History) -> None:
    deposit = date(2010, 2, 1)
    without, with_flow = run(history), run(history, flows={deposit: Decimal(50_000)})
    by_session = {each.session: each for each in with_flow}
    for each in without:
        if each.session < deposit:
            assert each.nav == by_session[each.session].nav
    assert by_session[deposit].plan.equity > Decimal(140_000)


def test_a_run_beyond_the_prices_is_refused(history: History) -> None:
    last = history.tape.last_session
    with pytest.raises(NotReadyError, match="end the replay earlier"):
        replay(history, [last], policy(), cash=CASH)


def test_a_held_name_that_goes_dark_is_valued_as_in_the_book_and_after_ten_sessions_stops_the_run(
    prices: pd.DataFrame, history: History
) -> None:
    sessions = nyse().between(START, END)
    traded = next(each for each in run(history) if each.fills)
    symbol = min(traded.ledger.shares)
    last = nyse().next(traded.session)
    dark = nyse().between(nyse().next(last), prices["session"].max())
    kept = prices.loc[~((prices["symbol"] == symbol) & prices["session"].isin(dark))]
    cut = History.from_prices(kept)
    reach = sessions.index(last) + LAST_CLOSE_SESSIONS
    results = replay(cut, sessions[:reach], policy(), cash=CASH)
    closes = kept.set_index(["session", "symbol"])["close"]
    for each in results[sessions.index(last) :]:
        executed = nyse().next(each.session)
        held = each.ledger.shares
        assert symbol in held
        value = sum(
            (count * to_money(float(closes[last if name == symbol else executed, name])))
            for name, count in held.items()
        )
        assert each.nav == each.cash + value
    assert nyse().next(results[-1].session) == dark[LAST_CLOSE_SESSIONS - 1]
    with pytest.raises(
        DataError, match=f"{symbol} is held after {dark[LAST_CLOSE_SESSIONS]} and has had no price"
    ):
        replay(cut, sessions[: reach + 1], policy(), cash=CASH)


def test_a_strategy_without_its_feature_is_refused_by_name(history: History) -> None:
    unknown = Strategy("T-2", "x", "no_such_feature", "rank", Decimal(1))
    with pytest.raises(NotReadyError, match="T-2 is scored by the model 'no_such_feature'"):
        run(history, policy=policy(unknown))


def test_a_rule_that_remembers_is_given_what_it_held(history: History) -> None:
    dropout = Strategy(
        "T-3", "topk", "momentum_12_1", "topk_dropout", Decimal(1), {"k": 5, "n_drop": 1, "min_holding": 5}
    )
    results = run(history, policy=policy(dropout))
    for earlier, later in pairwise(results[1:]):
        wanted = [{row.symbol for row in each.plan.targets if row.signal > 0} for each in (earlier, later)]
        assert len(wanted[1]) == 5
        assert len(wanted[0] - wanted[1]) <= 1


def test_summary_figures(history: History) -> None:
    results = run(history)
    summary = summarize(results, CASH)
    navs = np.array([float(CASH), *(float(each.nav) for each in results)])
    assert summary["sessions"] == len(results)
    assert summary["final_nav"] == results[-1].nav
    assert summary["total_return"] == pytest.approx(navs[-1] / navs[0] - 1)
    worst = max(1 - navs[j] / navs[i] for i in range(len(navs)) for j in range(i, len(navs)))
    assert summary["max_drawdown"] == pytest.approx(worst)
    assert summarize([], CASH)["final_nav"] == CASH
