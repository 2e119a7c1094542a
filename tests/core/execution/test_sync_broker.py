"""One synchronisation: journaled whole, then judged."""

from dataclasses import replace
from decimal import Decimal

import pytest
from order_support import (
    ACCOUNT,
    BentBroker,
    E,
    at,
    connected,
    engine,
    freeze,
    manager,
    planned,
    refs,
    sync,
)

from hrp_core.errors import IncompleteSnapshotError, ReconciliationBreakError, RefusedError
from hrp_core.execution.broker import BrokerOrder, BrokerSnapshot
from hrp_core.ledger.book import read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FlowKind, OrderStatus
from hrp_core.matching import NewOrder, Side
from hrp_core.portfolio.types import OrderSide

S = OrderStatus


@pytest.fixture
def traded(journal: Journal, broker: BentBroker) -> list[str]:
    """Send two orders; return their orderRefs. They fill at the next open."""
    frozen = freeze(journal, broker, planned("AAPL", 100), planned("KO", 50))
    return list(manager(broker, journal).submit_plan(frozen.plan_id).placed)


def test_the_first_connection_records_the_opening_balance_once(journal: Journal, broker: BentBroker) -> None:
    assert sync(broker, journal).opening == 100_000
    assert sync(broker, journal).opening is None
    (flow,) = journal.cash_flows()
    # Evening of D: the first valuation that contains it is the one of E.
    assert (flow.kind, flow.amount, flow.session) == (FlowKind.OPENING, Decimal(100_000), E)
    assert read_book(journal).cash == 100_000


def test_an_account_in_use_is_refused_at_the_first_connection(journal: Journal) -> None:
    broker = connected(BentBroker(engine()))
    broker.engine.place(NewOrder("KO", Side.BUY, 7))
    with pytest.raises(
        RefusedError, match=r"holds no shares, with 1 open orders and 0 executions today\. Start"
    ):
        sync(broker, journal)
    broker.advance(at(E, "18:30"))
    with pytest.raises(
        RefusedError, match=f"account {ACCOUNT} is new to this journal but in use: it holds 7 KO"
    ):
        sync(broker, journal)
    assert journal.cash_flows() == ()
    assert journal.executions() == ()


def test_a_journal_of_another_account_is_not_touched(journal: Journal, broker: BentBroker) -> None:
    sync(broker, journal)
    other = connected(BentBroker(engine(), "DU7654321"))
    with pytest.raises(RefusedError, match="refuses sim account DU7654321"):
        sync(other, journal)


def test_fills_while_nobody_was_connected_are_found(
    journal: Journal, broker: BentBroker, traded: list[str]
) -> None:
    broker.disconnect()
    broker.advance(at(E, "10:00"))
    broker.connect()
    learned = sync(broker, journal)
    assert (learned.new_executions, learned.book.unreported_commissions) == (2, 0)
    assert {journal.attempt(ref).status for ref in traded} == {S.FILLED}
    assert sync(broker, journal).new_executions == 0


@pytest.mark.parametrize("index", [0, 1])
def test_an_execution_missing_from_the_answers_is_named(
    journal: Journal, broker: BentBroker, traded: list[str], index: int
) -> None:
    broker.disconnect()
    broker.advance(at(E, "10:00"))
    broker.connect()

    def omit(snapshot: BrokerSnapshot) -> BrokerSnapshot:
        kept = [fill for fill in snapshot.executions if fill.order_ref != traded[index]]
        return replace(snapshot, executions=tuple(kept))

    broker.bend = omit
    symbol, shares = (("AAPL", 100), ("KO", 50))[index]
    expected = (
        rf"{traded[index]} \(buy {symbol}\): the broker's order list says {shares} shares filled, its "
        "executions add up to 0"
    )
    with pytest.raises(IncompleteSnapshotError, match=expected):
        sync(broker, journal)
    # What did arrive is kept, and the missing one is taken when it comes.
    assert len(journal.executions()) == 1
    broker.bend = lambda snapshot: snapshot
    assert sync(broker, journal).new_executions == 1


def test_a_fill_that_is_missing_the_day_after_is_a_difference_in_shares(
    journal: Journal, broker: BentBroker, traded: list[str]
) -> None:
    broker.advance(at(E, "18:30"))
    broker.bend = lambda snapshot: replace(snapshot, executions=(), completed_orders=())
    expected = "AAPL: the ledger has 0 shares, the broker 100; KO: the ledger has 0 shares, the broker 50"
    with pytest.raises(ReconciliationBreakError, match=expected):
        sync(broker, journal)
    assert {journal.attempt(ref).status for ref in traded} == {S.UNKNOWN}


def test_a_broker_that_is_flat_while_the_ledger_is_not_stops_everything(
    journal: Journal, broker: BentBroker, traded: list[str]
) -> None:
    """Positions that timed out look like an empty account: the whole book was bought again once (F2)."""
    broker.advance(at(E, "18:30"))
    broker.bend = lambda snapshot: replace(snapshot, positions=())
    with pytest.raises(ReconciliationBreakError, match="AAPL: the ledger has 100 shares, the broker 0"):
        sync(broker, journal)


def test_an_order_placed_elsewhere_is_a_break_and_is_booked_when_it_traded(
    journal: Journal, broker: BentBroker, traded: list[str]
) -> None:
    broker.engine.place(NewOrder("MSFT", Side.BUY, 3, order_ref=""))
    with pytest.raises(
        ReconciliationBreakError, match=r"order '' \(permId \d+, buy 3 MSFT, submitted\) was not"
    ):
        sync(broker, journal)
    broker.advance(at(E, "10:00"))
    with pytest.raises(ReconciliationBreakError, match=r"execution .* \(buy 3 MSFT, orderRef ''"):
        sync(broker, journal)
    assert read_book(journal).state().shares == {"AAPL": 100, "KO": 50, "MSFT": 3}


def test_a_reference_of_ours_that_the_journal_does_not_know_is_a_break(
    journal: Journal, broker: BentBroker, traded: list[str]
) -> None:
    broker.engine.place(NewOrder("MSFT", Side.BUY, 3, order_ref="S221215-1-zzzzzz-1"))
    with pytest.raises(ReconciliationBreakError, match=r"S221215-1-zzzzzz-1.*was not sent from this journal"):
        sync(broker, journal)


@pytest.mark.parametrize("change", ["quantity", "side", "contract"])
def test_an_order_that_is_not_what_was_sent_is_a_break(
    journal: Journal, broker: BentBroker, traded: list[str], change: str
) -> None:
    def edit(order: BrokerOrder) -> BrokerOrder:
        if change == "quantity":
            return replace(order, quantity=order.quantity + 1)
        if change == "side":
            return replace(order, side=OrderSide.SELL)
        return replace(order, contract=replace(order.contract, con_id=1))

    broker.bend = lambda snapshot: replace(snapshot, open_orders=tuple(map(edit, snapshot.open_orders)))
    with pytest.raises(ReconciliationBreakError, match=f"{traded[0]} is .* at the broker, but buy 100 AAPL"):
        sync(broker, journal)


def test_a_completed_order_without_a_quantity_is_no_break(
    journal: Journal, broker: BentBroker, traded: list[str]
) -> None:
    broker.cancel(traded[0])

    def like_ib(order: BrokerOrder) -> BrokerOrder:
        return replace(order, quantity=0)

    broker.bend = lambda snapshot: replace(
        snapshot, completed_orders=tuple(map(like_ib, snapshot.completed_orders))
    )
    sync(broker, journal)
    assert journal.attempt(traded[0]).status is S.CANCELLED


def test_a_commission_that_comes_late_is_counted_until_it_does(
    journal: Journal, broker: BentBroker, traded: list[str]
) -> None:
    broker.disconnect()
    broker.advance(at(E, "10:00"))
    broker.connect()

    def without(snapshot: BrokerSnapshot) -> BrokerSnapshot:
        return replace(
            snapshot, executions=tuple(replace(fill, commission=None) for fill in snapshot.executions)
        )

    broker.bend = without
    learned = sync(broker, journal)
    assert learned.book.unreported_commissions == 2
    assert "2 commissions are not reported yet" in learned.cash_breaks[0].message
    broker.bend = lambda snapshot: snapshot
    swept = sync(broker, journal)
    assert (swept.book.unreported_commissions, swept.cash_breaks) == (0, ())


def test_an_order_that_a_reader_does_not_find_is_left_to_the_writer_unless_it_was_acknowledged(
    journal: Journal, broker: BentBroker
) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10), planned("KO", 10))
    epoch = journal.acquire_epoch("writer", broker.now())
    intent = frozen.intents[0]
    ref = f"S221215-{intent.contract.con_id}-{intent.intent_id[:6]}-1"
    journal.claim(intent.intent_id, ref, 10, epoch, broker.now())
    # The writer may be about to place it.
    assert sync(broker, journal).unknown == ()
    assert journal.attempt(ref).status is S.SENT
    assert sync(broker, journal, writer=True).unknown == (ref,)


def test_an_acknowledged_order_that_no_list_shows_any_more_is_unknown(
    journal: Journal, broker: BentBroker, traded: list[str]
) -> None:
    broker.bend = lambda snapshot: replace(
        snapshot, open_orders=tuple(order for order in snapshot.open_orders if order.order_ref != traded[0])
    )
    assert sync(broker, journal).unknown == (traded[0],)
    broker.bend = lambda snapshot: snapshot
    assert sync(broker, journal).unknown == ()
    assert refs(journal.live_attempts()) == traded


def test_cash_that_differs_is_reported_and_does_not_stop_by_itself(
    journal: Journal, broker: BentBroker, traded: list[str]
) -> None:
    broker.bend = lambda snapshot: replace(
        snapshot, values=replace(snapshot.values, cash=snapshot.values.cash - Decimal("1.25"))
    )
    (found,) = sync(broker, journal).cash_breaks
    assert found.message == "cash: the ledger has 100000.0000 USD, the broker 99998.7500 (-1.2500)"


def test_an_order_whose_sender_is_gone_is_resolved_by_a_reader_once_its_session_is_over(
    journal: Journal, broker: BentBroker
) -> None:
    (intent,) = freeze(journal, broker, planned("KO", 10)).intents
    ref = f"S221215-{intent.contract.con_id}-{intent.intent_id[:6]}-1"
    journal.claim(intent.intent_id, ref, 10, journal.acquire_epoch("gone", broker.now()), broker.now())
    broker.advance(at(E, "15:59"))
    sync(broker, journal)
    assert journal.attempt(ref).status is S.SENT  # its sender may be at work
    broker.advance(at(E, "17:45"))
    assert sync(broker, journal).expired == (ref,)
    assert journal.attempt(ref).status is S.EXPIRED_UNSEEN
