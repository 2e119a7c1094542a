"""The in-process broker keeps the promises of the protocol."""

from decimal import Decimal

import pytest
from order_support import ACCOUNT, D, E, at, engine

from hrp_core.errors import BrokerConnectionError, BrokerError, RefusedError
from hrp_core.execution.broker import Broker, OrderEvent, OrderRequest
from hrp_core.execution.sim_broker import SimBroker
from hrp_core.ledger.types import OrderStatus
from hrp_core.portfolio.types import OrderSide, OrderType


@pytest.fixture
def broker() -> SimBroker:
    return SimBroker(engine(), ACCOUNT)


def request(broker: Broker, ref: str = "ref", symbol: str = "AAPL", quantity: int = 10) -> OrderRequest:
    contract = broker.qualify([symbol])[symbol]
    return OrderRequest(ref, contract, OrderSide.BUY, quantity, OrderType.MARKET)


def drain(broker: Broker) -> list[OrderEvent]:
    events: list[OrderEvent] = []
    while (event := broker.next_event(0)) is not None:
        events.append(event)
    return events


def test_nothing_works_before_connecting_and_disconnecting_twice_is_fine(broker: SimBroker) -> None:
    assert not broker.is_connected()
    for call in (broker.snapshot, lambda: broker.qualify(["AAPL"]), lambda: broker.cancel("ref")):
        with pytest.raises(BrokerConnectionError, match="not connected"):
            call()
    with broker:
        assert broker.is_connected()
    broker.disconnect()
    assert not broker.is_connected()


def test_symbols_it_does_not_know_are_absent(broker: SimBroker) -> None:
    with broker:
        contracts = broker.qualify(["AAPL", "ZZZ", "KO"])
    assert list(contracts) == ["AAPL", "KO"]
    assert contracts["AAPL"].con_id != contracts["KO"].con_id


def test_an_evening_order_is_acknowledged_waits_and_fills_at_the_open(broker: SimBroker) -> None:
    with broker:
        broker.place(request(broker))
        (ack,) = drain(broker)
        assert (ack.order_ref, ack.status) == ("ref", OrderStatus.SUBMITTED)
        assert ack.perm_id > 0
        (waiting,) = broker.snapshot().open_orders
        assert (waiting.perm_id, waiting.filled, waiting.quantity) == (ack.perm_id, 0, 10)
        broker.advance(at(E, "09:31"))
        executed, filled = drain(broker)
        assert executed.execution is not None
        assert (executed.execution.shares, executed.execution.commission) == (10, Decimal("1.0000"))
        assert executed.execution.executed_at == at(E, "09:30")
        assert filled.status is OrderStatus.FILLED
        snapshot = broker.snapshot()
    assert snapshot.open_orders == ()
    assert snapshot.executions == (executed.execution,)
    assert [(p.contract.symbol, p.shares) for p in snapshot.positions] == [("AAPL", 10)]
    assert snapshot.values.cash == 100_000 - 10 * executed.execution.price - 1


def test_what_happens_while_disconnected_is_in_the_snapshot_only(broker: SimBroker) -> None:
    with broker:
        broker.place(request(broker))
    broker.advance(at(E, "10:00"))
    with broker:
        assert broker.next_event(0) is None
        assert len(broker.snapshot().executions) == 1


def test_midnight_empties_executions_and_completed_orders(broker: SimBroker) -> None:
    with broker:
        broker.place(request(broker))
        broker.advance(at(E, "23:59"))
        assert len(broker.snapshot().completed_orders) == 1
        broker.advance(at(E.replace(day=17), "00:00"))
        snapshot = broker.snapshot()
    assert (snapshot.executions, snapshot.completed_orders) == ((), ())
    assert len(snapshot.positions) == 1


def test_a_cancelled_order_is_cancelled_and_an_unknown_one_is_an_error(broker: SimBroker) -> None:
    with broker:
        broker.place(request(broker))
        drain(broker)
        broker.cancel("ref")
        (event,) = drain(broker)
        assert (event.status, event.code) == (OrderStatus.CANCELLED, 202)
        with pytest.raises(BrokerError, match="no open order carries ref"):
            broker.cancel("ref")


def test_a_time_in_force_that_is_not_the_types_own_is_refused_before_it_is_sent(broker: SimBroker) -> None:
    with broker:
        contract = broker.qualify(["KO"])["KO"]
        with pytest.raises(RefusedError, match="are sent with time in force OPG"):
            broker.place(OrderRequest("r", contract, OrderSide.BUY, 1, OrderType.MARKET_ON_OPEN))
        assert broker.orders_received == 0


def test_waiting_for_an_event_is_bounded(broker: SimBroker) -> None:
    with broker:
        assert broker.next_event(0.01) is None
    assert broker.next_event(60) is None
    assert broker.now() == at(D, "18:30")
