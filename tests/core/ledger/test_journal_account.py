from decimal import Decimal

import pytest
from ledger_support import ACCOUNT, NOW, E

from hrp_core.errors import RefusedError
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import CashFlow, FlowKind, LatchState, OrderId, SnapshotRow


def flow(amount: str, reference: str = "opening", kind: FlowKind = FlowKind.OPENING) -> CashFlow:
    return CashFlow(reference, kind, Decimal(amount), E, NOW, "test", "a note")


def test_a_cash_flow_is_recorded_once_by_its_reference(journal: Journal) -> None:
    assert journal.record_cash_flow(flow("100000"))
    assert not journal.record_cash_flow(flow("100000.0000"))
    with pytest.raises(RefusedError, match=r"opening of 100000\.0000 USD, not opening of 5"):
        journal.record_cash_flow(flow("5"))
    assert journal.record_cash_flow(flow("-250.1250", "w1", FlowKind.WITHDRAWAL))
    assert [(item.reference, item.amount) for item in journal.cash_flows()] == [
        ("opening", Decimal(100_000)),
        ("w1", Decimal("-250.1250")),
    ]
    assert journal.cash_flows()[0] == flow("100000")


def test_the_latch_is_as_last_set_and_active_before(journal: Journal) -> None:
    assert journal.latch().state is LatchState.ACTIVE
    journal.set_latch(LatchState.HALTED, by="ann", reason="storm", now=NOW)
    journal.set_latch(LatchState.REDUCING, by="bob", reason="calmer", evidence="3 % down", now=NOW)
    latch = journal.latch()
    assert (latch.state, latch.by, latch.reason, latch.evidence, latch.at) == (
        LatchState.REDUCING,
        "bob",
        "calmer",
        "3 % down",
        NOW,
    )


def test_the_newest_snapshot_is_kept(journal: Journal) -> None:
    assert journal.newest_snapshot() is None
    row = SnapshotRow(ACCOUNT, NOW, {"AAPL": 100}, Decimal("86275.0000"), Decimal("100000.5000"))
    journal.record([], now=NOW, snapshot=row)
    assert journal.newest_snapshot() == row


def test_an_order_id_that_the_journal_cannot_explain_halts_until_a_person_resumes(journal: Journal) -> None:
    def check(number: int, client_id: int = 7) -> str:
        return journal.check_order_ids(OrderId(client_id, number), NOW)

    assert check(40) == ""  # whatever the client did before is not ours
    assert check(500, client_id=8) == ""  # another client's numbers are its own
    assert "used order id 43" in check(43)
    assert (journal.latch().state, journal.latch().by) == (LatchState.HALTED, "order ids")
    assert "sent none beyond 40" in check(43)  # asking again changes nothing
    resume(journal)
    assert check(43) == ""
    assert "used order id 44" in check(44)
    resume(journal)
    assert check(0) == ""  # a gateway that was restarted counts from anew, and so does the journal
    assert "sent none beyond 0" in check(1)


def test_a_halt_for_another_reason_does_not_hide_that_the_journal_is_older(journal: Journal) -> None:
    journal.check_order_ids(OrderId(7, 1), NOW)
    journal.set_latch(LatchState.HALTED, by="ann", reason="lunch", now=NOW)
    resume(journal)
    journal.set_latch(LatchState.HALTED, by="ann", reason="lunch again", now=NOW)
    assert "older than the account" in journal.check_order_ids(OrderId(7, 2), NOW)
    assert "older than the account" in journal.latch().reason


def resume(journal: Journal) -> None:
    journal.set_latch(LatchState.ACTIVE, by="ann", reason="compared with TWS", now=NOW)
