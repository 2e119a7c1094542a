"""Scripted faults of orders and fills, and what a script does at once, over a real socket."""

import pytest

NEXT = ("2022-12-06", "16:30")


@pytest.fixture
def client(gateway, library):
    return library.connect(gateway)


@pytest.fixture
def control(gateway):
    return gateway.client()


# --- orders and fills


@pytest.mark.parametrize("code", [201, 110, 460, 203, 451])
@pytest.mark.parametrize(
    ("shape", "status", "events"),
    [("inactive", "Inactive", ["status", "error"]), ("cancelled", "Cancelled", ["error", "status"])],
)
def test_a_reject_comes_in_two_shapes_with_any_code(client, control, code, shape, status, events):
    order = []
    client.library.call(lambda: client.ib.errorEvent.connect(lambda *_: order.append("error")))
    raw = client.ib.wrapper.orderStatus
    client.ib.wrapper.orderStatus = lambda *args: (order.append("status"), raw(*args))[1]
    control.fault("reject", code=code, reason="because", shape=shape)
    trade = client.place("AAPL", "BUY", 10, "one")
    assert (client.errors[-1][0], client.errors[-1][1]) == (trade.order.orderId, code)
    assert order == events
    (done,) = client.ask("reqCompletedOrders", False)
    assert done.orderStatus.status == status
    assert client.place("AAPL", "BUY", 10, "two").orderStatus.status == "PreSubmitted"


def test_a_partial_fill_leaves_the_rest_working_until_it_expires(client, control, at):
    control.fault("partial_fill", shares=4, count=2)
    trade = client.place("AAPL", "BUY", 10)
    control.advance(at("2022-12-06", "10:00"))
    client.sync()
    assert (trade.orderStatus.status, trade.orderStatus.filled, trade.orderStatus.remaining) == (
        "Submitted",
        4,
        6,
    )
    control.advance(at(*NEXT))
    client.sync()
    assert (trade.orderStatus.status, trade.orderStatus.filled) == ("Cancelled", 8)
    assert client.errors[-1][1] == 202
    assert sum(fill.commissionReport.commission for fill in trade.fills) == 1.0
    (done,) = client.ask("reqCompletedOrders", False)
    assert (done.orderStatus.status, done.order.filledQuantity) == ("Cancelled", 8)


def test_a_split_fill_pays_one_minimum_commission(client, control, at):
    control.fault("split_fill", pieces=3)
    trade = client.place("AAPL", "BUY", 10)
    control.advance(at(*NEXT))
    client.sync()
    assert [fill.execution.shares for fill in trade.fills] == [4, 3, 3]
    assert trade.orderStatus.status == "Filled"
    assert sum(fill.commissionReport.commission for fill in trade.fills) == 1.0


def test_a_fill_after_a_confirmed_cancel(gateway, client, control, at):
    control.fault("fill_after_cancel")
    trade = client.place("AAPL", "BUY", 10)
    client.call("cancelOrder", trade.order)
    client.sync()
    assert trade.orderStatus.status == "Cancelled"
    assert client.ask("reqAllOpenOrders") == []
    control.advance(at(*NEXT))
    client.sync()
    assert (len(trade.fills), trade.orderStatus.status) == (1, "Filled")
    (done,) = client.ask("reqCompletedOrders", False)
    assert done.orderStatus.status == "Filled"


def test_a_fill_after_cancel_outlives_a_restart_and_happens_once(serve, library, at):
    with serve() as gateway:
        client = library.connect(gateway)
        gateway.client().fault("fill_after_cancel")
        trade = client.place("AAPL", "BUY", 10)
        client.call("cancelOrder", trade.order)
        client.sync()
    with serve() as gateway:
        assert gateway.client().advance(at("2022-12-06", "10:00")).executions == 1
    with serve() as gateway:
        assert gateway.client().advance(at("2022-12-07", "16:30")).executions == 1


def test_a_read_only_api_answers_orders_previews_and_cancels_with_321(client, control):
    trade = client.place("AAPL", "BUY", 10, "one")
    control.fault("read_only")
    refused = client.place("AAPL", "BUY", 10, "two")
    client.call("cancelOrder", trade.order)
    client.sync()
    assert [(id_, code) for id_, code, _ in client.errors[-2:]] == [
        (refused.order.orderId, 321),
        (trade.order.orderId, 321),
    ]
    assert [order.order_ref for order in control.state().open_orders] == ["one"]


# --- what happens at once


def test_fills_while_the_line_is_down_are_never_pushed_and_are_there_for_who_asks(client, control, at):
    trade = client.place("AAPL", "BUY", 10)
    control.fault("connectivity_lost")
    late = client.send(ref="two")
    control.advance(at(*NEXT))
    control.fault("connectivity_restored", code=1101)
    client.sync()
    assert [code for id_, code, _ in client.errors if id_ == -1 and 1100 <= code < 1200] == [1100, 1101]
    assert (trade.fills, late.orderStatus.permId) == ([], 0)
    assert len(client.ask("reqExecutions")) == 2
    assert control.state().faults == ()


def test_a_notice_reaches_every_client(gateway, client, control, library):
    other = library.connect(gateway, 2)
    control.fault("notice", code=2103, text="Market data farm connection is broken:usfarm")
    for one in (client, other):
        one.sync()
        assert one.errors[-1][:2] == (-1, 2103)


def test_a_restart_ends_connections_and_rolls_order_ids_back(gateway, client, control, library):
    old = client.place("AAPL", "BUY", 10, "one")
    client.until_ended(lambda: control.fault("restart"))
    again = library.client()
    again.ib.wrapper.clientId = 1
    again.connect(gateway.port, 1)
    assert [order.order.orderRef for order in again.ask("reqAllOpenOrders")] == ["one"]
    stock = again.stock("KO")
    new = library.ib_insync.Order(action="BUY", totalQuantity=1, orderType="MKT", tif="DAY", orderRef="two")
    library.call(again.ib.client.placeOrder, old.order.orderId, stock, new)
    again.sync()
    ids = [(order.order_id, order.order_ref) for order in control.state().open_orders]
    assert ids == [(old.order.orderId, "one"), (old.order.orderId, "two")]
    again.disconnect()


def test_a_correction_comes_again_with_the_next_revision_and_a_bust_with_no_shares(client, control, at):
    trade = client.place("AAPL", "BUY", 10)
    before = control.advance(at(*NEXT)).cash
    control.fault("correct_execution", n=1, price="103.40")
    client.sync()
    first, second = [fill.execution for fill in trade.fills]
    assert (first.execId[-3:], second.execId[-3:]) == (".01", ".02")
    assert (second.price, second.shares) == (103.4, 10)
    assert control.state().cash == before + 1
    control.fault("bust_execution", n=2)
    client.sync()
    assert (trade.fills[-1].execution.execId[-3:], trade.fills[-1].execution.shares) == (".03", 0)
    assert client.ask("reqPositions") == []
    assert len(client.ask("reqExecutions")) == 3


def test_a_persons_order_is_seen_by_all_and_bound_by_client_zero_alone(gateway, client, control, library):
    control.fault("human_order", symbol="AAPL", quantity=7, type="LMT", limit="90.5")
    (seen,) = client.ask("reqAllOpenOrders")
    assert (seen.order.orderId, seen.order.clientId, seen.order.orderRef) == (0, 0, "")
    assert (seen.order.lmtPrice, seen.order.totalQuantity) == (90.5, 7)
    assert client.ask("reqOpenOrders") == []
    zero = library.connect(gateway, 0)  # the library binds when it connects as client 0
    control.fault("human_order", symbol="KO")
    zero.sync()
    bound = {trade.order.orderId: trade.contract.symbol for trade in zero.call("openTrades")}
    assert bound == {-1: "AAPL", -2: "KO"}
    library.call(zero.ib.client.cancelOrder, -2)
    zero.sync()
    assert [order.symbol for order in control.state().open_orders] == ["AAPL"]


def test_a_person_edits_duplicates_and_cancels_an_order(client, control):
    trade = client.place("AAPL", "BUY", 10, "one")
    control.fault("human_edit", order=1, quantity=25)
    client.sync()
    assert trade.order.totalQuantity == 25
    control.fault("human_duplicate", order=1)
    copies = client.ask("reqAllOpenOrders")
    assert {copy.order.orderRef for copy in copies} == {"one"}
    assert len({copy.order.permId for copy in copies}) == 2
    control.fault("human_cancel", order=1)
    client.sync()
    assert (trade.orderStatus.status, client.errors[-1][1]) == ("Cancelled", 202)
