"""Runs whose process was killed: recorded as in progress for ever, they hold back the ticks of their job.

What belongs here: finding them and ending their record. What does not: doing their work again, which the next
tick decides (orders go on from the journal, F35).
"""

import json
import socket
from collections.abc import Mapping

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG  # not exported

_BEGUN = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_SECONDS = 2.0


def end_orphans(instance: dg.DagsterInstance) -> list[str]:
    """Record as failed each run in progress whose code server is gone, and return its job and id.

    Its server started the run and is killed together with it. Runs that a command carries out in its own
    process have none, and are left alone.

    Args:
        instance: of this installation.
    """
    ended = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=_BEGUN)):
        if not _server_is_gone(run.tags):
            continue
        instance.report_run_failed(
            run,
            "the process of this run was ended from outside (kill, restart, power); what it had not done is "
            "done by the next tick of its schedule, or by `hrp job run`",
        )
        ended.append(f"{run.job_name} {run.run_id[:8]}")
    return ended


def _server_is_gone(tags: Mapping[str, str]) -> bool:
    path = json.loads(tags.get(GRPC_INFO_TAG, "{}")).get("socket")
    if path is None:
        return False
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_SECONDS)
        try:
            client.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return True
    return False
