"""Single orders through the order manager."""

from decimal import Decimal

import pytest
from order_support import BentBroker, D, E, at, connected, engine, freeze, manager, planned, sync

from hrp_core.errors import RefusedError
from hrp_core.execution import Order, OrderSide, OrderStatus, OrderType
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.portfolio.types import Purpose

S = OrderStatus


def buy(symbol: str = "AAPL", quantity: int = 10, **more: object) -> Order:
    return Order(symbol, OrderSide.BUY, quantity, OrderType.MARKET, **more)  # type: ignore[arg-type]


def test_without_a_connection_an_order_is_a_value_error(journal: Journal) -> None:
    with pytest.raises(ValueError, match=r"^Broker not connected$"):
        manager(BentBroker(engine()), journal).submit_order(buy())
    assert journal.plans() == ()


def test_an_order_is_submitted_filled_and_brought_up_to_date(journal: Journal, broker: BentBroker) -> None:
    orders = manager(broker, journal)
    order = orders.submit_order(buy(hypothesis_id="HYP-2026-007"))
    assert order.status is S.SUBMITTED
    assert order.submitted_at == at(D, "18:30")
    assert order.broker_order_id is not None
    assert order.filled_price is None
    broker.advance(at(E, "10:00"))
    sync(broker, journal)
    again = orders.get_order(order.order_id)
    assert again is order
    assert (order.status, order.filled_quantity, order.commission) == (S.FILLED, 10, Decimal(1))
    assert order.filled_at == at(E, "09:30")
    assert order.filled_price == journal.executions()[0].price
    assert read_book(journal).state().strategy_shares == {"HYP-2026-007": {"AAPL": 10}}
    assert journal.latest_plan(D, Purpose.MANUAL) is not None


def test_another_process_finds_the_order_by_its_intent(journal: Journal, broker: BentBroker) -> None:
    submitted = manager(broker, journal).submit_order(buy())
    (found,) = manager(broker, journal).get_all_orders()
    assert found.order_id != submitted.order_id
    assert (found.symbol, found.status, found.broker_order_id) == (
        "AAPL",
        S.SUBMITTED,
        submitted.broker_order_id,
    )
    assert manager(broker, journal).get_order(found.order_id) == found
    assert manager(broker, journal).get_order("nobody") is None


def test_all_orders_of_the_session_are_listed_with_those_of_plans(
    journal: Journal, broker: BentBroker
) -> None:
    orders = manager(broker, journal)
    orders.submit_plan(freeze(journal, broker, planned("KO", 5)).plan_id)
    mine = orders.submit_order(buy())
    listed = orders.get_all_orders()
    assert {order.symbol for order in listed} == {"KO", "AAPL"}
    assert mine in listed


def test_an_order_is_submitted_once(journal: Journal, broker: BentBroker) -> None:
    orders = manager(broker, journal)
    order = orders.submit_order(buy())
    with pytest.raises(RefusedError, match="was submitted before and is submitted"):
        orders.submit_order(order)
    assert broker.orders_received == 1


def test_an_unknown_symbol_is_refused_before_anything_is_written(
    journal: Journal, broker: BentBroker
) -> None:
    with pytest.raises(RefusedError, match="knows no US stock ZZZ"):
        manager(broker, journal).submit_order(buy("ZZZ"))
    assert journal.plans() == ()


def test_a_refused_order_is_expired_so_that_no_later_run_sends_it(journal: Journal) -> None:
    broker = connected(BentBroker(engine(at(D, "16:05"))))
    order = buy()
    with pytest.raises(RefusedError, match="may be sent from"):
        manager(broker, journal).submit_order(order)
    assert order.status is S.EXPIRED
    broker.advance(at(D, "18:30"))
    plan = journal.latest_plan(D, Purpose.MANUAL)
    assert plan is not None
    assert manager(broker, journal).resume(plan.plan_id).placed == ()


def test_a_sale_of_what_is_held_is_an_exit(journal: Journal, broker: BentBroker) -> None:
    orders = manager(broker, journal)
    orders.submit_order(buy(quantity=10))
    broker.advance(at(E, "18:30"))
    sync(broker, journal)
    orders.submit_order(Order("AAPL", OrderSide.SELL, 4, OrderType.MARKET))
    plan = journal.latest_plan(E, Purpose.MANUAL)
    assert plan is not None
    assert plan.intents[0].leg == "decrease"


def test_an_order_is_cancelled(journal: Journal, broker: BentBroker) -> None:
    orders = manager(broker, journal)
    order = orders.submit_order(buy())
    assert orders.cancel_order(order.order_id).status is S.CANCELLED
    assert broker.engine.open_orders == ()
    with pytest.raises(RefusedError, match="is cancelled; there is nothing to cancel"):
        orders.cancel_order(order.order_id)
    with pytest.raises(RefusedError, match="unknown to the journal"):
        orders.cancel_order("nobody")


def test_a_cancel_that_is_not_answered_leaves_the_order_as_it_was(
    journal: Journal, broker: BentBroker
) -> None:
    orders = manager(broker, journal)
    order = orders.submit_order(buy())
    broker.deaf = lambda _: True
    assert orders.cancel_order(order.order_id).status is S.SUBMITTED
    broker.deaf = lambda _: False
    sync(broker, journal)
    found = orders.get_order(order.order_id)
    assert found is not None
    assert found.status is S.CANCELLED


def test_in_live_mode_a_single_order_waits_for_a_person(journal: Journal) -> None:
    broker = connected(BentBroker(engine(), "U1234567"))
    with pytest.raises(RefusedError, match="not approved"):
        manager(broker, journal, mode="live").submit_order(buy())
    assert broker.orders_received == 0


def test_a_dry_run_sends_no_single_order_either(journal: Journal, broker: BentBroker) -> None:
    order = manager(broker, journal, dry_run=True).submit_order(buy())
    assert (order.status, broker.orders_received) == (S.PENDING, 0)
