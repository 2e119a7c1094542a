from dataclasses import replace
from datetime import datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_support import NOW, E, fill

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import JournalError, RefusedError
from hrp_core.ledger.book import Book, Holding, fold_book
from hrp_core.ledger.commissions import held_commissions
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.splits import divide_split, split_ratio, split_shares
from hrp_core.ledger.types import BookedSplit, CashFlow, Execution, FlowKind, OrderAllocation
from hrp_core.portfolio.types import OrderSide

F = nyse().next(E)
OPENING = CashFlow("opening", FlowKind.OPENING, Decimal(1_000_000), E, NOW, "test")
ratios = st.builds(Fraction, st.integers(1, 200), st.integers(1, 200))


def split(ratio: Fraction | int, symbol: str = "AAPL") -> BookedSplit:
    """One that takes effect on F."""
    return BookedSplit(symbol, F, Fraction(ratio), "ann", NOW)


def bought(
    shares: dict[str, int], price: str = "137.25"
) -> tuple[list[Execution], dict[str, OrderAllocation]]:
    """One purchase a strategy (a sale where it is negative), on E."""
    executions, allocations = [], {}
    for number, (name, signed) in enumerate(shares.items()):
        side = OrderSide.BUY if signed > 0 else OrderSide.SELL
        executions.append(
            fill(f"ref{number}", abs(signed), exec_id=f"{number:02}.01", side=side, price=price)
        )
        allocations[f"ref{number}"] = OrderAllocation(f"i{number}", side, abs(signed), ((name, signed),))
    return executions, allocations


def folded(shares: dict[str, int], *splits: BookedSplit) -> Book:
    executions, allocations = bought(shares)
    return fold_book([OPENING], executions, allocations, crosses=splits)


def shares_of(book: Book, symbol: str = "AAPL") -> int:
    held = book.holdings.get(symbol)
    return 0 if held is None else held.shares


@given(
    st.dictionaries(st.sampled_from(["A", "B", "C"]), st.integers(-5000, 5000).filter(bool), min_size=1),
    ratios,
)
def test_a_split_is_value_neutral_and_leaves_whole_shares_that_sum_up(
    shares: dict[str, int], ratio: Fraction
) -> None:
    before, after = folded(shares), folded(shares, split(ratio))
    account = sum(shares.values())
    assert shares_of(after) == split_shares(account, ratio)
    # At a price divided by the ratio, shares and the fraction paid in cash are worth what they were.
    fraction = account * ratio - shares_of(after)
    assert abs(fraction) < 1
    assert (shares_of(after) + fraction) / ratio == account
    assert (after.cash, after.commissions, after.fills) == (before.cash, before.commissions, before.fills)
    held = {name: each["AAPL"].shares for name, each in after.strategies.items() if "AAPL" in each}
    assert sum(held.values()) == shares_of(after)
    assert all(abs(held.get(name, 0) - count * ratio) < 1 for name, count in shares.items())
    # The basis less what was realized stays, to the rounding of an average price to six places.
    basis = [
        sum((each.shares * each.average_price for each in book.holdings.values()), Decimal(0))
        - book.realized_pnl
        for book in (before, after)
    ]
    slack = Decimal(abs(account) * 200 + 1) * Decimal("0.000001") + Decimal("0.0001")
    assert abs(basis[1] - basis[0]) <= slack


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(-300, 300), max_size=6), ratios)
def test_whole_shares_are_divided_whatever_the_order_of_the_strategies(
    held: dict[str, int], ratio: Fraction
) -> None:
    divided = divide_split(held, ratio)
    assert sum(divided.values()) == split_shares(sum(held.values()), ratio)
    assert divided == divide_split(dict(reversed(held.items())), ratio)


@pytest.mark.parametrize(
    ("shares", "ratio", "after", "average", "realized"),
    [
        (100, 4, 400, "34.3125", "0"),
        (300, Fraction(1, 3), 100, "411.75", "0"),
        (101, Fraction(1, 10), 10, "1372.5", "-137.25"),  # a tenth of a share goes, to be paid in cash
        (5, Fraction(1, 10), None, None, "-686.25"),
        (7, Fraction(3, 2), 10, "91.5", "-45.75"),
        (-101, Fraction(1, 10), -10, "1372.5", "137.25"),
    ],
)
def test_shares_are_multiplied_and_average_prices_divided(
    shares: int, ratio: Fraction | int, after: int | None, average: str | None, realized: str
) -> None:
    book = folded({"A": shares}, split(ratio))
    since = E
    expected = {} if after is None or average is None else {"AAPL": Holding(after, Decimal(average), since)}
    assert book.holdings == expected
    assert book.strategies == ({"A": expected} if expected else {})
    assert book.realized_pnl == Decimal(realized)


def test_it_counts_before_what_trades_in_its_session_and_not_in_the_one_before() -> None:
    executions, _ = bought({"A": 100})
    sale = fill(
        "x",
        150,
        exec_id="09.01",
        side=OrderSide.SELL,
        price="35",
        at=datetime.combine(F, time(0, 1), NEW_YORK),
    )
    sold = fold_book([], [sale, *executions], {}, crosses=[split(4)])
    assert sold.holdings["AAPL"] == Holding(250, Decimal("34.312500"), E)
    assert sold.realized_pnl == 150 * (Decimal(35) - Decimal("34.3125"))
    assert fold_book([], executions, {}, through=E, crosses=[split(4)]).holdings["AAPL"].shares == 100
    assert fold_book([], executions, {}, through=F, crosses=[split(4)]).as_of == F


def test_a_split_of_another_name_or_before_the_first_purchase_moves_nothing() -> None:
    early = replace(split(4), session=E - timedelta(days=1))
    assert folded({"A": 100}, split(4, "KO"), early).holdings == folded({"A": 100}).holdings


def test_what_was_paid_in_commissions_follows_the_shares() -> None:
    executions, _ = bought({"A": 101})
    sale = fill("x", 5, exec_id="09.01", side=OrderSide.SELL, at=datetime.combine(F, time(9, 30), NEW_YORK))
    assert held_commissions(executions, [split(4)]) == {"AAPL": Decimal("1")}
    # 10.1 shares: the tenth of one takes its part of the dollar, half of the rest goes with the sale.
    assert held_commissions([*executions, sale], [split(Fraction(1, 10))]) == {"AAPL": Decimal("0.4950")}
    assert held_commissions(executions, [split(Fraction(1, 200))]) == {}


@pytest.mark.parametrize(
    ("factor", "ratio"),
    [
        (4.0, Fraction(4)),
        (0.1, Fraction(1, 10)),
        (1 / 3, Fraction(1, 3)),
        (0.333333, Fraction(1, 3)),
        (1.05, Fraction(21, 20)),
        (1 / 150, Fraction(1, 150)),
        (1.23451, Fraction("1.23451")),
        (0.98766, Fraction("0.98766")),
    ],
)
def test_a_factor_is_the_ratio_that_a_source_has_rounded(factor: float, ratio: Fraction) -> None:
    assert split_ratio(factor) == ratio


def test_the_journal_has_a_split_once_and_for_good(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    assert journal.record_split(split(4))
    assert not journal.record_split(replace(split(4), by="bob"))
    with pytest.raises(RefusedError, match="is recorded as 4 new for 1 old shares, not 1 for 4"):
        journal.record_split(split(Fraction(1, 4)))
    journal.close()
    journal = Journal(path)
    assert journal.splits() == (split(4),)
    with pytest.raises(JournalError, match="append-only"), journal._database.write() as connection:
        connection.execute("DELETE FROM splits")
    journal.close()
