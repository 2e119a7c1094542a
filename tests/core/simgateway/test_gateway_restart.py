"""What a gateway remembers: over a stop, over a kill, and against a second one."""

import os
import select
import signal
import sqlite3
import subprocess
import sys
from decimal import Decimal

import pytest

from hrp_core.errors import BrokerConnectionError, BrokerError, DataError, RefusedError, SettingsError
from hrp_core.simgateway import GatewayClient, GatewayInfo, gateway_is_running, reset


def test_a_restart_goes_on_with_orders_fills_cash_positions_ids_clock_and_account(serve, library, at):
    with serve() as gateway:
        account = gateway.account
        client = library.connect(gateway)
        client.place("AAPL", "BUY", 10, "one")
        gateway.client().advance(at("2022-12-06", "16:30"))
        held = client.place("KO", "BUY", 5, "two")
        before = gateway.client().state()
    with serve(start=at("2022-12-01", "10:00"), cash=Decimal(1)) as gateway:
        assert gateway.account == account
        client = library.connect(gateway)
        (fill,) = client.call("fills")
        assert (fill.execution.orderRef, fill.commissionReport.commission) == ("one", 1.0)
        (order,) = client.ask("reqAllOpenOrders")
        assert (order.order.orderRef, order.order.orderId) == ("two", held.order.orderId)
        after = gateway.client().state()
        for name in (
            "now",
            "cash",
            "positions",
            "orders_received",
            "orders_by_state",
            "open_orders",
            "executions",
        ):
            assert getattr(after, name) == getattr(before, name)
        new = client.place("AAPL", "BUY", 1, "three")
        assert new.order.orderId > held.order.orderId
        assert new.order.permId > held.order.permId
        state = gateway.client().advance(at("2022-12-07", "16:30"))
        assert [(position.symbol, position.shares) for position in state.positions] == [
            ("AAPL", 11),
            ("KO", 5),
        ]


def test_history_stays_in_the_file_when_the_answers_have_forgotten_it(serve, library, at):
    with serve() as gateway:
        library.connect(gateway).place("AAPL", "BUY", 10, "one")
        gateway.client().advance(at("2022-12-09", "16:30"))
        with sqlite3.connect(gateway.folder / "gateway.sqlite") as audit:
            rows = audit.execute("SELECT order_ref, quantity, price_units FROM executions").fetchall()
        audit.close()
    assert rows == [("one", 10, 1_035_000)]


GATEWAY_PROGRAM = """
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
import pandas as pd
from hrp_core.matching import Tape
from hrp_core.simgateway import GatewayServer

folder, prices, start = sys.argv[1:]
tape = Tape.from_frame(pd.read_csv(prices))
server = GatewayServer(Path(folder), tape, start=datetime.fromisoformat(start), cash=Decimal(100000))
server.serve_forever(on_ready=lambda info: print("ready", info.port, flush=True))
"""


@pytest.fixture
def process(tmp_path, tape, at):
    """Start a gateway in a process of its own; returns the process once it listens."""
    prices = tmp_path / "prices.csv"
    lines = ["session,symbol,open,high,low,close,volume"]
    for row, session in enumerate(tape.sessions):
        lines += [f"{session},{symbol},,,,{tape.close[row, n]}," for n, symbol in enumerate(tape.symbols)]
    prices.write_text("\n".join(lines))
    started = []

    def start():
        child = subprocess.Popen(
            [
                sys.executable,
                "-c",
                GATEWAY_PROGRAM,
                tmp_path / "sim",
                prices,
                at("2022-12-05", "16:30").isoformat(),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        assert child.stdout is not None
        assert select.select([child.stdout], [], [], 30)[0], "the gateway did not start"
        assert child.stdout.readline().startswith("ready")
        return child

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


def test_a_killed_gateway_knows_everything_it_had_answered(process, library, tmp_path, at):
    child = process()
    gateway_file = tmp_path / "sim" / "gateway.json"
    control = GatewayClient(gateway_file)
    client = library.client()
    client.connect(control.info().port, 1)
    trades = [client.place("KO", "BUY", 1, f"r{number}") for number in range(5)]
    account = control.info().account
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    assert not gateway_is_running(gateway_file)
    with pytest.raises(BrokerConnectionError, match="not running; start it with `hrp gateway serve`"):
        control.state()

    process()
    state = control.state()
    assert (state.account, state.orders_received) == (account, 5)
    assert [order.perm_id for order in state.open_orders] == [trade.order.permId for trade in trades]
    again = library.client()
    again.connect(control.info().port, 1)
    assert control.advance(at("2022-12-06", "16:30")).executions == 5
    assert {fill.execution.orderRef for fill in again.ask("reqExecutions")} == {f"r{n}" for n in range(5)}
    again.disconnect()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_gateway_cleanly(process, tmp_path, number):
    child = process()
    info = GatewayInfo.read(tmp_path / "sim" / "gateway.json")
    assert info.pid == child.pid
    child.send_signal(number)
    _, errors = child.communicate(timeout=20)
    assert (child.returncode, errors) == (0, "")
    assert GatewayInfo.read(tmp_path / "sim" / "gateway.json") == info
    assert not gateway_is_running(tmp_path / "sim" / "gateway.json")


def test_a_second_gateway_on_the_same_folder_is_refused_by_pid(serve, gateway):
    with pytest.raises(RefusedError, match=f"already runs on .* \\(process {os.getpid()}\\)"), serve():
        pass
    assert gateway_is_running(gateway.gateway_file)
    with pytest.raises(RefusedError, match="already runs"):
        reset(gateway.folder)


def test_reset_removes_its_files_and_the_next_start_is_another_account(serve, at):
    with serve() as gateway:
        gateway.client().advance(at("2022-12-06", "10:00"))
        first, folder = gateway.account, gateway.folder
    reset(folder)
    assert list(folder.iterdir()) == []
    reset(folder / "never made")
    with serve() as gateway:
        assert gateway.account != first
        assert gateway.client().state().now == at("2022-12-05", "16:30")


def test_the_account_can_be_chosen_once(serve):
    with serve(account="DU7654321") as gateway:
        assert gateway.account == "DU7654321"
    with serve() as gateway:
        assert gateway.account == "DU7654321"
    with (
        pytest.raises(SettingsError, match="belongs to account DU7654321, not DU0000001"),
        serve(account="DU0000001"),
    ):
        pass


def test_a_gateway_whose_clock_is_beyond_the_prices_does_not_start(serve, at):
    with (
        pytest.raises(RefusedError, match="prices end with session 2022-12-16"),
        serve(start=at("2022-12-19", "09:00")),
    ):
        pass
    with serve() as gateway:
        assert gateway.client().state().now == at("2022-12-05", "16:30")


def test_a_file_that_is_no_gateway_state_is_refused(serve, tmp_path):
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "gateway.sqlite").write_text("this is not a database, whatever its name says")
    with pytest.raises(DataError, match="cannot be used as the gateway's state"), serve():
        pass


def test_a_gateway_that_cannot_save_stops_without_answering(serve, library):
    with serve() as gateway:
        client = library.connect(gateway)
        stock = client.stock("AAPL")
        damage = sqlite3.connect(gateway.folder / "gateway.sqlite")
        damage.execute("DROP TABLE orders")
        damage.close()
        order = library.ib_insync.Order(action="BUY", totalQuantity=1, orderType="MKT", tif="DAY")
        gone = library.call(client.end_of_connection)
        trade = client.call("placeOrder", stock, order)
        library.run(lambda: gone)
        assert trade.orderStatus.status == "PendingSubmit"
        with pytest.raises(BrokerError, match="cannot go on: no such table"):
            gateway.stop()


def test_starting_and_stopping_leaves_no_thread_and_no_descriptor(serve):
    import threading

    def descriptors():
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    with serve():
        pass
    threads, files = threading.active_count(), descriptors()
    for _ in range(5):
        with serve():
            pass
    assert (threading.active_count(), descriptors()) == (threads, files)
