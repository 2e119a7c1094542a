"""Contract ids of the simulated exchange."""

import pytest

from hrp_core.errors import DataError
from hrp_core.matching import Instruments
from hrp_core.matching import instruments as module


def test_a_contract_id_depends_on_the_symbol_alone():
    few, many = Instruments(["AAPL"]), Instruments(["MSFT", "AAPL", "KO"])
    assert few["AAPL"].con_id == many["AAPL"].con_id
    assert many.by_con_id(few["AAPL"].con_id) == few["AAPL"]
    assert 4_000 <= few["AAPL"].con_id < 700_000_000


def test_ten_thousand_symbols_have_ten_thousand_ids():
    symbols = [f"S{number}" for number in range(10_000)]
    assert len(set(Instruments(symbols).con_ids().values())) == 10_000


def test_a_collision_is_resolved_and_a_new_listing_never_changes_an_older_id(monkeypatch):
    # Eleven ids for ten symbols: nearly every one collides.
    monkeypatch.setattr(module, "_CON_ID_HIGHEST", module._CON_ID_LOWEST + 11)
    older = Instruments(["M", "N", "O", "P", "Q"]).con_ids()
    newer = Instruments(["A", "B", "C", "D", "E", "M", "N", "O", "P", "Q"], known=older).con_ids()
    assert len(set(newer.values())) == 10
    assert {symbol: newer[symbol] for symbol in older} == older


def test_a_damaged_list_of_ids_is_refused():
    with pytest.raises(DataError, match="same contract id"):
        Instruments([], known={"A": 5000, "B": 5000})


def test_short_tickers_list_on_nyse_and_long_ones_on_nasdaq():
    listed = Instruments(["KO", "AAPL"])
    assert (listed["KO"].primary_exchange, listed["AAPL"].primary_exchange) == ("NYSE", "NASDAQ")
    assert listed.get("NONE") is None
    assert listed.by_con_id(1) is None
