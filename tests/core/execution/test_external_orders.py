"""Orders placed by hand or by another program: halt, adopt, or carve out."""

import pytest
from order_support import BentBroker, E, F, at, freeze, manager, planned

from hrp_core.errors import ReconciliationBreakError
from hrp_core.execution.sync import SyncReport, sync_broker
from hrp_core.ledger.allocation import EXTERNAL
from hrp_core.ledger.book import read_book, read_carve_out
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import ExternalPolicy, OrderStatus
from hrp_core.matching import NewOrder, Side


@pytest.fixture
def traded(journal: Journal, broker: BentBroker) -> None:
    """Send an order for 100 AAPL, which fills at the next open."""
    frozen = freeze(journal, broker, planned("AAPL", 100))
    manager(broker, journal).submit_plan(frozen.plan_id)


def sync(broker: BentBroker, journal: Journal, policy: ExternalPolicy) -> SyncReport:
    return sync_broker(broker, journal, broker.now(), mode="sim", external=policy)


def by_hand(broker: BentBroker, side: Side = Side.BUY, quantity: int = 5, order_ref: str = "") -> None:
    broker.engine.place(NewOrder("AAPL", side, quantity, order_ref=order_ref))


@pytest.mark.usefixtures("traded")
def test_what_was_adopted_belongs_to_the_book_and_to_no_strategy(
    journal: Journal, broker: BentBroker
) -> None:
    by_hand(broker)
    broker.advance(at(E, "18:30"))
    learned = sync(broker, journal, ExternalPolicy.ADOPT)
    assert learned.cash_breaks == ()
    assert learned.book.state().shares == {"AAPL": 105}
    assert learned.book.strategies[EXTERNAL]["AAPL"].shares == 5


@pytest.mark.usefixtures("traded")
def test_what_was_carved_out_stays_out_of_the_book_and_explains_the_difference(
    journal: Journal, broker: BentBroker
) -> None:
    by_hand(broker)
    broker.advance(at(E, "18:30"))
    learned = sync(broker, journal, ExternalPolicy.CARVE_OUT)
    assert learned.cash_breaks == ()
    assert learned.book.state().shares == {"AAPL": 100}
    assert read_carve_out(journal).state().shares == {"AAPL": 5}
    following = freeze(journal, broker, planned("KO", 10), session=E)
    report = manager(broker, journal, external=ExternalPolicy.CARVE_OUT).submit_plan(following.plan_id)
    assert report.count(OrderStatus.SUBMITTED) == 1


@pytest.mark.usefixtures("traded")
def test_a_decision_is_made_once_an_order_and_the_next_order_needs_its_own(
    journal: Journal, broker: BentBroker
) -> None:
    by_hand(broker)
    sync(broker, journal, ExternalPolicy.CARVE_OUT)  # seen while it is open
    broker.advance(at(E, "18:30"))
    assert sync(broker, journal, ExternalPolicy.ADOPT).book.state().shares == {"AAPL": 100}
    assert set(journal.external_orders().values()) == {ExternalPolicy.CARVE_OUT}
    by_hand(broker, Side.SELL, 5)
    with pytest.raises(ReconciliationBreakError, match="was not sent from this journal"):
        sync(broker, journal, ExternalPolicy.HALT)
    broker.advance(at(F, "18:30"))
    sync(broker, journal, ExternalPolicy.CARVE_OUT)
    assert read_carve_out(journal).state().shares == {}


@pytest.mark.parametrize("policy", list(ExternalPolicy))
@pytest.mark.usefixtures("traded")
def test_a_reference_of_our_own_form_that_the_journal_does_not_know_halts_whatever_the_policy(
    journal: Journal, broker: BentBroker, policy: ExternalPolicy
) -> None:
    by_hand(broker, order_ref="S221215-1-zzzzzz-1")
    with pytest.raises(ReconciliationBreakError, match="zzzzzz"):
        sync(broker, journal, policy)
    assert journal.external_orders() == {}


@pytest.mark.usefixtures("traded")
def test_our_own_order_is_never_taken_for_one_placed_elsewhere(journal: Journal, broker: BentBroker) -> None:
    (attempt,) = journal.attempts()
    assert attempt.perm_id is not None
    assert journal.decide_external({attempt.perm_id: ""}, ExternalPolicy.CARVE_OUT, broker.now()) == ()
    broker.advance(at(E, "18:30"))
    sync(broker, journal, ExternalPolicy.CARVE_OUT)
    assert read_book(journal).state().shares == {"AAPL": 100}
