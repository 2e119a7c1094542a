"""Orders over a real socket, with the unpatched client library."""

import math
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from hrp_core.calendar import nyse
from hrp_core.matching import Tape

FARMS = [2104, 2106, 2158]


@pytest.fixture(params=[157, 176])
def client(request, gateway, library):
    """A connected client, at each of the two layouts."""
    client = library.client()
    client.ib.client.MaxClientVersion = request.param
    client.connect(gateway.port, 1)
    assert client.ib.client.serverVersion() == request.param
    yield client
    client.disconnect()


def codes(client):
    return [code for _, code, _ in client.errors if code not in FARMS]


def test_an_evening_market_order_is_held_and_says_until_when(client):
    trade = client.place("AAPL", "BUY", 10, "S221206-1")
    assert trade.orderStatus.status == "PreSubmitted"
    assert trade.orderStatus.permId > 0
    (held,) = [text for id_, code, text in client.errors if code == 399 and id_ == trade.order.orderId]
    assert "will not be placed at the exchange until 2022-12-06 09:30:00 US/Eastern" in held
    assert "BUY 10 AAPL" in held


def test_it_fills_at_the_open_with_its_commission_in_the_brokers_order_of_events(client, gateway, at):
    trade = client.place("AAPL", "BUY", 10, "S221206-1")
    gateway.client().advance(at("2022-12-06", "09:31"))
    client.sync()
    (fill,) = trade.fills
    exec_id = fill.execution.execId
    assert client.seen == ["PreSubmitted", f"fill {exec_id}", "Filled", f"commission {exec_id}"]
    assert (trade.orderStatus.filled, trade.orderStatus.remaining) == (10, 0)
    assert trade.orderStatus.avgFillPrice == trade.orderStatus.lastFillPrice == 103.5
    execution = fill.execution
    assert (execution.side, execution.shares, execution.price) == ("BOT", 10, 103.5)
    assert (execution.orderRef, execution.permId) == ("S221206-1", trade.orderStatus.permId)
    assert (execution.acctNumber, execution.clientId) == (gateway.account, 1)
    assert (execution.cumQty, execution.avgPrice) == (10, 103.5)
    assert fill.commissionReport.commission == 1.0
    assert fill.commissionReport.currency == "USD"


def test_execution_times_are_new_york_times(client, gateway, at):
    client.place("AAPL", "BUY", 10)
    gateway.client().advance(at("2022-12-06", "10:00"))
    client.ib.TimezoneTWS = "America/New_York"  # the old layout names no zone
    (fill,) = client.ask("reqExecutions")
    assert fill.execution.time == at("2022-12-06", "09:30")


def test_a_name_without_an_open_works_until_the_close_and_fills_there(client, gateway, at):
    trade = client.place("KO", "BUY", 10)
    gateway.client().advance(at("2022-12-06", "09:31"))
    client.sync()
    assert trade.orderStatus.status == "Submitted"
    gateway.client().advance(at("2022-12-06", "16:00"))
    client.sync()
    assert trade.orderStatus.status == "Filled"
    assert trade.fills[0].execution.price == 60.3


def test_a_sale_reports_its_realized_profit(client, gateway, at):
    client.place("AAPL", "BUY", 10)
    gateway.client().advance(at("2022-12-06", "16:30"))
    trade = client.place("AAPL", "SELL", 10)
    gateway.client().advance(at("2022-12-07", "16:30"))
    client.sync()
    (fill,) = trade.fills
    assert fill.execution.side == "SLD"
    # Bought at 103.50, sold at 104.50, two commissions of 1.00.
    assert fill.commissionReport.realizedPNL == 8.0


def test_open_and_completed_orders_carry_the_reference(client, gateway, at):
    trade = client.place("AAPL", "BUY", 10, "S221206-1")
    (open_,) = client.ask("reqAllOpenOrders")
    assert (open_.order.orderRef, open_.order.permId) == ("S221206-1", trade.order.permId)
    assert client.ask("reqCompletedOrders", False) == []
    gateway.client().advance(at("2022-12-06", "16:30"))
    assert client.ask("reqAllOpenOrders") == []
    (done,) = client.ask("reqCompletedOrders", False)
    assert (done.order.orderRef, done.order.permId) == ("S221206-1", trade.order.permId)
    assert (done.orderStatus.status, done.order.filledQuantity) == ("Filled", 10)
    assert (done.order.orderId, done.order.clientId) == (0, 0)


def test_midnight_in_new_york_empties_the_answers_and_keeps_the_positions(client, gateway, at):
    client.place("AAPL", "BUY", 10)
    gateway.client().advance(at("2022-12-06", "23:59"))
    assert len(client.ask("reqExecutions")) == len(client.ask("reqCompletedOrders", False)) == 1
    state = gateway.client().advance(at("2022-12-07", "00:00"))
    assert client.ask("reqExecutions") == client.ask("reqCompletedOrders", False) == []
    assert [(position.contract.symbol, position.position) for position in client.ask("reqPositions")] == [
        ("AAPL", 10)
    ]
    assert (state.executions, state.orders_by_state) == (1, {"filled": 1})


def test_cancelling_ends_the_order_with_202(client, gateway):
    trade = client.place("AAPL", "BUY", 10)
    client.call("cancelOrder", trade.order)
    client.sync()
    assert trade.orderStatus.status == "Cancelled"
    assert client.seen[-1] == "Cancelled"
    assert codes(client) == [399, 202]
    (done,) = client.ask("reqCompletedOrders", False)
    assert done.orderStatus.status == "Cancelled"


def test_cancelling_an_order_that_has_ended_or_never_was_is_refused(client, gateway, at):
    trade = client.place("AAPL", "BUY", 10)
    gateway.client().advance(at("2022-12-08", "10:00"))
    client.sync()
    client.library.call(client.ib.client.cancelOrder, trade.order.orderId)
    client.library.call(client.ib.client.cancelOrder, 999)
    client.sync()
    assert codes(client) == [399, 10148, 10147]
    assert "state: Filled" in client.errors[-2][2]


def test_an_order_just_after_the_close_is_cancelled(library, serve, at):
    with serve(start=at("2022-12-05", "16:03")) as gateway:
        client = library.connect(gateway)
        trade = client.place("AAPL", "BUY", 10)
        assert trade.orderStatus.status == "Cancelled"
        assert codes(client) == [399, 202]
        assert gateway.client().state().open_orders == ()


def test_an_order_during_the_session_is_submitted_and_fills_at_the_close(library, serve, at):
    with serve(start=at("2022-12-05", "11:00")) as gateway:
        client = library.connect(gateway)
        trade = client.place("AAPL", "BUY", 10)
        assert (trade.orderStatus.status, codes(client)) == ("Submitted", [])
        gateway.client().advance(at("2022-12-05", "16:00"))
        client.sync()
        assert trade.fills[0].execution.price == 103.0


def test_what_cannot_be_paid_for_is_cancelled_at_the_open_with_201(client, gateway, at):
    trade = client.place("AAPL", "BUY", 100_000)
    assert trade.orderStatus.status == "PreSubmitted"
    gateway.client().advance(at("2022-12-06", "09:30"))
    client.sync()
    assert trade.orderStatus.status == "Cancelled"
    assert codes(client) == [399, 201]
    assert "insufficient funds" in client.errors[-1][2]
    assert client.ask("reqPositions") == []


def test_a_short_sale_is_rejected_and_stays_visible_as_inactive(client):
    trade = client.place("AAPL", "SELL", 10, "ref")
    assert codes(client) == [201]
    (done,) = client.ask("reqCompletedOrders", False)
    assert (done.order.orderRef, done.orderStatus.status) == ("ref", "Inactive")
    assert not trade.isActive()


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"account": "DU0000001"}, 321, "Invalid account code 'DU0000001'"),
        ({"orderType": "TRAIL"}, 387, "Unsupported order type"),
        ({"orderType": "LMT", "lmtPrice": 1.005}, 110, "minimum price variation"),
        ({"orderType": "LMT"}, 110, "minimum price variation"),
        ({"orderType": "MOC", "tif": "OPG"}, 201, "time in force OPG is not supported for MOC"),
        ({"tif": "GTC"}, 201, "time in force GTC is not supported"),
        ({"action": "SSHORT"}, 321, "Invalid action 'SSHORT'"),
        ({"totalQuantity": 0.5}, 10243, "Fractional"),
        ({"totalQuantity": 0}, 434, "size cannot be zero"),
        ({"ocaGroup": "g", "parentId": 3}, 321, "does not support orders with ocaGroup, parentId"),
    ],
)
def test_what_is_no_order_here_is_refused_under_its_id_and_says_why(gateway, library, fields, code, words):
    client = library.connect(gateway)
    trade = client.place("AAPL", "BUY", 10, **fields)
    (id_, got, text) = client.errors[-1]
    assert (id_, got) == (trade.order.orderId, code)
    assert words in text
    state = gateway.client().state()
    assert (state.orders_received, state.open_orders) == (1, ())


def test_an_order_without_time_in_force_becomes_a_day_order_and_is_told_so(gateway, library):
    client = library.connect(gateway)
    trade = client.place("AAPL", "BUY", 10, tif="", outsideRth=True)
    assert codes(client) == [10349, 2109, 399]
    (order,) = gateway.client().state().open_orders
    assert order.order_id == trade.order.orderId


def test_an_order_id_cannot_be_used_twice_nor_below_the_highest(gateway, library):
    client = library.connect(gateway)
    trade = client.place("AAPL", "BUY", 10)
    again = library.ib_insync.Order(action="BUY", totalQuantity=10, orderType="MKT", tif="DAY")
    for order_id in (trade.order.orderId, trade.order.orderId - 1):
        library.call(client.ib.client.placeOrder, order_id, trade.contract, again)
    client.sync()
    assert codes(client) == [399, 103, 103]
    state = gateway.client().state()
    assert (state.orders_received, len(state.open_orders)) == (3, 1)


def test_a_contract_whose_id_and_symbol_disagree_is_refused(gateway, library):
    client = library.connect(gateway)
    apple, coke = client.stock("AAPL"), client.stock("KO")
    apple.symbol = "KO"
    trade = client.call(
        "placeOrder",
        apple,
        library.ib_insync.Order(action="BUY", totalQuantity=1, orderType="MKT", tif="DAY"),
    )
    client.sync()
    assert client.errors[-1][:2] == (trade.order.orderId, 478)
    assert coke.conId != apple.conId


def test_a_what_if_order_gets_figures_and_places_nothing(gateway, library):
    client = library.connect(gateway)
    order = library.ib_insync.Order(action="BUY", totalQuantity=10, orderType="MKT", tif="DAY")
    state = client.ask("whatIfOrder", client.stock("AAPL"), order)
    # 10 at the last close of 103.00.
    assert (float(state.initMarginChange), float(state.equityWithLoanChange)) == (1030.0, -1.0)
    assert (state.commission, float(state.equityWithLoanAfter)) == (1.0, 99_999.0)
    assert codes(client) == []
    assert gateway.client().state().orders_received == 0
    assert client.ask("reqAllOpenOrders") == []


def test_global_cancel_ends_every_clients_orders(gateway, library):
    one, two = library.connect(gateway, 1), library.connect(gateway, 2)
    trades = [one.place("AAPL", "BUY", 1), two.place("KO", "BUY", 1)]
    one.call("reqGlobalCancel")
    one.sync()
    two.sync()
    assert [trade.orderStatus.status for trade in trades] == ["Cancelled", "Cancelled"]


def test_commissions_of_opening_trades_realize_nothing(gateway, library, at):
    client = library.connect(gateway)
    raw = []
    library.call(
        lambda: client.ib.commissionReportEvent.connect(lambda _t, _f, report: raw.append(report.realizedPNL))
    )
    client.place("AAPL", "BUY", 10)
    gateway.client().advance(at("2022-12-06", "10:00"))
    client.sync()
    assert raw == [0.0]  # the library's reading of the largest number
    assert not math.isnan(raw[0])


def test_a_hundred_orders_sent_at_once_are_all_taken_once(gateway, library, at):
    client = library.connect(gateway)
    client.ib.client.MaxRequests = 0
    stock = client.stock("AAPL")

    def basket():
        return [
            client.ib.placeOrder(
                stock,
                library.ib_insync.Order(
                    action="BUY", totalQuantity=1, orderType="MKT", tif="DAY", orderRef=f"r{number}"
                ),
            )
            for number in range(100)
        ]

    trades = library.call(basket)
    client.sync()
    assert len({trade.orderStatus.permId for trade in trades}) == 100
    assert {trade.orderStatus.status for trade in trades} == {"PreSubmitted"}
    state = gateway.client().advance(at("2022-12-06", "16:30"))
    client.sync()
    assert (state.orders_received, state.executions) == (100, 100)
    assert {trade.orderStatus.status for trade in trades} == {"Filled"}
    assert state.cash == Decimal(100_000) - 100 * Decimal("104.50")


def test_a_limit_order_carries_its_limit_and_fills_there_when_the_range_reaches_it(client, gateway, at):
    trade = client.place("AAPL", "BUY", 10, orderType="LMT", lmtPrice=102.25)
    (seen,) = client.ask("reqAllOpenOrders")
    assert (seen.order.orderType, seen.order.lmtPrice, seen.order.tif) == ("LMT", 102.25, "DAY")
    gateway.client().advance(at("2022-12-06", "16:00"))
    client.sync()
    assert trade.fills[0].execution.price == 102.25
    (done,) = client.ask("reqCompletedOrders", False)
    assert (done.order.lmtPrice, done.orderStatus.status) == (102.25, "Filled")


def test_orders_for_the_opening_auction_fill_there_or_end_there(client, gateway, at):
    filled = client.place("AAPL", "BUY", 10, tif="OPG")
    unfilled = client.place("AAPL", "BUY", 10, tif="OPG", orderType="LMT", lmtPrice=90)
    gateway.client().advance(at("2022-12-06", "09:30"))
    client.sync()
    assert (filled.orderStatus.status, unfilled.orderStatus.status) == ("Filled", "Cancelled")
    assert client.errors[-1][:2] == (unfilled.order.orderId, 202)
    late = client.place("AAPL", "BUY", 10, tif="OPG")
    assert (client.errors[-1][0], client.errors[-1][1]) == (late.order.orderId, 201)
    assert "had to arrive before 09:28:00" in client.errors[-1][2]


def test_a_class_of_shares_is_spelled_with_a_blank(serve, library, at):
    sessions = nyse().between(date(2022, 12, 5), date(2022, 12, 7))
    ones = np.full((len(sessions), 1), 300.0)
    tape = Tape(tuple(sessions), ("BRK.B",), ones, ones, ones, ones, ones)
    with serve(tape=tape) as gateway:
        client = library.connect(gateway)
        dotted = library.ib_insync.Stock("BRK.B", "SMART", "USD")
        assert client.ask("qualifyContracts", dotted) == []
        assert codes(client) == [200]
        client.place("BRK B", "BUY", 1)
        gateway.client().advance(at("2022-12-06", "10:00"))
        client.sync()
        (position,) = client.ask("reqPositions")
        (fill,) = client.ask("reqExecutions", library.ib_insync.ExecutionFilter(symbol="BRK B"))
        assert (position.contract.symbol, fill.contract.localSymbol) == ("BRK B", "BRK B")
        assert [held.symbol for held in gateway.client().state().positions] == ["BRK.B"]


def test_a_what_if_order_that_cannot_be_paid_for_is_refused(gateway, library):
    client = library.connect(gateway)
    order = library.ib_insync.Order(action="BUY", totalQuantity=10_000, orderType="MKT", tif="DAY")
    client.ask("whatIfOrder", client.stock("AAPL"), order)
    assert codes(client) == [201]


def test_participation_says_where_it_does_not_apply(serve):
    with serve(participation_bps=250) as gateway:
        assert gateway.client().state().participation == (
            "2.5 % of the average volume of 20 sessions; not applicable to KO: the tape has no volume for it"
        )
