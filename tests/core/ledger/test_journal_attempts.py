from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from itertools import permutations

import pytest
from ledger_support import ACCOUNT, CONTRACTS, NOW, D, E, fill, freeze, order, send

from hrp_core.errors import JournalError, RefusedError
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import (
    AlreadyClaimedError,
    BreakKind,
    ContractLockedError,
    Evidence,
    LatchState,
    OrderStatus,
    SnapshotRow,
    Source,
    StaleEpochError,
)
from hrp_core.portfolio.types import OrderSide, Purpose


def submitted(ref: str, perm_id: int = 77) -> Evidence:
    return Evidence(ref, Source.EVENT, OrderStatus.SUBMITTED, perm_id)


def snapshot() -> SnapshotRow:
    return SnapshotRow(ACCOUNT, NOW, {}, Decimal(100_000), Decimal(100_000))


def test_a_claim_is_durable_before_it_returns(journal: Journal) -> None:
    ref = send(journal, freeze(journal))
    other = Journal(journal.path)
    attempt = other.attempt(ref)
    assert (attempt.status, attempt.quantity, attempt.number, attempt.perm_id) == (
        OrderStatus.SENT,
        100,
        1,
        None,
    )
    assert attempt.sent_at == NOW
    other.close()


def test_of_many_claims_of_one_intent_one_wins(journal: Journal) -> None:
    frozen = freeze(journal)
    epoch = journal.acquire_epoch("test", NOW)

    def claim(_: int) -> bool:
        try:
            send(journal, frozen, epoch=epoch)
        except (AlreadyClaimedError, JournalError):
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(claim, range(8))) == 1
    assert len(journal.attempts()) == 1


def test_an_older_writer_cannot_claim(journal: Journal) -> None:
    frozen = freeze(journal, [order("AAPL"), order("KO")])
    old = journal.acquire_epoch("pid 1", NOW)
    send(journal, frozen, 0, old)
    new = journal.acquire_epoch("pid 2", NOW)
    with pytest.raises(StaleEpochError, match=f"pid 2 opened epoch {new}"):
        send(journal, frozen, 1, old)
    send(journal, frozen, 1, new)


@pytest.mark.parametrize("state", ["proposed", "rejected", "superseded"])
def test_only_intents_of_an_approved_plan_are_claimed(journal: Journal, state: str) -> None:
    frozen = freeze(journal, approve=False)
    if state == "rejected":
        journal.reject(frozen.plan_id, by="ann", plan_hash=frozen.inputs_hash, now=NOW, reason="no")
    elif state == "superseded":
        freeze(journal, inputs={"other": 1})
    with pytest.raises(RefusedError, match=f"is {state}, not approved"):
        send(journal, frozen)
    assert journal.attempts() == ()


def test_an_expired_intent_is_not_claimed(journal: Journal) -> None:
    frozen = freeze(journal)
    journal.expire_pending(frozen.plan_id, "the window is over")
    with pytest.raises(AlreadyClaimedError, match="is expired"):
        send(journal, frozen)


@pytest.mark.parametrize(
    "known",
    [
        [],
        [submitted("REF")],
        [Evidence("REF", Source.UNSEEN)],
        [Evidence("REF", Source.EVENT, OrderStatus.CANCELLED, 77)],  # a message alone proves no end (F1)
    ],
)
def test_there_is_no_second_attempt_while_the_first_could_fill(
    journal: Journal, known: list[Evidence]
) -> None:
    from dataclasses import replace

    frozen = freeze(journal)
    ref = send(journal, frozen)
    journal.record([replace(item, order_ref=ref) for item in known], now=NOW)
    with pytest.raises(AlreadyClaimedError, match="not proven ended"):
        send(journal, frozen)


def test_the_second_attempt_is_for_what_the_first_left(journal: Journal) -> None:
    frozen = freeze(journal)
    ref = send(journal, frozen)
    journal.record([submitted(ref)], [fill(ref, 40)], now=NOW)
    journal.record(
        [Evidence(ref, Source.COMPLETED, OrderStatus.CANCELLED, 77, filled=40)], now=NOW, snapshot=snapshot()
    )
    with pytest.raises(RefusedError, match="60 of 100 are left"):
        journal.claim(frozen.intents[0].intent_id, "S221215-265598-aaaaaa-2", 100, 1, NOW)
    second = send(journal, frozen)
    assert journal.attempt(second).quantity == 60
    assert journal.attempt(second).number == 2
    journal.record([], [fill(second, 60, exec_id="0000e0d5.64a1b2c4.01.01", perm_id=78)], now=NOW)
    intent = journal.intent(frozen.intents[0].intent_id)
    assert intent is not None
    assert (intent.status, intent.filled) == (OrderStatus.FILLED, 100)
    assert journal.breaks() == ()


def test_a_cancel_by_message_is_proven_by_a_later_complete_snapshot(journal: Journal) -> None:
    frozen = freeze(journal)
    ref = send(journal, frozen)
    journal.record([submitted(ref), Evidence(ref, Source.EVENT, OrderStatus.CANCELLED, 77)], now=NOW)
    journal.record([], now=NOW, as_of=journal.sequence(), snapshot=snapshot())
    assert journal.attempt(send(journal, frozen)).number == 2


def test_an_unknown_order_locks_its_contract_for_every_other_plan(journal: Journal) -> None:
    frozen = freeze(journal)
    ref = send(journal, frozen)
    journal.record([Evidence(ref, Source.UNSEEN, message="no answer")], now=NOW)
    assert journal.locked_contracts() == {265598: ref}
    journal.set_latch(LatchState.HALTED, by="ann", reason="storm", now=NOW)
    flatten = freeze(journal, [order("AAPL", -100, "decrease"), order("KO")], purpose=Purpose.FLATTEN)
    with pytest.raises(ContractLockedError, match=f"AAPL is locked by {ref}"):
        send(journal, flatten, 0)
    send(journal, flatten, 1)
    journal.record([submitted(ref)], now=NOW)
    assert journal.locked_contracts() == {}
    # Seen again it works, and may trade: two orders of two plans in one contract would double the trade.
    with pytest.raises(ContractLockedError, match="which is submitted and may still trade"):
        send(journal, flatten, 0)
    journal.record([Evidence(ref, Source.COMPLETED, OrderStatus.CANCELLED, 77)], now=NOW)
    send(journal, flatten, 0)


def test_a_person_resolves_what_is_unknown_and_a_later_sighting_overrules_it(journal: Journal) -> None:
    frozen = freeze(journal)
    ref = send(journal, frozen)
    with pytest.raises(RefusedError, match="is sent, not unknown"):
        journal.resolve(ref, OrderStatus.EXPIRED, by="ann", reason="?", now=NOW)
    journal.record([Evidence(ref, Source.UNSEEN)], now=NOW)
    with pytest.raises(RefusedError, match="fills come from executions"):
        journal.resolve(ref, OrderStatus.FILLED, by="ann", reason="saw it", now=NOW)
    resolved = journal.resolve(ref, OrderStatus.REJECTED, by="ann", reason="not in TWS", now=NOW)
    assert (resolved.status, resolved.reason) == (OrderStatus.REJECTED, "ann: not in TWS")
    journal.record([], [fill(ref, 30)], now=NOW)
    late = journal.attempt(ref)
    assert (late.status, late.filled) == (OrderStatus.PARTIALLY_FILLED, 30)


def test_an_observation_is_as_old_as_its_question(journal: Journal) -> None:
    """A reader's snapshot that was asked for before an acknowledgement does not undo it when it is stored."""
    ref = send(journal, freeze(journal))
    asked = journal.sequence()
    journal.record([submitted(ref)], now=NOW)
    journal.record([Evidence(ref, Source.UNSEEN)], now=NOW, as_of=asked)
    assert journal.attempt(ref).status is OrderStatus.SUBMITTED
    journal.record([Evidence(ref, Source.UNSEEN)], now=NOW, as_of=journal.sequence())
    assert journal.attempt(ref).status is OrderStatus.UNKNOWN


def test_the_same_message_again_is_stored_once(journal: Journal) -> None:
    ref = send(journal, freeze(journal))
    for _ in range(3):
        journal.record([submitted(ref)], now=NOW)
    assert len(journal.evidence(ref)) == 1


def test_an_execution_counts_once_however_often_it_is_reported(journal: Journal) -> None:
    ref = send(journal, freeze(journal))
    assert journal.record([], [fill(ref), fill(ref)], now=NOW) == 1
    assert journal.record([], [fill(ref)], now=NOW) == 0
    assert [item.shares for item in journal.executions()] == [100]
    assert journal.attempt(ref).status is OrderStatus.FILLED


@pytest.mark.parametrize("order_of_arrival", list(permutations(range(3))))
def test_a_correction_replaces_what_it_corrects_in_any_order(
    journal: Journal, order_of_arrival: tuple[int, ...]
) -> None:
    ref = send(journal, freeze(journal))
    first = fill(ref, 100, exec_id="a.b.01.01", price="137.25")
    second = fill(ref, 90, exec_id="a.b.01.02", price="137.20")
    other = fill(ref, 10, exec_id="a.b.02.01", price="137.30")
    for index in order_of_arrival:
        journal.record([], [(first, second, other)[index]], now=NOW)
    assert {(item.exec_id, item.shares) for item in journal.executions()} == {
        ("a.b.01.02", 90),
        ("a.b.02.01", 10),
    }
    assert (journal.attempt(ref).status, journal.attempt(ref).filled) == (OrderStatus.FILLED, 100)


def test_a_bust_takes_the_execution_back(journal: Journal) -> None:
    ref = send(journal, freeze(journal))
    journal.record(
        [submitted(ref)], [fill(ref, 60, exec_id="a.1.01"), fill(ref, 40, exec_id="a.2.01")], now=NOW
    )
    assert journal.attempt(ref).status is OrderStatus.FILLED
    journal.record_bust("a.2.01", "erroneous trade", NOW)
    assert [item.exec_id for item in journal.executions()] == ["a.1.01"]
    assert (journal.attempt(ref).status, journal.attempt(ref).filled) == (OrderStatus.PARTIALLY_FILLED, 60)


def test_a_commission_is_joined_whichever_comes_first_and_null_until_then(journal: Journal) -> None:
    ref = send(journal, freeze(journal))
    journal.record_commission("a.1.01", Decimal("1.25"), NOW)
    early = fill(ref, 60, exec_id="a.1.01", commission=None)
    late = fill(ref, 40, exec_id="a.2.01", commission=None)
    journal.record([], [early, late], now=NOW)
    assert [item.commission for item in journal.executions()] == [Decimal("1.25"), None]
    largest_double = "1.7976931348623157E+308"
    journal.record([], [fill(ref, 40, exec_id="a.2.01", commission=largest_double)], now=NOW)
    assert journal.executions()[1].commission is None
    journal.record([], [fill(ref, 40, exec_id="a.2.01", commission="0.75")], now=NOW)
    assert [item.commission for item in journal.executions()] == [Decimal("1.25"), Decimal("0.75")]


def test_an_execution_that_changes_without_a_new_revision_is_an_error_but_nothing_else_is_lost(
    journal: Journal,
) -> None:
    ref = send(journal, freeze(journal))
    journal.record([], [fill(ref, 60, exec_id="a.1.01")], now=NOW)
    with pytest.raises(
        JournalError, match=r"a\.1\.01 \(AAPL\): recorded as buy 60 .* now reported as buy 70"
    ):
        journal.record([], [fill(ref, 70, exec_id="a.1.01"), fill(ref, 40, exec_id="a.2.01")], now=NOW)
    assert [item.shares for item in journal.executions()] == [60, 40]


def test_contradictions_within_the_record_are_breaks(journal: Journal) -> None:
    frozen = freeze(journal, [order("AAPL"), order("KO"), order("MSFT")])
    aapl, ko, msft = (send(journal, frozen, index) for index in range(3))
    assert journal.breaks() == ()
    journal.record([submitted(aapl, 7), submitted(aapl, 8)], now=NOW)
    journal.record([], [fill(ko, 130, exec_id="k.1.01", symbol="KO")], now=NOW)
    journal.record([], [fill(msft, 5, exec_id="m.1.01", symbol="MSFT", side=OrderSide.SELL)], now=NOW)
    journal.record(
        [], [fill("", 5, exec_id="x.1.01"), fill("S221215-1-zzzzzz-1", 5, exec_id="x.2.01")], now=NOW
    )
    found = {(item.kind, item.order_ref) for item in journal.breaks()}
    assert found == {
        (BreakKind.TWO_PERM_IDS, aapl),
        (BreakKind.OVERFILLED, ko),
        (BreakKind.DIFFERENT_ORDER, msft),
        (BreakKind.EXTERNAL, ""),
        (BreakKind.EXTERNAL, "S221215-1-zzzzzz-1"),
    }


def test_executions_are_found_by_session(journal: Journal) -> None:
    ref = send(journal, freeze(journal))
    late = fill(ref, 40, exec_id="b.1.01", at=NOW + timedelta(days=4))
    journal.record([], [late, fill(ref, 60, exec_id="a.1.01")], now=NOW)
    assert [item.exec_id for item in journal.executions(E, E)] == ["a.1.01"]
    assert [item.exec_id for item in journal.executions(D)] == ["a.1.01", "b.1.01"]
    assert [item.exec_id for item in journal.executions_of([ref])] == ["a.1.01", "b.1.01"]
    assert journal.executions(end=D) == ()


def test_live_attempts_are_those_that_could_still_fill(journal: Journal) -> None:
    frozen = freeze(journal, [order("AAPL"), order("KO"), order("MSFT")])
    aapl, ko, msft = (send(journal, frozen, index) for index in range(3))
    journal.record([Evidence(ko, Source.UNSEEN)], [fill(msft, symbol="MSFT")], now=NOW)
    assert [attempt.order_ref for attempt in journal.live_attempts()] == [aapl, ko]
    assert list(journal.newest_attempts(frozen.plan_id)) == [intent.intent_id for intent in frozen.intents]
    assert list(journal.sent([ko, "nobody's"])) == [ko]
    assert journal.sent([ko])[ko][1].contract == CONTRACTS["KO"]


def test_a_claim_costs_the_same_however_many_orders_of_other_contracts_there_were(journal: Journal) -> None:
    frozen = freeze(journal, [order("AAPL"), order("KO")])
    epoch = journal.acquire_epoch("test", NOW)

    def steps_of_claiming(index: int) -> int:
        """Return how many steps sqlite's machine takes."""
        steps: list[int] = []
        journal._database._connection().set_progress_handler(lambda: steps.append(1), 1)
        try:
            send(journal, frozen, index, epoch)
        finally:
            journal._database._connection().set_progress_handler(None, 1)
        return len(steps)

    alone = steps_of_claiming(0)
    with journal._database.write() as connection:
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
            "INSERT INTO intents (intent_id, plan_id, place, symbol, con_id, primary_exchange, currency, "
            "min_tick, side, quantity, leg, order_type, allocations, state) SELECT 'old' || i, ?, 9, 'X', i, "
            "'NYSE', 'USD', '0.01', 'buy', 1, 'increase', 'market', '[]', 'sent' FROM n",
            (frozen.plan_id,),
        )
        connection.execute(
            "INSERT INTO attempts (order_ref, intent_id, number, quantity, epoch, sent_at, status, filled) "
            "SELECT 'ref-' || intent_id, intent_id, 1, 1, ?, '2022', 'filled', 1 FROM intents "
            "WHERE intent_id LIKE 'old%'",
            (epoch,),
        )
    assert steps_of_claiming(1) < 1.2 * alone
