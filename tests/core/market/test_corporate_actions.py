from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hrp_core.errors import DataError
from hrp_core.features import INPUT_FIELDS, compute
from hrp_core.market import FilesSource, Panel, adjusted_close, corporate_actions, to_panel

MONDAY, TUESDAY, WEDNESDAY = date(2022, 1, 3), date(2022, 1, 4), date(2022, 1, 5)
PRICES = (
    "date,symbol,close\n2022-01-03,AAA,100\n2022-01-04,AAA,50\n2022-01-05,AAA,49\n"
    "2022-01-03,BBB,10\n2022-01-05,BBB,30\n"
)
HEADER = "symbol,kind,effective_date,factor,amount\n"


def folder_of(tmp_path: Path, actions: str, prices: str = PRICES) -> FilesSource:
    (tmp_path / "prices.csv").write_text(prices)
    (tmp_path / "corporate_actions.csv").write_text(actions)
    return FilesSource(tmp_path)


def test_actions_of_a_file_stand_on_the_bars_and_closes_stay_as_traded(tmp_path):
    source = folder_of(tmp_path, f"{HEADER}aaa,split,2022-01-04,2,\nAAA,dividend,2022-01-05,,1.0\n")
    frame = source.load(MONDAY, WEDNESDAY)
    rows = frame.loc[frame["symbol"] == "AAA"]
    assert rows["close"].tolist() == [100.0, 50.0, 49.0]
    assert rows["split_factor"].tolist()[1] == 2.0
    assert rows["dividend"].tolist()[2] == 1.0
    actions = corporate_actions(frame)
    assert actions[["symbol", "kind", "effective_session"]].to_numpy().tolist() == [
        ["AAA", "split", TUESDAY],
        ["AAA", "dividend", WEDNESDAY],
    ]


def test_an_action_on_a_session_without_a_bar_waits_for_the_next_one(tmp_path):
    source = folder_of(
        tmp_path,
        f"{HEADER}BBB,split,2022-01-04,0.5,\nBBB,split,2022-01-05,0.5,\nBBB,split,2022-01-06,2,\nZZZ,split,2022-01-04,2,\n",
    )
    frame = source.load(MONDAY, WEDNESDAY)
    assert frame.loc[frame["symbol"] == "BBB", "split_factor"].tolist()[1] == 0.25
    assert len(corporate_actions(frame)) == 1


def test_a_parquet_of_actions_beside_a_single_file_of_prices_counts_too(tmp_path):
    (tmp_path / "mine.csv").write_text(PRICES)
    pd.DataFrame(
        {"symbol": ["AAA"], "kind": ["split"], "effective_date": [TUESDAY], "factor": [2.0]}
    ).to_parquet(tmp_path / "corporate_actions.parquet")
    frame = FilesSource(tmp_path / "mine.csv").load(TUESDAY, TUESDAY)
    assert frame["split_factor"].tolist() == [2.0]


def test_features_of_a_split_and_a_dividend_are_those_of_total_return(tmp_path):
    source = folder_of(tmp_path, f"{HEADER}AAA,split,2022-01-04,2,\nAAA,dividend,2022-01-05,,1.0\n")
    panel = to_panel(source.load(MONDAY, WEDNESDAY), *INPUT_FIELDS)
    assert compute(panel)["ret_1"][1:, 0] == pytest.approx([0.0, 0.0], abs=1e-15)


def test_back_adjusted_closes_end_at_the_traded_close_and_no_later_action_changes_their_ratios():
    close = np.array([[100.0], [50.0], [49.0], [12.0]])
    split, dividend = np.array([[1.0], [2.0], [1.0], [4.0]]), np.array([[0.0], [0.0], [1.0], [0.0]])
    sessions = (MONDAY, TUESDAY, WEDNESDAY, date(2022, 1, 6))
    panel = Panel(sessions, ("A",), {"close": close, "split_factor": split, "dividend": dividend})
    assert adjusted_close(panel, dividends=False)[:, 0] == pytest.approx([12.5, 12.5, 12.25, 12.0])
    total = adjusted_close(panel, dividends=True)[:, 0]
    assert total[-1] == 12.0
    assert total[1] / total[0] == pytest.approx(1.0)
    assert total[2] / total[1] == pytest.approx((49 + 1) / 50)
    earlier = adjusted_close(panel.window(0, 3), dividends=True)[:, 0]
    assert total[:3] / earlier == pytest.approx([total[0] / earlier[0]] * 3)


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        ("AAA,merger,2022-01-04,2,", "kind", "'merger' is neither split nor dividend"),
        ("AAA,split,2022-01-08,2,", "effective_date", "'2022-01-08' is no session"),
        ("AAA,split,soon,2,", "effective_date", "'soon' is no session"),
        ("AAA,split,2022-01-04,,", "factor", "a split needs a finite factor"),
        ("AAA,split,2022-01-04,0,", "factor", "a split needs a finite factor"),
        ("AAA,split,2022-01-04,2:1,", "factor", "'2:1' is not a number"),
        ("AAA,dividend,2022-01-04,,-1", "amount", "a dividend needs a finite amount"),
        ("AAA,dividend,2022-01-04,2,1", "factor", "factor belongs to a split"),
        (",split,2022-01-04,2,", "symbol", "there is no symbol"),
        ("aaa,split,2022-01-03,3,", "symbol", "a second split of AAA on 2022-01-03"),
    ],
)
def test_a_bad_action_is_refused_with_file_line_and_column(tmp_path, line, column, says):
    source = folder_of(tmp_path, f"{HEADER}AAA,split,2022-01-03,2,\n{line}\n")
    with pytest.raises(DataError) as caught:
        source.load(MONDAY, WEDNESDAY)
    assert f"{tmp_path / 'corporate_actions.csv'}, row 3, column {column}: " in str(caught.value)
    assert says in str(caught.value)


def test_an_action_stated_twice_would_count_twice_and_is_refused(tmp_path):
    prices = "date,symbol,close,split_factor\n2022-01-03,AAA,100,1\n2022-01-04,AAA,50,2\n"
    source = folder_of(tmp_path, f"{HEADER}AAA,split,2022-01-04,2,\n", prices)
    with pytest.raises(DataError, match=r"row 2: the prices already state a split of AAA for 2022-01-04"):
        source.load(MONDAY, TUESDAY)


def test_a_changed_file_of_actions_is_read_anew(tmp_path):
    source = folder_of(tmp_path, HEADER)
    assert corporate_actions(source.load(MONDAY, WEDNESDAY)).empty
    (tmp_path / "corporate_actions.csv").write_text(f"{HEADER}AAA,split,2022-01-04,2,\n")
    assert len(corporate_actions(source.load(MONDAY, WEDNESDAY))) == 1


def test_a_column_that_actions_do_not_have_and_two_files_of_them_are_refused(tmp_path):
    source = folder_of(tmp_path, "symbol,kind,effective_date,ratio\n")
    with pytest.raises(DataError, match="column 'ratio': not a column of corporate actions"):
        source.load(MONDAY, WEDNESDAY)
    (tmp_path / "corporate_actions.parquet").touch()
    with pytest.raises(DataError, match="side by side"):
        source.load(MONDAY, WEDNESDAY)
