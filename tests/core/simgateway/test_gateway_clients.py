"""Several clients at one gateway."""

import asyncio

import pytest


def test_a_client_id_in_use_is_refused_with_326_and_the_first_client_stays(gateway, library):
    first = library.connect(gateway, 7)
    second = library.client()
    with pytest.raises((asyncio.TimeoutError, TimeoutError)):
        second.connect(gateway.port, 7, timeout=0.5)
    assert [(id_, code) for id_, code, _ in second.errors] == [(-1, 326)]
    assert first.call("isConnected")
    assert gateway.client().state().clients == (7,)


def test_a_client_id_is_free_again_as_soon_as_its_connection_ends(gateway, library):
    for _ in range(5):
        client = library.connect(gateway, 3)
        client.disconnect()


def test_open_orders_show_by_client_id_and_all_of_them_to_everyone(gateway, library):
    one, two = library.connect(gateway, 1), library.connect(gateway, 2)
    trade = one.place("AAPL", "BUY", 10, "ref")
    assert two.ask("reqOpenOrders") == []
    assert [order.order.orderRef for order in one.ask("reqOpenOrders")] == ["ref"]
    (seen,) = two.ask("reqAllOpenOrders")
    assert (seen.order.clientId, seen.order.orderId) == (1, trade.order.orderId)


def test_a_foreign_cancel_is_refused_and_the_order_lives(gateway, library):
    one, two = library.connect(gateway, 1), library.connect(gateway, 2)
    trade = one.place("AAPL", "BUY", 10)
    two.ask("reqAllOpenOrders")
    two.call("cancelOrder", trade.order)
    two.sync()
    assert two.errors[-1][:2] == (trade.order.orderId, 10147)
    assert [order.order_id for order in gateway.client().state().open_orders] == [trade.order.orderId]


def test_events_go_to_the_owner_alone_and_executions_to_whoever_asks(gateway, library, at):
    one, two = library.connect(gateway, 1), library.connect(gateway, 2)
    one.place("AAPL", "BUY", 10, "ref")
    gateway.client().advance(at("2022-12-06", "10:00"))
    one.sync()
    two.sync()
    assert len(one.seen) == 4
    assert two.seen == []
    (fill,) = two.ask("reqExecutions")
    assert (fill.execution.orderRef, fill.execution.clientId) == ("ref", 1)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"clientId": 1}, 1),
        ({"clientId": 2}, 0),
        ({"symbol": "AAPL"}, 1),
        ({"symbol": "KO"}, 0),
        ({"side": "BUY"}, 1),
        ({"side": "SELL"}, 0),
        ({"time": "20221206-14:30:00"}, 1),  # UTC
        ({"time": "20221206 09:30:01"}, 0),
        ({"time": "20221206 15:30:01 Europe/Berlin"}, 0),
    ],
)
def test_executions_are_filtered(gateway, library, at, fields, count):
    client = library.connect(gateway)
    client.place("AAPL", "BUY", 10)
    gateway.client().advance(at("2022-12-06", "10:00"))
    client.sync()
    assert len(client.ask("reqExecutions", library.ib_insync.ExecutionFilter(**fields))) == count


def test_only_client_zero_may_bind_manual_orders(gateway, library):
    zero = library.connect(gateway, 0)
    one = library.connect(gateway, 1)
    one.call("reqAutoOpenOrders", True)
    one.sync()
    assert one.errors[-1][1] == 327
    assert all(code != 327 for _, code, _ in zero.errors)


def test_a_client_that_was_away_learns_of_its_fills_by_asking(gateway, library, at):
    client = library.connect(gateway)
    client.place("AAPL", "BUY", 10, "ref")
    client.disconnect()
    gateway.client().advance(at("2022-12-06", "16:30"))
    again = library.connect(gateway)
    (fill,) = again.call("fills")
    assert fill.execution.orderRef == "ref"
    assert fill.commissionReport.commission == 1.0
    assert [position.position for position in again.call("positions")] == [10]
