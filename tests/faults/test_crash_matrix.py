"""A slice of the crash matrix with fixed seeds; `make faults` plays a thousand."""

import pytest
from crash_child import BOUNDARIES
from crash_matrix import Outcome, play, schedule_of, summary

SEEDS = range(20)


@pytest.mark.slow
@pytest.mark.undecodable  # a frame that ends in the middle
@pytest.mark.parametrize("seed", SEEDS)
def test_no_crash_and_no_fault_doubles_an_order_or_loses_a_fill(seed: int) -> None:
    outcome = play(seed)
    assert outcome.violations == [], str(outcome.schedule)


def test_the_slice_kills_at_every_boundary() -> None:
    killed = {kill[0] for seed in SEEDS for kill in schedule_of(seed).kills if kill is not None}
    assert killed == set(BOUNDARIES)


def test_a_schedule_depends_on_its_seed_alone() -> None:
    assert [schedule_of(seed) for seed in SEEDS] == [schedule_of(seed) for seed in SEEDS]


def test_the_summary_names_every_violation_and_the_share_on_target() -> None:
    good, bad = Outcome(schedule_of(1), on_target=True), Outcome(schedule_of(2), ["two orders"])
    text = summary([good, bad])
    assert "2 schedules: 1 with a violation; 50.0% on target within 2 resumes" in text
    assert "VIOLATION seed 2" in text
