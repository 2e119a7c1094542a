"""The tape: what it accepts, and what it answers."""

from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import DataError
from hrp_core.matching import Tape


def frame(**columns):
    rows = {
        "session": [date(2022, 12, 2), date(2022, 12, 1), date(2022, 12, 1)],
        "symbol": ["B", "B", "A"],
        "open": [None, None, None],
        "high": [None, None, None],
        "low": [None, None, None],
        "close": [12.3456789, 11.0, 5.0],
        "volume": [100, None, None],
    }
    return pd.DataFrame({**rows, **columns})


def test_long_rows_in_any_order_become_sorted_arrays():
    tape = Tape.from_frame(frame())
    assert tape.sessions == (date(2022, 12, 1), date(2022, 12, 2))
    assert tape.symbols == ("A", "B")
    np.testing.assert_array_equal(tape.close, [[5.0, 11.0], [np.nan, 12.3456789]])
    assert np.isnan(tape.open).all()
    assert tape.shares_traded(date(2022, 12, 2), "B") == 100
    assert tape.shares_traded(date(2022, 12, 1), "B") is None


def test_prices_are_ten_thousandths_rounded_half_to_even():
    tape = Tape.from_frame(frame())
    assert tape.price_units(date(2022, 12, 2), "B", "close") == 123_457
    assert tape.price_units(date(2022, 12, 2), "A", "close") is None
    assert tape.price_units(date(2022, 12, 2), "B", "open") is None
    assert tape.price_units(date(2022, 12, 5), "B", "close") is None
    assert tape.price_units(date(2022, 12, 2), "X", "close") is None
    assert Tape.from_frame(frame(close=[0.00004, 1, 1])).price_units(date(2022, 12, 2), "B", "close") is None


def test_the_last_close_is_the_newest_one_up_to_a_session():
    tape = Tape.from_frame(frame())
    assert tape.last_close_units("A", date(2022, 12, 30)) == 50_000
    assert tape.last_close_units("B", date(2022, 12, 1)) == 110_000
    assert tape.last_close_units("B", date(2022, 11, 30)) is None
    assert tape.last_close_units("X", date(2022, 12, 30)) is None


def test_the_clock_ends_on_the_evening_of_the_last_priced_session():
    tape = Tape.from_frame(frame(close=[None, 11.0, 5.0]))
    assert (tape.first_session, tape.last_session) == (date(2022, 12, 1), date(2022, 12, 1))
    assert tape.horizon == datetime(2022, 12, 1, 23, 59, tzinfo=NEW_YORK)


def test_arrays_cannot_be_changed():
    tape = Tape.from_frame(frame())
    with pytest.raises(ValueError, match="read-only"):
        tape.close[0, 0] = 1.0


@pytest.mark.parametrize("dtype", ["datetime64[ns]", "datetime64[s]", object])
def test_sessions_may_be_dates_or_datetimes(dtype):
    values = frame()["session"].astype(dtype)
    assert Tape.from_frame(frame(session=values)).sessions == (date(2022, 12, 1), date(2022, 12, 2))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"close": [-1.0, 1.0, 1.0]}, "B on 2022-12-02 has close -1"),
        ({"close": [np.inf, 1.0, 1.0]}, "has close inf"),
        ({"open": [0.0, 1.0, 1.0]}, "has open 0"),
        ({"volume": [-5, 1, 1]}, "has volume -5"),
        ({"close": ["n/a", 1.0, 1.0]}, "column close must hold numbers"),
        ({"close": [None, None, None]}, "not one closing price"),
        ({"symbol": ["B", "B", "B"]}, "B on 2022-12-01 is there twice"),
        ({"symbol": ["b", "b", "A"]}, "'b' is not an upper-case ticker"),
        (
            {"session": [date(2022, 12, 3)] * 2 + [date(2022, 12, 1)], "symbol": ["A", "B", "A"]},
            "2022-12-03 is not",
        ),
        ({"session": [datetime(2022, 12, 1, 16)] * 3, "symbol": ["A", "B", "C"]}, "without a time of day"),  # noqa: DTZ001
    ],
)
def test_broken_rows_are_refused_by_name(columns, message):
    with pytest.raises(DataError, match=message):
        Tape.from_frame(frame(**columns))


def test_a_missing_column_and_an_empty_frame_are_refused():
    with pytest.raises(DataError, match="no column close, volume"):
        Tape.from_frame(frame().drop(columns=["close", "volume"]))
    with pytest.raises(DataError, match="no rows"):
        Tape.from_frame(frame().iloc[:0])


def test_arrays_of_another_shape_are_refused():
    square = np.ones((2, 2))
    with pytest.raises(DataError, match="`close` has shape"):
        Tape(
            (date(2022, 12, 1), date(2022, 12, 2)),
            ("A", "B"),
            square,
            square,
            square,
            np.ones((2, 1)),
            square,
        )
    with pytest.raises(DataError, match="ascend"):
        Tape((date(2022, 12, 2), date(2022, 12, 1)), ("A", "B"), square, square, square, square, square)
