"""Crosses between strategies: when they count, at which price, and that shares and cash are conserved."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_support import ACCOUNT, CONTRACTS, NOW, D, E, fill, freeze, order, plan, send

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import DataError, JournalError, RefusedError
from hrp_core.ledger.book import BookFold, Holding, fold_book, read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import (
    BookedCross,
    CashFlow,
    Contract,
    Execution,
    FlowKind,
    FrozenPlan,
    LatchState,
    OrderAllocation,
    PlanStatus,
    SnapshotRow,
    StaleEpochError,
)
from hrp_core.portfolio.construction import Book as Inputs
from hrp_core.portfolio.construction import Targets
from hrp_core.portfolio.netting import net_crosses, net_orders
from hrp_core.portfolio.types import Cross, OrderSide, OrderType, PlannedOrder

OPEN = nyse().open(E)
CROSS = Cross("KO", (("A", -30), ("B", 30)), Decimal("63.10"))


def frozen_with(journal: Journal, *crosses: Cross, orders: Sequence[PlannedOrder] = ()) -> FrozenPlan:
    frozen = journal.freeze_plan(
        replace(plan(*orders), crosses=crosses or (CROSS,)),
        mode="sim",
        account=ACCOUNT,
        contracts=CONTRACTS,
        inputs={},
        now=NOW,
    )
    journal.approve(frozen.plan_id, by="test", plan_hash=frozen.inputs_hash, now=NOW)
    return journal.plan(frozen.plan_id)


def release(journal: Journal, frozen: FrozenPlan, now: datetime = NOW) -> str:
    journal.release_crosses(frozen.plan_id, journal.acquire_epoch("test", now), OPEN, now)
    (cross,) = journal.crosses_of(frozen.plan_id)
    return cross.cross_id


def look(journal: Journal, at: datetime) -> None:
    """Record that the broker was asked at `at`."""
    journal.record([], now=at, snapshot=SnapshotRow(ACCOUNT, at, {}, Decimal(0), Decimal(0)))


def test_crosses_are_frozen_with_the_plan_and_in_its_hash(journal: Journal) -> None:
    frozen = frozen_with(journal)
    assert frozen.crosses == (CROSS,)
    other = frozen_with(journal, Cross("KO", (("A", -31), ("B", 31)), Decimal("63.10")))
    assert other.inputs_hash != frozen.inputs_hash
    assert journal.plan(frozen.plan_id).status is PlanStatus.SUPERSEDED


@pytest.mark.parametrize("shares", [(("A", -30), ("B", 29)), (("A", 0), ("B", 0))])
def test_a_cross_that_does_not_sum_to_nothing_is_refused(journal: Journal, shares) -> None:
    with pytest.raises(DataError, match="cross of KO"):
        frozen_with(journal, Cross("KO", shares, Decimal(63)))


def test_a_cross_counts_from_the_open_of_its_session_once_released(journal: Journal) -> None:
    frozen = frozen_with(journal)
    look(journal, NOW)
    assert read_book(journal).strategies == {}
    cross_id = release(journal, frozen)
    look(journal, OPEN - timedelta(seconds=1))
    assert read_book(journal).strategies == {}
    look(journal, OPEN)
    book = read_book(journal)
    assert (book.state().shares, book.cash, book.fills) == ({}, 0, ())
    assert book.state().strategy_shares == {"A": {"KO": -30}, "B": {"KO": 30}}
    assert book.as_of == E
    assert cross_id.startswith("X221215-KO-")
    # Not known yet at which price: the shares stand at the close of D, and no fill is shown.
    assert book.strategies["B"]["KO"] == Holding(30, Decimal("63.100000"))
    assert book.crosses == ()
    assert read_book(journal, through=D).strategies == {}


def test_the_newest_price_counts_and_all_are_kept(journal: Journal) -> None:
    cross_id = release(journal, frozen_with(journal))
    look(journal, OPEN)
    assert journal.record_cross_price(cross_id, Decimal("63.5"), NOW)
    assert not journal.record_cross_price(cross_id, Decimal("63.5000"), NOW)
    assert journal.record_cross_price(cross_id, Decimal("63.4"), NOW)
    assert journal.record_cross_price(cross_id, Decimal("63.5"), NOW)
    assert not journal.record_cross_price(cross_id, Decimal("63.5"), NOW)
    book = read_book(journal)
    assert {(part.strategy_id, part.side.sign * part.shares, part.price) for part in book.crosses} == {
        ("A", -30, Decimal("63.5000")),
        ("B", 30, Decimal("63.5000")),
    }
    assert all(part.is_cross and part.commission == 0 for part in book.crosses)
    assert (book.money["A"].cash, book.money["B"].cash) == (Decimal(1905), Decimal(-1905))
    assert (book.cash, book.unallocated_cash, book.realized_pnl) == (0, 0, 0)
    with pytest.raises(JournalError, match="no cross X1"):
        journal.record_cross_price("X1", Decimal(1), NOW)


def test_a_seller_realizes_its_profit_and_the_account_does_not(journal: Journal) -> None:
    bought = fill("none", 30, symbol="KO", price="60", at=OPEN - timedelta(days=1), exec_id="1.01")
    shares = {"none": OrderAllocation("i", OrderSide.BUY, 30, (("A", 30),))}
    cross = BookedCross("X", "p", "KO", E, CROSS.shares, CROSS.reference_price, OPEN, Decimal("63.5"))
    book = fold_book([], [bought], shares, crosses=[cross])
    assert book.money["A"].realized_pnl == Decimal("105.0000")
    assert book.realized_pnl == 0
    assert book.holdings == {"KO": Holding(30, Decimal("60.000000"))}
    assert book.strategies == {"B": {"KO": Holding(30, Decimal("63.500000"))}}
    assert book.unallocated_cash == 0


def test_a_plan_whose_crosses_count_is_neither_superseded_nor_rejected(journal: Journal) -> None:
    frozen = frozen_with(journal)
    release(journal, frozen)
    with pytest.raises(RefusedError, match="was sent"):
        frozen_with(journal, Cross("KO", (("A", -1), ("B", 1)), Decimal(63)))
    with pytest.raises(RefusedError, match="cannot be rejected"):
        journal.reject(frozen.plan_id, by="ann", plan_hash=frozen.inputs_hash, now=NOW, reason="no")
    assert frozen_with(journal).plan_id == frozen.plan_id


def test_crosses_of_plans_that_were_not_sent_never_count(journal: Journal) -> None:
    superseded = frozen_with(journal)
    rejected = frozen_with(journal, Cross("KO", (("A", -1), ("B", 1)), Decimal(63)))
    journal.reject(rejected.plan_id, by="ann", plan_hash=rejected.inputs_hash, now=NOW, reason="no")
    epoch = journal.acquire_epoch("test", NOW)
    for each, status in ((superseded, "superseded"), (rejected, "rejected")):
        with pytest.raises(RefusedError, match=f"is {status}, not approved"):
            journal.release_crosses(each.plan_id, epoch, OPEN, NOW)
    look(journal, OPEN)
    assert read_book(journal).strategies == {}


def test_nothing_is_crossed_after_the_open_by_an_old_writer_or_when_halted(journal: Journal) -> None:
    frozen = frozen_with(journal)
    old, new = (journal.acquire_epoch(name, NOW) for name in ("old", "new"))
    with pytest.raises(StaleEpochError):
        journal.release_crosses(frozen.plan_id, old, OPEN, NOW)
    with pytest.raises(RefusedError, match="has passed"):
        journal.release_crosses(frozen.plan_id, new, OPEN, OPEN)
    journal.set_latch(LatchState.HALTED, by="ann", reason="storm", now=NOW)
    with pytest.raises(RefusedError, match="halted by ann: storm"):
        journal.release_crosses(frozen.plan_id, new, OPEN, NOW)
    assert journal.crosses_of(frozen.plan_id) == ()


def test_releasing_again_changes_nothing(journal: Journal) -> None:
    frozen = frozen_with(journal, orders=[order("AAPL")])
    first = release(journal, frozen)
    assert release(journal, frozen) == first
    send(journal, frozen)
    assert release(journal, journal.plan(frozen.plan_id)) == first


def test_an_order_for_strategies_of_both_sides_is_refused(journal: Journal) -> None:
    with pytest.raises(DataError, match="other side"):
        freeze(journal, [replace(order(shares=70), allocations=(("A", 100), ("B", -30)))])


@pytest.mark.parametrize(
    ("order_type", "limit"), [(OrderType.LIMIT_ON_OPEN, None), (OrderType.MARKET, Decimal(10))]
)
def test_a_limit_price_that_is_missing_or_needless_is_refused(journal: Journal, order_type, limit) -> None:
    with pytest.raises(DataError, match="limit price"):
        freeze(journal, [replace(order(), order_type=order_type, limit_price=limit)])


def test_a_limit_price_is_frozen_and_hashed(journal: Journal) -> None:
    limited = replace(order(), order_type=OrderType.LIMIT_ON_OPEN, limit_price=Decimal("140.5951"))
    first = freeze(journal, [limited])
    assert first.intents[0].limit_price == Decimal("140.5951")
    second = freeze(journal, [replace(limited, limit_price=Decimal("140.5950"))])
    assert second.inputs_hash != first.inputs_hash


# --- conservation ------------------------------------------------------------------------------------

NAMES, SYMBOLS = ("S0", "S1", "S2"), ("AAPL", "KO", "MSFT")
OPENING = CashFlow("opening", FlowKind.OPENING, Decimal(100_000), E, NOW, "test")


@st.composite
def sessions(draw: st.DrawFn) -> list[tuple[list[list[int]], int]]:
    """Targets of three strategies in three names, and a seed for what is filled, for a few sessions."""
    shares = st.lists(
        st.lists(st.integers(0, 60), min_size=len(SYMBOLS), max_size=len(SYMBOLS)),
        min_size=len(NAMES),
        max_size=len(NAMES),
    )
    return draw(st.lists(st.tuples(shares, st.integers(0, 2**32 - 1)), min_size=1, max_size=5))


def traded_session(
    number: int, held: np.ndarray, wanted: list[list[int]], seed: int
) -> tuple[list[Execution], dict[str, OrderAllocation], list[BookedCross]]:
    """Net the strategies' changes; fill each order by some part, in some executions, at some prices."""
    random = np.random.default_rng(seed)
    price = random.integers(10_000, 5_000_000, len(SYMBOLS))
    inputs = Inputs(
        price=price,
        in_universe=np.ones(len(SYMBOLS), dtype=bool),
        removed=np.zeros(len(SYMBOLS), dtype=bool),
        before=held,
        prediction=np.zeros(held.shape),
        signal=np.zeros(held.shape),
        capital=[Fraction(1, len(NAMES))] * len(NAMES),
        holds=[None] * len(NAMES),
    )
    targets = Targets(np.array(wanted), np.zeros(held.shape, dtype=np.int8))
    moment = datetime.combine(E, time(9, 30), NEW_YORK) + timedelta(days=number)
    executions, allocations = [], {}
    for index, planned in enumerate(net_orders(SYMBOLS, NAMES, inputs, targets)):
        ref = f"{number}-{index}"
        allocations[ref] = OrderAllocation(ref, planned.side, planned.quantity, planned.allocations)
        cuts = sorted({0, *random.integers(0, planned.quantity + 1, 3).tolist()})
        executions += [
            Execution(
                exec_id=f"{ref}.{end}.01",
                account=ACCOUNT,
                order_ref=ref,
                perm_id=index + 1,
                contract=Contract(planned.symbol, 1),
                side=planned.side,
                shares=end - start,
                price=Decimal(int(random.integers(10_000, 5_000_000))).scaleb(-4),
                executed_at=moment + timedelta(seconds=end),
                commission=Decimal(int(random.integers(0, 20_000))).scaleb(-4),
            )
            for start, end in pairwise(cuts)
        ]
    crosses = [
        BookedCross(
            cross_id=f"X{number}-{cross.symbol}",
            plan_id=str(number),
            symbol=cross.symbol,
            session=moment.date(),
            shares=cross.shares,
            reference_price=cross.reference_price,
            executes_at=moment,
            price=None if random.random() < 0.2 else Decimal(int(random.integers(1, 5_000_000))).scaleb(-4),
        )
        for cross in net_crosses(SYMBOLS, NAMES, inputs, targets)
    ]
    return executions, allocations, crosses


@given(sessions())
def test_strategies_sum_to_the_account_to_the_share_and_the_ten_thousandth_after_every_session(days) -> None:
    fold = BookFold(OPENING.amount)
    executions: list[Execution] = []
    allocations: dict[str, OrderAllocation] = {}
    crosses: list[BookedCross] = []
    for number, (wanted, seed) in enumerate(days):
        mine = fold.state().strategy_shares
        held = np.array([[mine.get(name, {}).get(symbol, 0) for symbol in SYMBOLS] for name in NAMES])
        traded, shared, crossed = traded_session(number, held, wanted, seed)
        executions, allocations, crosses = [*executions, *traded], allocations | shared, [*crosses, *crossed]
        for item in crossed:
            fold.cross(item)
        for item in sorted(traded, key=lambda execution: (execution.executed_at, execution.exec_id)):
            fold.trade(item, shared[item.order_ref])
        state = fold.state()
        assert {
            symbol: total
            for symbol in SYMBOLS
            if (total := sum(shares.get(symbol, 0) for shares in state.strategy_shares.values()))
        } == state.shares
        # What is crossed never takes a strategy below zero, nor beyond what it wanted.
        for row, name in enumerate(NAMES):
            for column, symbol in enumerate(SYMBOLS):
                now = state.strategy_shares.get(name, {}).get(symbol, 0)
                low, high = sorted((int(held[row, column]), wanted[row][column]))
                assert low <= now <= high
    book = fold.book([OPENING])
    alone = fold_book([OPENING], executions, {})
    assert (book.cash, book.holdings, book.realized_pnl) == (alone.cash, alone.holdings, alone.realized_pnl)
    assert book.unallocated_cash == OPENING.amount
    assert sum(money.commissions for money in book.money.values()) == book.commissions
    assert fold_book([OPENING], executions[::-1], allocations, crosses=crosses[::-1]) == book
