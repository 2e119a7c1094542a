"""Point-in-time membership: which names belonged to the universe when, from a file `universe.*`.

What belongs here: reading and judging the file, and what it says for a session. What does not: prices, and
combining the two (`universe`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import numpy as np

from hrp_core.market.problems import Problems
from hrp_core.market.read import parse_days, parse_text, read_raw
from hrp_core.market.schema import NO_DAY, UNIVERSE_FILE
from hrp_core.market.validate import to_date


class RemovalPolicy(StrEnum):
    """What happens to shares held of a name that has left the universe."""

    EXIT = "exit"
    HOLD = "hold"
    NO_BUY = "no-buy"


@dataclass(frozen=True, slots=True)
class Membership:
    """One stay of a name in the universe.

    Attributes:
        symbol: upper case.
        start: first day.
        end: last day, included; None = still in it.
        policy: what happens to shares held afterwards.
    """

    symbol: str
    start: date
    end: date | None
    policy: RemovalPolicy

    def covers(self, session: date) -> bool:
        """Return whether the name is a member on `session`."""
        return self.start <= session and (self.end is None or session <= self.end)


@dataclass(frozen=True, slots=True)
class Memberships:
    """All stays of all names, by symbol, in order of time."""

    stays: Mapping[str, Sequence[Membership]]

    def known(self, session: date) -> list[str]:
        """Return the names that are or have been members, sorted; later ones are not known on `session`."""
        return sorted(symbol for symbol, stays in self.stays.items() if stays[0].start <= session)

    def latest(self, symbol: str, session: date) -> Membership | None:
        """Return the newest stay that has begun by `session`; None = there is none."""
        begun = [stay for stay in self.stays.get(symbol, ()) if stay.start <= session]
        return begun[-1] if begun else None


def departure(stay: Membership) -> str:
    """Return the reason for the universe table of a name that has left, with its removal policy."""
    return f"left the universe after {stay.end}, removal policy {stay.policy.value}"


def removal_policy(reason: str) -> RemovalPolicy | None:
    """Return the removal policy that a reason of the universe table states; None = the name has not left."""
    _, found, policy = reason.rpartition(", removal policy ")
    return RemovalPolicy(policy) if found else None


def read_memberships(path: Path) -> Memberships:
    """Return the stays of a file with the columns symbol, from, to (included; empty = open) and policy.

    Valid means: dates are YYYY-MM-DD, no stay ends before it begins, the stays of a name do not overlap, and
    the policy is exit, hold or no-buy (empty: hold, which sells nothing).

    Raises:
        DataError: naming file, row and column of the first problem and how many more there are.
    """
    file = read_raw(path, UNIVERSE_FILE)
    table, problems = file.table, Problems([file], UNIVERSE_FILE.columns)
    symbols = np.array(parse_text(table.column("symbol"), path, "symbol").to_pylist(), dtype=object)
    starts = parse_days(table.column("from"), path, file.title("from"))
    nothing = np.full(file.rows, NO_DAY)
    has_end, has_policy = "to" in table.column_names, "policy" in table.column_names
    ends = parse_days(table.column("to"), path, file.title("to")) if has_end else nothing
    open_end = np.array(
        [not (has_end and file.cell("to", row).strip()) for row in range(file.rows)], dtype=bool
    )
    policies = [
        (file.cell("policy", row).strip().lower() if has_policy else "") or RemovalPolicy.HOLD.value
        for row in range(file.rows)
    ]

    def no_date(column: str, row: int) -> str:
        return f"{problems.cell(column, row)!r} is no date; write it YYYY-MM-DD"

    problems.add(symbols == "", "symbol", lambda _: "there is no symbol")
    problems.add(starts == NO_DAY, "from", lambda row: no_date("from", row))
    problems.add((ends == NO_DAY) & ~open_end, "to", lambda row: no_date("to", row))
    problems.add(
        (ends != NO_DAY) & (starts != NO_DAY) & (ends < starts),
        "to",
        lambda row: f"{to_date(ends[row])} is before the first day {to_date(starts[row])}",
    )
    problems.add(
        np.array([policy not in tuple(RemovalPolicy) for policy in policies], dtype=bool),
        "policy",
        lambda row: f"{policies[row]!r} is no removal policy; write {', '.join(RemovalPolicy)}",
    )
    overlapping = np.zeros(file.rows, dtype=bool)
    names = [str(symbol).upper() for symbol in symbols]
    order = sorted(range(file.rows), key=lambda row: (names[row], starts[row]))
    for before, row in pairwise(order):
        same = names[before] == names[row]
        overlapping[row] = same and (bool(open_end[before]) or starts[row] <= ends[before])
    problems.add(overlapping, "from", lambda row: f"overlaps an earlier stay of {names[row]}")
    problems.raise_first()

    stays: dict[str, list[Membership]] = {}
    for row in order:
        end = None if open_end[row] else to_date(ends[row])
        stay = Membership(names[row], to_date(starts[row]), end, RemovalPolicy(policies[row]))
        stays.setdefault(names[row], []).append(stay)
    return Memberships(stays)
