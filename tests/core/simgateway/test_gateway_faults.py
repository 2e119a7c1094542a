"""Scripted faults of connections, messages and answers over a real socket; and their registry."""

from pathlib import Path

import pytest

from hrp_core.errors import DataError
from hrp_core.simgateway.faults import FAULTS, build_fault, fault_table, read_script

NEXT = ("2022-12-06", "16:30")


@pytest.fixture
def client(gateway, library):
    return library.connect(gateway)


@pytest.fixture
def control(gateway):
    return gateway.client()


# --- connections


@pytest.mark.parametrize(
    ("fault", "acknowledged", "taken"),
    [
        ("drop_before_ack", False, True),
        ("drop_mid_frame", False, True),
        ("drop_after_ack", True, True),
        ("lose_request", False, False),
    ],
)
def test_a_connection_that_ends_around_an_order_leaves_it_taken_once_or_never(
    gateway, client, control, library, fault, acknowledged, taken
):
    control.fault(fault)
    trade = client.until_ended(lambda: client.send())
    assert (trade.orderStatus.permId > 0) is acknowledged
    again = library.connect(gateway)
    assert [open_.order.orderRef for open_ in again.ask("reqAllOpenOrders")] == ["one"] * taken
    assert control.state().orders_received == int(taken)
    assert control.state().faults == ()


@pytest.mark.parametrize(("point", "seen"), [("before", 0), ("middle", 0), ("after", 1)])
def test_a_connection_can_end_at_any_message(client, control, at, point, seen):
    trade = client.place("AAPL", "BUY", 10)
    control.fault("drop_message", message="execDetails", at=point)
    client.until_ended(lambda: control.advance(at(*NEXT)))
    assert len(trade.fills) == seen
    assert control.state().executions == 1


def test_silence_takes_the_order_and_never_answers(client, control):
    control.fault("silence", request="placeOrder")
    trade = client.send()
    client.sync()
    assert (trade.orderStatus.status, trade.orderStatus.permId) == ("PendingSubmit", 0)
    assert [order.order_ref for order in control.state().open_orders] == ["one"]


def test_silence_counts_the_requests_it_swallows(client, control):
    control.fault("silence", request="positions", count=2)
    assert client.is_unanswered("reqPositions")
    client.ib.wrapper._futures.pop("positions", None)
    assert client.is_unanswered("reqPositions")
    assert control.state().faults == ()
    assert not client.is_unanswered("reqCurrentTime")


def test_a_half_open_connection_neither_answers_nor_closes_and_frees_its_id_when_the_client_leaves(
    gateway, client, control, library
):
    control.fault("half_open", request="placeOrder")
    trade = client.send()
    assert client.is_unanswered("reqCurrentTime")
    assert trade.orderStatus.permId == 0
    assert client.call("isConnected")
    assert control.state().orders_received == 0
    client.disconnect()
    library.connect(gateway, 1)


# --- messages


def test_an_omitted_message_is_not_sent(client, control, at):
    trade = client.place("AAPL", "BUY", 10)
    control.fault("omit", message="commissionReport")
    control.advance(at(*NEXT))
    client.sync()
    assert trade.orderStatus.status == "Filled"
    assert trade.fills[0].commissionReport.execId == ""
    client.ask("reqExecutions")  # asking repairs it
    assert trade.fills[0].commissionReport.commission == 1.0


def test_a_duplicated_execution_reaches_the_client_twice(client, control, at):
    trade = client.place("AAPL", "BUY", 10)
    control.fault("duplicate", message="execDetails")
    control.fault("duplicate", message="orderStatus", count=0)
    control.advance(at(*NEXT))
    client.sync()
    assert len(trade.fills) == 1
    assert control.state().faults == ("duplicate",)


def test_a_delayed_commission_comes_after_the_clock_has_moved_again(client, control, at):
    client.place("AAPL", "BUY", 10)
    control.fault("delay", message="commissionReport")
    control.advance(at("2022-12-06", "09:30"))
    client.sync()
    assert not [event for event in client.seen if event.startswith("commission")]
    control.advance(at("2022-12-06", "10:00"))
    client.sync()
    assert client.seen[-1].startswith("commission")


def test_an_execution_delayed_behind_its_commission_loses_the_commission_in_the_library(client, control, at):
    trade = client.place("AAPL", "BUY", 10)
    control.fault("delay", message="execDetails", until="commissionReport")
    control.advance(at(*NEXT))
    client.sync()
    assert client.seen[-1].startswith("fill")
    assert trade.fills[0].commissionReport.execId == ""


def test_reordered_messages_change_places(client, control, at):
    client.place("AAPL", "BUY", 10)
    control.fault("reorder", message="orderStatus")
    control.advance(at(*NEXT))
    client.sync()
    assert [event.split()[0] for event in client.seen[-3:]] == ["fill", "commission", "Filled"]


def test_a_commission_can_be_the_largest_double(client, control, at):
    trade = client.place("AAPL", "BUY", 10)
    control.fault("unset_commission")
    control.advance(at(*NEXT))
    client.sync()
    assert trade.fills[0].commissionReport.commission > 1e300


def test_a_fault_can_be_meant_for_one_order_alone(client, control, at):
    trades = [client.place("AAPL", "BUY", 1, ref) for ref in ("one", "two", "three")]
    control.fault("omit", message="execDetails", order=2, count=0)
    control.fault("omit", message="execDetails", ref="thr", count=0)
    control.advance(at(*NEXT))
    client.sync()
    assert [len(trade.fills) for trade in trades] == [1, 0, 0]


def test_chance_draws_the_same_from_the_same_seed(serve, library, at, tmp_path):
    def missing(folder, seed):
        with serve(tmp_path / folder, seed=seed) as gateway:
            client = library.connect(gateway)
            gateway.client().fault("omit", message="execDetails", chance=50, count=0)
            trades = [client.place("AAPL", "BUY", 1, str(number)) for number in range(12)]
            gateway.client().advance(at(*NEXT))
            client.sync()
            client.disconnect()
            return [len(trade.fills) for trade in trades]

    first = missing("a", 1)
    assert missing("b", 1) == first
    assert 0 < sum(first) < 12
    assert missing("c", 2) != first


# --- answers


@pytest.mark.parametrize(
    ("request_name", "method", "arguments"),
    [
        ("positions", "reqPositions", ()),
        ("allOpenOrders", "reqAllOpenOrders", ()),
        ("completedOrders", "reqCompletedOrders", (False,)),
        ("executions", "reqExecutions", ()),
    ],
)
def test_an_end_marker_can_be_missing_or_lie(client, control, at, request_name, method, arguments):
    client.place("AAPL", "BUY", 10)
    control.advance(at(*NEXT))
    client.place("AAPL", "BUY", 10)
    control.fault("lying_end", request=request_name)
    assert client.ask(method, *arguments) == []
    assert len(client.ask(method, *arguments)) == 1
    control.fault("missing_end", request=request_name)
    assert client.is_unanswered(method, *arguments)


def test_a_stale_list_shows_ended_orders_as_open(client, control, at):
    client.place("AAPL", "BUY", 10, "one")
    control.advance(at(*NEXT))
    control.fault("stale_open_orders")
    (stale,) = client.ask("reqAllOpenOrders")
    assert (stale.order.orderRef, stale.orderStatus.filled) == ("one", 0)
    assert client.ask("reqAllOpenOrders") == []


def test_positions_lag_behind_the_fills_by_minutes_of_the_clock(client, control, at):
    client.place("AAPL", "BUY", 10)
    control.fault("position_lag", minutes=3)
    control.advance(at("2022-12-06", "09:32"))
    assert client.ask("reqPositions") == []
    assert len(client.ask("reqExecutions")) == 1
    control.advance(at("2022-12-06", "09:33"))
    assert [position.position for position in client.ask("reqPositions")] == [10]


# --- quotes


def test_quotes_of_one_name_have_another_prior_close_or_a_halt(client, control):
    control.fault("prior_close", symbol="AAPL", price="25.75")
    control.fault("halted", symbol="KO")
    aapl, other = client.ask("reqTickers", client.stock("AAPL"), client.stock("KO"))
    assert (aapl.close, aapl.halted) == (25.75, 0)
    assert (other.close > 0, other.halted) == (True, 1)


# --- the registry


def test_a_counter_outlives_a_restart(serve, library):
    with serve() as gateway:
        gateway.client().fault("reject", count=2, skip=1)
        client = library.connect(gateway)
        assert client.place("AAPL", "BUY", 1).orderStatus.status == "PreSubmitted"
        client.place("AAPL", "BUY", 1)
        client.disconnect()
    with serve() as gateway:
        client = library.connect(gateway)
        client.place("AAPL", "BUY", 1)
        assert gateway.client().state().faults == ()
        client.place("AAPL", "BUY", 1)
        assert gateway.client().state().orders_by_state == {"held": 2, "rejected": 2}


def test_a_script_is_checked_whole_before_any_of_it_is_in_force(control, tmp_path):
    script = tmp_path / "storm.toml"
    script.write_text(
        '[[fault]]\nname = "omit"\nmessage = "execDetails"\n[[fault]]\nname = "reject"\ncode = 460\n'
    )
    assert control.script(script) == 2
    assert control.state().faults == ("omit", "reject")
    control.clear_faults()
    script.write_text('[[fault]]\nname = "read_only"\n[[fault]]\nname = "omit"\nmessage = "gossip"\n')
    with pytest.raises(DataError, match="fault 2: fault omit: message is one of"):
        control.script(script)
    assert control.state().faults == ()


@pytest.mark.parametrize("text", ["", "fault = 1", "[[fault", "[[fault]]\n[[other]]"])
def test_what_is_no_script_is_refused(tmp_path, text):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(DataError):
        read_script(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_script(tmp_path / "nowhere.toml")


def test_every_fault_has_its_own_test_and_the_documented_table_is_current():
    page = (Path(__file__).parents[3] / "docs" / "gateway.md").read_text()
    documented = page.split("<!-- faults:begin -->\n")[1].split("\n<!-- faults:end -->")[0]
    assert documented == fault_table()
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_gateway_*.py"))
    assert not [name for name in FAULTS if f'"{name}"' not in tests]
    assert build_fault("half_open", {}) == FAULTS["half_open"]()
