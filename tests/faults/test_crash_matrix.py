"""A slice of the crash matrix with fixed seeds; `make faults` plays a thousand."""

import pytest
from crash_child import BOUNDARIES
from crash_matrix import Outcome, play, play_schedule, summary
from crash_schedule import EVENING, HIDDEN, KINDS, MIDNIGHT, RESTORED, TAKEOVERS, Schedule, schedule_of

SEEDS = range(26)


@pytest.mark.slow
@pytest.mark.undecodable  # a frame that ends in the middle
@pytest.mark.parametrize("seed", SEEDS)
def test_no_crash_and_no_fault_doubles_an_order_or_loses_a_fill(seed: int) -> None:
    outcome = play(seed)
    assert outcome.violations == [], str(outcome.schedule)
    assert outcome.on_target or outcome.stopped, f"{outcome.schedule}: {outcome.causes}"


@pytest.mark.slow
@pytest.mark.undecodable
def test_an_older_journal_put_back_stops_everything_and_names_what_the_broker_knows() -> None:
    seed = next(
        seed
        for seed in range(1_000)
        if schedule_of(seed).kind == "restored"
        and schedule_of(seed).kills[0] == ("after place", 2)
        and not schedule_of(seed).resume_faults  # what it does not know, the broker tells
    )
    outcome = play(seed)
    assert outcome.violations == [], str(outcome.schedule)
    assert outcome.stopped


@pytest.mark.slow
@pytest.mark.undecodable
def test_an_older_journal_sends_nothing_while_the_broker_hides_what_it_lacks() -> None:
    outcome = play_schedule(Schedule(0, RESTORED, (("after place", 2), None), 0, (), (HIDDEN,)))
    assert outcome.violations == []
    assert outcome.stopped


@pytest.mark.slow
@pytest.mark.undecodable
@pytest.mark.parametrize("kind", [EVENING, MIDNIGHT])
def test_an_order_that_the_broker_hides_from_the_resume_is_not_sent_again(kind: str) -> None:
    outcome = play_schedule(Schedule(0, kind, (("after place", 2), None), 0, (), (HIDDEN,)))
    assert outcome.violations == []
    assert outcome.same_evening
    assert outcome.on_target


def test_the_slice_kills_at_every_boundary_in_every_kind_of_schedule() -> None:
    schedules = [schedule_of(seed) for seed in SEEDS]
    assert {kill[0] for item in schedules for kill in item.kills if kill is not None} == set(BOUNDARIES)
    assert {item.kind for item in schedules} == set(KINDS)
    assert {item.takeover for item in schedules} - {""} == set(TAKEOVERS)


def test_a_thousand_schedules_kill_at_every_boundary_of_every_kind() -> None:
    met = {(item.kind, item.kills[0][0]) for item in map(schedule_of, range(1_000)) if item.kills[0]}
    assert met == {(kind, boundary) for kind in KINDS for boundary in BOUNDARIES}


def test_a_schedule_depends_on_its_seed_alone() -> None:
    assert [schedule_of(seed) for seed in SEEDS] == [schedule_of(seed) for seed in SEEDS]


def test_the_summary_names_every_violation_and_both_shares_on_target() -> None:
    good, late = Outcome(schedule_of(1), same_evening=True, on_target=True), Outcome(schedule_of(4))
    later, bad = Outcome(schedule_of(2), on_target=True), Outcome(schedule_of(3), ["two orders"])
    stopped = Outcome(schedule_of(9), stopped="an older journal was put back")
    text = summary([good, later, bad, late, stopped])
    assert "5 schedules, 0.0 s each: 1 with a violation" in text
    assert "of 4 that need no person: 25.0% on target the same evening, 50.0% within 2 resumes" in text
    assert "stopped and said why, 1 schedules: an older journal was put back" in text
    assert "seeds not on target: [3, 4]" in text
    assert "VIOLATION Schedule(seed=3" in text
