"""Splits in the ledger: how many shares they leave, whose, and the journal's record of them.

What belongs here: the arithmetic in whole shares, and functions on one open journal transaction (`Journal` is
the public face). What does not: when a split may be taken (`hrp_core.execution.splits`).
"""

import sqlite3
from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from math import floor

from hrp_core.errors import RefusedError
from hrp_core.ledger.database import moment_text, parse_moment
from hrp_core.ledger.types import BookedSplit

# Largest denominator and how far, of the factor, it may be off: the more of the former, the less of the
# latter, or there would be a ratio near every number.
_ROUNDED = ((100, Fraction(2, 10**6)), (1000, Fraction(1, 10**9)))


def split_ratio(factor: float) -> Fraction:
    """Return new shares for one old one as the ratio of small whole numbers that a source has rounded.

    0.333333 is one for three: as it stands, 300 shares would become 99. A factor that is near no such ratio
    is taken as it stands.

    Raises:
        ValueError: the factor is not a finite number.
    """
    stated = Fraction(repr(float(factor)))
    for largest, slack in _ROUNDED:
        near = stated.limit_denominator(largest)
        if abs(near - stated) <= slack * stated:
            return near
    return stated


def split_shares(shares: int, ratio: Fraction) -> int:
    """Return what `shares` (signed) become; the fraction of a share that is left is paid in cash."""
    return int(shares * ratio)


def divide_split(held: Mapping[str, int], ratio: Fraction) -> dict[str, int]:
    """Return what each strategy's shares become: they sum to what the account's become.

    Whole shares first; those that are then missing go to the largest remainders, first by name among equals.

    Args:
        held: signed shares by strategy.
        ratio: new shares for one old one.
    """
    total = split_shares(sum(held.values()), ratio)
    shares = {name: floor(count * ratio) for name, count in held.items()}
    behind = sorted(held, key=lambda name: (shares[name] - held[name] * ratio, name))
    for name in behind[: total - sum(shares.values())]:
        shares[name] += 1
    return shares


def add_split(connection: sqlite3.Connection, split: BookedSplit) -> bool:
    """Append a split; return False when it is recorded already.

    Raises:
        RefusedError: another ratio is recorded of that name and session.
    """
    known = connection.execute(
        "SELECT new_shares, old_shares FROM splits WHERE symbol = ? AND session = ?",
        (split.symbol, split.session.isoformat()),
    ).fetchone()
    ratio = (split.ratio.numerator, split.ratio.denominator)
    if known is not None:
        if tuple(known) != ratio:
            raise RefusedError(
                f"the split of {split.symbol} of {split.session} is recorded as {known['new_shares']} new "
                f"for {known['old_shares']} old shares, not {ratio[0]} for {ratio[1]}; nothing was recorded. "
                "Compare with the broker's statement"
            )
        return False
    connection.execute(
        "INSERT INTO splits (symbol, session, new_shares, old_shares, by, at) VALUES (?, ?, ?, ?, ?, ?)",
        (split.symbol, split.session.isoformat(), *ratio, split.by, moment_text(split.at)),
    )
    return True


def load_splits(connection: sqlite3.Connection) -> tuple[BookedSplit, ...]:
    """Return every recorded split, by session and symbol."""
    return tuple(
        BookedSplit(
            symbol=row["symbol"],
            session=date.fromisoformat(row["session"]),
            ratio=Fraction(row["new_shares"], row["old_shares"]),
            by=row["by"],
            at=parse_moment(row["at"]),
        )
        for row in connection.execute("SELECT * FROM splits ORDER BY session, symbol")
    )
