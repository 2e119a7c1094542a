"""Runs that were killed: those whose code server is gone are ended, all others left alone."""

import json
import socket
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG

from hrp_core.settings import Settings
from hrp_dagster.environment import prepare_environment
from hrp_dagster.orphans import end_orphans


@dg.op
def thing() -> None:
    """Do nothing."""


@dg.job
def killed_job() -> None:
    thing()


def test_a_run_that_was_killed_does_not_hold_back_its_job_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HRP_HOME", str(tmp_path))
    for name in ("DAGSTER_HOME", "HRP_DAGSTER_STATE"):
        monkeypatch.setenv(name, "")
    prepare_environment(Settings())
    # A path of a socket has to be short.
    monkeypatch.chdir(tmp_path)
    with dg.DagsterInstance.get() as instance, socket.socket(socket.AF_UNIX) as server:
        server.bind("alive")
        server.listen()

        def begun(path: str | None) -> str:
            tags = {} if path is None else {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": path})}
            run = instance.create_run_for_job(killed_job, status=dg.DagsterRunStatus.STARTED, tags=tags)
            return run.run_id

        gone, alive, in_a_command = begun("gone"), begun("alive"), begun(None)
        assert end_orphans(instance) == [f"killed_job {gone[:8]}"]
        assert end_orphans(instance) == []
        left = instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        assert {run.run_id for run in left} == {alive, in_a_command}
