"""What people decided, as the journal keeps it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from ledger_support import ACCOUNT, CONTRACTS, NOW, D, E, freeze, order, plan

from hrp_core.errors import JournalError, RefusedError
from hrp_core.execution.approval import apply_drops
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import OrderStatus, PlanStatus
from hrp_core.portfolio.types import Cross, PortfolioLimits, SymbolAction


def control(journal: Journal, symbol: str, action: SymbolAction | None, until: object = None) -> None:
    journal.control_symbol(symbol, action, until=until, by="ann", reason="news", now=NOW)  # type: ignore[arg-type]


def test_the_newest_decision_about_a_name_counts_until_its_last_session_and_then_the_one_before(
    journal: Journal,
) -> None:
    control(journal, "KO", SymbolAction.FREEZE)
    control(journal, "AAPL", SymbolAction.EXIT)
    control(journal, "KO", SymbolAction.NO_BUY, D)
    assert journal.symbol_controls(D) == {"AAPL": SymbolAction.EXIT, "KO": SymbolAction.NO_BUY}
    assert journal.symbol_controls(E) == {"AAPL": SymbolAction.EXIT, "KO": SymbolAction.FREEZE}
    control(journal, "AAPL", None)
    assert journal.symbol_controls(D) == {"KO": SymbolAction.NO_BUY}
    (row, _) = journal.symbol_control_rows()
    assert (row.symbol, row.by, row.reason, row.at) == ("KO", "ann", "news", NOW)


def test_a_lock_of_a_few_sessions_does_not_free_a_name_that_was_restricted_for_good(journal: Journal) -> None:
    control(journal, "KO", SymbolAction.EXIT)
    for _ in range(2):  # a check that is repeated
        control(journal, "KO", SymbolAction.FREEZE, D)
    assert journal.symbol_controls(D) == {"KO": SymbolAction.FREEZE}
    assert journal.symbol_controls(E) == {"KO": SymbolAction.EXIT}
    assert [row.action for row in journal.symbol_control_rows()] == [SymbolAction.FREEZE, SymbolAction.EXIT]
    control(journal, "KO", None)
    control(journal, "KO", SymbolAction.FREEZE, D)
    assert journal.symbol_controls(E) == {}


def test_decisions_are_never_rewritten(journal: Journal) -> None:
    control(journal, "KO", SymbolAction.FREEZE)
    for statement in ("DELETE FROM symbol_controls", "UPDATE symbol_controls SET action = 'clear'"):
        with pytest.raises(JournalError, match="append-only"), journal._database.write() as connection:
            connection.execute(statement)


def test_a_dropped_name_leaves_a_plan_that_can_not_be_sent(journal: Journal) -> None:
    frozen = freeze(journal, [order("AAPL"), order("KO")])
    with pytest.raises(RefusedError, match="orders nothing in MSFT"):
        journal.drop_symbol(frozen.plan_id, "MSFT", by="ann", reason="no", now=NOW)
    journal.drop_symbol(frozen.plan_id, "KO", by="ann", reason="earnings", now=NOW)
    dropped = journal.plan(frozen.plan_id)
    assert dropped.status is PlanStatus.SUPERSEDED
    assert {intent.status for intent in dropped.intents} == {OrderStatus.EXPIRED}
    assert {symbol: drop.reason for symbol, drop in journal.drops(D).items()} == {"KO": "earnings"}
    assert journal.drops(E) == {}
    again = freeze(journal, [order("AAPL")], inputs={"dropped": ["KO"]}, approve=False)
    assert (again.sequence, again.status) == (2, PlanStatus.PROPOSED)


def test_a_name_that_is_only_crossed_can_be_dropped(journal: Journal) -> None:
    crossed = replace(plan(order("AAPL")), crosses=(Cross("KO", (("A", -30), ("B", 30)), Decimal("63.10")),))
    frozen = journal.freeze_plan(
        crossed, mode="sim", account=ACCOUNT, contracts=CONTRACTS, inputs={}, now=NOW
    )
    with pytest.raises(RefusedError, match="it trades AAPL, KO"):
        journal.drop_symbol(frozen.plan_id, "MSFT", by="ann", reason="no", now=NOW)
    journal.drop_symbol(frozen.plan_id, "KO", by="ann", reason="merger", now=NOW)
    assert journal.plan(frozen.plan_id).status is PlanStatus.SUPERSEDED
    limits = PortfolioLimits()
    kept = apply_drops(crossed, journal.drops(D), limits)
    assert (kept.crosses, [item.symbol for item in kept.orders]) == ((), ["AAPL"])


def test_of_two_that_use_a_confirmation_one_is_refused(journal: Journal) -> None:
    journal.offer_flatten("code", "DU1", "hash", expires_at=NOW + timedelta(minutes=1), by="ann", now=NOW)
    journal.check_flatten_code("code", "DU1", "hash", now=NOW)
    journal.use_flatten_code("code", "DU1", "hash", by="ann", reason="out", now=NOW)
    with pytest.raises(RefusedError, match="was used at"):
        journal.use_flatten_code("code", "DU1", "hash", by="bob", reason="out", now=NOW)
