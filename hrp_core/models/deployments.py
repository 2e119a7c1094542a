"""The table of what was put into production, by whom and why; the registry's aliases are the truth.

What belongs here: rows of `model_deployments`. What does not: moving aliases (`registry`).
"""

from dataclasses import dataclass
from datetime import datetime

from duckdb import DuckDBPyConnection

from hrp_core.store import EventType, append_event

PRODUCTION = "production"
ACTIVE, SUPERSEDED, ROLLED_BACK = "active", "superseded", "rolled_back"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One move of the production alias.

    Attributes:
        model_name: registered model.
        version: the version that is in production from now on.
        previous_version: the version before it; None for the first.
        actor: person or job.
        reason: why.
        rollback: whether it went back to an earlier version.
    """

    model_name: str
    version: str
    previous_version: str | None
    actor: str
    reason: str
    rollback: bool = False


def active_versions(connection: DuckDBPyConnection, model_name: str) -> list[str]:
    """Return the versions that the table says are in production; one, unless a crash came between."""
    rows = connection.execute(
        "SELECT model_version FROM model_deployments WHERE model_name = ? AND alias = ? AND status = ? "
        "ORDER BY deployed_at, deployment_id",
        [model_name, PRODUCTION, ACTIVE],
    ).fetchall()
    return [str(version) for (version,) in rows]


def was_deployed(connection: DuckDBPyConnection, model_name: str) -> bool:
    """Return whether a version of a model was ever put into production, or in the shadow of it."""
    found = connection.execute("SELECT 1 FROM model_deployments WHERE model_name = ? LIMIT 1", [model_name])
    return found.fetchone() is not None


def record_deployment(connection: DuckDBPyConnection, deployment: Deployment, *, now: datetime) -> None:
    """Make this the model's one active row and append the lineage event, in the caller's transaction."""
    row = connection.execute(
        "SELECT count(*) FROM model_deployments WHERE model_name = ?", [deployment.model_name]
    ).fetchone()
    number = (int(row[0]) if row else 0) + 1
    connection.execute(
        "UPDATE model_deployments SET status = ? WHERE model_name = ? AND alias = ? AND status = ?",
        [ROLLED_BACK if deployment.rollback else SUPERSEDED, deployment.model_name, PRODUCTION, ACTIVE],
    )
    connection.execute(
        "INSERT INTO model_deployments (deployment_id, model_name, model_version, alias, previous_version, "
        "status, actor, reason, deployed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            f"{deployment.model_name}/{number}",
            deployment.model_name,
            deployment.version,
            PRODUCTION,
            deployment.previous_version,
            ACTIVE,
            deployment.actor,
            deployment.reason,
            now,
        ],
    )
    append_event(
        connection,
        EventType.MODEL_ROLLED_BACK if deployment.rollback else EventType.MODEL_PROMOTED,
        deployment.actor,
        details={
            "model_name": deployment.model_name,
            "version": deployment.version,
            "previous_version": deployment.previous_version,
            "reason": deployment.reason,
        },
        now=now,
    )
