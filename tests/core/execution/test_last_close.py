"""A held name without an official close keeps its last one for some sessions, and the book closes on it."""

from collections.abc import Collection
from datetime import date
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from book_support import CLOSE, OFFICIAL, SESSIONS, Desk, traded_desk
from order_support import SYMBOLS, D, E, F, at

from hrp_core.calendar import nyse
from hrp_core.checks import Checked, CheckLimits, run_checks
from hrp_core.errors import DataError, NotReadyError
from hrp_core.execution.bookkeeping import closed_books, kept_closes, past_navs
from hrp_core.execution.marks import LAST_CLOSE_SESSIONS, last_close
from hrp_core.execution.planning import read_performance, require_book
from hrp_core.execution.projection_tables import LIVE_POSITIONS
from hrp_core.execution.projections import rebuild
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import BookedSplit
from hrp_core.platform import PlatformAPI
from hrp_core.store import table

# Enough that one name is less than the twentieth part that a delivery may lack.
OTHERS = [f"N{number:02}" for number in range(37)]
LAST = CLOSE["KO"] - 1


@pytest.fixture
def desk(tmp_path: Path, journal: Journal) -> Desk:
    desk = traded_desk(tmp_path, journal)
    desk.at(OFFICIAL)
    return desk


def deliver(
    desk: Desk, through: date, *, dark: Collection[date] = (), lost: int = 0, judge: bool = True
) -> None:
    """Store the closes up to a session, KO without those of `dark`, `lost` other names without the last."""
    days = [day for day in SESSIONS if day <= through]
    bases = {**SYMBOLS, **dict.fromkeys(OTHERS, 10.0)}
    rows = [
        {"session": day, "symbol": symbol, "close": base + number + 0.5}
        for number, day in enumerate(days)
        for symbol, base in bases.items()
        if not (symbol == "KO" and day in dark) and not (day == through and symbol in OTHERS[:lost])
    ]
    prices = pd.DataFrame(rows, columns=list(table("prices").column_names)).assign(source="test")
    known = pd.DataFrame(
        [
            {"session": day, "symbol": name, "in_universe": name != "KO" or day not in dark, "reason": "test"}
            for day in days
            for name in bases
        ]
    )
    now = at(through, "17:30")
    for name, frame in (("universe", known), ("prices", prices)):
        desk.write(name, frame, days, now)
    desk.write(
        "corporate_actions", pd.DataFrame(columns=list(table("corporate_actions").column_names)), days, now
    )
    if judge:
        run_checks(desk.store, "prices", [through], CheckLimits(), run_id="test", now=now)


def judged(desk: Desk, session: date = D) -> dict[str, Checked]:
    found = run_checks(desk.store, "positions", [session], CheckLimits(), run_id="test", now=OFFICIAL)
    return {item.claim.name: item for item in found}


def is_closed(desk: Desk) -> bool:
    with desk.store.read() as connection:
        return closed_books(connection, D) == {D}


def test_a_halted_name_keeps_its_last_close_and_the_book_is_official_and_names_it(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(desk, E, dark=[E])
    nav = desk.book(OFFICIAL)
    held = {
        (row["strategy_id"], row["symbol"]): row for row in desk.rows("positions").to_dict(orient="records")
    }
    for owner in ("", "HYP-2026-001"):
        row = held[owner, "KO"]
        assert (row["mark"], row["mark_source"], row["mark_time"]) == (LAST, "last_close", nyse().close(D))
        assert held[owner, "AAPL"]["mark_source"] == "official_close"
    assert (nav["mark_source"], nav["mark_time"]) == ("official_close", nyse().close(E))
    assert nav["market_value"] == 10 * CLOSE["AAPL"] + 20 * LAST
    assert "KO has no close of 2022-12-16 and keeps that of 2022-12-15" in caplog.text
    # Planning goes on; nothing blocks, and one warning names it.
    assert is_closed(desk)
    require_book(desk.store, desk.journal, E, OFFICIAL)
    assert read_performance(desk.store, E) is not None
    assert kept_closes(desk.store) == kept_closes(desk.store, D) == {D: {"KO": D}}
    claims = judged(desk)
    assert [name for name, item in claims.items() if item.failed] == ["positions_are_at_their_close"]
    warning = claims["positions_are_at_their_close"]
    assert (warning.claim.blocking, warning.claim.severity.value) == (False, "warn")
    assert warning.findings[D].observed == "2 names, KO at its close of 2022-12-15"
    # Every other way to value the account says the same.
    assert PlatformAPI(desk.settings).get_portfolio_value() == nav["nav"]
    with desk.store.read() as connection:
        live = connection.execute(
            f"SELECT symbol, current_price FROM {LIVE_POSITIONS.name} ORDER BY 1"
        ).fetchall()
    assert live == [("AAPL", CLOSE["AAPL"]), ("KO", LAST)]
    before = desk.rows("positions"), desk.rows("nav")
    rebuild(desk.store, desk.journal, OFFICIAL, run_id="test")
    pd.testing.assert_frame_equal(desk.rows("positions"), before[0])
    pd.testing.assert_frame_equal(desk.rows("nav"), before[1])

    # It stays dark for another session, and the return of that session is of the others alone.
    deliver(desk, F, dark=[E, F])
    desk.at(at(F, "17:45"))
    assert desk.book(at(F, "17:45"), E)["market_value"] == 10 * (CLOSE["AAPL"] + 1) + 20 * LAST
    assert kept_closes(desk.store) == {D: {"KO": D}, E: {"KO": D}}
    assert [past.valuation_session for past in past_navs(desk.store, before=F)] == [E, F]


def test_a_close_that_comes_later_is_taken_by_the_next_book(desk: Desk) -> None:
    deliver(desk, E, dark=[E])
    desk.book(OFFICIAL)
    deliver(desk, E)
    assert desk.book(OFFICIAL)["market_value"] == 10 * CLOSE["AAPL"] + 20 * CLOSE["KO"]
    assert judged(desk)["positions_are_at_their_close"].failed == {}
    assert kept_closes(desk.store) == {}


@pytest.mark.parametrize(
    ("delivery", "why"),
    [
        ({"judge": False}, "prices_match_their_schema was not judged"),
        ({"lost": 3}, r"prices_are_complete_and_fresh is not true \(90.0% of 40 expected"),
    ],
)
def test_a_delivery_that_merely_lacks_rows_closes_no_book(desk: Desk, delivery: dict, why: str) -> None:
    deliver(desk, E, dark=[E], **delivery)
    for make in (desk.book, lambda now: rebuild(desk.store, desk.journal, now, run_id="test")):
        with pytest.raises(DataError, match=f"KO held after {E}.*{why}.*market_data_job of {E}"):
            make(OFFICIAL)
    with pytest.raises(DataError, match="KO held after"):
        PlatformAPI(desk.settings).get_portfolio_value()
    with pytest.raises(NotReadyError, match="not valued at the close"):
        require_book(desk.store, desk.journal, E, OFFICIAL)
    # What the others lack is no matter of this account.
    deliver(desk, E, **delivery)
    desk.book(OFFICIAL)
    assert is_closed(desk)


def test_a_name_that_is_dark_for_too_long_or_was_never_priced_keeps_the_book_open(desk: Desk) -> None:
    through = SESSIONS.index(E) + 1
    deliver(desk, E, dark=SESSIONS[through - LAST_CLOSE_SESSIONS : through])
    desk.book(OFFICIAL)
    first = SESSIONS[through - LAST_CLOSE_SESSIONS - 1]
    assert kept_closes(desk.store) == {D: {"KO": first}}
    for dark in (SESSIONS[through - LAST_CLOSE_SESSIONS - 1 : through], SESSIONS):
        deliver(desk, E, dark=dark)
        with pytest.raises(
            DataError,
            match=f"KO held after {E} has had no price for more than 10 sessions.*"
            f"`hrp job run market-data --session {E}`, then `hrp job run book --session {D}`",
        ):
            desk.book(OFFICIAL)


def test_a_close_of_before_a_split_values_no_share_of_after_it(desk: Desk) -> None:
    desk.journal.record_split(BookedSplit("KO", E, Fraction(2), "test", OFFICIAL))
    deliver(desk, E, dark=[E])
    with pytest.raises(DataError, match=r"KO held after .*or none since a split"):
        desk.book(OFFICIAL)


def test_the_last_close_is_the_newest_one_of_the_last_ten_sessions_and_of_the_same_share() -> None:
    days = nyse().between(date(2022, 11, 1), date(2022, 11, 30))
    newest = days[-1]
    for back in range(len(days)):
        closes = {days[-1 - back]: 7, days[0]: 5}
        found = last_close(closes.get, newest)
        assert found == ((days[-1 - back], 7) if back <= LAST_CLOSE_SESSIONS else None)
        for split in range(len(days)):
            spoiled = split < back <= LAST_CLOSE_SESSIONS
            assert last_close(closes.get, newest, [days[-1 - split]]) == (None if spoiled else found)
    assert last_close({}.get, nyse().first) is None
