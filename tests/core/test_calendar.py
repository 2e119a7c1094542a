"""Sessions, the decision session and the book session at the moments where they change."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from hrp_core.calendar import (
    NEW_YORK,
    FixedClock,
    GatewayClock,
    nyse,
    require_completed,
    require_decision_session,
    start_of_next_day,
)
from hrp_core.errors import DataError, NotReadyError, RefusedError


def ny(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


@pytest.mark.parametrize(
    ("moment", "decision", "book"),
    [
        ("2022-12-15 09:29", "2022-12-14", "2022-12-13"),
        ("2022-12-15 09:31", "2022-12-14", "2022-12-14"),
        ("2022-12-15 15:59", "2022-12-14", "2022-12-14"),
        ("2022-12-15 16:00", "2022-12-15", "2022-12-14"),
        ("2022-12-15 16:15", "2022-12-15", "2022-12-14"),
        ("2022-12-15 17:45", "2022-12-15", "2022-12-14"),
        # The half day after Thanksgiving closes at 13:00.
        ("2022-11-25 12:59", "2022-11-23", "2022-11-23"),
        ("2022-11-25 13:01", "2022-11-25", "2022-11-23"),
        # Saturday, a holiday Monday, and a Friday tick that fires late on Monday.
        ("2022-12-17 12:00", "2022-12-16", "2022-12-15"),
        ("2022-12-26 18:00", "2022-12-23", "2022-12-22"),
        ("2022-12-19 08:00", "2022-12-16", "2022-12-15"),
        ("2022-12-19 10:00", "2022-12-16", "2022-12-16"),
        # The clock change on 2022-11-06 lies between these two.
        ("2022-11-04 16:00", "2022-11-04", "2022-11-03"),
        ("2022-11-07 15:59", "2022-11-04", "2022-11-04"),
    ],
)
def test_decision_and_book_session_at(moment: str, decision: str, book: str) -> None:
    assert nyse().decision_session(ny(moment)).isoformat() == decision
    assert nyse().book_session(ny(moment)).isoformat() == book


def test_a_moment_in_another_zone_means_the_same() -> None:
    assert nyse().decision_session(datetime(2022, 12, 15, 21, 0, tzinfo=UTC)) == date(2022, 12, 15)


def test_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        nyse().decision_session(datetime(2022, 12, 15, 21, 0))  # noqa: DTZ001


def test_a_holiday_is_not_a_session() -> None:
    assert not nyse().is_session(date(2022, 11, 24))
    with pytest.raises(DataError, match="2022-11-24 is not a trading session"):
        nyse().close(date(2022, 11, 24))


def test_sessions_begin_in_1990() -> None:
    assert nyse().first == date(1990, 1, 2)
    assert len(nyse().between(date(1990, 1, 2), date(2022, 12, 28))) == 8313


def test_offsets_end_with_the_calendar() -> None:
    assert nyse().offset(date(2022, 12, 23), 1) == date(2022, 12, 27)
    with pytest.raises(DataError, match="outside the calendar"):
        nyse().previous(nyse().first)


def test_the_next_session_from_a_holiday() -> None:
    assert nyse().next_session_from(date(2022, 12, 24)) == date(2022, 12, 27)


def test_a_session_is_refused_before_its_close() -> None:
    require_completed(date(2022, 12, 15), ny("2022-12-15 16:00"))
    with pytest.raises(RefusedError, match="hrp gateway advance") as refusal:
        require_completed(date(2022, 12, 15), ny("2022-12-15 15:59"))
    assert refusal.value.exit_code == 3


def test_only_the_decision_session_may_be_traded() -> None:
    require_decision_session(date(2022, 12, 15), ny("2022-12-15 18:30"))
    with pytest.raises(RefusedError, match="hrp replay --start 2022-12-14"):
        require_decision_session(date(2022, 12, 14), ny("2022-12-15 18:30"))
    with pytest.raises(RefusedError, match="wait for its close"):
        require_decision_session(date(2022, 12, 16), ny("2022-12-15 18:30"))


def test_the_gateway_clock_reads_the_file_that_the_gateway_writes(tmp_path: Path) -> None:
    file = tmp_path / "gateway.json"
    with pytest.raises(NotReadyError, match="hrp gateway serve"):
        GatewayClock(file).now()
    file.write_text('{"now": "2022-12-15T18:30:00-05:00"}')
    assert GatewayClock(file).now() == ny("2022-12-15 18:30")


def test_a_fixed_clock_stands_still() -> None:
    clock = FixedClock(ny("2022-12-15 18:30"))
    assert clock.now() == clock.now() == ny("2022-12-15 18:30")


def test_the_broker_day_ends_at_midnight_in_new_york() -> None:
    assert start_of_next_day(datetime(2022, 12, 16, 4, 59, tzinfo=UTC)) == ny("2022-12-16 00:00")
