from dataclasses import replace
from datetime import datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_support import ACCOUNT, NOW, D, E, fill, freeze, order, send

from hrp_core.calendar import NEW_YORK
from hrp_core.ledger.allocation import EXTERNAL, allocate
from hrp_core.ledger.book import Holding, fold_book, read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import CashFlow, Execution, FlowKind, OrderAllocation
from hrp_core.portfolio.types import OrderSide

BUY, SELL = OrderSide.BUY, OrderSide.SELL
OPENING = CashFlow("opening", FlowKind.OPENING, Decimal(100_000), E, NOW, "test")


def at(minute: int, day: int = 0) -> datetime:
    return datetime.combine(E, time(9, 30), NEW_YORK) + timedelta(days=day, minutes=minute)


def trades(*signed: tuple[int, str], commission: str | None = "1") -> list[Execution]:
    return [
        fill(
            f"ref{number}",
            abs(shares),
            exec_id=f"{number:02}.01",
            side=BUY if shares > 0 else SELL,
            price=price,
            commission=commission,
            at=at(number),
        )
        for number, (shares, price) in enumerate(signed)
    ]


def shared(side: OrderSide, **shares: int) -> OrderAllocation:
    return OrderAllocation("intent", side, abs(sum(shares.values())), tuple(shares.items()))


def test_cash_is_flows_less_purchases_plus_sales_less_commissions() -> None:
    book = fold_book([OPENING], trades((100, "137.25"), (-40, "140.1234")), {})
    assert book.cash == Decimal("100000") - Decimal("13725") + 40 * Decimal("140.1234") - 2
    assert book.commissions == 2
    assert book.holdings == {"AAPL": Holding(60, Decimal("137.250000"))}
    assert book.realized_pnl == 40 * (Decimal("140.1234") - Decimal("137.25"))
    assert book.state().as_of == E


@pytest.mark.parametrize(
    ("signed", "shares", "average", "realized"),
    [
        ([(10, "10"), (20, "13")], 30, "12", "0"),
        ([(3, "10"), (4, "11")], 7, "10.571429", "0"),
        ([(10, "10"), (-4, "12")], 6, "10", "8"),
        ([(10, "10"), (-15, "12")], -5, "12", "20"),  # through zero: the rest is opened at the price
        ([(-10, "10"), (-10, "12")], -20, "11", "0"),
        ([(-10, "10"), (4, "9")], -6, "10", "4"),
        ([(-10, "10"), (10, "11")], 0, None, "-10"),
    ],
)
def test_entry_prices_are_averages_of_our_own_executions(
    signed: list[tuple[int, str]], shares: int, average: str | None, realized: str
) -> None:
    book = fold_book([], trades(*signed, commission="5"), {})
    expected = {} if average is None else {"AAPL": Holding(shares, Decimal(average))}
    assert book.holdings == expected
    assert book.realized_pnl == Decimal(realized)


def test_a_commission_that_was_not_reported_is_counted_not_guessed() -> None:
    book = fold_book([OPENING], [*trades((10, "10"), commission=None), fill("x", 1, exec_id="9.01")], {})
    assert book.unreported_commissions == 1
    assert book.commissions == 1
    assert book.fills[0].commission is None


def test_a_book_through_a_session_knows_nothing_later() -> None:
    later = replace(fill("ref", 5, exec_id="z.01"), executed_at=at(0, day=3))
    deposit = replace(OPENING, reference="d1", kind=FlowKind.DEPOSIT, session=E + timedelta(days=3))
    everything = fold_book([OPENING, deposit], [*trades((10, "10")), later], {})
    through = fold_book([OPENING, deposit], [*trades((10, "10")), later], {}, through=E)
    assert (through.state().shares, through.cash) == ({"AAPL": 10}, Decimal(100_000) - 101)
    assert everything.state().shares == {"AAPL": 15}
    assert everything.cash > through.cash
    assert fold_book([OPENING], trades((10, "10")), {}, through=D).cash == 0


def test_the_order_in_which_facts_are_given_does_not_matter() -> None:
    facts = trades((10, "10"), (5, "11"), (-12, "12"), (3, "9"))
    assert fold_book([OPENING], facts, {}) == fold_book([OPENING], list(reversed(facts)), {})


def test_what_is_not_ours_belongs_to_no_strategy_but_to_the_account() -> None:
    book = fold_book([], [fill("unknown", 7)], {})
    assert book.state().strategy_shares == {EXTERNAL: {"AAPL": 7}}
    assert book.state().shares == {"AAPL": 7}
    assert book.fills[0].intent_id is None


def test_the_parts_of_a_fill_sum_to_it_to_the_share_and_the_ten_thousandth() -> None:
    allocation = shared(BUY, A=50, B=30, C=20)
    first = fill("ref", 33, exec_id="1.01", commission="1.0001", at=at(1))
    second = fill("ref", 67, exec_id="2.01", commission="2.0000", at=at(2))
    book = fold_book([], [first, second], {"ref": allocation})
    parts = [part for part in book.fills if part.exec_id == "1.01"]
    assert {part.strategy_id: part.shares for part in parts} == {"A": 16, "B": 10, "C": 7}
    assert sum(part.commission or 0 for part in parts) == Decimal("1.0001")
    assert book.state().strategy_shares == {"A": {"AAPL": 50}, "B": {"AAPL": 30}, "C": {"AAPL": 20}}


def test_fills_of_a_second_attempt_go_on_where_the_first_stopped() -> None:
    allocation = shared(SELL, A=-7, B=-3)
    facts = [
        fill("ref-1", 5, exec_id="1.01", side=SELL, at=at(1)),
        fill("ref-2", 5, exec_id="2.01", side=SELL, at=at(2)),
    ]
    book = fold_book([], facts, {"ref-1": allocation, "ref-2": allocation})
    assert book.state().strategy_shares == {"A": {"AAPL": -7}, "B": {"AAPL": -3}}


def test_more_fills_than_the_order_had_are_nobodys() -> None:
    book = fold_book([], [fill("ref", 12)], {"ref": shared(BUY, A=10)})
    assert book.state().strategy_shares == {"A": {"AAPL": 10}, EXTERNAL: {"AAPL": 2}}


def test_strategies_on_opposite_sides_are_served_in_proportion() -> None:
    allocation = shared(BUY, A=100, B=-30)
    assert allocate(allocation, 0) == {"A": 0, "B": 0}
    assert allocate(allocation, 35) == {"A": 50, "B": -15}
    assert allocate(allocation, 70) == {"A": 100, "B": -30}
    book = fold_book([], [fill("ref", 70)], {"ref": allocation})
    assert {(part.strategy_id, part.side, part.shares) for part in book.fills} == {
        ("A", BUY, 100),
        ("B", SELL, 30),
    }


@st.composite
def allocations(draw: st.DrawFn) -> OrderAllocation:
    sign = draw(st.sampled_from([1, -1]))
    with_it = draw(st.lists(st.integers(1, 60), min_size=1, max_size=5))
    against = draw(st.lists(st.integers(1, 20), max_size=2))
    if sum(against) >= sum(with_it):
        against = []
    signed = [sign * shares for shares in with_it] + [-sign * shares for shares in against]
    names = draw(st.permutations([f"HYP-{n}" for n in range(len(signed))]))
    pairs = tuple(zip(names, signed, strict=True))
    return OrderAllocation("intent", BUY if sign > 0 else SELL, abs(sum(signed)), pairs)


@given(allocations())
def test_allocations_sum_to_the_fills_never_shrink_and_end_at_the_target(allocation: OrderAllocation) -> None:
    before = dict.fromkeys(dict(allocation.shares), 0)
    for filled in range(allocation.quantity + 1):
        now = allocate(allocation, filled)
        assert sum(now.values()) == allocation.side.sign * filled
        for name, wanted in allocation.shares:
            assert abs(before[name]) <= abs(now[name]) <= abs(wanted)
            assert now[name] * wanted >= 0
        before = now
    assert before == dict(allocation.shares)


@given(allocations(), st.data())
def test_allocations_do_not_depend_on_how_a_fill_was_split(
    allocation: OrderAllocation, data: st.DataObject
) -> None:
    total = data.draw(st.integers(1, allocation.quantity))
    cuts = sorted(data.draw(st.sets(st.integers(1, total), max_size=4)) | {0, total})
    facts = [
        fill("ref", end - start, exec_id=f"{number}.01", side=allocation.side, commission="1", at=at(number))
        for number, (start, end) in enumerate(pairwise(cuts))
    ]
    whole = fill("ref", total, exec_id="0.01", side=allocation.side)
    split_book, whole_book = (fold_book([], f, {"ref": allocation}) for f in (facts, [whole]))
    assert split_book.state().strategy_shares == whole_book.state().strategy_shares
    for fact in facts:
        parts = [part for part in split_book.fills if part.exec_id == fact.exec_id]
        assert sum(part.side.sign * part.shares for part in parts) == fact.side.sign * fact.shares
        assert sum(part.commission or Decimal(0) for part in parts) == fact.commission


@given(st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 10**7)), max_size=12))
def test_cash_and_shares_are_conserved(signed: list[tuple[int, int]]) -> None:
    facts = trades(
        *[(shares, str(Decimal(units).scaleb(-4))) for shares, units in signed], commission="0.3512"
    )
    book = fold_book([OPENING], facts, {})
    assert sum(holding.shares for holding in book.holdings.values()) == sum(shares for shares, _ in signed)
    spent = sum(Decimal(shares * units).scaleb(-4) for shares, units in signed)
    assert book.cash == Decimal(100_000) - spent - len(signed) * Decimal("0.3512")


def test_the_journal_gives_the_same_book(journal: Journal) -> None:
    journal.bind("sim", ACCOUNT, NOW)
    journal.record_cash_flow(OPENING)
    frozen = freeze(journal, [order("AAPL"), order("KO", 30)])
    aapl, ko = send(journal, frozen, 0), send(journal, frozen, 1)
    journal.record([], [fill(aapl), fill(ko, 30, exec_id="k.01", symbol="KO", price="63.5")], now=NOW)
    book = read_book(journal)
    assert book.state().strategy_shares == {"HYP-2026-001": {"AAPL": 100, "KO": 30}}
    assert book.cash == Decimal(100_000) - 13725 - 1905 - 2
    assert [part.intent_id for part in book.fills] == [intent.intent_id for intent in frozen.intents]
    assert read_book(journal, through=D).holdings == {}
