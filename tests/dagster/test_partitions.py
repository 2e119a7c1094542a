"""Partition keys are the sessions of the exchange, and nothing else."""

from datetime import date, datetime
from pathlib import Path

import pytest

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.settings import Mode, Settings
from hrp_dagster.partitions import build_session_partitions, partitions_from_settings


def test_keys_are_exactly_the_sessions() -> None:
    keys = build_session_partitions(date(2022, 1, 3), date(2022, 12, 28)).get_partition_keys()
    assert keys == [str(day) for day in nyse().between(date(2022, 1, 3), date(2022, 12, 28))]


def test_the_sample_ends_with_its_last_price(tmp_path: Path) -> None:
    keys = partitions_from_settings(Settings(home=tmp_path)).get_partition_keys()
    assert keys[0] == "2022-11-01"
    assert keys[-1] == "2022-12-28"


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        # From midnight of its day: existence proves nothing, the clock does.
        ("2022-11-23 00:01", "2022-11-23"),
        ("2022-11-24 12:00", "2022-11-25"),
        ("2022-11-25 09:00", "2022-11-25"),
        ("2022-11-26 12:00", "2022-11-25"),
        ("2022-11-28 00:01", "2022-11-28"),
    ],
)
def test_an_open_set_grows_with_the_calendar(now: str, newest: str) -> None:
    partitions = build_session_partitions(date(2022, 11, 1))
    moment = datetime.fromisoformat(now).replace(tzinfo=NEW_YORK)
    keys = partitions.get_partition_keys(current_time=moment)
    assert keys[-1] == newest


def test_outside_sim_the_set_is_open(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, mode=Mode.PAPER, first_session=date(2022, 1, 3))
    assert partitions_from_settings(settings).end is None
