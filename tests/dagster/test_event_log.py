"""What Dagster keeps of an error."""

from pathlib import Path

import dagster as dg
import pytest

from hrp_core.errors import HrpError, ReconciliationBreakError
from hrp_core.settings import Settings
from hrp_dagster.environment import prepare_environment
from hrp_dagster.event_log import MaskedEventLog

FOUND = "account U7654321 differs"
TOLD = "plan paper-DU1234567-2022-12-15-1 was not sent"


@dg.asset
def refused() -> None:
    try:
        raise HrpError(FOUND)
    except HrpError as error:
        raise ReconciliationBreakError(TOLD) from error


def test_an_error_reaches_the_caller_whole_and_the_event_log_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DAGSTER_HOME", "HRP_DAGSTER_STATE", "HRP_HOME"):
        monkeypatch.setenv(name, "")
    prepare_environment(Settings(home=tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, MaskedEventLog)
        with pytest.raises(ReconciliationBreakError, match=TOLD):
            dg.materialize([refused], instance=instance)
        [run] = instance.get_runs()
        entries = instance.all_logs(run.run_id)
    [failure] = [
        entry.dagster_event.step_failure_data
        for entry in entries
        if entry.dagster_event is not None and entry.dagster_event.is_step_failure
    ]
    assert failure.error is not None
    own = failure.error.cause
    assert own is not None
    assert own.cls_name == "ReconciliationBreakError"
    assert own.message.strip().endswith("plan paper-DU***67-2022-12-15-1 was not sent")
    assert own.cause is not None
    assert own.cause.message.strip().endswith("account U***21 differs")
    # What else the file holds of it: the failure of the run, and the metadata of both.
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("event_log.db*"))
    assert b"DU***67" in kept
    assert b"DU1234567" not in kept
    assert b"U7654321" not in kept
