"""What a person who has just approved a plan, or resumed trading, is told."""

from dataclasses import replace
from datetime import datetime

import pytest
from order_support import BentBroker, D, E, F, at, freeze, planned

from hrp_core.execution.outlook import plan_outlook
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import PlanStatus
from hrp_core.timetable import DeskState, PlanFacts

STORED = {name: {D: at(D, "18:16")} for name in ("features", "predictions", "target_portfolio")}
ON = DeskState(trading_on=True, written=STORED)
BY_HAND = "`hrp job run live-trader --session 2022-12-15`"
PLAN = "plan sim-DU1234567-2022-12-15-daily-1"
GATE = "New York, if the trade gate says go"
NOW, END = "Fri 2022-12-16 09:21 New York", "Fri 2022-12-16 09:25 New York"
ENDS = f"what is not sent by {END} expires"


def told(journal: Journal, broker: BentBroker, now: datetime, state: DeskState, **changes: object) -> str:
    plan = journal.latest_plan(D) or freeze(journal, broker, planned("AAPL", 10))
    plan = replace(journal.plan(plan.plan_id), **changes)  # type: ignore[arg-type]
    facts = {D: PlanFacts(plan.plan_id, plan.status.value, approved_at=now)}
    return plan_outlook(plan, replace(state, plans=facts), now)


@pytest.mark.parametrize(
    ("now", "state", "expected"),
    [
        (at(D, "18:20"), ON, f"at Thu 2022-12-15 18:30 {GATE}; sooner by hand: {BY_HAND}. Otherwise {ENDS}"),
        (at(D, "20:05"), ON, f"at Thu 2022-12-15 20:10 {GATE}"),
        (at(D, "23:40"), ON, f"at Fri 2022-12-16 01:00 {GATE}"),
        (at(E, "09:11"), ON, f"at Fri 2022-12-16 09:20 {GATE}"),
        (
            at(E, "09:21"),
            ON,
            f"is not asked again: send {PLAN} by hand, from {NOW}, with {BY_HAND}; {ENDS}",
        ),
        (
            at(E, "09:25"),
            ON,
            f"closed at {END}: its orders are not sent any more and expire. Session 2022-12-16 decides anew",
        ),
        (
            at(D, "20:05"),
            replace(ON, trading_on=False),
            f"is off: send {PLAN} by hand, from Thu 2022-12-15 20:05 New York, with {BY_HAND}; {ENDS}",
        ),
        (at(D, "20:05"), replace(ON, preopen=True), f"at Fri 2022-12-16 09:00 {GATE}"),
        (at(D, "20:05"), replace(ON, halted="fire (by bob)"), "Trading is halted: fire (by bob)"),
        (at(D, "20:05"), replace(ON, dry_run=True), f"nothing of {PLAN} is sent"),
        (at(F, "08:00"), ON, "Session 2022-12-16 has no plan"),
    ],
)
def test_the_sentence_names_the_next_try_the_command_and_the_end(
    journal: Journal, broker: BentBroker, now: datetime, state: DeskState, expected: str
) -> None:
    assert expected in told(journal, broker, now, state)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (PlanStatus.PROPOSED, "waits for approval"),
        (PlanStatus.SENT, "has nothing left to send"),
        (PlanStatus.REJECTED, "is rejected: nothing of it is sent, and session 2022-12-16 decides anew"),
    ],
)
def test_a_plan_that_is_not_approved_says_what_it_is(
    journal: Journal, broker: BentBroker, status: PlanStatus, expected: str
) -> None:
    assert expected in told(journal, broker, at(D, "20:05"), ON, status=status)
