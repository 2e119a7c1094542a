"""The control channel, gateway.json and scripted faults."""

import json
import socket
import stat
from datetime import datetime
from decimal import Decimal

import pytest

from hrp_core.calendar import GatewayClock
from hrp_core.errors import BrokerConnectionError, BrokerError, RefusedError
from hrp_core.simgateway import GatewayClient, GatewayState


def test_the_gateways_file_says_where_it_listens_and_what_time_it_is_there(gateway, at):
    content = json.loads(gateway.gateway_file.read_text())
    assert set(content) == {"host", "port", "control_port", "token", "pid", "account", "now"}
    assert content["host"] == "127.0.0.1"
    assert datetime.fromisoformat(content["now"]).utcoffset() is not None
    assert stat.S_IMODE(gateway.gateway_file.stat().st_mode) == 0o600
    clock = GatewayClock(gateway.gateway_file)
    assert clock.now() == at("2022-12-05", "16:30")
    gateway.client().advance(at("2022-12-06", "09:31"))
    assert clock.now() == at("2022-12-06", "09:31")


def test_the_file_has_the_new_time_before_any_client_hears_of_the_fill(gateway, library, at):
    client = library.connect(gateway)
    clock = GatewayClock(gateway.gateway_file)
    seen = []
    library.call(lambda: client.ib.execDetailsEvent.connect(lambda *_: seen.append(clock.now())))
    client.place("AAPL", "BUY", 1)
    gateway.client().advance(at("2022-12-06", "09:31"))
    client.sync()
    assert seen == [at("2022-12-06", "09:31")]


def test_the_clock_moves_by_the_control_channel_alone_and_forward_alone(gateway, at):
    control = gateway.client()
    with pytest.raises(RefusedError, match="only goes forward"):
        control.advance(at("2022-12-05", "16:29"))
    with pytest.raises(RefusedError, match="prices end with session 2022-12-16"):
        control.advance(at("2022-12-17", "00:00"))
    assert control.advance(at("2022-12-16", "23:59")).now == at("2022-12-16", "23:59")


def test_a_naive_moment_is_a_programming_error(gateway):
    with pytest.raises(ValueError, match="time zone"):
        gateway.client().advance(datetime(2022, 12, 6))  # noqa: DTZ001


def test_the_state_survives_json(gateway, library, at):
    client = library.connect(gateway)
    client.place("AAPL", "BUY", 10, "one")
    gateway.client().advance(at("2022-12-06", "16:30"))
    client.place("KO", "BUY", 10, "two")
    state = gateway.client().state()
    assert GatewayState.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert state.positions[0].average_cost == Decimal("103.600000")
    assert state.open_orders[0].order_ref == "two"
    assert (state.clients, state.connections) == ((1,), 1)


def raw_command(gateway, line):
    with socket.create_connection((gateway.host, gateway.info.control_port), 5) as connection:
        connection.sendall(line + b"\n")
        return json.loads(connection.makefile().readline())


def test_without_the_token_nothing_is_done(gateway, at):
    answer = raw_command(
        gateway, b'{"token": "guess", "command": "advance", "to": "2022-12-06T10:00:00-05:00"}'
    )
    assert (answer["ok"], answer["refused"]) == (False, True)
    assert gateway.client().state().now == at("2022-12-05", "16:30")


@pytest.mark.parametrize("line", [b"hello", b"[]", b"{}", b'{"token": 1}', b'{"command": "state"}'])
def test_a_line_that_is_no_command_is_refused_in_words(gateway, line):
    assert "JSON object" in raw_command(gateway, line)["error"]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ({"command": "dance"}, "no such command"),
        ({"command": "advance"}, "needs `to`"),
        ({"command": "advance", "to": "tomorrow"}, "needs `to`"),
        ({"command": "advance", "to": "2022-12-06T10:00:00"}, "needs a time zone"),
        ({"command": "fault", "name": "omit_execution", "parameters": []}, "must be an object"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_in_words(gateway, command, error):
    line = json.dumps({"token": gateway.info.token, **command}).encode()
    assert error in raw_command(gateway, line)["error"]


def test_stop_on_the_control_channel_ends_the_gateway(gateway):
    control = gateway.client()
    control.stop()
    gateway.stop()
    with pytest.raises(BrokerConnectionError, match="not running"):
        control.state()


def test_a_gateway_that_never_was_is_not_running(tmp_path):
    with pytest.raises(BrokerConnectionError, match="not running; start it with"):
        GatewayClient(tmp_path / "gateway.json").state()


def test_another_program_on_a_dead_gateways_port_is_not_taken_for_it(gateway, tmp_path):
    # The broker's port answers control lines with silence and the end of the connection.
    other = tmp_path / "gateway.json"
    content = json.loads(gateway.gateway_file.read_text())
    other.write_text(json.dumps({**content, "control_port": content["port"]}))
    with pytest.raises(BrokerConnectionError, match="not running"):
        GatewayClient(other).state()


def test_every_byte_that_arrives_is_counted(gateway, library):
    assert gateway.client().state().bytes_received == 0
    with socket.create_connection((gateway.host, gateway.port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(100) == b""
    state = gateway.client().state()
    assert (state.bytes_received, state.messages_received, state.connections) == (18, 0, 1)
    library.connect(gateway)
    assert gateway.client().state().messages_received >= 6


def test_an_omitted_execution_is_in_no_answer_while_everything_else_is_right(gateway, library, at):
    client = library.connect(gateway)
    gateway.client().fault("omit_execution", n=2)
    one, two = client.place("AAPL", "BUY", 10, "one"), client.place("KO", "BUY", 10, "two")
    state = gateway.client().advance(at("2022-12-06", "16:30"))
    client.sync()
    assert [fill.execution.orderRef for fill in client.ask("reqExecutions")] == ["one"]
    assert (len(one.fills), len(two.fills)) == (1, 0)
    assert two.orderStatus.status == "Filled"
    assert {trade.order.orderRef for trade in client.ask("reqCompletedOrders", False)} == {"one", "two"}
    assert {position.contract.symbol for position in client.ask("reqPositions")} == {"AAPL", "KO"}
    assert (state.executions, state.faults) == (2, ("omit_execution",))


def test_a_connection_dropped_before_the_answer_leaves_the_order_alive_once(gateway, library):
    client = library.connect(gateway)
    stock = client.stock("AAPL")
    gateway.client().fault("drop_before_ack")
    order = library.ib_insync.Order(
        action="BUY", totalQuantity=10, orderType="MKT", tif="DAY", orderRef="one"
    )
    gone = library.call(client.end_of_connection)
    trade = client.call("placeOrder", stock, order)
    library.run(lambda: gone)
    assert trade.orderStatus.permId == 0
    again = library.connect(gateway)
    (alive,) = again.ask("reqAllOpenOrders")
    assert alive.order.orderRef == "one"
    state = gateway.client().state()
    assert (state.orders_received, state.faults) == (1, ())


def test_a_refusing_broker_rejects_with_201_until_the_fault_is_lifted(gateway, library):
    client = library.connect(gateway)
    gateway.client().fault("refuse_all_orders")
    client.place("AAPL", "BUY", 10, "one")
    assert client.errors[-1][1] == 201
    gateway.client().clear_faults()
    trade = client.place("AAPL", "BUY", 10, "two")
    assert trade.orderStatus.status == "PreSubmitted"
    assert gateway.client().state().orders_by_state == {"held": 1, "rejected": 1}


def test_faults_outlive_a_restart_and_a_spent_one_does_not_come_back(serve, library):
    with serve() as gateway:
        gateway.client().fault("omit_execution", n=1)
        gateway.client().fault("refuse_all_orders")
        gateway.client().clear_faults()
        gateway.client().fault("omit_execution", n=3)
    with serve() as gateway:
        assert gateway.client().state().faults == ("omit_execution",)


@pytest.mark.parametrize(
    ("name", "parameters", "error"),
    [
        ("explode", {}, "no fault is called 'explode'; there are bust_execution, "),
        ("omit_execution", {}, "needs n: 1 for the first execution ever"),
        ("omit_execution", {"n": 0}, "n=0 is wrong"),
        ("omit_execution", {"n": "1"}, "n='1' is wrong"),
        ("refuse_all_orders", {"n": 1}, "has no parameter n; it takes none"),
        ("omit", {"message": "gossip"}, "message is one of accountDownloadEnd, accountSummary"),
        ("correct_execution", {"n": 1, "price": "NaN"}, "price='NaN' is wrong"),
        ("correct_execution", {"n": 1, "price": 10}, "no execution 1 stands today"),
        ("human_order", {"symbol": "XXX"}, "no stock is called 'XXX'"),
        ("human_cancel", {"order": 1}, "order 1 is not open"),
    ],
)
def test_an_unknown_fault_is_refused_with_the_list_of_known_ones(gateway, name, parameters, error):
    with pytest.raises((BrokerError, RefusedError), match=error):
        gateway.client().fault(name, **parameters)
    assert gateway.client().state().faults == ()
