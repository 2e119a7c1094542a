"""A plan is looked at, changed and approved by a person, and what was approved is what is sent."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
from desk import FIRST, Desk

from hrp_core.errors import RefusedError
from hrp_core.execution.approval import approve_plan, drop_from_plan, reject_plan
from hrp_core.execution.config import ClientRole, broker_config
from hrp_core.execution.gate_record import judge_session, verdict_frame
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.planning import PlannedSession, plan_session
from hrp_core.execution.review import diff_plan, review_plan
from hrp_core.execution.trading import TradedSession, trade_session
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import CashFlow, FlowKind, OrderStatus, PlanStatus
from hrp_core.portfolio.strategies import load_strategies
from hrp_core.portfolio.types import SymbolAction
from hrp_core.settings import Mode, Settings
from hrp_core.store import Sessions, replace_slice, table

pytestmark = pytest.mark.desk("planned")


@dataclass(frozen=True)
class Paper:
    """The desk's gateway, traded in paper mode, where a person approves."""

    desk: Desk
    settings: Settings

    @property
    def journal(self) -> Journal:
        return Journal(self.settings.journal_path)

    @contextmanager
    def broker(self, role: ClientRole = ClientRole.WRITER) -> Iterator[IBKRBroker]:
        with IBKRBroker(broker_config(self.desk.settings, role)) as broker:
            yield broker

    def plan(self) -> PlannedSession:
        with self.broker(ClientRole.READER) as broker:
            now = self.desk.settings.clock().now()
            strategies = load_strategies(self.settings.strategies)
            return plan_session(self.settings, self.desk.store, self.journal, broker, strategies, FIRST, now)

    def trade(self) -> TradedSession:
        clock = self.desk.settings.clock()
        found = judge_session(
            self.settings,
            self.desk.store,
            self.journal,
            lambda: self.broker(ClientRole.READER),
            FIRST,
            clock.now(),
        )
        with self.desk.store.write() as connection:
            replace_slice(
                connection,
                table("trade_gate"),
                verdict_frame(found),
                Sessions([FIRST]),
                "test",
                None,
                clock.now(),
            )
        return trade_session(self.settings, self.desk.store, self.journal, self.broker, FIRST, clock)

    def approve(self, seen: str | None = None, settings: Settings | None = None) -> None:
        approve_plan(
            settings or self.settings,
            self.desk.store,
            self.journal,
            load_strategies(self.settings.strategies),
            FIRST,
            seen=seen,
            by="ann",
            reason="looked at it",
            now=self.desk.settings.clock().now(),
        )

    def drop(self, symbol: str) -> None:
        now = self.desk.settings.clock().now()
        drop_from_plan(self.desk.store, self.journal, FIRST, symbol, by="ann", reason="earnings", now=now)

    @property
    def received(self) -> int:
        return self.desk.gateway.state().orders_received


@pytest.fixture
def paper(desk: Desk) -> Paper:
    changes = {"mode": Mode.PAPER, "paper_approval": "person", "dry_run": False}
    return Paper(desk, desk.settings.model_copy(update=changes))


def test_a_plan_is_sent_only_after_a_person_approved_it(paper: Paper) -> None:
    frozen = paper.plan().frozen
    assert frozen.status is PlanStatus.PROPOSED
    with pytest.raises(RefusedError, match="hrp plan approve"):
        paper.trade()
    assert paper.received == 0
    paper.approve(frozen.inputs_hash[:8])
    paper.approve(frozen.inputs_hash[:8])  # twice is once
    assert len(paper.trade().report.placed) == paper.received == len(frozen.intents) > 0


def test_paper_approves_itself_unless_a_person_is_asked_for(paper: Paper) -> None:
    automatic = Paper(paper.desk, paper.settings.model_copy(update={"paper_approval": "auto"}))
    plan = automatic.plan().frozen
    assert plan.status is PlanStatus.APPROVED
    # What replaces a plan that a person rejected is for a person to approve.
    now = paper.desk.settings.clock().now()
    reject_plan(paper.desk.store, paper.journal, FIRST, seen=None, by="ann", reason="too much", now=now)
    other = Paper(paper.desk, automatic.settings.model_copy(update={"max_positions": 3}))
    again = other.plan().frozen
    assert (again.sequence, again.status) == (plan.sequence + 1, PlanStatus.PROPOSED)
    other.approve()
    assert other.plan().frozen.status is PlanStatus.APPROVED


def test_live_never_approves_itself_nor_a_plan_that_nobody_named(paper: Paper) -> None:
    live = Paper(paper.desk, paper.settings.model_copy(update={"mode": Mode.LIVE, "paper_approval": "auto"}))
    assert live.plan().frozen.status is PlanStatus.PROPOSED
    with pytest.raises(RefusedError, match="--hash"):
        live.approve()
    assert live.plan().frozen.status is PlanStatus.PROPOSED
    with pytest.raises(RefusedError, match="hrp plan approve"):
        live.trade()
    assert live.received == 0


def test_a_dropped_name_is_not_sent_and_planning_again_keeps_it_out(paper: Paper) -> None:
    before = paper.plan().frozen
    paper.approve()
    symbols = [intent.contract.symbol for intent in before.intents]
    paper.drop(symbols[0])
    with pytest.raises(RefusedError):
        paper.trade()  # until it is planned again there is nothing to send
    after = paper.plan().frozen
    assert (after.sequence, after.status) == (before.sequence + 1, PlanStatus.PROPOSED)
    assert [intent.contract.symbol for intent in after.intents] == symbols[1:]
    assert paper.plan().frozen == after
    with pytest.raises(RefusedError, match="decided again since"):
        paper.approve(before.inputs_hash[:12])
    paper.approve(after.inputs_hash[:12])
    paper.trade()
    assert paper.received == len(symbols) - 1
    with paper.broker(ClientRole.READER) as broker:
        assert sorted(order.contract.symbol for order in broker.snapshot().open_orders) == symbols[1:]
    with pytest.raises(RefusedError, match="nothing can be dropped"):
        paper.drop(symbols[1])


@pytest.mark.parametrize("change", ["limits", "cash", "controls", "hash", "short hash"])
def test_approving_what_was_decided_from_other_inputs_is_refused(paper: Paper, change: str) -> None:
    paper.plan()
    settings, seen, journal = paper.settings, None, paper.journal
    now = paper.desk.settings.clock().now()
    if change == "limits":
        settings = settings.model_copy(update={"max_positions": 3})
    elif change == "cash":
        flow = CashFlow("wire", FlowKind.DEPOSIT, Decimal(5000), date(2022, 12, 5), now, "ann")
        journal.record_cash_flow(flow)
    elif change == "controls":
        journal.control_symbol("AAPL", SymbolAction.FREEZE, until=None, by="ann", reason="x", now=now)
    else:
        seen = "0" * 12 if change == "hash" else "0"
    with pytest.raises(RefusedError):
        paper.approve(seen, settings)
    with pytest.raises(RefusedError):
        paper.trade()
    assert paper.received == 0


def test_a_rejected_plan_is_not_sent(paper: Paper) -> None:
    frozen = paper.plan().frozen
    with pytest.raises(RefusedError, match="with a reason"):
        reject_plan(
            paper.desk.store, paper.journal, FIRST, seen=None, by="ann", reason="", now=frozen.created_at
        )
    reject_plan(
        paper.desk.store, paper.journal, FIRST, seen=None, by="ann", reason="no", now=frozen.created_at
    )
    assert {intent.status for intent in paper.journal.plan(frozen.plan_id).intents} == {OrderStatus.EXPIRED}
    with pytest.raises(RefusedError):
        paper.trade()
    assert paper.received == 0


def test_controls_are_frozen_with_the_plan(paper: Paper) -> None:
    now = paper.desk.settings.clock().now()
    paper.journal.control_symbol("AAPL", SymbolAction.FREEZE, until=FIRST, by="ann", reason="x", now=now)
    assert paper.plan().frozen.inputs["controls"] == {"AAPL": "freeze"}


@pytest.mark.desk("sent")
def test_a_review_adds_up(desk: Desk) -> None:
    journal = desk.journal
    plan = journal.latest_plan(FIRST)
    assert plan is not None
    review = review_plan(plan)
    assert (review.gross_before, review.net_before) == (0.0, 0.0)
    ordered = sum(
        (intent.quantity * (intent.reference_price or Decimal(0)) for intent in plan.intents), Decimal(0)
    )
    assert review.gross_after == pytest.approx(float(ordered / plan.equity))
    assert review.turnover == pytest.approx(review.gross_after)
    assert review.cost == len(plan.intents) * Decimal(1)
    earlier, rows = diff_plan(journal, plan)
    assert earlier is None
    assert {row.symbol: (row.held, row.target) for row in rows} == {
        intent.contract.symbol: (0, intent.quantity) for intent in plan.intents
    }
