from decimal import Decimal

import pytest
from ledger_support import ACCOUNT, NOW, E

from hrp_core.errors import RefusedError
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import CashFlow, FlowKind, LatchState, SnapshotRow


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
