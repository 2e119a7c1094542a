"""The rows that the book projects are what the store's tables take."""

from datetime import datetime, time
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from ledger_support import ACCOUNT, NOW, D, E, fill, freeze, order, send

from hrp_core.calendar import NEW_YORK
from hrp_core.ledger.book import Book, fold_book, read_book
from hrp_core.ledger.frames import fills_frame, orders_frame
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.nav import Mark, MarkSource, nav_frame, nav_row, positions_frame
from hrp_core.ledger.types import CashFlow, FlowKind
from hrp_core.store import Store, table
from hrp_core.store.migrate import migrate
from hrp_core.store.slices import Sessions, replace_slice


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "hrp.duckdb")
    migrate(store)
    return store


def frames(journal: Journal, book: Book) -> dict[str, pd.DataFrame]:
    plan = journal.latest_plan(D)
    assert plan is not None
    close = datetime.combine(E, time(16), NEW_YORK)
    marks = {"AAPL": Mark(Decimal("140.5"), MarkSource.OFFICIAL_CLOSE, close)}
    valued = nav_row(
        book,
        {symbol: mark.price for symbol, mark in marks.items()},
        session=D,
        valuation_session=E,
        previous=[],
        mark_source=MarkSource.OFFICIAL_CLOSE,
        mark_time=close,
        mode="sim",
        account=ACCOUNT,
    )
    return {
        "orders": orders_frame(plan, journal.newest_attempts(plan.plan_id)),
        "fills": fills_frame(book, session=D, execution_session=E, mode="sim", account=ACCOUNT),
        "positions": positions_frame(
            book, marks, session=D, valuation_session=E, mode="sim", account=ACCOUNT
        ),
        "nav": nav_frame(valued),
    }


@pytest.mark.parametrize("traded", [True, False])
def test_the_store_takes_the_rows_of_a_session_with_and_without_trades(
    journal: Journal, store: Store, traded: bool
) -> None:
    frozen = freeze(journal, [order("AAPL"), order("KO")])
    journal.record_cash_flow(CashFlow("opening", FlowKind.OPENING, Decimal(100_000), E, NOW, "test"))
    if traded:
        ref = send(journal, frozen)
        journal.record([], [fill(ref, commission=None)], now=NOW)
    book = read_book(journal)
    assert bool(book.fills) is traded
    for name, frame in frames(journal, book).items():
        with store.write() as connection:
            replace_slice(connection, table(name), frame, Sessions([D]), "run", "1", NOW)
            (rows,) = connection.execute(f"SELECT count(*) FROM {name}").fetchone() or (0,)
        assert rows == len(frame)


def test_an_account_that_never_had_cash_can_be_stored_too(journal: Journal, store: Store) -> None:
    freeze(journal)
    with store.write() as connection:
        replace_slice(
            connection,
            table("nav"),
            frames(journal, fold_book([], [], {}))["nav"],
            Sessions([D]),
            "run",
            None,
            NOW,
        )
