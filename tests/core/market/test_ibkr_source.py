from collections.abc import Sequence
from datetime import date

import pytest

from hrp_core.errors import DataError, SettingsError
from hrp_core.market import PRICE_COLUMNS, Bar, BarsProvider, IbkrSource, source_from_settings
from hrp_core.settings import Settings

MONDAY, TUESDAY, WEDNESDAY = date(2022, 1, 3), date(2022, 1, 4), date(2022, 1, 5)


class RecordedBars:
    """What a gateway answered: bars adjusted for the splits up to the request."""

    def __init__(self, bars: dict[str, list[Bar]]) -> None:
        self._bars = bars

    def daily_bars(self, symbol: str, start: date, end: date) -> Sequence[Bar]:
        return [bar for bar in self._bars[symbol] if start <= bar.session <= end]

    def span(self, symbol: str) -> tuple[date, date]:
        return self._bars[symbol][0].session, self._bars[symbol][-1].session


def bar(session: date, close: float, volume: float = 100.0) -> Bar:
    return Bar(session, close, close, close, close, volume)


BARS = {
    "AAA": [bar(MONDAY, 10.0), bar(TUESDAY, 11.0), bar(WEDNESDAY, 12.0)],
    "BBB": [bar(TUESDAY, 5.0)],
}


def test_bars_of_a_provider_become_prices_of_the_one_schema():
    source = IbkrSource(RecordedBars(BARS), ["AAA", "BBB"])
    frame = source.load(TUESDAY, WEDNESDAY)
    assert tuple(frame.columns) == PRICE_COLUMNS
    assert frame[["session", "symbol", "close"]].to_numpy().tolist() == [
        [TUESDAY, "AAA", 11.0],
        [TUESDAY, "BBB", 5.0],
        [WEDNESDAY, "AAA", 12.0],
    ]
    assert set(frame["source"]) == {"ibkr"}
    assert frame["split_factor"].isna().all()
    assert (source.first_session(), source.last_session()) == (MONDAY, WEDNESDAY)
    assert source.load(date(2023, 1, 3), date(2023, 1, 4)).columns.tolist() == list(PRICE_COLUMNS)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (bar(TUESDAY, -1.0), r"ibkr for AAA, bar 2 \(2022-01-04\), column open: -1 must be finite"),
        (bar(MONDAY, 3.0), "a second price of AAA for 2022-01-03"),
        (bar(date(2022, 1, 8), 3.0), "2022-01-08 is not a trading session"),
        (bar(TUESDAY, float("nan")), "column close: there is no price"),
    ],
)
def test_bars_go_through_the_validator_of_files(bad, says):
    source = IbkrSource(RecordedBars({"AAA": [bar(MONDAY, 10.0), bad]}), ["AAA"])
    with pytest.raises(DataError, match=says) as caught:
        source.load(MONDAY, date(2022, 1, 10))
    assert "HRP_SYMBOLS" in str(caught.value)


def test_bars_are_put_back_as_they_were_traded_by_the_splits_of_the_file(tmp_path):
    (tmp_path / "corporate_actions.csv").write_text(
        "symbol,kind,effective_date,factor,amount\nAAA,split,2022-01-05,4,\nAAA,split,2022-02-01,2,\n"
        "AAA,dividend,2022-01-04,,0.8\n"
    )
    settings = Settings.model_validate({"price_source": "ibkr", "symbols": "AAA", "price_files": tmp_path})
    frame = source_from_settings(settings, RecordedBars(BARS)).load(MONDAY, WEDNESDAY)
    assert frame["close"].tolist() == [40.0, 44.0, 12.0]
    assert frame["volume"].tolist() == [25.0, 25.0, 100.0]
    assert frame["split_factor"].tolist()[2] == 4.0
    assert frame["dividend"].tolist()[1] == 0.8


def test_without_a_provider_the_settings_say_where_it_is_handed_in():
    settings = Settings.model_validate({"price_source": "ibkr", "symbols": "AAA"})
    with pytest.raises(SettingsError, match="needs a connection"):
        source_from_settings(settings)
    provider: BarsProvider = RecordedBars(BARS)
    assert source_from_settings(settings, provider).name == "ibkr"
    with pytest.raises(SettingsError, match="HRP_SYMBOLS"):
        IbkrSource(provider, [])


def test_names_come_from_the_environment_separated_by_commas(monkeypatch):
    monkeypatch.setenv("HRP_SYMBOLS", " aapl, BRK.B,,AAPL ")
    assert Settings().symbols == ("AAPL", "BRK.B")
    monkeypatch.setenv("HRP_SYMBOLS", "")
    assert Settings().symbols == ()


@pytest.mark.parametrize("source", ["yahoo", "ibkr"])
def test_a_source_that_is_asked_by_name_needs_names(source):
    with pytest.raises(ValueError, match=f"HRP_PRICE_SOURCE={source} needs HRP_SYMBOLS"):
        Settings.model_validate({"price_source": source})
