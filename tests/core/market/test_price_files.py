import gzip
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hrp_core.errors import DataError
from hrp_core.market import FilesSource, SampleSource

FIRST, LAST = date(1990, 1, 2), date(2022, 12, 28)


def load(path: Path) -> pd.DataFrame:
    return FilesSource(path).load(FIRST, LAST)


def csv_file(folder: Path, text: str, name: str = "prices.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


GOOD = """\
Date,Symbol,Open,High,Low,Close,Volume,Split_Factor,Dividend
2022-01-04,bbb,20,21,19,20.5,1000,,
2022-01-03, AAA ,10,11,9,10.5,2e3,2,
2022-01-04,NA,,,,7,,,0.25
"""


def test_a_csv_is_read_with_upper_case_symbols_and_nulls_where_cells_are_empty(tmp_path):
    frame = load(csv_file(tmp_path, GOOD))
    assert frame["symbol"].tolist() == ["AAA", "BBB", "NA"]
    assert frame["session"].tolist() == [date(2022, 1, 3), date(2022, 1, 4), date(2022, 1, 4)]
    assert frame["volume"].tolist()[:2] == [2000.0, 1000.0]
    assert np.isnan(frame["open"].tolist()[2])
    assert frame["split_factor"].tolist()[0] == 2.0
    assert frame["dividend"].tolist()[2] == 0.25
    assert set(frame["source"]) == {"files"}


def test_csv_gzip_parquet_and_a_folder_of_them_give_the_same_rows(tmp_path):
    expected = load(csv_file(tmp_path, GOOD))
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + GOOD.encode()))
    columnar = tmp_path / "columnar.parquet"
    expected.to_parquet(columnar)
    folder = tmp_path / "folder"
    folder.mkdir()
    lines = GOOD.splitlines()
    csv_file(folder, "\n".join([lines[0], lines[1], lines[3]]) + "\n", "a.csv")
    expected.iloc[:1].to_parquet(folder / "b.parquet")
    csv_file(folder, "not prices", "README.txt")
    for path in (packed, columnar, folder):
        pd.testing.assert_frame_equal(load(path), expected)


@pytest.mark.parametrize(
    "session",
    [
        pd.Series([date(2022, 1, 3), date(2022, 1, 4)]),
        pd.Series(pd.to_datetime(["2022-01-03", "2022-01-04"])),
        pd.Series(["2022-01-03", "2022-01-04"]),
    ],
    ids=["date", "timestamp", "text"],
)
def test_parquet_sessions_may_be_dates_midnights_or_text(tmp_path, session):
    path = tmp_path / "prices.parquet"
    closes = [Decimal("1.50"), Decimal("2.25")]
    # An index left over from filtering is written by pandas and must not count as a column.
    frame = pd.DataFrame({"session": session, "symbol": pd.Categorical(["A", "B"]), "close": closes})
    frame.set_axis([4, 9]).to_parquet(path)
    assert load(path)["close"].tolist() == [1.5, 2.25]


def refuse(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        ("2022-01-04,AAA,10,11,9,-1,5,1,0", "close", "-1 must be finite and greater than zero"),
        ("2022-01-04,AAA,10,11,9,0,5,1,0", "close", "0 must be finite"),
        ("2022-01-04,AAA,10,11,9,,5,1,0", "close", "there is no price"),
        ("2022-01-04,AAA,10,11,9,NaN,5,1,0", "close", "there is no price"),
        ("2022-01-04,AAA,10,11,9,inf,5,1,0", "close", "inf must be finite"),
        ("2022-01-04,AAA,10,11,9,ten,5,1,0", "close", "'ten' is not a number"),
        ("2022-01-04,AAA,10,11,9,10,many,1,0", "volume", "'many' is not a number"),
        ("2022-01-04,AAA,10,11,9,10,-5,1,0", "volume", "-5 must be finite and not negative"),
        ("2022-01-04,AAA,0,11,9,10,5,1,0", "open", "0 must be finite and greater"),
        ("2022-01-04,AAA,10,8,9,10,5,1,0", "high", "the high 8 is below the low 9"),
        ("2022-01-04,AAA,10,11,9,10,5,0,0", "split_factor", "0 must be finite and greater"),
        ("2022-01-04,AAA,10,11,9,10,5,1,-0.1", "dividend", "-0.1 must be finite and not negative"),
        ("2022-01-03,aaa,10,11,9,10,5,1,0", "symbol", "a second price of AAA for 2022-01-03"),
        ("2022-01-04,  ,10,11,9,10,5,1,0", "symbol", "there is no symbol"),
        ("2022-01-08,AAA,10,11,9,10,5,1,0", "date", "2022-01-08 is not a trading session"),
        ("1989-12-29,AAA,10,11,9,10,5,1,0", "date", "1989-12-29 is not a trading session"),
        ("01/04/2022,AAA,10,11,9,10,5,1,0", "date", "'01/04/2022' is no date"),
        (",AAA,10,11,9,10,5,1,0", "date", "'' is no date"),
        ("9999-01-04,AAA,10,11,9,10,5,1,0", "date", "9999-01-04 is not a trading session"),
    ],
)
def test_a_bad_cell_is_refused_with_file_line_and_column(tmp_path, line, column, says):
    header = "date,symbol,open,high,low,close,volume,split_factor,dividend"
    # The blank line counts: an editor numbers it too.
    path = csv_file(tmp_path, f"{header}\n2022-01-03,AAA,10,11,9,10,5,1,0\n\n{line}\n")
    message = refuse(path)
    assert f"{path}, row 4, column {column}: " in message
    assert says in message


def test_the_first_problem_in_reading_order_is_named_and_the_others_are_counted(tmp_path):
    path = csv_file(
        tmp_path,
        "date,symbol,close\n2022-01-03,AAA,1\n2022-01-04,AAA,x\n2022-01-08,AAA,2\n2022-01-05,AAA,-1\n",
    )
    message = refuse(path)
    assert "row 3, column close: 'x' is not a number. 2 more problems" in message
    assert "Nothing was loaded" in message


def test_a_duplicate_across_files_names_both_places(tmp_path):
    first = csv_file(tmp_path, "date,symbol,close\n2022-01-03,AAA,1\n", "a.csv")
    second = csv_file(tmp_path, "date,symbol,close\n2022-01-04,BBB,1\n2022-01-03,AAA,1\n", "b.csv")
    message = refuse(tmp_path)
    assert f"{second}, row 3, column symbol" in message
    assert f"the first is in {first}, row 2" in message


def test_one_bad_row_of_another_year_keeps_everything_out(tmp_path):
    path = csv_file(tmp_path, "date,symbol,close\n2022-01-03,AAA,1\n2015-01-05,AAA,-1\n")
    with pytest.raises(DataError, match="row 3, column close"):
        FilesSource(path).load(date(2022, 1, 3), date(2022, 1, 3))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("date,close\n2022-01-03,1\n", "row 1: column symbol is missing"),
        ("symbol,close\nAAA,1\n", "row 1: column date (or session) is missing"),
        ("date,symbol\n2022-01-03,AAA\n", "row 1: column close is missing"),
        ("date,symbol,close,vol\n2022-01-03,AAA,1,5\n", "row 1, column 'vol': not a column of prices"),
        ("date,session,symbol,close\n", "row 1, column 'session': the file holds session twice"),
        ("date,symbol,close\n2022-01-03,AAA\n", "row 2: 2 columns where the header has 3"),
        ("date,symbol,close\n2022-01-03,AAA,1\n2022-01-04,A,1,2\n", "row 3: 4 columns where"),
        ("", "the file is empty"),
        ("date,symbol,close\n", "no rows"),
    ],
)
def test_a_file_of_the_wrong_shape_is_refused(tmp_path, text, says):
    assert says in refuse(csv_file(tmp_path, text))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_bytes(b"date,symbol,close\n2022-01-03,\xff\xfe,1\n")
    assert "UTF-8" in refuse(path)


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("close", [1.0, -2.0], "row 2, column close: -2 must be"),
        ("close", ["1", "x"], "row 2, column close: 'x' is not a number"),
        ("close", [True, False], "column close: holds bool"),
        ("symbol", [1, 2], "column symbol: holds int64"),
        ("session", [datetime(2022, 1, 3), datetime(2022, 1, 4, 16)], "row 2, column session"),  # noqa: DTZ001
        ("session", pd.to_datetime(["2022-01-03", "2022-01-04"], utc=True), "with a time zone"),
        ("session", [date(2022, 1, 3), None], "row 2, column session: '' is no date"),
    ],
)
def test_a_parquet_file_is_judged_by_the_same_rules_with_its_row_counted_from_one(
    tmp_path, column, values, says
):
    path = tmp_path / "prices.parquet"
    good = {"session": [date(2022, 1, 3)] * 2, "symbol": ["A", "B"], "close": [1.0, 2.0]}
    pd.DataFrame(good | {column: values}).to_parquet(path)
    assert says in refuse(path)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "prices.parquet"
    path.write_text("not parquet")
    assert "cannot be read as Parquet" in refuse(path)


@pytest.mark.parametrize("name", ["nowhere", "prices.xlsx", "empty"])
def test_a_path_without_price_files_is_refused_with_the_setting_to_correct(tmp_path, name):
    (tmp_path / "prices.xlsx").touch()
    (tmp_path / "empty").mkdir()
    assert "HRP_PRICE_FILES" in refuse(tmp_path / name)


def test_the_source_column_of_an_exported_table_is_kept(tmp_path):
    path = tmp_path / "export.parquet"
    exported = SampleSource().load(LAST, LAST)
    exported.to_parquet(path)
    pd.testing.assert_frame_equal(load(path), exported)
