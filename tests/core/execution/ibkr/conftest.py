"""The adapter against the simulated gateway over a real socket, straight or through a wire that bends."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ibkr_support import EVENING, ConfigFor, Connect
from wire_proxy import WireProxy

from hrp_core.calendar import nyse
from hrp_core.execution.config import BrokerConfig
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.ibkr_loop import Pacer
from hrp_core.matching import Tape
from hrp_core.simgateway import GatewayServer
from hrp_core.simgateway.control import GatewayClient


@pytest.fixture(scope="session")
def tape() -> Tape:
    """2022-12-01 to 2022-12-14; on day n AAPL opens at 100 + n, MSFT at 200 + n; they close 0.50 higher."""
    rows = [
        {
            "session": session,
            "symbol": symbol,
            "open": base + n,
            "high": None,
            "low": None,
            "close": base + n + 0.5,
            "volume": None,
        }
        for n, session in enumerate(nyse().between(date(2022, 12, 1), date(2022, 12, 14)))
        for symbol, base in (("AAPL", 100.0), ("MSFT", 200.0))
    ]
    return Tape.from_frame(pd.DataFrame(rows))


@pytest.fixture
def gateway(tmp_path: Path, tape: Tape) -> Iterator[GatewayServer]:
    """A gateway on the evening of 2022-12-05: orders queue for the next open."""
    with GatewayServer(tmp_path / "sim", tape, start=EVENING, cash=Decimal(100_000)) as server:
        yield server


@pytest.fixture
def control(gateway: GatewayServer) -> GatewayClient:
    return GatewayClient(gateway.gateway_file)


@pytest.fixture(params=["ib_insync", "ib_async"])
def config_for(gateway: GatewayServer, request: pytest.FixtureRequest) -> ConfigFor:
    """Return the configuration of the gateway's endpoint, with changes; once for each client library."""

    def config(**changes: Any) -> BrokerConfig:
        values = {
            "host": "127.0.0.1",
            "port": gateway.info.port,
            "client_id": 1,
            "account": gateway.info.account,
            "simulated": True,
            "library": request.param,
            **changes,
        }
        return BrokerConfig(**values)

    return config


@pytest.fixture
def connect(config_for: ConfigFor) -> Iterator[Connect]:
    """Connect a broker, unpaced, that the test's end disconnects."""
    with ExitStack() as brokers:

        def connected(**changes: Any) -> IBKRBroker:
            broker = IBKRBroker(config_for(**changes), pacer=Pacer(float("inf")))
            return brokers.enter_context(broker)

        yield connected


@pytest.fixture
def wire(gateway: GatewayServer) -> Iterator[WireProxy]:
    """A wire to the gateway that the test can bend."""
    with WireProxy(gateway.info.port) as proxy:
        yield proxy
