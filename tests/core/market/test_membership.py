from datetime import date
from pathlib import Path

import pytest

from hrp_core.errors import DataError
from hrp_core.market import FilesSource, RemovalPolicy, removal_policy
from hrp_core.market.load import load_universe

MONDAY, TUESDAY, WEDNESDAY = date(2022, 1, 3), date(2022, 1, 4), date(2022, 1, 5)


def folder_of(tmp_path: Path, universe: str) -> FilesSource:
    bars = [f"{day},{name},10" for day in (MONDAY, TUESDAY, WEDNESDAY) for name in ("AAA", "BBB", "CCC")]
    (tmp_path / "prices.csv").write_text("\n".join(["date,symbol,close", *bars]) + "\n")
    (tmp_path / "universe.csv").write_text(universe)
    return FilesSource(tmp_path)


FILE = """\
symbol,from,to,policy
aaa,2021-01-01,,
BBB,2021-01-01,2022-01-03,exit
BBB,2022-01-05,,no-buy
DDD,2021-06-01,,
EEE,2022-01-05,,
"""


def test_the_universe_of_a_session_is_what_the_file_said_for_it_then(tmp_path):
    frame = load_universe(folder_of(tmp_path, FILE), [MONDAY, TUESDAY, WEDNESDAY])
    inside = {day: rows.loc[rows["in_universe"], "symbol"].tolist() for day, rows in frame.groupby("session")}
    assert inside == {MONDAY: ["AAA", "BBB"], TUESDAY: ["AAA"], WEDNESDAY: ["AAA", "BBB"]}
    tuesday = frame.loc[frame["session"] == TUESDAY].set_index("symbol")["reason"]
    assert tuesday["AAA"] == "member since 2021-01-01, priced"
    assert tuesday["BBB"] == "left the universe after 2022-01-03, removal policy exit"
    assert tuesday["CCC"] == "not in the universe file on this session"
    assert tuesday["DDD"] == "no price on this session"
    assert "EEE" not in tuesday.index


def test_the_removal_policy_can_be_read_off_the_reason():
    assert removal_policy("left the universe after 2022-01-03, removal policy no-buy") is RemovalPolicy.NO_BUY
    assert removal_policy("priced") is None


def test_a_name_that_left_without_a_policy_is_held(tmp_path):
    source = folder_of(tmp_path, "symbol,from,to\nAAA,2021-01-01,2022-01-03\n")
    frame = load_universe(source, [TUESDAY]).set_index("symbol")
    assert removal_policy(str(frame.loc["AAA", "reason"])) is RemovalPolicy.HOLD


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        ("AAA,2022-13-01,,exit", "from", "'2022-13-01' is no date"),
        ("AAA,,,exit", "from", "'' is no date"),
        ("AAA,2022-01-01,never,exit", "to", "'never' is no date"),
        ("AAA,2022-01-05,2022-01-04,exit", "to", "2022-01-04 is before the first day 2022-01-05"),
        ("AAA,2022-01-05,,sell", "policy", "'sell' is no removal policy; write exit, hold, no-buy"),
        (" ,2022-01-05,,exit", "symbol", "there is no symbol"),
        ("zzz,2021-06-01,,exit", "from", "overlaps an earlier stay of ZZZ"),
    ],
)
def test_a_bad_stay_is_refused_with_file_line_and_column(tmp_path, line, column, says):
    source = folder_of(tmp_path, f"symbol,from,to,policy\nZZZ,2021-01-01,2021-06-01,\n{line}\n")
    with pytest.raises(DataError) as caught:
        source.memberships()
    assert f"{tmp_path / 'universe.csv'}, row 3, column {column}: " in str(caught.value)
    assert says in str(caught.value)
