"""What a claim is: a sentence about the rows of an asset that a pure function finds true or false.

What belongs here: the values that claims take and give. What does not: any claim (`market`, `research`,
`book`) and the database (`results`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

import pandas as pd

from hrp_core.settings import Settings

_NO_ROWS = pd.DataFrame()


class Severity(StrEnum):
    """How bad it is when a claim is false."""

    ERROR = "error"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class CheckLimits:
    """Thresholds of the claims; those that a person tunes are settings of the same names.

    Attributes:
        min_coverage: least share of the expected names that must be there.
        max_unexplained_return: largest move of a close within a session that no corporate action explains.
        max_positions: most names held.
        max_position_pct: most of the equity in one name.
        dry_run: whether orders are withheld, so that they stay pending.
        min_universe: least share of the names of the session before that must still be in the universe.
        max_unchanged: from this share of closes equal to those of the session before on, a delivery is stale.
        max_daily_return: largest change of the NAV, net of flows, that needs no explanation.
        weight_tolerance: slack for weights that were rounded to whole shares.
    """

    min_coverage: float = 0.95
    max_unexplained_return: float = 0.5
    max_positions: int = 20
    max_position_pct: float = 0.10
    dry_run: bool = False
    min_universe: float = 0.8
    max_unchanged: float = 0.5
    max_daily_return: float = 0.2
    weight_tolerance: float = 1e-6

    @classmethod
    def from_settings(cls, settings: Settings) -> "CheckLimits":
        """Return the thresholds of an installation."""
        return cls(
            min_coverage=settings.min_coverage,
            max_unexplained_return=settings.max_unexplained_return,
            max_positions=settings.max_positions,
            max_position_pct=settings.max_position_pct,
            dry_run=settings.is_dry_run,
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one claim in one session.

    Attributes:
        observed: the figures, as half a sentence.
        value: the one number that is compared with the threshold, where there is one.
        offending: rows that make the claim false.
    """

    passed: bool
    observed: str
    value: float | None = None
    offending: pd.DataFrame = field(default_factory=lambda: _NO_ROWS)


@dataclass(frozen=True, slots=True)
class Rows:
    """What a claim is judged on: stored rows, by table and session.

    Attributes:
        sessions: the sessions judged, in order.
        tables: rows by table and session; a session without rows is absent.
        limits: thresholds.
    """

    sessions: tuple[date, ...]
    tables: Mapping[str, Mapping[date, pd.DataFrame]]
    limits: CheckLimits

    def at(self, name: str, session: date) -> pd.DataFrame:
        """Return the rows of one session; without rows and columns where there are none."""
        return self.tables[name].get(session, _NO_ROWS)

    def before(self, name: str, session: date) -> tuple[date, pd.DataFrame] | None:
        """Return the newest session before `session` that has rows, with them, as far back as was read."""
        earlier = [day for day in self.tables[name] if day < session]
        return (max(earlier), self.tables[name][max(earlier)]) if earlier else None

    def all(self, name: str) -> pd.DataFrame:
        """Return every row that was read of a table."""
        parts = list(self.tables[name].values())
        return pd.concat(parts, ignore_index=True) if parts else _NO_ROWS


Judgement = Callable[[Rows], Mapping[date, Finding]]


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence about an asset's rows.

    Attributes:
        asset: the asset, which is also the table.
        name: the sentence, with underscores.
        description: what is compared with what.
        threshold: where it turns false, in words or as a number of `limits`.
        judge: returns a finding for every session of the rows.
        reads: tables it is judged on, each with how many sessions before the first one.
        reads_next: those of `reads` of which the session after the last one, in which orders execute, is read
            too.
        blocking: whether nothing may be traded on rows of which it is false.
        severity: how bad it is when it is false.
        imports: called before the database is opened: slow imports of `judge`.
    """

    asset: str
    name: str
    description: str
    threshold: Callable[[CheckLimits], str]
    judge: Judgement
    reads: Sequence[tuple[str, int]]
    blocking: bool = False
    severity: Severity = Severity.ERROR
    imports: Callable[[], object] | None = None
    reads_next: Sequence[str] = ()


def each_session(judge: Callable[[Rows, date], Finding]) -> Judgement:
    """Return the judgement that asks `judge` about each session by itself."""
    return lambda rows: {session: judge(rows, session) for session in rows.sessions}
