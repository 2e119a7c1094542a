"""The whole graph as one readable file: a change of it must be meant.

Renew with `RENEW_SNAPSHOT=1 python -m pytest tests/dagster/test_graph_snapshot.py`, and read the diff.
"""

import json
import os
from pathlib import Path

import dagster as dg

from hrp_core.settings import Settings
from hrp_dagster.definitions import build_defs

SNAPSHOT = Path(__file__).parent / "graph_snapshot.json"


def described(definitions: dg.Definitions) -> dict[str, object]:
    graph = definitions.resolve_asset_graph()
    partitioned: dict[str, bool] = {}
    assets = {}
    for spec in sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key):
        name = spec.key.to_user_string()
        partitioned[name] = spec.partitions_def is not None
        node = graph.get(spec.key)
        assets[name] = {
            "group": spec.group_name,
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "kinds": sorted(spec.kinds),
            "owners": list(spec.owners),
            "partitions": None if spec.partitions_def is None else type(spec.partitions_def).__name__,
            "executable": node.is_executable,
            "checks": {
                key.name: "blocking" if graph.get_check_spec(key).blocking else "not blocking"
                for key in sorted(node.check_keys, key=lambda key: key.name)
            },
        }
    jobs = {}
    for job in definitions.jobs or ():
        layer = definitions.resolve_job_def(job.name).asset_layer
        jobs[job.name] = sorted(key.to_user_string() for key in layer.executable_asset_keys)
    schedules = {
        each.name: {
            "cron": each.cron_schedule,
            "timezone": each.execution_timezone,
            "job": each.job_name,
            "default_status": each.default_status.value,
        }
        for each in definitions.schedules or ()
        if isinstance(each, dg.ScheduleDefinition)
    }
    sensors = {
        each.name: {
            "every_seconds": each.minimum_interval_seconds,
            "default_status": each.default_status.value,
        }
        for each in definitions.sensors or ()
    }
    return {"assets": assets, "jobs": jobs, "schedules": schedules, "sensors": sensors}


def test_the_graph_is_the_one_that_was_agreed() -> None:
    found = json.dumps(described(build_defs(Settings())), indent=2, sort_keys=True) + "\n"
    if os.environ.get("RENEW_SNAPSHOT"):
        SNAPSHOT.write_text(found)
    assert json.loads(found) == json.loads(SNAPSHOT.read_text()), (
        "the graph has changed; if that is meant, renew the snapshot as the docstring says"
    )
