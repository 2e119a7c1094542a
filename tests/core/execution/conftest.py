"""The in-process broker and the simulated gateway on one small market, and a journal for either."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from order_child import Installation
from order_support import EVENING, BentBroker, connected, engine, tape
from watch_support import Floor, gateway_floor, in_process_floor

from hrp_core.ledger.journal import Journal
from hrp_core.simgateway import GatewayServer
from hrp_core.simgateway.control import GatewayClient
from hrp_core.store import Store, migrate


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "sim" / "journal.sqlite")
    yield journal
    journal.close()


@pytest.fixture
def broker() -> BentBroker:
    """The in-process broker, connected, on the evening of D with 100,000 USD."""
    return connected(BentBroker(engine()))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayServer]:
    """A gateway on the same market at the same moment."""
    with GatewayServer(tmp_path / "sim", tape(), start=EVENING, cash=Decimal(100_000)) as server:
        yield server


@pytest.fixture
def control(gateway: GatewayServer) -> GatewayClient:
    return GatewayClient(gateway.gateway_file)


@pytest.fixture
def installation(gateway: GatewayServer, tmp_path: Path) -> Installation:
    return Installation(
        gateway.gateway_file, tmp_path / "sim" / "journal.sqlite", tmp_path / "sim" / "broker.lock"
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "sim" / "hrp.duckdb")
    migrate(store)
    return store


@pytest.fixture(params=["in_process", "gateway"])
def floor(request: pytest.FixtureRequest, tmp_path: Path, store: Store, journal: Journal) -> Floor:
    """The evening of D, on the in-process broker and on the gateway over a socket; closes of D are stored."""
    if request.param == "in_process":
        made = in_process_floor(tmp_path, store, journal)
    else:
        installation, control = (request.getfixturevalue(name) for name in ("installation", "control"))
        made = gateway_floor(tmp_path, store, journal, installation, control)
    made.store_closes()
    return made


@pytest.fixture
def wired(
    tmp_path: Path, store: Store, journal: Journal, installation: Installation, control: GatewayClient
) -> Floor:
    """The evening of D on the gateway over a socket; closes of D are stored."""
    made = gateway_floor(tmp_path, store, journal, installation, control)
    made.store_closes()
    return made
