"""All claims, judging them on what is stored, and `check_results`.

What belongs here: the one read in which rows and their content hash agree, and the record of what was found
for that hash. What does not: the claims (`market`, `research`, `book`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd
from duckdb import DuckDBPyConnection

from hrp_core.calendar import nyse
from hrp_core.checks import book, market, research
from hrp_core.checks.claims import CheckLimits, Claim, Finding, Rows
from hrp_core.errors import DataError, NotReadyError
from hrp_core.store import Store, partition_versions, select_rows, table
from hrp_core.store.rows import insert_rows

CLAIMS: Mapping[str, tuple[Claim, ...]] = {**market.CLAIMS, **research.CLAIMS, **book.CLAIMS}
_RECORDED = (
    "asset",
    "session",
    "claim",
    "content_hash",
    "passed",
    "severity",
    "observed",
    "run_id",
    "checked_at",
)


class CheckFailedError(DataError):
    """A claim that blocks trading is false of what is stored."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of one claim.

    Attributes:
        findings: by session.
    """

    claim: Claim
    findings: Mapping[date, Finding]

    @property
    def failed(self) -> Mapping[date, Finding]:
        """The sessions of which the claim is false."""
        return {day: finding for day, finding in self.findings.items() if not finding.passed}


def blocking_claims(asset: str) -> tuple[str, ...]:
    """Return the names of the claims without which nothing is traded on the rows of `asset`."""
    return tuple(claim.name for claim in CLAIMS.get(asset, ()) if claim.blocking)


def run_checks(
    store: Store,
    asset: str,
    sessions: Sequence[date],
    limits: CheckLimits,
    *,
    run_id: str,
    now: datetime,
) -> list[Checked]:
    """Judge every claim about `asset` for each of `sessions`, and record what was found.

    Rows, the content hash they are judged under and the record are one transaction.

    Args:
        store: holds the rows.
        asset: name of the asset, whose claims are judged.
        sessions: partitions; any number, for one read and one write.
        limits: thresholds.
        run_id: who judges.
        now: from the clock, timezone-aware.

    Returns:
        One element a claim, in the declared order.

    Raises:
        NotReadyError: a session of the asset was never written.
    """
    import_for_checks(asset)
    with store.write() as connection:
        return judge_stored(connection, asset, sessions, limits, run_id=run_id, now=now)


def import_for_checks(asset: str) -> None:
    """Do the slow imports of the claims about `asset`, before a database is opened that others wait for."""
    for claim in CLAIMS.get(asset, ()):
        if claim.imports is not None:
            claim.imports()


def judge_stored(
    connection: DuckDBPyConnection,
    asset: str,
    sessions: Sequence[date],
    limits: CheckLimits,
    *,
    run_id: str,
    now: datetime,
) -> list[Checked]:
    """Do `run_checks` inside a transaction that is open for writing, such as the one that writes the rows.

    Call `import_for_checks` before it is opened.
    """
    claims = CLAIMS[asset]
    days = tuple(sorted(set(sessions)))
    hashes = {
        version.session: version.content_hash
        for version in partition_versions(connection, asset, days)
        if version.session is not None
    }
    missing = [day for day in days if day not in hashes]
    if missing:
        raise NotReadyError(
            f"{asset} of session {missing[0]} was never written, so nothing can be said about it; "
            f"materialize {asset} first"
        )
    ahead = {name for claim in claims for name in claim.reads_next}
    tables = {
        name: _read(connection, name, days, before, nyse().next(days[-1]) if name in ahead else days[-1])
        for name, before in _reads(claims).items()
    }
    rows = Rows(days, tables, limits)
    checked = [Checked(claim, claim.judge(rows)) for claim in claims]
    _record(connection, asset, checked, hashes, run_id, now)
    return checked


def refuse_blocking(checked: Sequence[Checked]) -> None:
    """Stop where a blocking claim is false.

    Raises:
        CheckFailedError: with the claims, the sessions and what was observed.
    """
    failed = [
        f"{item.claim.asset} of {day}: {item.claim.name.replace('_', ' ')} is not true ({finding.observed})"
        for item in checked
        if item.claim.blocking
        for day, finding in item.failed.items()
    ]
    if failed:
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise CheckFailedError(
            f"{'; '.join(failed[:3])}{more}. Nothing is traded on these rows: correct the source and "
            "materialize the asset again"
        )


def _reads(claims: Sequence[Claim]) -> dict[str, int]:
    wanted: dict[str, int] = {}
    for claim in claims:
        for name, before in claim.reads:
            wanted[name] = max(before, wanted.get(name, 0))
    return wanted


def _read(
    connection: DuckDBPyConnection, name: str, days: Sequence[date], before: int, end: date
) -> dict[date, pd.DataFrame]:
    declared, calendar = table(name), nyse()
    reach = min(before, len(calendar.between(calendar.first, days[0])) - 1)
    # A bound beside the list: the list alone makes DuckDB look at every row group of a long history.
    start = calendar.offset(days[0], -reach)
    try:
        frame = select_rows(connection, declared, conditions=[("session BETWEEN ? AND ?", [start, end])])
    except NotReadyError:
        return {}
    return {day: part.reset_index(drop=True) for day, part in frame.groupby("session")}  # pyright: ignore[reportReturnType]


def _record(
    connection: DuckDBPyConnection,
    asset: str,
    checked: Sequence[Checked],
    hashes: Mapping[date, str],
    run_id: str,
    now: datetime,
) -> None:
    """Replace what was recorded of these contents; other contents keep their records."""
    contents = list(hashes.items())
    connection.execute(
        "DELETE FROM check_results WHERE asset = ? AND (session, content_hash) IN "
        f"({', '.join(['(?, ?)'] * len(contents))})",
        [asset, *(value for content in contents for value in content)],
    )
    found = [
        (
            asset,
            day,
            item.claim.name,
            hashes[day],
            finding.passed,
            item.claim.severity.value,
            finding.observed,
            run_id,
            now,
        )
        for item in checked
        for day, finding in item.findings.items()
    ]
    insert_rows(connection, "check_results", _RECORDED, found)
