"""What was found of the rows that are stored now.

What belongs here: reading `check_results` by the present content. What does not: judging (`results`), and
what follows from it (`hrp_core.execution.gate`, `hrp_core.execution.marks`).
"""

from collections.abc import Mapping
from datetime import date

from duckdb import DuckDBPyConnection


def standing_verdicts(
    connection: DuckDBPyConnection, session: date
) -> Mapping[str, Mapping[str, tuple[bool, str]]]:
    """Return by asset and claim whether it is true of the session's present rows, and what was observed.

    A claim that was judged of other contents alone is absent.
    """
    rows = connection.execute(
        "SELECT asset, claim, passed, observed FROM check_results c WHERE session = ? AND EXISTS "
        "(FROM partition_versions v WHERE v.asset = c.asset AND v.session = c.session AND "
        "v.content_hash = c.content_hash) ORDER BY checked_at",
        [session],
    ).fetchall()
    found: dict[str, dict[str, tuple[bool, str]]] = {}
    for asset, claim, passed, observed in rows:
        found.setdefault(asset, {})[claim] = (passed, observed)
    return found
