"""The verdicts on rows, from the transaction that writes the rows to the op that shows them.

What belongs here: when rows are judged as they are written, and handing over what was found. What does not:
any judgement (`hrp_core.checks`). Opening the database once for both saves half of what the checks cost.
"""

from collections.abc import Sequence
from datetime import date, datetime

import dagster as dg
from duckdb import DuckDBPyConnection

from hrp_core.checks import CLAIMS, Checked, CheckLimits, judge_stored
from hrp_core.settings import Settings

# Of the run that this process works on; the op of another process judges again.
_found: dict[tuple[str, str, tuple[date, ...]], list[Checked]] = {}


def checks_op(asset: str) -> str:
    """Return the name of the op that shows the checks of an asset."""
    return f"{asset}_checks"


def checks_follow(context: dg.OutputContext) -> bool:
    """Return whether the run that writes this output also shows the checks of the asset."""
    asset = context.asset_key.path[-1]
    return asset in CLAIMS and checks_op(asset) in context.step_context.execution_plan.step_keys_to_execute


def judge_written(
    context: dg.OutputContext,
    connection: DuckDBPyConnection,
    sessions: Sequence[date],
    settings: Settings,
    now: datetime,
) -> None:
    """Judge what was just written, record it in the same transaction, keep it for the op of the checks."""
    asset, run_id = context.asset_key.path[-1], context.run_id
    limits = CheckLimits.from_settings(settings)
    for other in [key for key in _found if key[0] != run_id]:
        del _found[other]
    _found[run_id, asset, tuple(sessions)] = judge_stored(
        connection, asset, sessions, limits, run_id=run_id, now=now
    )


def take_verdicts(run_id: str, asset: str, sessions: Sequence[date]) -> list[Checked] | None:
    """Return what this run found when it wrote these rows, once; None where it has not."""
    return _found.pop((run_id, asset, tuple(sorted(set(sessions)))), None)
