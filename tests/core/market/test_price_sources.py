from datetime import date

import numpy as np
import pytest

from hrp_core.calendar import nyse
from hrp_core.market import PRICE_COLUMNS, FilesSource, PriceSource, SampleSource, source_from_settings
from hrp_core.market.sources import SAMPLE_FILE
from hrp_core.settings import Settings

FIRST, LAST = date(1990, 1, 2), date(2022, 12, 28)


def test_the_sample_holds_every_session_of_the_exchange_for_20_names():
    frame = SampleSource().load(FIRST, LAST)
    assert frame["symbol"].nunique() == 20
    assert sorted(frame["session"].unique()) == nyse().between(FIRST, LAST)
    assert len(frame) == 20 * 8313
    assert not frame.duplicated(["session", "symbol"]).any()


def test_the_sample_is_adjusted_closes_and_says_where_they_come_from():
    frame = SampleSource().load(LAST, LAST)
    assert tuple(frame.columns) == PRICE_COLUMNS
    assert frame.loc[frame["symbol"] == "AAPL", "close"].item() == 125.674
    assert frame[["open", "high", "low", "volume", "split_factor", "dividend"]].isna().all(axis=None)
    assert set(frame["source"]) == {"sample"}
    assert {type(day) for day in frame["session"]} == {date}


def test_every_sample_price_is_a_multiple_of_a_hundredth_of_a_cent():
    close = SampleSource().load(FIRST, LAST)["close"].to_numpy()
    assert (close > 0).all()
    assert (np.round(close, 4) == close).all()


def test_the_sample_ships_small_with_licence_and_attribution():
    assert SAMPLE_FILE.stat().st_size < 2_000_000
    assert "BSD 3-Clause" in (SAMPLE_FILE.parent / "LICENSE").read_text()
    assert "skfolio" in (SAMPLE_FILE.parent / "ATTRIBUTION").read_text()


def test_load_returns_both_ends_sorted_by_session_and_symbol():
    frame = SampleSource().load(date(2022, 12, 23), date(2022, 12, 27))
    assert frame["session"].unique().tolist() == [date(2022, 12, 23), date(2022, 12, 27)]
    assert frame.equals(frame.sort_values(["session", "symbol"], ignore_index=True))


def test_what_a_caller_changes_is_not_seen_by_the_next():
    frame = SampleSource().load(LAST, LAST)
    frame.loc[:, "close"] = -1.0
    assert (SampleSource().load(LAST, LAST)["close"] > 0).all()


def test_the_settings_choose_the_source(tmp_path):
    prices = tmp_path / "prices.csv"
    prices.write_text("date,symbol,close\n2022-01-03,AAA,10\n")
    sample: PriceSource = source_from_settings(Settings.model_validate({}))
    files: PriceSource = source_from_settings(
        Settings.model_validate({"price_source": "files", "price_files": prices})
    )
    assert (sample.name, sample.first_session(), sample.last_session()) == ("sample", FIRST, LAST)
    assert (files.name, files.first_session()) == ("files", date(2022, 1, 3))


@pytest.mark.parametrize("start", [date(2030, 1, 2), date(1980, 1, 2)])
def test_a_range_without_prices_is_an_empty_frame_with_all_columns(start):
    frame = SampleSource().load(start, start)
    assert frame.empty
    assert tuple(frame.columns) == PRICE_COLUMNS


def test_a_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("date,symbol,close\n2022-01-03,AAA,10\n")
    source = FilesSource(path)
    assert source.last_session() == date(2022, 1, 3)
    path.write_text("date,symbol,close\n2022-01-03,AAA,10\n2022-01-04,AAA,11\n")
    assert source.last_session() == date(2022, 1, 4)
