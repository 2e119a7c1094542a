"""How much history one run may carry."""

from datetime import datetime

import dagster as dg
import pytest

from hrp_core.calendar import NEW_YORK, FixedClock
from hrp_core.errors import RefusedError
from hrp_dagster.assets.session_asset import MOST_SESSIONS, requested_sessions
from hrp_dagster.partitions import build_session_partitions

CLOCK = FixedClock(datetime(2022, 12, 2, 18, tzinfo=NEW_YORK))
PARTITIONS = build_session_partitions(datetime(2020, 1, 2, tzinfo=NEW_YORK).date())


def asked(first: str, last: str) -> list:
    found: list = []

    @dg.asset(partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
    def prices(context: dg.AssetExecutionContext) -> None:
        found.extend(requested_sessions(context, CLOCK))

    prices(dg.build_asset_context(partition_key_range=dg.PartitionKeyRange(first, last)))
    return found


def test_a_range_of_sessions_is_one_run() -> None:
    sessions = asked("2021-01-04", "2022-12-02")
    assert len(sessions) == 484 <= MOST_SESSIONS
    assert (str(sessions[0]), str(sessions[-1])) == ("2021-01-04", "2022-12-02")


def test_a_longer_range_is_refused_and_the_error_names_the_job_for_history() -> None:
    with pytest.raises(RefusedError, match=r"737 sessions .* history_job"):
        asked("2020-01-02", "2022-12-02")
