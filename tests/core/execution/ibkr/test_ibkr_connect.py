"""Connecting: what is refused and why, and that nothing stays behind."""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ibkr_support import ConfigFor, Connect
from wire_proxy import WireProxy

from hrp_core.errors import BrokerConnectionError
from hrp_core.execution.config import BrokerConfig, broker_config
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.settings import Settings
from hrp_core.simgateway import GatewayServer
from hrp_core.simgateway.control import GatewayClient


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A plain TCP listener: connections succeed, and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def sim(port: int, timeout: float = 0.5) -> BrokerConfig:
    return BrokerConfig("127.0.0.1", port, 1, "DU1234567", timeout=timeout, simulated=True)


def test_a_connected_broker_has_the_account_and_the_brokers_clock(
    connect: Connect, gateway: GatewayServer
) -> None:
    broker = connect()

    assert broker.is_connected()
    assert broker.account == gateway.info.account
    assert broker.heartbeat() == gateway.info.now


def test_a_closed_port_is_refused_with_cause_and_fix() -> None:
    broker = IBKRBroker(sim(free_port()))

    with pytest.raises(ConnectionError, match=r"connection refused.*hrp gateway serve"):
        broker.connect()
    assert not broker.is_connected()


def test_a_closed_port_of_tws_names_tws_and_its_port() -> None:
    port = free_port()
    with pytest.warns(UserWarning, match="not a known paper port"):
        config = BrokerConfig("127.0.0.1", port, 1, "DU1234567")

    with pytest.raises(ConnectionError, match=rf"start TWS or IB Gateway.*{port}"):
        IBKRBroker(config).connect()


def test_a_silent_server_is_given_up_after_the_timeout(listener: socket.socket) -> None:
    with pytest.raises(BrokerConnectionError, match=r"did not answer within 0\.5 s"):
        IBKRBroker(sim(listener.getsockname()[1])).connect()


def test_a_server_that_hangs_up_at_once_is_not_waited_for(listener: socket.socket) -> None:
    def hang_up() -> None:
        listener.accept()[0].close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    with pytest.raises(BrokerConnectionError, match="closed the connection during the handshake"):
        IBKRBroker(sim(listener.getsockname()[1], timeout=30)).connect()
    thread.join()


def test_a_client_id_in_use_is_refused_and_never_changed(connect: Connect, control: GatewayClient) -> None:
    connect()

    with pytest.raises(BrokerConnectionError, match=r"client id 1 is in use .*\(326\)"):
        connect(timeout=1)
    assert control.state().clients == (1,)


def test_a_client_id_is_waited_for_while_its_last_connection_ends(
    connect: Connect, config_for: ConfigFor
) -> None:
    first = connect()
    second = IBKRBroker(config_for())
    waiting = threading.Thread(target=second.connect)
    waiting.start()

    first.disconnect()
    waiting.join(10)

    assert second.is_connected()
    second.disconnect()


def test_two_brokers_with_two_client_ids_work_side_by_side(connect: Connect, control: GatewayClient) -> None:
    brokers = [connect(client_id=1), connect(client_id=2)]

    assert all(broker.snapshot().values.cash == 100_000 for broker in brokers)
    assert control.state().clients == (1, 2)


def test_another_account_is_refused(connect: Connect, gateway: GatewayServer, control: GatewayClient) -> None:
    other = "DU0000001"

    with pytest.raises(
        BrokerConnectionError, match=rf"manages {gateway.info.account}, not exactly .*{other}"
    ):
        connect(account=other)
    assert control.state().clients == ()


def test_a_login_with_further_accounts_is_refused(
    connect: Connect, wire: WireProxy, gateway: GatewayServer
) -> None:
    wire.rule = lambda fields: [
        ["15", "1", f"{gateway.info.account},DU0000002"] if fields[0] == "15" else fields
    ]

    with pytest.raises(BrokerConnectionError, match="not exactly the configured account"):
        connect(port=wire.port)


def test_sim_sends_no_byte_to_the_endpoint_of_the_ibkr_variables(
    gateway: GatewayServer, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IBKR_HOST", "127.0.0.1")
    monkeypatch.setenv("IBKR_PORT", str(listener.getsockname()[1]))
    monkeypatch.setenv("IBKR_ACCOUNT", "DU9999999")
    settings = Settings(home=gateway.gateway_file.parent.parent)
    assert settings.gateway_file == gateway.gateway_file

    with IBKRBroker(broker_config(settings)) as broker:
        assert broker.account == gateway.info.account
        broker.snapshot()

    listener.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("version", ["157", "173"])
def test_a_server_whose_times_have_no_zone_is_refused(version: str, listener: socket.socket) -> None:
    def answer() -> None:
        client, _ = listener.accept()
        with client:
            for body in (f"{version}\0today\0", "15\x001\0DU1234567\0", "9\x001\x001\0"):
                client.sendall(len(body).to_bytes(4, "big") + body.encode())
            while client.recv(4096):
                pass

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(BrokerConnectionError, match=rf"speaks version {version}.*Update TWS"):
        IBKRBroker(sim(listener.getsockname()[1], timeout=5)).connect()
    thread.join(5)


def test_a_hundred_connections_leave_no_thread_and_no_socket(config_for: ConfigFor) -> None:
    IBKRBroker(config_for()).disconnect()
    with IBKRBroker(config_for()):
        pass
    threads, files = threading.active_count(), open_files()

    for _ in range(100):
        with IBKRBroker(config_for()) as broker:
            assert broker.is_connected()

    assert threading.active_count() <= threads
    # The gateway of this process notices the end of the last socket a moment later.
    assert open_files() <= files + 2


def test_a_failed_connection_leaves_no_thread_and_no_socket(listener: socket.socket) -> None:
    threads, files = threading.active_count(), open_files()

    for port in (free_port(), listener.getsockname()[1]):
        with pytest.raises(BrokerConnectionError):
            IBKRBroker(sim(port, timeout=0.2)).connect()

    assert threading.active_count() <= threads
    assert open_files() <= files


def test_disconnecting_twice_does_nothing_and_connecting_again_works(connect: Connect) -> None:
    broker = connect()
    broker.disconnect()
    broker.disconnect()
    assert not broker.is_connected()

    broker.connect()
    broker.connect()

    assert broker.is_connected()


def test_a_caller_with_a_running_event_loop_can_use_the_broker(config_for: ConfigFor) -> None:
    async def inside_a_loop() -> bool:
        with IBKRBroker(config_for()) as broker:
            return broker.is_connected() and not broker.snapshot().positions

    assert asyncio.run(inside_a_loop())


def test_a_caller_in_a_thread_without_event_loop_can_use_the_broker(config_for: ConfigFor) -> None:
    seen: list[bool] = []

    def without_a_loop() -> None:
        with IBKRBroker(config_for()) as broker:
            seen.append(broker.is_connected())

    thread = threading.Thread(target=without_a_loop)
    thread.start()
    thread.join(30)

    assert seen == [True]


def test_a_broker_that_is_not_connected_says_so(config_for: ConfigFor) -> None:
    broker = IBKRBroker(config_for())

    for call in (broker.snapshot, broker.heartbeat, lambda: broker.qualify(["AAPL"])):
        with pytest.raises(BrokerConnectionError, match="not connected"):
            call()
    assert broker.next_event(60) is None


def test_a_lost_connection_wakes_whoever_waits(connect: Connect, wire: WireProxy) -> None:
    broker = connect(port=wire.port)
    seen: list[object] = []
    waiting = threading.Thread(target=lambda: seen.append(broker.next_event(60)))
    waiting.start()

    wire.cut()
    waiting.join(10)

    assert seen == [None]
    assert not broker.is_connected()
    with pytest.raises(BrokerConnectionError):
        broker.snapshot()


def test_a_process_that_hides_undecodable_messages_cannot_connect(config_for: ConfigFor) -> None:
    logging.disable(logging.CRITICAL)
    try:
        with pytest.raises(BrokerConnectionError, match=r"ib_\w+\.Decoder are switched off"):
            IBKRBroker(config_for()).connect()
    finally:
        logging.disable(logging.NOTSET)
