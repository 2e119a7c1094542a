import warnings
from datetime import date

import numpy as np
import pandas as pd
import pytest

from hrp_core.errors import NotReadyError
from hrp_core.market import FilesSource, SampleSource, corporate_actions, universe

MONDAY, TUESDAY, WEDNESDAY = date(2022, 1, 3), date(2022, 1, 4), date(2022, 1, 5)


def test_every_sample_name_is_in_the_universe_of_every_session():
    day = date(2022, 12, 28)
    members = universe(SampleSource().load(day, day), day)
    assert members.columns.tolist() == ["session", "symbol", "in_universe", "reason"]
    assert len(members) == 20
    assert members["in_universe"].all()
    assert members["in_universe"].dtype == np.bool_


def test_a_name_without_a_price_that_session_is_out_and_later_rows_are_not_seen():
    prices = pd.DataFrame(
        {
            "session": [MONDAY, MONDAY, TUESDAY, WEDNESDAY],
            "symbol": ["B", "A", "B", "LATER"],
            "close": [1.0, 1.0, 1.0, 1.0],
        }
    )
    members = universe(prices, TUESDAY)
    assert members["symbol"].tolist() == ["A", "B"]
    assert members["in_universe"].tolist() == [False, True]
    assert members["reason"].tolist() == ["no price on this session", "priced"]


def test_a_session_without_prices_has_no_universe():
    prices = pd.DataFrame({"session": [MONDAY], "symbol": ["A"], "close": [1.0]})
    with pytest.raises(NotReadyError, match=r"2022-01-04 .*end on 2022-01-03"):
        universe(prices, TUESDAY)


def test_the_sample_has_no_corporate_actions():
    day = date(2022, 12, 28)
    actions = corporate_actions(SampleSource().load(day, day))
    assert actions.empty
    assert actions.columns.tolist() == ["session", "symbol", "kind", "factor", "amount", "effective_session"]


def test_splits_and_dividends_are_read_off_the_prices(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(
        "date,symbol,close,split_factor,dividend\n2022-01-03,A,10,1,0\n2022-01-04,A,5,2,0.3\n2022-01-04,B,7,,0.1\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actions = corporate_actions(FilesSource(path).load(MONDAY, TUESDAY))
    assert actions[["symbol", "kind"]].to_numpy().tolist() == [
        ["A", "dividend"],
        ["A", "split"],
        ["B", "dividend"],
    ]
    assert actions["amount"].tolist()[::2] == [0.3, 0.1]
    assert actions["factor"].tolist()[1] == 2.0
    assert actions["effective_session"].tolist() == [TUESDAY] * 3
