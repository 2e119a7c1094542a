"""The preflight against the simulated gateway over a socket: what it answers, and what it says no to."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import BrokerError
from hrp_core.execution.config import BrokerConfig, ClientRole
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.preflight import preflight
from hrp_core.matching import Tape
from hrp_core.simgateway import GatewayServer

NOON = datetime(2022, 12, 5, 14, tzinfo=NEW_YORK)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayServer]:
    days = [datetime(2022, 12, day, tzinfo=NEW_YORK).date() for day in (1, 2, 5, 6)]
    frame = pd.DataFrame(
        [
            {
                "session": day,
                "symbol": "AAPL",
                "open": 1e2,
                "high": 1e2,
                "low": 1e2,
                "close": 1e2,
                "volume": 1e3,
            }
            for day in days
        ]
    )
    with GatewayServer(tmp_path, Tape.from_frame(frame), start=NOON, cash=Decimal(10_000)) as server:
        yield server


@pytest.fixture
def broker(gateway: GatewayServer) -> Iterator[IBKRBroker]:
    info = gateway.info
    config = BrokerConfig(info.host, info.port, 1, info.account, simulated=True).for_role(ClientRole.DOCTOR)
    with IBKRBroker(config) as connected:
        yield connected


def test_the_first_known_name_is_previewed_and_nothing_is_placed(
    broker: IBKRBroker, gateway: GatewayServer
) -> None:
    report = preflight(broker, ["NOBODY", "AAPL"], NOON)
    assert (report.symbol, report.account, report.broker_time) == ("AAPL", gateway.account, NOON)
    assert report.preview.margin_change > 0
    assert gateway.client().state().orders_received == 0


def test_a_read_only_api_is_named_hours_before_the_orders(broker: IBKRBroker, gateway: GatewayServer) -> None:
    gateway.client().fault("read_only")
    with pytest.raises(BrokerError, match="321"):
        preflight(broker, ["AAPL"], NOON)


def test_clocks_that_differ_and_an_unknown_universe_are_no_go(broker: IBKRBroker) -> None:
    with pytest.raises(BrokerError, match=r"broker's clock is \+120 s from ours"):
        preflight(broker, ["AAPL"], NOON - timedelta(minutes=2))
    with pytest.raises(BrokerError, match="knows none of NOBODY"):
        preflight(broker, ["NOBODY"], NOON)
