"""A SIGKILL in the middle of a write leaves the old partition, every time."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from hrp_core.store.connection import Store
from hrp_core.store.migrate import migrate
from hrp_core.store.reading import read_slice
from hrp_core.store.slices import Sessions, replace_slice
from hrp_core.store.tables import FEATURES
from hrp_core.store.versions import partition_versions

DAY = date(2022, 12, 15)
NOW = datetime(2022, 12, 15, 22, 30, tzinfo=UTC)
OLD = pd.DataFrame(
    {"session": DAY, "symbol": ["AAPL", "KO"], "momentum_12_1": [0.1, 0.2]},
    columns=list(FEATURES.column_names),
).astype(dict.fromkeys(FEATURES.column_names[2:], float))
# Rows beyond a row group (122,880) reach the file before the commit: they must be gone as well.
SMALL, LARGE = 20, 150_000
POINTS = ("before-insert", "before-commit")


class KilledWriter:
    """The process that forks writers; they stop where they are told to."""

    def __init__(self, database: Path) -> None:
        script = Path(__file__).with_name("killed_writer.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(database), DAY.isoformat()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == ["ready"]

    def write_and_die(self, point: str, rows: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{point} {rows}\n")
        self.process.stdin.flush()
        reached, pid = self._line()
        assert reached == point
        os.kill(int(pid), signal.SIGKILL)
        assert self._line() == ["ended", str(signal.SIGKILL.value)]

    def _line(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("killed") / "hrp.duckdb")
    migrate(store)
    with store.write() as connection:
        replace_slice(connection, FEATURES, OLD, Sessions([DAY]), "run-1", None, NOW)
    return store


@pytest.fixture(scope="module")
def writer(store: Store) -> Iterator[KilledWriter]:
    writer = KilledWriter(store.path)
    yield writer
    writer.process.kill()
    writer.process.communicate()


@pytest.mark.parametrize("round_", range(10))
@pytest.mark.parametrize("point", POINTS)
def test_the_old_partition_survives_a_kill(
    store: Store, writer: KilledWriter, point: str, round_: int
) -> None:
    writer.write_and_die(point, LARGE if round_ == 0 else SMALL)
    with store.read() as connection:
        stored = read_slice(connection, FEATURES, Sessions([DAY]))
        [version] = partition_versions(connection, "features")
    pd.testing.assert_frame_equal(stored, OLD)
    assert (version.run_id, version.rows) == ("run-1", 2)


def test_a_write_after_a_kill_goes_through(store: Store, writer: KilledWriter) -> None:
    writer.write_and_die("before-commit", SMALL)
    with store.write() as connection:
        content_hash = replace_slice(connection, FEATURES, OLD, Sessions([DAY]), "run-1", None, NOW)
        [version] = partition_versions(connection, "features")
    assert version.content_hash == content_hash
