"""Which sessions a model learns from and which it is judged on.

What belongs here: walk-forward splits whose labels do not overlap. What does not: fitting.
"""

from dataclasses import dataclass
from itertools import pairwise

from hrp_core.errors import NotReadyError


@dataclass(frozen=True, slots=True)
class Split:
    """One fold: rows of the panel to learn from, then rows to judge on (both consecutive)."""

    train: range
    test: range


def walk_forward(
    sessions: int, *, reach: int, folds: int = 5, embargo: int = 5, min_train: int = 504
) -> list[Split]:
    """Return folds that learn from the past only, oldest first; their test ranges are adjacent.

    Purged and embargoed after Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 7: a row
    whose label is not yet known when the test begins is left out of the training (purge), and so are further
    `embargo` sessions, because features of neighbouring sessions share their look-back. Nothing after a test
    range is ever learned from in its fold, so no embargo is needed there. The training range grows.

    Args:
        sessions: T, all with matured labels.
        reach: sessions after t until its label is known (lag + horizon).
        folds: how many.
        embargo: further sessions left out.
        min_train: least sessions to learn from in the first fold.

    Raises:
        ValueError: an argument is out of range.
        NotReadyError: there are too few sessions for that many folds.
    """
    if reach < 1 or folds < 1 or embargo < 0 or min_train < 1:
        raise ValueError(
            f"reach {reach}, folds {folds}, embargo {embargo}, min_train {min_train}: out of range"
        )
    gap = reach + embargo
    first = min_train + gap
    if sessions - first < folds:
        raise NotReadyError(
            f"{sessions} sessions with features and matured labels are too few for {folds} folds: the first "
            f"one alone needs {min_train} to learn from and {gap} that are purged; load more history"
        )
    bounds = [first + (sessions - first) * fold // folds for fold in range(folds + 1)]
    return [Split(range(start - gap), range(start, end)) for start, end in pairwise(bounds)]
