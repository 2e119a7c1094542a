"""What becomes of plans and orders whose send window has passed."""

from datetime import datetime

import pytest
from order_support import BentBroker, E, F, at, freeze, manager, planned, sync

from hrp_core.execution.expiry import close_plans
from hrp_core.execution.send_window import SendAt
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FrozenPlan, LatchState, OrderStatus, PlanStatus

S = OrderStatus
WINDOW = "not sent before the window closed (Fri 2022-12-16 16:10 to Mon 2022-12-19 09:25 New York)"


def close(journal: Journal, now: datetime, *, dry_run: bool = False) -> dict[str, PlanStatus]:
    return close_plans(journal, now, SendAt.EVENING, dry_run=dry_run)


@pytest.fixture
def basket(journal: Journal, broker: BentBroker) -> FrozenPlan:
    """The evening of E: KO is held and to be sold, MSFT to be bought."""
    first = freeze(journal, broker, planned("KO", 100))
    manager(broker, journal).submit_plan(first.plan_id)
    broker.advance(at(E, "18:30"))
    broker.connect()
    sync(broker, journal)
    return freeze(journal, broker, planned("KO", -100), planned("MSFT", 5), session=E)


def stands(journal: Journal, plan: FrozenPlan) -> dict[str, tuple[OrderStatus, str]]:
    return {
        intent.contract.symbol: (intent.status, intent.reason)
        for intent in journal.plan(plan.plan_id).intents
    }


@pytest.mark.parametrize("by", ["latch", "gate"])
def test_after_an_evening_of_exits_the_plan_ends_and_its_entries_say_what_held_them_back(
    journal: Journal, broker: BentBroker, basket: FrozenPlan, by: str
) -> None:
    if by == "latch":
        journal.set_latch(LatchState.REDUCING, by="ann", reason="too much", now=broker.now())
        manager(broker, journal).submit_plan(basket.plan_id)
        why = "only exits may go, by ann: too much"
    else:
        why = "the trade gate lets only exits go: cash"
        manager(broker, journal).submit_plan(basket.plan_id, exits_only=why)
    assert stands(journal, basket)["MSFT"] == (S.PENDING, why)
    assert close(journal, at(F, "09:24")) == {}
    assert journal.plan(basket.plan_id).status is PlanStatus.APPROVED
    assert close(journal, at(F, "09:25"))[basket.plan_id] is PlanStatus.SENT
    assert stands(journal, basket)["MSFT"] == (S.EXPIRED, f"{why}; {WINDOW}")
    assert stands(journal, basket)["KO"][0] is S.SUBMITTED
    assert close(journal, at(F, "09:45")) == {}


def test_an_entry_that_was_held_back_and_sent_later_says_nothing_of_it(
    journal: Journal, broker: BentBroker, basket: FrozenPlan
) -> None:
    manager(broker, journal).submit_plan(basket.plan_id, exits_only="cash")
    report = manager(broker, journal).submit_plan(basket.plan_id)
    assert (report.status, len(report.placed)) == (PlanStatus.SENT, 1)
    assert stands(journal, basket)["MSFT"] == (S.SUBMITTED, "")


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("proposed", "nobody approved the plan; "),
        ("halted", "trading is halted by ann: storm; "),
        ("dry", "a dry run sends nothing; "),
        ("approved", ""),
    ],
)
def test_a_plan_of_which_nothing_was_sent_expires_and_says_why(
    journal: Journal, broker: BentBroker, basket: FrozenPlan, state: str, why: str
) -> None:
    plan = basket
    if state == "proposed":
        plan = freeze(journal, broker, planned("KO", -99), session=E, approve=False)
    if state == "halted":
        journal.set_latch(LatchState.HALTED, by="ann", reason="storm", now=broker.now())
    closed = close(journal, at(F, "09:25"), dry_run=state == "dry")
    assert closed[plan.plan_id] is journal.plan(plan.plan_id).status is PlanStatus.EXPIRED
    assert set(stands(journal, plan).values()) == {(S.EXPIRED, f"{why}{WINDOW}")}


def test_a_plan_of_an_earlier_session_is_closed_and_one_of_now_is_left(
    journal: Journal, broker: BentBroker, basket: FrozenPlan
) -> None:
    waiting = freeze(journal, broker, planned("KO", 5), session=F)
    assert set(close(journal, at(F, "18:30"))) == {basket.plan_id}
    assert journal.plan(waiting.plan_id).status is PlanStatus.APPROVED
