"""What the account is worth before its official closes are stored: there to be looked at, and no more."""

from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from book_support import AFTERNOON, CLOSE, MORNING, OFFICIAL, OPEN, Desk, QuotingBroker, traded_desk
from order_support import D, E, F, at, connected, sync

from hrp_core.calendar import nyse
from hrp_core.checks import CheckLimits, run_checks
from hrp_core.errors import BrokerError, DataError, NotReadyError, RefusedError
from hrp_core.execution.bookkeeping import (
    closed_books,
    newest_book,
    past_navs,
    session_nav,
    session_positions,
)
from hrp_core.execution.planning import read_performance, require_book
from hrp_core.execution.projection_tables import LIVE_POSITIONS
from hrp_core.execution.projections import rebuild
from hrp_core.execution.session_reconciliation import session_reconciliation
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import CashFlow, FlowKind
from hrp_core.platform.status import read_status
from hrp_core.portfolio.types import NEVER_VALUED, Performance
from hrp_core.settings import Settings
from hrp_core.store import Store, migrate


@pytest.fixture
def desk(tmp_path: Path, journal: Journal) -> Desk:
    return traded_desk(tmp_path, journal)


def test_the_day_is_valued_at_the_open_then_the_close_then_officially_and_only_that_stays(desk: Desk) -> None:
    with pytest.raises(RefusedError, match=f"session {E} closes at"):
        desk.book(at(E, "09:29"))
    desk.at(MORNING)
    morning = desk.book(MORNING)
    paid = sum((fill.commission or Decimal(0) for fill in desk.journal.executions()), Decimal(0))
    # An honest broker knows the open at 09:45, at which the orders have just filled.
    assert (morning["nav"], morning["mark_source"], morning["mark_time"]) == (
        100_000 - paid,
        "broker_mark",
        MORNING,
    )
    held = desk.rows("positions")
    opens = {name: OPEN[name] for name in ("AAPL", "KO")}
    assert dict(zip(held["symbol"], held["mark"], strict=True)) == opens
    assert set(held["mark_source"]) == {"broker_mark"}
    desk.journal.record_cash_flow(CashFlow("d", FlowKind.DEPOSIT, Decimal(5_000), E, at(E, "12:00"), "test"))
    desk.at(AFTERNOON)
    afternoon = desk.book(AFTERNOON)
    assert (afternoon["nav"], afternoon["flows"]) == (100_000 - paid + 15 + 5_000, 105_000)
    with desk.store.read() as connection:
        live = connection.execute(
            f"SELECT symbol, current_price, updated_at FROM {LIVE_POSITIONS.name} ORDER BY symbol"
        ).fetchall()
    assert live == [("AAPL", CLOSE["AAPL"], AFTERNOON), ("KO", CLOSE["KO"], AFTERNOON)]

    with pytest.raises(DataError, match=r"AAPL, KO held after .*market_data_job"):
        desk.book(OFFICIAL)
    desk.prices(E)
    official = desk.book(OFFICIAL)
    assert official["mark_source"] == "official_close"
    assert (official["nav"], official["flows"]) == (afternoon["nav"], afternoon["flows"])
    last = desk.rows("nav"), desk.rows("positions")
    assert set(last[1]["mark_source"]) == {"official_close"}
    # As on a day on which nobody looked before.
    with desk.store.write() as connection:
        for name in ("nav", "positions"):
            connection.execute(f"DELETE FROM {name}")
    desk.book(OFFICIAL)
    pd.testing.assert_frame_equal(desk.rows("nav"), last[0])
    pd.testing.assert_frame_equal(desk.rows("positions"), last[1])


@pytest.mark.parametrize(
    ("last", "bid_ask", "mark", "source"),
    [
        (None, None, "prices end on D", "last_close"),
        (Decimal("NaN"), None, "prices end on D", "last_close"),
        (Decimal(-1), None, "prices end on D", "last_close"),
        # Half the price, or one and a half times it, is no move of a session.
        (Decimal(30), None, "prices end on D", "last_close"),
        (Decimal(200), None, "prices end on D", "last_close"),
        (Decimal(60), None, Decimal(60), "broker_mark"),
        (None, (Decimal(60), Decimal(61)), Decimal("60.5"), "broker_mark"),
    ],
)
def test_a_name_that_the_broker_prices_badly_keeps_its_last_close_and_is_named(
    desk: Desk,
    last: Decimal | None,
    bid_ask: object,
    mark: object,
    source: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk.at(MORNING)
    desk.broker.last = {"KO": last}
    if isinstance(bid_ask, tuple):
        desk.broker.bid_ask = {"KO": bid_ask}
    desk.book(MORNING)
    held = desk.rows("positions")
    row = held.loc[(held["strategy_id"] == "") & (held["symbol"] == "KO")].iloc[0]
    of_d = CLOSE["KO"] - 1
    assert (row["mark"], row["mark_source"]) == (of_d if source == "last_close" else mark, source)
    assert row["mark_time"] == (nyse().close(D) if source == "last_close" else MORNING)
    assert ("KO" in caplog.text) == (source == "last_close")
    assert desk.rows("nav")["mark_time"].iloc[0] == MORNING


def test_where_the_broker_prices_nothing_there_is_no_provisional_value(desk: Desk) -> None:
    desk.at(MORNING)
    desk.broker.last = {"AAPL": None, "KO": None}
    with pytest.raises(BrokerError, match="no believable price of any name held"):
        desk.book(MORNING)
    desk.prices(E)
    assert desk.book(OFFICIAL)["mark_source"] == "official_close"


def test_a_name_without_any_price_is_refused_by_name(desk: Desk) -> None:
    with desk.store.write() as connection:
        connection.execute("DELETE FROM prices WHERE symbol = 'KO'")
    desk.at(MORNING)
    desk.broker.last = {"KO": None}
    with pytest.raises(DataError, match=f"KO held after {E}"):
        desk.book(MORNING)


def test_an_account_of_cash_asks_the_broker_for_no_price(tmp_path: Path, journal: Journal) -> None:
    desk = Desk(Settings(home=tmp_path), Store(tmp_path / "hrp.duckdb"), journal, QuotingBroker())
    migrate(desk.store)
    sync(connected(desk.broker), journal)
    desk.connect = lambda: pytest.fail("nothing is held")  # type: ignore[method-assign]
    row = desk.book(MORNING)
    assert (row["nav"], row["mark_source"], row["mark_time"]) == (100_000, "broker_mark", MORNING)


def test_nothing_official_reads_a_provisional_row(desk: Desk) -> None:
    desk.at(AFTERNOON)
    row = desk.book(AFTERNOON)
    store, journal = desk.store, desk.journal
    assert past_navs(store, before=F) == []
    assert newest_book(store) is None
    assert read_performance(store, E) is NEVER_VALUED
    with pytest.raises(NotReadyError, match=f"not valued at the close of {E} yet.* book_job of {D}"):
        require_book(store, journal, E, OFFICIAL)
    with store.read() as connection:
        assert closed_books(connection, D) == set()
    status = read_status(desk.settings)
    assert (status.valued_at, status.nav, status.newest["nav"]) == (None, None, None)
    assert (status.provisional_at, status.provisional_nav) == (AFTERNOON, row["nav"])
    # The checks judge it as every other row, under its own content.
    for asset in ("positions", "nav"):
        for judged in run_checks(store, asset, [D], CheckLimits(), run_id="r", now=AFTERNOON):
            assert judged.failed == {}

    desk.prices(E)
    official = desk.book(OFFICIAL)
    assert newest_book(store) == D
    assert read_performance(store, E) == Performance(float(official["daily_return"]), 0.0)
    require_book(store, journal, E, OFFICIAL)
    with store.read() as connection:
        assert closed_books(connection, D) == {D}
    status = read_status(desk.settings)
    assert (status.valued_at, status.nav, status.provisional_nav) == (E, official["nav"], None)

    # The next morning: what is official stays what counts, beside the look at the new session.
    desk.at(at(F, "09:45"))
    looked = desk.book(at(F, "09:45"), E)
    assert [past.valuation_session for past in past_navs(store, before=F)] == [E]
    assert read_performance(store, F) is None
    status = read_status(desk.settings)
    assert (status.valued_at, status.nav, status.provisional_nav) == (E, official["nav"], looked["nav"])
    assert looked["daily_return"] == pytest.approx(float(looked["nav"] / official["nav"] - 1))


def test_a_look_takes_no_cash_flow_from_the_book_that_is_closed_late(desk: Desk) -> None:
    desk.journal.record_cash_flow(CashFlow("d", FlowKind.DEPOSIT, Decimal(5_000), E, at(E, "12:00"), "test"))
    desk.at(AFTERNOON)
    desk.prices(E)
    later = at(F, "09:45")
    desk.at(later)
    assert desk.book(later, E)["flows"] == 105_000
    assert desk.book(later, D)["flows"] == 105_000
    assert desk.book(later, E)["flows"] == 0


def test_ledger_and_broker_are_not_compared_while_the_session_trades(desk: Desk) -> None:
    desk.at(MORNING)
    run = (desk.settings, desk.store, desk.journal, desk.connect, D)
    with pytest.raises(RefusedError, match="run fills, positions, nav of book_job alone"):
        session_reconciliation(*run, MORNING, run_id="test")
    desk.at(AFTERNOON)
    assert session_reconciliation(*run, AFTERNOON, run_id="test").status == "reconciled"


def test_positions_left_at_the_brokers_prices_keep_a_book_open(desk: Desk) -> None:
    """Prices that arrive between the two steps: the NAV is official, the positions are made again."""
    desk.at(AFTERNOON)
    held = session_positions(desk.settings, desk.store, desk.journal, desk.connect, D, AFTERNOON)
    desk.write("positions", held, [D], AFTERNOON)
    desk.prices(E)
    nav = session_nav(desk.store, desk.journal, D, AFTERNOON)
    assert nav["mark_source"].tolist() == ["official_close"]
    desk.write("nav", nav, [D], AFTERNOON)
    with desk.store.read() as connection:
        assert closed_books(connection, D) == set()


def test_a_rebuild_drops_what_the_journal_does_not_know_and_needs_no_close_for_it(desk: Desk) -> None:
    desk.at(AFTERNOON)
    desk.book(AFTERNOON)
    done = rebuild(desk.store, desk.journal, AFTERNOON, run_id="test")
    assert done.emptied == (("positions", D), ("nav", D))
    assert (done.rows["fills"], done.rows["nav"]) == (2, 0)
