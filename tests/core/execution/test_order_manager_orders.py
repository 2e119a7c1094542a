"""Single orders through the order manager."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from order_support import BentBroker, D, E, at, connected, engine, freeze, manager, planned, sync

from hrp_core.errors import BrokerError, RefusedError
from hrp_core.execution import Order, OrderSide, OrderStatus, OrderType
from hrp_core.execution.broker import Quote, QuoteQuality
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Contract
from hrp_core.portfolio.types import PortfolioLimits, Purpose

S = OrderStatus


def buy(symbol: str = "AAPL", quantity: int = 10, **more: object) -> Order:
    return Order(symbol, OrderSide.BUY, quantity, OrderType.MARKET, **more)  # type: ignore[arg-type]


def limited(price: str) -> Order:
    return Order("AAPL", OrderSide.BUY, 10, OrderType.LIMIT, limit_price=Decimal(price))


def no_quotes(contracts: Sequence[Contract], timeout: float) -> dict[str, Quote]:
    """What a login without market data is answered."""
    return {each.symbol: Quote(each.symbol, None, None, None, None, QuoteQuality.NONE) for each in contracts}


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


# Limits: AAPL closed at 117.5 on D, KO at 67.5; the account is worth 100,000 USD.


@pytest.mark.parametrize(
    ("order", "limits", "rule"),
    [
        (buy(quantity=85), {}, ""),
        (buy(quantity=86), {}, "max_position_pct: a name may be at most 10.0%"),
        (buy(quantity=127), {"max_position_pct": 0.5}, ""),
        (buy(quantity=128), {"max_position_pct": 0.5}, "max_order_pct: one order may be at most 15.0%"),
        (buy(quantity=64), {"capital": Decimal("0.5"), "max_position_pct": 0.5}, "max_order_pct: "),
        (buy(quantity=128), {"max_position_pct": 0.5, "max_order_pct": None}, ""),
        (limited("123.37"), {}, ""),
        (limited("123.38"), {}, "price_collar: the price is more than 5.0%"),
        (limited("111.62"), {}, "price_collar: "),
        (limited("123.38"), {"price_collar_pct": None}, ""),
        (buy("KO"), {"restricted": ("KO",)}, "restricted: "),
    ],
)
def test_an_order_that_adds_exposure_passes_the_limits_of_a_plans_entry(
    journal: Journal, broker: BentBroker, order: Order, limits: dict[str, object], rule: str
) -> None:
    stated = PortfolioLimits(**limits)  # type: ignore[arg-type]
    sent = manager(broker, journal, limits=stated).submit_order(replace(order))
    assert (sent.status, broker.orders_received) == ((S.EXPIRED, 0) if rule else (S.SUBMITTED, 1))
    assert rule in sent.reason
    plan = journal.latest_plan(D, Purpose.MANUAL)
    assert plan is not None
    assert (plan.equity, plan.inputs["ledger_shares"]) == (Decimal(100_000), 0)
    assert plan.intents[0].reference_price == (Decimal("67.5") if order.symbol == "KO" else Decimal("117.5"))
    assert plan.intents[0].reason == sent.reason


def test_what_is_held_counts_in_the_weight_of_a_name_and_an_exit_passes_every_limit(
    journal: Journal, broker: BentBroker
) -> None:
    orders = manager(broker, journal)
    orders.submit_order(buy(quantity=80))
    broker.advance(at(E, "18:30"))
    # Nobody has looked at the broker since: the fill is found before the order is judged.
    more = orders.submit_order(buy(quantity=10))
    assert "max_position_pct: " in more.reason
    tight = PortfolioLimits(max_position_pct=0.01, max_order_pct=0.01)
    broker.quotes = no_quotes  # type: ignore[method-assign]
    out = manager(broker, journal, limits=tight).submit_order(Order("AAPL", OrderSide.SELL, 80))
    assert out.status is S.SUBMITTED
    plan = journal.latest_plan(E, Purpose.MANUAL)
    assert plan is not None
    assert (plan.intents[0].leg, plan.intents[0].reference_price) == ("decrease", None)


@pytest.mark.parametrize(("held", "sold"), [(0, 1), (80, 81)])
def test_an_order_never_takes_the_account_short(
    journal: Journal, broker: BentBroker, held: int, sold: int
) -> None:
    orders = manager(broker, journal)
    if held:
        orders.submit_order(buy(quantity=held))
        broker.advance(at(E, "18:30"))
    before = broker.orders_received
    short = orders.submit_order(Order("AAPL", OrderSide.SELL, sold))
    assert (short.status, broker.orders_received) == (S.EXPIRED, before)
    assert "long_only: the account holds fewer shares" in short.reason


@pytest.mark.parametrize("competing", [False, True])
def test_without_a_price_an_order_that_adds_exposure_is_refused(
    journal: Journal, broker: BentBroker, competing: bool
) -> None:
    def failing(contracts: Sequence[Contract], timeout: float) -> dict[str, Quote]:
        raise BrokerError("10197: another session of the login has the market data")

    broker.quotes = failing if competing else no_quotes  # type: ignore[method-assign]
    order = buy()
    with pytest.raises(
        RefusedError, match=r"no price of AAPL.* nothing was sent.*[Ss]ubmit it again"
    ) as refusal:
        manager(broker, journal).submit_order(order)
    assert ("10197" in str(refusal.value)) is competing
    assert (journal.plans(), order.status, broker.orders_received) == ((), S.PENDING, 0)


def test_without_equity_an_order_that_adds_exposure_is_refused(journal: Journal) -> None:
    broker = connected(BentBroker(engine(cash=0)))
    with pytest.raises(RefusedError, match=r"net liquidation value of 0.* nothing was sent"):
        manager(broker, journal).submit_order(buy())
    assert (journal.plans(), broker.orders_received) == ((), 0)


def test_the_broker_is_asked_for_one_quote_an_order(journal: Journal, broker: BentBroker) -> None:
    asked: list[list[str]] = []
    real = broker.quotes

    def quotes(contracts: Sequence[Contract], timeout: float) -> dict[str, Quote]:
        asked.append([contract.symbol for contract in contracts])
        return real(contracts, timeout)

    broker.quotes = quotes  # type: ignore[method-assign]
    manager(broker, journal).submit_order(buy())
    assert asked == [["AAPL"]]
