"""What is looked at once more before a basket goes out."""

from dataclasses import replace
from decimal import Decimal

import pytest
from order_support import BentBroker, D, E, freeze, manager, planned, sync

from hrp_core.errors import RefusedError
from hrp_core.execution.send_checks import (
    cash_shortfall,
    over_limits,
    require_same_ledger,
    require_sound_plan,
    sales_missing,
)
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import OrderStatus
from hrp_core.portfolio.types import Plan


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
    orders = (planned("AAPL", 151), planned("KO", 150))
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
