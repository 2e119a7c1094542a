"""What is looked at once more before a basket goes out."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from order_support import BentBroker, D, E, at, freeze, manager, planned, sync
from watch_support import Floor

from hrp_core.errors import BrokerError, RefusedError
from hrp_core.execution.broker import Broker, Quote, QuoteQuality
from hrp_core.execution.order_manager import OrderManager
from hrp_core.execution.send_checks import (
    cash_shortfall,
    over_limits,
    require_same_ledger,
    require_sound_plan,
    sales_missing,
)
from hrp_core.execution.send_quotes import MOST_QUOTED, entry_quotes
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Contract, FrozenPlan, OrderStatus
from hrp_core.portfolio.types import Plan, PlannedOrder


def test_purchases_wait_when_the_broker_has_less_cash_than_the_ledger() -> None:
    assert cash_shortfall(Decimal(1000), Decimal(996), Decimal(10_000)) == ""
    assert cash_shortfall(Decimal(1000), Decimal(1200), Decimal(10_000)) == ""
    assert "4000 USD below" in cash_shortfall(Decimal(5000), Decimal(1000), Decimal(10_000))


def test_a_plan_made_on_other_holdings_is_refused(journal: Journal, broker: BentBroker) -> None:
    sync(broker, journal)
    frozen = freeze(journal, broker, planned("AAPL", -100))
    held = {"shares": {"AAPL": 100}, "strategy_shares": {"HYP-2026-001": {"AAPL": 100}}}
    with pytest.raises(RefusedError, match=r"other holdings than those of now \(AAPL\)"):
        require_same_ledger(replace(frozen, inputs={"ledger": held}), read_book(journal))
    require_same_ledger(
        replace(frozen, inputs={"ledger": {"shares": {}, "strategy_shares": {}}}), read_book(journal)
    )


def test_purchases_that_need_the_money_of_sales_wait_for_them(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", -100), planned("MSFT", 980))
    poor = replace(frozen, cash=Decimal(90_000))
    sale, purchase = poor.intents
    for status, waits in (
        (OrderStatus.PENDING, True),
        (OrderStatus.REJECTED, True),
        (OrderStatus.UNKNOWN, True),
        (OrderStatus.SUBMITTED, False),
        (OrderStatus.FILLED, False),
    ):
        assert bool(sales_missing(poor, [replace(sale, status=status), purchase])) is waits
    assert sales_missing(frozen, [sale, purchase]) == ""


def test_a_working_order_of_another_plan_is_not_doubled(journal: Journal, broker: BentBroker) -> None:
    first = freeze(journal, broker, planned("AAPL", 10))
    assert manager(broker, journal).submit_plan(first.plan_id).count(OrderStatus.SUBMITTED) == 1
    second = journal.freeze_order(
        first.intents[0],
        mode="sim",
        account=broker.account,
        session=first.session,
        execution_session=first.execution_session,
        inputs={},
        now=broker.now(),
    )
    journal.approve(second.plan_id, by="test", plan_hash=second.inputs_hash, now=broker.now())
    report = manager(broker, journal).submit_plan(second.plan_id)
    assert report.skipped == ("AAPL",)
    assert broker.orders_received == 1


LIMITS = {"max_order_pct": 0.15, "price_collar_pct": 0.05, "capital": "1"}


def test_an_entry_larger_than_the_frozen_limit_is_not_sent_and_an_exit_is(
    journal: Journal, broker: BentBroker
) -> None:
    orders = (planned("AAPL", 151), planned("KO", 150), planned("MSFT", -900))
    frozen = freeze(journal, broker, *orders)
    judged = replace(frozen, inputs={"limits": LIMITS})
    [large] = over_limits(judged, judged.intents)
    assert {intent.intent_id: intent.contract.symbol for intent in judged.intents}[large] == "AAPL"
    assert "max_order_pct: one order may be at most 15.0%" in over_limits(judged, judged.intents)[large]
    assert over_limits(frozen, frozen.intents) == {}  # a plan without limits is not judged here


@pytest.mark.parametrize(
    ("quote", "sent"), [("105", True), ("105.01", False), ("94.99", False), ("NaN", True)]
)
def test_an_entry_that_the_broker_prices_far_from_our_close_is_not_sent(
    journal: Journal, broker: BentBroker, quote: str, sent: bool
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", -10))
    judged = replace(frozen, inputs={"limits": LIMITS})
    quotes = {"AAPL": Decimal(quote), "KO": Decimal(1)}
    assert (over_limits(judged, judged.intents, quotes) == {}) is sent


def test_an_entry_without_a_price_to_compare_with_is_not_sent(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10))
    blind = [replace(intent, reference_price=None) for intent in frozen.intents]
    [why] = over_limits(replace(frozen, inputs={"limits": LIMITS}), blind).values()
    assert why.startswith("price_collar: there is no adjusted close")


def test_a_plan_of_another_sessions_inputs_or_with_an_order_twice_is_refused(
    journal: Journal, broker: BentBroker
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10))
    require_sound_plan(frozen)
    with pytest.raises(RefusedError, match="decided from inputs of session 2022-12-14"):
        require_sound_plan(replace(frozen, inputs={"session": "2022-12-14"}))
    with pytest.raises(RefusedError, match="orders AAPL twice"):
        require_sound_plan(replace(frozen, intents=frozen.intents * 2))


def test_what_a_limit_forbids_is_skipped_and_the_rest_is_sent(journal: Journal, broker: BentBroker) -> None:
    orders = (closed_at("AAPL", 128), closed_at("KO", 150))
    plan = Plan(D, E, Decimal(100_000), Decimal(100_000), (), orders)
    frozen = journal.freeze_plan(
        plan,
        mode="sim",
        account=broker.account,
        contracts=broker.qualify(["AAPL", "KO"]),
        inputs={"limits": LIMITS},
        now=broker.now(),
    )
    journal.approve(frozen.plan_id, by="test", plan_hash=frozen.inputs_hash, now=broker.now())
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert report.skipped == ("AAPL",)
    assert [intent.contract.symbol for intent in report.pending] == ["AAPL"]
    assert broker.orders_received == 1


def limited(journal: Journal, broker: Broker, *orders: PlannedOrder) -> FrozenPlan:
    """Freeze and approve a plan of D with limits."""
    frozen = journal.freeze_plan(
        Plan(D, E, Decimal(100_000), Decimal(100_000), (), orders),
        mode="sim",
        account=broker.account,
        contracts=broker.qualify([order.symbol for order in orders]),
        inputs={"limits": LIMITS},
        now=at(D, "18:30"),
    )
    journal.approve(frozen.plan_id, by="test", plan_hash=frozen.inputs_hash, now=at(D, "18:30"))
    return frozen


def closed_at(symbol: str, shares: int) -> PlannedOrder:
    """An order priced at what the name closed at on D."""
    return replace(planned(symbol, shares), reference_price=Decimal(CLOSES[symbol]))


CLOSES = {"AAPL": "117.5", "KO": "67.5", "MSFT": "217.5"}


@pytest.mark.parametrize("moment", [at(D, "18:30"), at(E, "02:00"), at(E, "09:00")])
def test_entries_are_compared_with_the_brokers_prices_before_they_are_sent(
    journal: Journal, broker: BentBroker, moment
) -> None:
    broker.advance(moment)
    broker.connect()
    wrong = replace(closed_at("KO", 50), reference_price=Decimal("60"))
    plan = limited(journal, broker, closed_at("AAPL", 10), wrong, closed_at("MSFT", 10))
    report = manager(broker, journal).submit_plan(plan.plan_id)
    assert (report.skipped, len(report.placed)) == (("KO",), 2)
    [held] = report.pending
    assert held.reason.startswith("price_collar: ")


def test_a_split_that_the_broker_knows_in_the_morning_holds_the_entry_back(wired: Floor) -> None:
    assert wired.gateway is not None
    wired.advance(at(E, "09:00"))
    wired.gateway.fault("prior_close", symbol="AAPL", price="29.375")
    with wired.connect() as broker:
        plan = limited(wired.journal, broker, closed_at("AAPL", 10), closed_at("KO", 10))
        report = OrderManager(broker, wired.journal, clock=wired.clock, mode="sim").submit_plan(plan.plan_id)
    assert (report.skipped, len(report.placed)) == (("AAPL",), 1)


@pytest.mark.parametrize("failure", ["none", "competing"])
def test_without_a_quote_nothing_is_known_against_a_price_and_the_entry_is_sent(
    journal: Journal, broker: BentBroker, failure: str
) -> None:
    def quotes(contracts: Sequence[Contract], timeout: float) -> dict[str, Quote]:
        if failure == "competing":
            raise BrokerError("10197: another session of the login has the market data")
        return {
            each.symbol: Quote(each.symbol, None, None, None, None, QuoteQuality.NONE) for each in contracts
        }

    broker.quotes = quotes  # type: ignore[method-assign]
    plan = limited(journal, broker, replace(closed_at("KO", 50), reference_price=Decimal("60")))
    assert len(manager(broker, journal).submit_plan(plan.plan_id).placed) == 1


def test_only_the_largest_entries_are_quoted_in_one_request(journal: Journal, broker: BentBroker) -> None:
    asked: list[list[str]] = []
    real = broker.quotes

    def quotes(contracts: Sequence[Contract], timeout: float) -> dict[str, Quote]:
        asked.append([contract.symbol for contract in contracts])
        return real(contracts, timeout)

    broker.quotes = quotes  # type: ignore[method-assign]
    plan = limited(journal, broker, closed_at("KO", 10), closed_at("MSFT", 10), closed_at("AAPL", -10))
    manager(broker, journal).submit_plan(plan.plan_id)
    assert asked == [["MSFT", "KO"]]
    bare = replace(plan, inputs={})  # states no limits: a single order, a flatten
    assert entry_quotes(broker, bare, bare.intents, at(D, "18:30")) == {}
    many = [replace(plan.intents[0], quantity=number) for number in range(1, 40)]
    entry_quotes(broker, plan, many, at(D, "18:30"))
    assert len(asked[-1]) == MOST_QUOTED
