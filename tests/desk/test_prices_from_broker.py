"""Prices that come from the broker's own bars, over a socket, through the real assets."""

from datetime import date
from pathlib import Path

import pytest
from desk import FIRST

from hrp_core.errors import BrokerConnectionError
from hrp_core.market import SampleSource
from hrp_core.matching import Tape
from hrp_core.settings import Settings
from hrp_core.simgateway.server import GatewayServer
from hrp_core.store import Store, migrate, read_table, table
from hrp_dagster.cli.gateway import sim_start
from hrp_dagster.environment import prepare_environment
from hrp_dagster.partitions import partitions_from_settings
from hrp_dagster.runs import run_job

NAMES = ("AAPL", "JNJ", "XOM")
MARKET_DATA = ("universe", "corporate_actions", "prices")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HRP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HRP_PRICE_SOURCE", "ibkr")
    monkeypatch.setenv("HRP_SYMBOLS", ",".join(NAMES))
    for name in ("DAGSTER_HOME", "HRP_DAGSTER_STATE"):
        monkeypatch.setenv(name, "")
    settings = Settings()
    prepare_environment(settings)
    migrate(Store(settings.database_path))
    return settings


def test_market_data_comes_from_the_brokers_bars(settings: Settings) -> None:
    sample = SampleSource().load(date(2021, 11, 1), FIRST)
    bars = sample.assign(**dict.fromkeys(("open", "high", "low"), sample["close"]))
    with GatewayServer(
        settings.gateway_dir, Tape.from_frame(bars), start=sim_start(settings), cash=settings.sim_cash
    ) as server:
        run_job(settings, "market_data_job", FIRST, only=MARKET_DATA)
        state = server.client().state()
        assert (state.clients, state.orders_received) == ((), 0)
    store = Store(settings.database_path)
    rows = read_table(store, table("prices"), sessions=[FIRST])
    expected = sample.loc[(sample["session"] == FIRST) & sample["symbol"].isin(NAMES)]
    closes = dict(zip(expected["symbol"], expected["close"].round(4), strict=True))
    assert dict(zip(rows["symbol"], rows["close"], strict=True)) == closes
    assert set(rows["source"]) == {"ibkr"}
    assert set(read_table(store, table("universe"), sessions=[FIRST])["symbol"]) == set(NAMES)


def test_without_a_broker_the_definitions_load_and_the_asset_says_what_to_start(settings: Settings) -> None:
    assert partitions_from_settings(settings).end is None
    sample = SampleSource().load(date(2022, 11, 1), FIRST)
    with GatewayServer(
        settings.gateway_dir, Tape.from_frame(sample), start=sim_start(settings), cash=settings.sim_cash
    ):
        pass  # its clock stays
    with pytest.raises(BrokerConnectionError, match="hrp gateway serve"):
        run_job(settings, "market_data_job", FIRST, only=MARKET_DATA)
