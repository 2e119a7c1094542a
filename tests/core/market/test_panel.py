from datetime import date

import numpy as np
import pandas as pd
import pytest

from hrp_core.calendar import nyse
from hrp_core.errors import DataError, NotReadyError
from hrp_core.market import SampleSource, to_panel

MONDAY, TUESDAY, WEDNESDAY = date(2022, 1, 3), date(2022, 1, 4), date(2022, 1, 5)


def rows(*cells: tuple[date, str, float]) -> pd.DataFrame:
    return pd.DataFrame(cells, columns=["session", "symbol", "close"])


def test_a_session_without_any_price_is_a_row_of_its_own():
    panel = to_panel(rows((WEDNESDAY, "B", 3.0), (MONDAY, "A", 1.0)))
    assert panel.sessions == (MONDAY, TUESDAY, WEDNESDAY)
    assert panel.symbols == ("A", "B")
    np.testing.assert_array_equal(panel.close, [[1.0, np.nan], [np.nan, np.nan], [np.nan, 3.0]])


def test_the_order_of_rows_does_not_matter():
    frame = SampleSource().load(date(2022, 12, 1), date(2022, 12, 28))
    shuffled = frame.sample(frac=1, random_state=1)
    np.testing.assert_array_equal(to_panel(shuffled).close, to_panel(frame).close)


def test_a_panel_can_be_cut_or_filled_to_a_range():
    frame = rows((MONDAY, "A", 1.0), (TUESDAY, "A", 2.0))
    panel = to_panel(frame, "close", start=TUESDAY, end=WEDNESDAY)
    assert panel.sessions == (TUESDAY, WEDNESDAY)
    np.testing.assert_array_equal(panel.close[:, 0], [2.0, np.nan])


def test_a_panel_holds_the_fields_asked_for():
    frame = rows((MONDAY, "A", 1.0)).assign(volume=5.0)
    panel = to_panel(frame, "close", "volume")
    assert panel.field("volume")[0, 0] == 5.0
    with pytest.raises(DataError, match="'open'"):
        panel.field("open")


def test_position_finds_a_session_and_names_what_is_missing():
    panel = to_panel(rows((MONDAY, "A", 1.0), (WEDNESDAY, "A", 1.0)))
    assert panel.position(TUESDAY) == 1
    with pytest.raises(NotReadyError, match="2022-01-06 is not in the panel"):
        panel.position(date(2022, 1, 6))


def test_two_prices_of_one_name_and_session_are_refused():
    with pytest.raises(DataError, match="two prices of A for 2022-01-03"):
        to_panel(rows((MONDAY, "A", 1.0), (MONDAY, "A", 2.0)))


def test_a_day_that_is_no_session_is_refused():
    with pytest.raises(DataError, match="2022-01-08"):
        to_panel(rows((date(2022, 1, 8), "A", 1.0), (MONDAY, "A", 2.0)))


def test_an_empty_frame_is_an_empty_panel():
    panel = to_panel(rows())
    assert (panel.sessions, panel.symbols, panel.close.shape) == ((), (), (0, 0))


def test_the_whole_sample_becomes_a_panel_of_all_sessions():
    frame = SampleSource().load(date(1990, 1, 2), date(2022, 12, 28))
    panel = to_panel(frame)
    assert list(panel.sessions) == nyse().between(date(1990, 1, 2), date(2022, 12, 28))
    assert np.isfinite(panel.close).all()
