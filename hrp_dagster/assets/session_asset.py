"""What all assets of a session share: partitions, storage, schema, owners, and the check of the key.

What belongs here: the decorator and the two helpers. What does not: any asset.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from hrp_core.calendar import Clock, require_completed
from hrp_core.errors import RefusedError
from hrp_core.store import table
from hrp_dagster.metadata import definition_metadata
from hrp_dagster.partitions import session_partitions

OWNERS = ["team:trading"]
MOST_SESSIONS = 500


def session_asset(
    *,
    group: str,
    kinds: set[str],
    deps: Sequence[str | dg.AssetDep] = (),
    by_range: bool = False,
    code_version: str = "1",
    metadata: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare an asset whose function carries the name of a declared table and returns its rows.

    Args:
        group: group in the asset graph.
        kinds: technologies shown on the asset.
        deps: assets whose stored rows it reads, for lineage.
        by_range: one run may write many sessions; else a run writes one.
        code_version: raised when the same inputs would give other rows.
        metadata: more definition metadata.
    """

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        declared = table(function.__name__)
        return dg.asset(
            name=declared.name,
            description=f"{declared.description}\n\n{(function.__doc__ or '').strip()}",
            partitions_def=session_partitions,
            backfill_policy=dg.BackfillPolicy.single_run() if by_range else None,
            deps=list(deps),
            group_name=group,
            kinds={"duckdb", *kinds},
            owners=OWNERS,
            code_version=code_version,
            metadata={**definition_metadata(declared), **(metadata or {})},
        )(function)

    return decorate


def requested_sessions(context: dg.AssetExecutionContext, clock: Clock) -> list[date]:
    """Return the sessions this run was asked for, each checked against the clock.

    A partition key exists before its data does.

    Raises:
        RefusedError: one of them has not closed yet, or they are more than a run can carry.
    """
    sessions = [date.fromisoformat(key) for key in context.partition_keys]
    if len(sessions) > MOST_SESSIONS:
        raise RefusedError(
            f"{len(sessions)} sessions in one run of {context.asset_key.to_user_string()}: more than "
            f"{MOST_SESSIONS} cost minutes and gigabytes of events. Launch shorter ranges, or set "
            "HRP_FIRST_SESSION later and load what lies before it with history_job"
        )
    now = clock.now()
    for session in sessions:
        require_completed(session, now)
    return sessions


def requested_session(context: dg.AssetExecutionContext, clock: Clock) -> date:
    """Return the one session this run was asked for, checked against the clock.

    Raises:
        RefusedError: it has not closed yet, or several were asked for.
    """
    sessions = requested_sessions(context, clock)
    if len(sessions) != 1:
        raise RefusedError(
            f"{context.asset_key.to_user_string()} is made one session a run, not for "
            f"{len(sessions)}; launch one run a session"
        )
    return sessions[0]
