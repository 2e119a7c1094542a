import sqlite3
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from ledger_support import ACCOUNT, CONTRACTS, NOW, D, freeze, order, plan, send

from hrp_core.errors import DataError, JournalError, RefusedError
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Intent, OrderStatus, PlanStatus
from hrp_core.portfolio.types import OrderSide, OrderType, Purpose


def test_a_frozen_plan_has_a_readable_id_and_pending_intents(journal: Journal) -> None:
    frozen = freeze(journal, approve=False)
    assert frozen.plan_id == "sim-DU1234567-2022-12-15-daily-1"
    assert frozen.status is PlanStatus.PROPOSED
    (intent,) = frozen.intents
    assert (intent.status, intent.filled, intent.quantity, intent.contract) == (
        OrderStatus.PENDING,
        0,
        100,
        CONTRACTS["AAPL"],
    )
    assert intent.reference_price == Decimal("136.5")
    assert intent.allocations == (("HYP-2026-001", 100),)
    assert frozen.inputs == {"prices": {"AAPL": 136.5}}
    # A missing score is null in what is stored, not the text NaN that no other program can read.
    assert frozen.targets[0]["prediction"] is None


def test_the_same_decision_frozen_again_gives_the_same_plan_whatever_its_state(journal: Journal) -> None:
    first = freeze(journal)
    assert freeze(journal, approve=False) == first
    send(journal, first)
    again = freeze(journal, approve=False)
    assert again.plan_id == first.plan_id
    assert again.intents[0].status is OrderStatus.SENT
    assert len(journal.plans()) == 1


def test_inputs_in_another_order_and_of_numpy_types_are_the_same_inputs(journal: Journal) -> None:
    first = freeze(journal, inputs={"a": 1, "b": [1.5, None]})
    second = freeze(journal, inputs={"b": [np.float64(1.5), float("nan")], "a": np.int64(1)}, approve=False)
    assert second.plan_id == first.plan_id


def test_inputs_that_are_not_plain_data_are_refused(journal: Journal) -> None:
    with pytest.raises(DataError, match="plain data"):
        freeze(journal, inputs={"what": object()})
    assert journal.plans() == ()


def test_other_inputs_supersede_a_plan_of_which_nothing_was_sent(journal: Journal) -> None:
    first = freeze(journal)
    second = freeze(journal, inputs={"prices": {"AAPL": 140.0}})
    assert second.plan_id == "sim-DU1234567-2022-12-15-daily-2"
    assert second.status is PlanStatus.APPROVED
    old = journal.plan(first.plan_id)
    assert old.status is PlanStatus.SUPERSEDED
    assert old.intents[0].status is OrderStatus.EXPIRED
    assert "superseded by sim-DU1234567-2022-12-15-daily-2" in old.intents[0].reason
    newest = journal.latest_plan(D)
    assert newest is not None
    assert newest.plan_id == second.plan_id


@pytest.mark.parametrize("outcome", [OrderStatus.SENT, OrderStatus.UNKNOWN, OrderStatus.CANCELLED])
def test_other_inputs_are_refused_once_anything_was_sent(journal: Journal, outcome: OrderStatus) -> None:
    from hrp_core.ledger.types import Evidence, Source

    first = freeze(journal)
    ref = send(journal, first)
    if outcome is OrderStatus.UNKNOWN:
        journal.record([Evidence(ref, Source.UNSEEN)], now=NOW)
    elif outcome is OrderStatus.CANCELLED:
        journal.record([Evidence(ref, Source.COMPLETED, OrderStatus.CANCELLED, perm_id=7)], now=NOW)
    with pytest.raises(RefusedError, match=f"{first.plan_id}.*{ref}: {outcome.value}"):
        freeze(journal, inputs={"prices": {"AAPL": 140.0}})
    assert [each.plan_id for each in journal.plans()] == [first.plan_id]


def test_a_plan_for_a_name_without_contract_is_refused_by_name(journal: Journal) -> None:
    with pytest.raises(RefusedError, match="orders TSLA, ZZZ"):
        freeze(journal, [order("ZZZ"), order("AAPL"), order("TSLA")])
    assert journal.plans() == ()


def test_allocations_that_do_not_sum_to_the_order_are_refused(journal: Journal) -> None:
    wrong = replace(order(), allocations=(("A", 60), ("B", 30)))
    with pytest.raises(DataError, match=r"AAPL.*do not sum"):
        freeze(journal, [wrong])


def test_intent_ids_are_the_same_in_every_journal(journal: Journal, tmp_path: Path) -> None:
    other = Journal(tmp_path / "other" / "journal.sqlite")
    assert freeze(journal).intents[0].intent_id == freeze(other).intents[0].intent_id
    other.close()


def test_the_two_legs_of_a_flip_are_two_intents(journal: Journal) -> None:
    frozen = freeze(journal, [order(shares=-50, leg="decrease"), order(shares=-30, leg="increase")])
    assert len({intent.intent_id for intent in frozen.intents}) == 2


def test_an_approval_needs_the_hash_of_what_was_looked_at(journal: Journal) -> None:
    frozen = freeze(journal, approve=False)
    with pytest.raises(RefusedError, match="not the one that was looked at"):
        journal.approve(frozen.plan_id, by="ann", plan_hash="0" * 64, now=NOW)
    assert journal.plan(frozen.plan_id).status is PlanStatus.PROPOSED
    journal.approve(frozen.plan_id, by="ann", plan_hash=frozen.inputs_hash, now=NOW, reason="fine")
    journal.approve(frozen.plan_id, by="ann", plan_hash=frozen.inputs_hash, now=NOW)
    (approval,) = journal.approvals(frozen.plan_id)
    assert (approval.approved, approval.by, approval.reason) == (True, "ann", "fine")


def test_a_rejected_plan_cannot_be_approved_and_stays_rejected_when_frozen_again(journal: Journal) -> None:
    frozen = freeze(journal, approve=False)
    journal.reject(frozen.plan_id, by="ann", plan_hash=frozen.inputs_hash, now=NOW, reason="too big")
    with pytest.raises(RefusedError, match="is rejected"):
        journal.approve(frozen.plan_id, by="bob", plan_hash=frozen.inputs_hash, now=NOW)
    again = freeze(journal, approve=False)
    assert again.plan_id == frozen.plan_id
    assert again.status is PlanStatus.REJECTED
    assert again.intents[0].status is OrderStatus.EXPIRED
    # A new decision is a new plan; the rejection of the old one stands.
    other = freeze(journal, inputs={"other": 1})
    assert other.sequence == 2
    assert journal.plan(frozen.plan_id).status is PlanStatus.REJECTED


def test_an_approval_can_be_taken_back_until_something_was_sent(journal: Journal) -> None:
    frozen = freeze(journal, [order("AAPL"), order("KO")])
    journal.reject(frozen.plan_id, by="ann", plan_hash=frozen.inputs_hash, now=NOW, reason="earnings")
    assert journal.plan(frozen.plan_id).status is PlanStatus.REJECTED
    assert [item.approved for item in journal.approvals(frozen.plan_id)] == [True, False]
    other = freeze(journal, [order("AAPL"), order("KO")], inputs={"other": 1})
    send(journal, other)
    with pytest.raises(RefusedError, match="is approved and cannot be rejected any more"):
        journal.reject(other.plan_id, by="ann", plan_hash=other.inputs_hash, now=NOW, reason="late")


def test_a_plan_is_sent_only_when_none_of_its_intents_is_pending(journal: Journal) -> None:
    frozen = freeze(journal, [order("AAPL"), order("KO")])
    send(journal, frozen)
    with pytest.raises(RefusedError, match="1 orders not sent"):
        journal.mark_sent(frozen.plan_id)
    assert journal.expire_pending(frozen.plan_id, "the window is over") == 1
    journal.mark_sent(frozen.plan_id)
    journal.mark_sent(frozen.plan_id)
    after = journal.plan(frozen.plan_id)
    assert after.status is PlanStatus.SENT
    assert [intent.status for intent in after.intents] == [OrderStatus.SENT, OrderStatus.EXPIRED]


def test_a_plan_without_orders_is_a_plan(journal: Journal) -> None:
    frozen = journal.freeze_plan(
        plan(), mode="sim", account=ACCOUNT, contracts={}, inputs={}, purpose=Purpose.DAILY, now=NOW
    )
    assert frozen.intents == ()


def test_manual_orders_of_a_session_do_not_supersede_each_other(journal: Journal) -> None:
    intent = Intent(
        intent_id="",
        plan_id="",
        contract=CONTRACTS["KO"],
        side=OrderSide.BUY,
        quantity=5,
        leg="increase",
        order_type=OrderType.LIMIT,
        limit_price=Decimal("60.10"),
        reference_price=None,
        allocations=(("MANUAL", 5),),
    )
    plans = [
        journal.freeze_order(
            intent,
            mode="sim",
            account=ACCOUNT,
            session=D,
            execution_session=date(2022, 12, 16),
            inputs={"order_id": name},
            now=NOW,
        )
        for name in ("one", "two")
    ]
    assert [each.plan_id[-8:] for each in plans] == ["manual-1", "manual-2"]
    assert plans[0].intents[0].limit_price == Decimal("60.1")
    assert {journal.plan(each.plan_id).status for each in plans} == {PlanStatus.PROPOSED}


def test_the_content_of_a_plan_cannot_be_changed_in_the_file(journal: Journal) -> None:
    frozen = freeze(journal)
    raw = sqlite3.connect(journal.path, isolation_level=None)
    for statement in (
        "UPDATE intents SET quantity = 1000",
        "DELETE FROM intents",
        "UPDATE plans SET content = '{}'",
        "UPDATE approvals SET by = 'mallory'",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            raw.execute(statement)
    raw.execute("DROP TRIGGER intents_frozen")
    raw.execute("UPDATE intents SET quantity = 1000")
    raw.close()
    with pytest.raises(JournalError, match="not what was frozen"):
        journal.plan(frozen.plan_id)


def test_an_unknown_plan_is_named(journal: Journal) -> None:
    with pytest.raises(JournalError, match="no plan nowhere"):
        journal.plan("nowhere")
