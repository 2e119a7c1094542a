"""What is looked at once more before a basket goes out."""

from dataclasses import replace
from decimal import Decimal

import pytest
from order_support import BentBroker, freeze, manager, planned, sync

from hrp_core.errors import RefusedError
from hrp_core.execution.send_checks import cash_shortfall, require_same_ledger, sales_missing
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import OrderStatus


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
