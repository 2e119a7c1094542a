import ast
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from ledger_support import ACCOUNT, NOW, D, E, fill, freeze, order, send

import hrp_core.ledger
from hrp_core.calendar import NEW_YORK
from hrp_core.errors import DataError
from hrp_core.ledger.book import Book, fold_book, read_book
from hrp_core.ledger.frames import fills_frame, orders_frame
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.nav import Mark, MarkSource, NavRow, PastNav, nav_frame, nav_row, positions_frame
from hrp_core.ledger.types import CashFlow, Evidence, FlowKind, OrderAllocation, OrderStatus, Source
from hrp_core.portfolio.types import OrderSide
from hrp_core.store.tables import table

F = date(2022, 12, 19)  # the session after E
NEXT = date(2022, 12, 20)
OPENING = CashFlow("opening", FlowKind.OPENING, Decimal(100_000), E, NOW, "test")
BUY_100 = fill("ref", 100, price="137.25", commission="1.00")
CLOSE = datetime.combine(E, time(16), NEW_YORK)
SHARED = {"ref": OrderAllocation("i", OrderSide.BUY, 100, (("A", 60), ("B", 40)))}


def value(book: Book, mark: str = "140", *previous: PastNav, session: date = D, valued: date = E) -> NavRow:
    return nav_row(
        book,
        {"AAPL": Decimal(mark)},
        session=session,
        valuation_session=valued,
        previous=previous,
        mark_source=MarkSource.OFFICIAL_CLOSE,
        mark_time=datetime.combine(valued, time(16), NEW_YORK),
        mode="sim",
        account=ACCOUNT,
    )


def test_the_first_nav_earns_its_return_on_the_opening_balance() -> None:
    row = value(fold_book([OPENING], [BUY_100], SHARED))
    assert row.cash == Decimal(100_000) - 13725 - 1
    assert row.market_value == 14_000
    assert row.nav == Decimal("100274")
    assert row.daily_return == pytest.approx(0.00274)
    assert (row.flows, row.commissions, row.positions) == (100_000, 1, 1)
    assert row.gross_exposure == row.net_exposure == pytest.approx(14_000 / 100_274)
    assert row.turnover == pytest.approx(13_725 / 100_274)
    assert row.drawdown == 0.0


def test_a_deposit_is_no_return_and_a_dividend_is() -> None:
    previous = PastNav(E, Decimal("100274"), 0.00274, Decimal(100_000))
    flows = [
        OPENING,
        replace(OPENING, reference="d", kind=FlowKind.DEPOSIT, amount=Decimal(50_000), session=F),
        replace(OPENING, reference="v", kind=FlowKind.DIVIDEND, amount=Decimal(100), session=F),
    ]
    row = value(fold_book(flows, [BUY_100], SHARED), "140", previous, session=E, valued=F)
    assert row.nav == Decimal("150374")
    assert row.flows == 50_000
    assert row.daily_return == pytest.approx(100 / 100_274)
    assert (row.commissions, row.turnover) == (0, 0.0)


def test_drawdown_is_the_fall_from_the_highest_time_weighted_value() -> None:
    book = fold_book([OPENING], [BUY_100], SHARED)
    before = [
        PastNav(E, Decimal(110_000), 0.10, Decimal(100_000)),
        PastNav(E + timedelta(days=1), Decimal(99_000), -0.10, Decimal(0)),
    ]
    row = value(book, "137.26", *before, session=E, valued=F)  # nav 100,000: +1/99 on the last
    assert row.drawdown == pytest.approx(1 - (0.9 * 100_000 / 99_000))
    # Rows of later sessions, left from an earlier run, change nothing.
    later = PastNav(F + timedelta(days=1), Decimal(1), -0.9, Decimal(0))
    assert value(book, "137.26", *before, later, session=E, valued=F) == row


def test_a_deposit_recorded_after_its_day_was_valued_is_no_profit_of_the_next() -> None:
    valued = PastNav(E, Decimal("100274"), 0.00274, Decimal(100_000))
    late = replace(OPENING, reference="d", kind=FlowKind.DEPOSIT, amount=Decimal(10_000), session=E)
    row = value(fold_book([OPENING, late], [BUY_100], SHARED), "140", valued, session=E, valued=F)
    assert (row.nav, row.flows) == (Decimal("110274"), 10_000)
    assert row.daily_return == pytest.approx(0.0)


@pytest.mark.parametrize("amount", [30_000, -30_000, 3_000_000, -100_274])
@pytest.mark.parametrize("mark", ["120", "140", "160"])
def test_a_flow_of_any_size_moves_neither_the_return_nor_the_drawdown(amount: int, mark: str) -> None:
    previous = PastNav(E, Decimal("100274"), 0.00274, Decimal(100_000))
    kind = FlowKind.DEPOSIT if amount > 0 else FlowKind.WITHDRAWAL
    flow = replace(OPENING, reference="f", kind=kind, amount=Decimal(amount), session=F)
    without = value(fold_book([OPENING], [BUY_100], SHARED), mark, previous, session=E, valued=F)
    row = value(fold_book([OPENING, flow], [BUY_100], SHARED), mark, previous, session=E, valued=F)
    assert (row.nav, row.flows) == (without.nav + amount, amount)
    assert (row.daily_return, row.drawdown) == (without.daily_return, without.drawdown)
    # Nor those of the next session, which is measured against the account with the flow in it.
    if row.nav > 0:
        past = PastNav(F, row.nav, row.daily_return, row.flows)
        flat = value(
            fold_book([OPENING, flow], [BUY_100], SHARED), mark, previous, past, session=F, valued=NEXT
        )
        assert (flat.daily_return, flat.drawdown) == (pytest.approx(0), pytest.approx(row.drawdown))


def test_sessions_without_a_valuation_are_made_up_for_by_the_next_one() -> None:
    deposit = replace(OPENING, reference="d", kind=FlowKind.DEPOSIT, amount=Decimal(1_000), session=E)
    old = PastNav(D - timedelta(days=7), Decimal(100_000), None, Decimal(100_000))
    row = value(
        fold_book([replace(OPENING, session=old.valuation_session), deposit], [BUY_100], SHARED), "140", old
    )
    assert row.flows == 1_000
    assert row.daily_return == pytest.approx(274 / 100_000)


def test_an_empty_account_has_a_nav_of_nothing_and_no_return() -> None:
    row = value(fold_book([], [], {}))
    assert (row.nav, row.daily_return, row.drawdown, row.gross_exposure, row.turnover) == (0, None, 0, 0, 0)


@pytest.mark.parametrize("bad", [None, Decimal("NaN"), Decimal(0), Decimal(-1)])
def test_a_held_name_without_a_mark_is_an_error_that_names_it(bad: Decimal | None) -> None:
    book = fold_book([OPENING], [BUY_100], SHARED)
    marks = {} if bad is None else {"AAPL": Mark(bad, MarkSource.OFFICIAL_CLOSE, CLOSE)}
    with pytest.raises(DataError, match=f"AAPL held after {E}"):
        positions_frame(book, marks, session=D, valuation_session=E, mode="sim", account=ACCOUNT)


def test_missing_commissions_are_said(journal: Journal) -> None:
    assert (
        value(fold_book([OPENING], [replace(BUY_100, commission=None)], SHARED)).unreported_commissions == 1
    )
    assert value(fold_book([OPENING], [BUY_100], SHARED)).unreported_commissions == 0


def test_positions_of_strategies_sum_to_the_accounts() -> None:
    book = fold_book([OPENING], [BUY_100], SHARED)
    marks = {"AAPL": Mark(Decimal("140"), MarkSource.OFFICIAL_CLOSE, CLOSE)}
    frame = positions_frame(book, marks, session=D, valuation_session=E, mode="sim", account=ACCOUNT)
    rows = {row.strategy_id: (row.shares, row.market_value, row.unrealized_pnl) for row in frame.itertuples()}
    assert rows == {
        "": (100, Decimal(14_000), Decimal(275)),
        "A": (60, Decimal(8_400), Decimal(165)),
        "B": (40, Decimal(5_600), Decimal(110)),
    }


def test_frames_have_the_columns_of_their_tables_also_when_empty(journal: Journal) -> None:
    def columns(name: str) -> list[str]:
        return list(table(name).column_names)

    frozen = freeze(journal, [order("AAPL"), order("KO", 30)])
    aapl = send(journal, frozen, 0)
    journal.record([Evidence(aapl, Source.EVENT, OrderStatus.SUBMITTED, 1_200_000_001)], now=NOW)
    orders = orders_frame(journal.plan(frozen.plan_id), journal.newest_attempts(frozen.plan_id))
    assert list(orders.columns) == columns("orders")
    sent, unsent = orders.itertuples()
    assert (sent.order_ref, sent.status, sent.perm_id, sent.allocations) == (
        aapl,
        "submitted",
        1_200_000_001,
        '{"HYP-2026-001": 100}',
    )
    assert (unsent.order_ref, unsent.status) == (None, "pending")
    journal.record([], [fill(aapl)], now=NOW)
    for book in (read_book(journal), fold_book([], [], {})):
        fills = fills_frame(book, session=D, execution_session=E, mode="sim", account=ACCOUNT)
        marks = {"AAPL": Mark(Decimal(1), MarkSource.OFFICIAL_CLOSE, CLOSE)}
        positions = positions_frame(book, marks, session=D, valuation_session=E, mode="sim", account=ACCOUNT)
        assert list(fills.columns) == columns("fills")
        assert list(positions.columns) == columns("positions")
        assert len(fills) == len(book.fills)
        assert list(nav_frame(value(book)).columns) == columns("nav")


def test_fills_of_other_sessions_are_not_in_a_sessions_frame() -> None:
    book = fold_book([OPENING], [BUY_100], SHARED)
    assert fills_frame(book, session=E, execution_session=F, mode="sim", account=ACCOUNT).empty


def test_the_book_and_the_nav_know_no_broker() -> None:
    folder = Path(hrp_core.ledger.__file__).parent
    for path in folder.glob("*.py"):
        imported = [
            node.module or ""
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom)
        ]
        assert not [name for name in imported if name.startswith(("hrp_core.execution", "hrp_core.matching"))]
