"""A small market whose prices can be told apart at a glance."""

from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal

import numpy as np
import pytest

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.matching import Engine, EngineState, Tape


@pytest.fixture
def at() -> Callable[[str, str], datetime]:
    """A moment in New York from a day and a time of day."""

    def moment(day: str, clock: str) -> datetime:
        return datetime.combine(date.fromisoformat(day), time.fromisoformat(clock), NEW_YORK)

    return moment


@pytest.fixture
def tape() -> Tape:
    """2022-11-21 to 2022-11-30, with Thanksgiving and its half day.

    AAA opens at 10 + n and closes at 10.5 + n in session n; BBB has closes only, 20 + n; GAP has no price
    at all on 2022-11-23.
    """
    sessions = nyse().between(date(2022, 11, 21), date(2022, 11, 30))
    count = np.arange(len(sessions), dtype=float)
    nothing = np.full(len(sessions), np.nan)
    gap = np.where([session == date(2022, 11, 23) for session in sessions], np.nan, 30 + count)

    def columns(aaa: np.ndarray, bbb: np.ndarray, gap: np.ndarray) -> np.ndarray:
        return np.column_stack([aaa, bbb, gap])

    return Tape(
        tuple(sessions),
        ("AAA", "BBB", "GAP"),
        open=columns(10 + count, nothing, gap),
        high=columns(nothing, nothing, nothing),
        low=columns(nothing, nothing, nothing),
        close=columns(10.5 + count, 20 + count, gap + 0.5),
        volume=columns(nothing, nothing, nothing),
    )


@pytest.fixture
def engine(tape: Tape, at: Callable[[str, str], datetime]) -> Callable[..., Engine]:
    """Make an engine that stands at a moment (default the evening of the tape's first session)."""

    def make(day: str = "2022-11-21", clock: str = "16:30", cash: int = 100_000, seed: int = 0) -> Engine:
        return Engine(tape, EngineState.opening(now=at(day, clock), cash=Decimal(cash), seed=seed))

    return make
