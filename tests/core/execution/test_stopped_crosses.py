"""Stopping around crosses: selling everything, or dropping a name, while shares change hands inside."""

from decimal import Decimal
from pathlib import Path

import pytest
from order_support import BentBroker, D, E, F, at, manager, planned, sync

from hrp_core.calendar import nyse
from hrp_core.errors import RefusedError
from hrp_core.execution.flatten import flatten, offer_flatten
from hrp_core.execution.latching import resume_trading, stop_trading
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FrozenPlan, LatchState
from hrp_core.portfolio.types import Cross, Plan, PlannedOrder
from hrp_core.settings import Settings
from hrp_core.store import Store

OWNER = "HYP-2026-001"
KO = Cross("KO", ((OWNER, -20), ("HYP-2026-002", 20)), Decimal("67.5"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, lock_timeout=0.2, send_ack_timeout=0.05)


@pytest.fixture
def store(settings: Settings) -> Store:
    return Store(settings.database_path)


def frozen(
    journal: Journal, broker: BentBroker, *orders: PlannedOrder, session=E, crosses=(KO,)
) -> FrozenPlan:
    state = read_book(journal).state()
    done = journal.freeze_plan(
        Plan(session, nyse().next(session), Decimal(100_000), Decimal(100_000), (), orders, (), crosses),
        mode="sim",
        account=broker.account,
        contracts=broker.qualify([order.symbol for order in orders]),
        inputs={"ledger": {"shares": state.shares, "strategy_shares": state.strategy_shares}},
        now=broker.now(),
    )
    journal.approve(done.plan_id, by="test", plan_hash=done.inputs_hash, now=broker.now())
    return journal.plan(done.plan_id)


def crossing(journal: Journal, broker: BentBroker) -> FrozenPlan:
    """Hold 50 KO; on the evening of E give 20 of them to another strategy and order something else."""
    sync(broker, journal)
    bought = frozen(journal, broker, planned("KO", 50), session=D, crosses=())
    manager(broker, journal).submit_plan(bought.plan_id)
    broker.advance(at(E, "18:30"))
    broker.connect()
    sync(broker, journal)
    return frozen(journal, broker, planned("AAPL", 10))


def halt(settings: Settings, store: Store, journal: Journal, broker: BentBroker) -> None:
    stop_trading(
        settings,
        store,
        journal,
        lambda _: broker,
        LatchState.HALTED,
        by="ann",
        reason="storm",
        clock=broker,
    )


def sell_all(settings: Settings, store: Store, journal: Journal, broker: BentBroker) -> None:
    broker.connect()
    offer = offer_flatten(settings, journal, broker, by="ann", now=broker.now())
    report = flatten(
        settings,
        store,
        journal,
        lambda: broker,
        offer.code,
        by="ann",
        reason="out",
        clock=broker,
    )
    assert report.is_complete


def shares_after(journal: Journal, broker: BentBroker) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    broker.advance(at(F, "18:30"))
    broker.connect()
    sync(broker, journal)
    state = read_book(journal).state()
    return dict(state.shares), {name: dict(held) for name, held in state.strategy_shares.items()}


def test_selling_everything_counts_a_cross_that_waits_for_the_open(
    settings: Settings, store: Store, journal: Journal, broker: BentBroker
) -> None:
    plan = crossing(journal, broker)
    manager(broker, journal).submit_plan(plan.plan_id)
    halt(settings, store, journal, broker)
    sell_all(settings, store, journal, broker)
    assert shares_after(journal, broker) == ({}, {})


def test_selling_everything_gives_up_crosses_that_were_never_sent(
    settings: Settings, store: Store, journal: Journal, broker: BentBroker
) -> None:
    plan = crossing(journal, broker)
    halt(settings, store, journal, broker)
    sell_all(settings, store, journal, broker)
    broker.connect()
    resume_trading(store, journal, by="ann", reason="calm", now=broker.now())
    manager(broker, journal).submit_plan(plan.plan_id)
    assert journal.crosses_of(plan.plan_id) == ()
    assert shares_after(journal, broker) == ({}, {})


def test_no_name_is_dropped_from_a_plan_whose_crosses_count(journal: Journal, broker: BentBroker) -> None:
    plan = crossing(journal, broker)
    epoch = journal.acquire_epoch("killed after this", broker.now())
    journal.release_crosses(plan.plan_id, epoch, nyse().open(F), broker.now())
    with pytest.raises(RefusedError, match="was sent"):
        journal.drop_symbol(plan.plan_id, "AAPL", by="ann", reason="earnings", now=broker.now())
