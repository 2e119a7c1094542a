"""Orders over a real socket: sent with every field, acknowledged, filled, cancelled, seen afterwards."""

from dataclasses import replace
from decimal import Decimal

import pytest
from ibkr_support import (
    AFTER_MIDNIGHT,
    AFTER_OPEN,
    ConfigFor,
    Connect,
    events_so_far,
    events_until,
    market_order,
    place,
)
from wire_proxy import WireProxy

from hrp_core.errors import BrokerError, RefusedError
from hrp_core.execution.broker import NotSentError
from hrp_core.execution.config import ClientRole
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.ibkr_loop import Pacer
from hrp_core.ledger.types import Contract, OrderStatus
from hrp_core.portfolio.types import OrderSide, OrderType
from hrp_core.simgateway.control import GatewayClient

CANCEL_ORDER = 4
REF = "S221205-1-abcdef-1"


def aapl(broker: IBKRBroker) -> Contract:
    return broker.qualify(["AAPL"])["AAPL"]


def test_contracts_of_known_symbols_are_qualified_and_unknown_ones_are_absent(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    contracts = connect().qualify(["MSFT", "NOSUCH", "AAPL", "MSFT"])

    assert list(contracts) == ["MSFT", "AAPL"]
    assert contracts["AAPL"].con_id > 0
    assert contracts["AAPL"].primary_exchange == "NASDAQ"
    assert contracts["AAPL"].min_tick == Decimal("0.01")
    assert "NOSUCH: the broker knows no such US stock" in caplog.text


def test_an_order_that_waited_while_the_machine_slept_is_not_sent(
    config_for: ConfigFor, control: GatewayClient
) -> None:
    """Put to sleep in the evening and woken at noon, it would be a market order in the open market."""
    woken = [0.0]

    class Asleep(Pacer):
        naps = 0.0

        def reserve(self, now: float) -> float:
            woken[0] += self.naps
            return super().reserve(now)

    pacer = Asleep(float("inf"))
    with IBKRBroker(config_for(), pacer=pacer, uptime=lambda: woken[0]) as broker:
        contract = aapl(broker)
        pacer.naps = 3600.0
        with pytest.raises(NotSentError, match="3600 s"):
            broker.place(market_order(contract))
        pacer.naps = 0.0
        broker.heartbeat()
        assert control.state().orders_received == 0
        place(broker, market_order(contract))
        assert control.state().orders_received == 1


def test_an_evening_order_is_acknowledged_with_a_perm_id_and_stays_open(connect: Connect) -> None:
    broker = connect()
    contract = aapl(broker)

    place(broker, market_order(contract))
    seen = events_until(broker, lambda event: event.code == 399)

    acknowledged = seen[0]
    assert (acknowledged.order_ref, acknowledged.status) == (REF, OrderStatus.SUBMITTED)
    assert acknowledged.perm_id > 0
    assert seen[-1].status is None
    (order,) = broker.snapshot().open_orders
    assert (order.order_ref, order.perm_id, order.side) == (REF, acknowledged.perm_id, OrderSide.BUY)
    assert (order.quantity, order.filled, order.status, order.client_id) == (10, 0, OrderStatus.SUBMITTED, 1)
    assert order.contract.con_id == contract.con_id


def test_a_fill_arrives_with_its_commission_while_connected(connect: Connect, control: GatewayClient) -> None:
    broker = connect()
    place(broker, market_order(aapl(broker)))
    perm_id = events_until(broker, lambda event: event.perm_id > 0)[-1].perm_id

    control.advance(AFTER_OPEN)
    seen = events_until(
        broker, lambda event: event.execution is not None and event.execution.commission is not None
    )

    executions = [event.execution for event in seen if event.execution]
    assert [execution.commission for execution in executions] == [None, Decimal("1.0000")]
    assert {execution.exec_id for execution in executions} == {executions[0].exec_id}
    fill = executions[0]
    assert (fill.order_ref, fill.perm_id, fill.account) == (REF, perm_id, broker.account)
    assert (fill.side, fill.shares, fill.price) == (OrderSide.BUY, 10, Decimal("103.0000"))
    assert fill.executed_at == AFTER_OPEN.replace(hour=9, minute=30)
    assert OrderStatus.FILLED in [event.status for event in seen]


def test_a_fill_while_disconnected_is_in_the_next_snapshot(connect: Connect, control: GatewayClient) -> None:
    broker = connect()
    place(broker, market_order(aapl(broker)))
    events_until(broker, lambda event: event.perm_id > 0)
    broker.disconnect()
    control.advance(AFTER_OPEN)

    broker.connect()
    snapshot = broker.snapshot()

    assert snapshot.asked_at == AFTER_OPEN
    assert snapshot.open_orders == ()
    (completed,) = snapshot.completed_orders
    assert (completed.order_ref, completed.status) == (REF, OrderStatus.FILLED)
    assert (completed.quantity, completed.filled) == (10, 10)
    assert (completed.client_id, completed.order_id) == (None, None)
    (execution,) = snapshot.executions
    assert (execution.order_ref, execution.shares, execution.commission) == (REF, 10, Decimal("1.0000"))
    (position,) = snapshot.positions
    assert (position.contract.symbol, position.shares) == ("AAPL", 10)
    assert position.average_cost == Decimal("103.1")
    assert snapshot.values.cash == Decimal("98969.0000")
    assert snapshot.values.net_liquidation == snapshot.values.cash + 10 * Decimal("102.5")


def test_midnight_empties_executions_and_completed_orders_but_not_positions(
    connect: Connect, control: GatewayClient
) -> None:
    broker = connect()
    place(broker, market_order(aapl(broker)))
    events_until(broker, lambda event: event.perm_id > 0)

    control.advance(AFTER_MIDNIGHT)
    snapshot = broker.snapshot()

    assert (snapshot.executions, snapshot.completed_orders, snapshot.open_orders) == ((), (), ())
    assert [position.shares for position in snapshot.positions] == [10]


def test_a_position_that_was_closed_is_absent(connect: Connect, control: GatewayClient) -> None:
    broker = connect()
    contract = aapl(broker)
    place(broker, market_order(contract))
    control.advance(AFTER_OPEN)
    assert broker.snapshot().positions

    place(broker, market_order(contract, ref="S221206-1-abcdef-1", side=OrderSide.SELL))
    control.advance(AFTER_MIDNIGHT)

    assert broker.snapshot().positions == ()


def test_every_field_of_an_order_is_explicit_on_the_wire(connect: Connect, wire: WireProxy) -> None:
    broker = connect(port=wire.port)
    contract = replace(aapl(broker), symbol="BRK.B")

    limit = replace(market_order(contract), order_type=OrderType.LIMIT, limit_price=Decimal("99.1"))
    broker.place(limit)

    sent = wire.heard(3)
    assert sent[2:9] == [str(contract.con_id), "BRK B", "STK", "", "0.0", "", ""]
    assert sent[9:12] == ["SMART", "NASDAQ", "USD"]
    assert sent[16:22] == ["BUY", "10", "LMT", "99.1", "", "DAY"]
    assert (sent[23], sent[26], sent[27]) == (broker.account, REF, "1")
    assert sent[33] == "0"


def test_a_refused_order_is_one_rejected_order_with_code_and_reason(
    connect: Connect, control: GatewayClient
) -> None:
    broker = connect()
    contract = aapl(broker)
    control.fault("refuse_all_orders")

    place(broker, market_order(contract))
    rejected = events_until(broker, lambda event: event.code == 201)[-1]

    assert (rejected.order_ref, rejected.status) == (REF, OrderStatus.REJECTED)
    assert "refuse all orders" in rejected.message
    later = [event.status for event in events_so_far(broker) if event.status is not None]
    assert set(later) <= {OrderStatus.REJECTED}
    assert [order.status for order in broker.snapshot().completed_orders] in ([], [OrderStatus.REJECTED])


@pytest.mark.parametrize("filled", [False, True])
def test_an_orders_reference_is_sent_at_most_once(
    filled: bool, connect: Connect, control: GatewayClient
) -> None:
    broker = connect()
    contract = aapl(broker)
    place(broker, market_order(contract))
    if filled:
        control.advance(AFTER_OPEN)

    with pytest.raises(BrokerError, match="not sent again"):
        broker.place(market_order(contract))
    broker.disconnect()
    broker.connect()
    with pytest.raises(BrokerError, match="not sent again"):
        broker.place(market_order(contract))

    assert control.state().orders_received == 1


def test_a_connection_that_ends_before_the_answer_leaves_the_order_to_the_snapshot(
    connect: Connect, control: GatewayClient
) -> None:
    broker = connect()
    contract = aapl(broker)
    control.fault("drop_before_ack")

    broker.place(market_order(contract))

    assert broker.next_event(10) is None
    assert not broker.is_connected()
    broker.connect()
    assert [order.order_ref for order in broker.snapshot().open_orders] == [REF]
    assert control.state().orders_received == 1


def test_nothing_is_sent_over_a_connection_that_has_ended(
    connect: Connect, wire: WireProxy, control: GatewayClient
) -> None:
    broker = connect(port=wire.port)
    contract = aapl(broker)
    wire.cut()
    assert broker.next_event(10) is None

    with pytest.raises(NotSentError, match="nothing was sent"):
        broker.place(market_order(contract))
    assert control.state().orders_received == 0


def test_an_open_order_of_this_client_is_cancelled(connect: Connect) -> None:
    broker = connect()
    place(broker, market_order(aapl(broker)))
    events_until(broker, lambda event: event.perm_id > 0)

    broker.cancel(REF)
    events_until(broker, lambda event: event.status is OrderStatus.CANCELLED)

    snapshot = broker.snapshot()
    assert snapshot.open_orders == ()
    assert [order.status for order in snapshot.completed_orders] == [OrderStatus.CANCELLED]


def test_an_order_of_an_earlier_connection_is_cancelled_by_the_same_client(connect: Connect) -> None:
    broker = connect()
    place(broker, market_order(aapl(broker)))
    events_until(broker, lambda event: event.perm_id > 0)
    broker.disconnect()
    broker.connect()

    broker.cancel(REF)

    events_until(broker, lambda event: event.status is OrderStatus.CANCELLED)


def test_an_order_that_is_not_open_or_not_ours_is_not_cancelled(
    connect: Connect, control: GatewayClient
) -> None:
    broker, other = connect(client_id=1), connect(client_id=2)
    place(broker, market_order(aapl(broker)))
    events_until(broker, lambda event: event.perm_id > 0)

    with pytest.raises(BrokerError, match="client 2 has no open order"):
        other.cancel(REF)
    with pytest.raises(BrokerError, match="client 1 has no open order NOSUCH"):
        broker.cancel("NOSUCH")

    control.advance(AFTER_OPEN)
    events_until(broker, lambda event: event.status is OrderStatus.FILLED)
    with pytest.raises(BrokerError, match="client 1 has no open order"):
        broker.cancel(REF)


def test_each_client_hears_of_its_own_orders_and_sees_all_in_its_snapshot(connect: Connect) -> None:
    broker, other = connect(client_id=1), connect(client_id=2)
    place(broker, market_order(aapl(broker)))
    events_until(broker, lambda event: event.perm_id > 0)

    assert [order.client_id for order in other.snapshot().open_orders] == [1]
    assert events_so_far(other) == []


def test_a_reader_places_and_cancels_nothing(connect: Connect, control: GatewayClient) -> None:
    reader = connect(client_id=101, role=ClientRole.READER)
    contract = aapl(reader)

    with pytest.raises(RefusedError, match="reader"):
        reader.place(market_order(contract))
    with pytest.raises(RefusedError, match="reader"):
        reader.cancel(REF)
    assert control.state().orders_received == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"order_type": OrderType.MARKET_ON_OPEN}, "market_on_open orders are sent with time in force OPG"),
        ({"order_type": OrderType.LIMIT}, "limit price None is no price"),
        ({"order_type": OrderType.LIMIT, "limit_price": Decimal("NaN")}, "limit price NaN is no price"),
        (
            {"order_type": OrderType.LIMIT, "limit_price": Decimal("1.005")},
            "limit price 1.005 is no multiple of its tick 0.01",
        ),
        ({"limit_price": Decimal(1)}, "a market order has no limit price"),
        ({"quantity": 0}, "quantity 0 is not positive"),
        ({"quantity": 2**31 - 1}, "is not positive"),
        ({"order_ref": ""}, "orderRef has 1 to 30"),
        ({"order_ref": "é"}, "orderRef has 1 to 30"),
        ({"order_ref": "a\0b"}, "orderRef has 1 to 30"),
        ({"order_ref": "x" * 31}, "orderRef has 1 to 30"),
        ({"contract": Contract("AAPL", 0)}, "no conId"),
        ({"tif": ""}, "time in force DAY, for regular hours only"),
        ({"tif": "GTC"}, "time in force DAY, for regular hours only"),
        ({"outside_rth": True}, "time in force DAY, for regular hours only"),
    ],
)
def test_an_order_that_cannot_be_sent_as_it_stands_is_refused(
    changes: dict[str, object], reason: str, connect: Connect, control: GatewayClient
) -> None:
    broker = connect()
    request = replace(market_order(Contract("AAPL", 265598)), **changes)

    with pytest.raises(RefusedError, match=f"{reason}.*[Nn]othing was sent"):
        broker.place(request)
    assert control.state().orders_received == 0


def test_order_ids_go_on_past_those_that_the_broker_has_seen(
    connect: Connect, control: GatewayClient
) -> None:
    broker = connect()
    contract = aapl(broker)
    for number in range(3):
        broker.place(market_order(contract, ref=f"first-{number}"))
    broker.disconnect()
    broker.connect()

    for number in range(3):
        broker.place(market_order(contract, ref=f"second-{number}"))

    orders = broker.snapshot().open_orders
    assert len({order.order_id for order in orders}) == 6
    assert control.state().orders_received == 6


def test_every_message_waits_for_its_slot(config_for: ConfigFor, wire: WireProxy) -> None:
    class Counting(Pacer):
        slots = 0

        def reserve(self, now: float) -> float:
            self.slots += 1
            return super().reserve(now)

    pacer = Counting(float("inf"))
    with IBKRBroker(config_for(port=wire.port), pacer=pacer) as broker:
        contract = aapl(broker)
        broker.place(market_order(contract))
        broker.snapshot()
        broker.cancel(REF)
    # The cancellation is the last message; the proxy may still be reading when the connection has ended.
    messages = 1
    while wire.received.get(timeout=10)[0] != str(CANCEL_ORDER):
        messages += 1

    assert messages == pacer.slots
