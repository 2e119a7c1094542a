"""Short connections, one transaction, bounded waiting."""

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import pytest

from hrp_core.errors import NotReadyError, StoreError
from hrp_core.store.connection import Store
from hrp_core.store.migrate import migrate
from hrp_core.store.schema import stored_columns

HOLDER = Path(__file__).with_name("hold_database.py")


class Holder:
    """Another process that has the database open; it closes it when told to and says so."""

    def __init__(self, path: Path, how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HOLDER), str(path), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.expect("open")

    def expect(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == word

    def release(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.expect("closed")


@contextmanager
def holding(path: Path, how: str) -> Iterator[Holder]:
    holder = Holder(path, how)
    try:
        yield holder
    finally:
        holder.process.kill()
        holder.process.communicate()


class Sleeps:
    """Stands in for sleeping: notes every pause, and calls `then` at the given one."""

    def __init__(self, at: int = 0, then: object = None) -> None:
        self.pauses: list[float] = []
        self._at, self._then = at, then

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == self._at and callable(self._then):
            self._then()


def events(store: Store) -> int:
    with store.read() as connection:
        row = connection.execute("SELECT count(*) FROM lineage").fetchone()
    assert row is not None
    return row[0]


def add_event(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "INSERT INTO lineage VALUES (1, 'data_loaded', 'me', NULL, '{}', TIMESTAMPTZ '2022-12-15')"
    )


def test_what_a_write_commits_the_next_read_sees(store: Store) -> None:
    with store.write() as connection:
        add_event(connection)
    assert events(store) == 1


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_whatever_leaves_a_write_undoes_all_of_it(store: Store, error: type[BaseException]) -> None:
    def write_and_fail() -> None:
        with store.write() as connection:
            add_event(connection)
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert events(store) == 0


def test_a_reader_cannot_write(store: Store) -> None:
    with store.read() as connection, pytest.raises(duckdb.InvalidInputException, match="read-only"):
        add_event(connection)


def test_a_missing_database_names_the_command_and_is_not_created(tmp_path: Path) -> None:
    absent = Store(tmp_path / "absent.duckdb")
    for opened in (absent.read, absent.write):
        with pytest.raises(NotReadyError, match="hrp db migrate"), opened():
            pass
    assert not absent.path.exists()


@pytest.mark.parametrize("how", ["read", "write"])
def test_a_writer_waits_for_another_process_and_then_succeeds(store: Store, how: str) -> None:
    with holding(store.path, how) as holder:
        sleeps = Sleeps(at=3, then=holder.release)
        with Store(store.path, sleep=sleeps).write() as connection:
            add_event(connection)
    assert len(sleeps.pauses) == 3
    assert events(store) == 1


def test_a_reader_waits_for_a_writer_of_another_process(store: Store) -> None:
    with holding(store.path, "write") as holder:
        sleeps = Sleeps(at=1, then=holder.release)
        assert events(Store(store.path, sleep=sleeps)) == 0
    assert len(sleeps.pauses) == 1


def test_readers_of_several_processes_do_not_wait_for_each_other(store: Store) -> None:
    sleeps = Sleeps()
    with holding(store.path, "read"):
        assert events(Store(store.path, sleep=sleeps)) == 0
    assert sleeps.pauses == []


def test_locked_beyond_the_bound_is_an_error_that_names_the_holder(store: Store) -> None:
    sleeps = Sleeps()
    with holding(store.path, "read") as holder:
        impatient = Store(store.path, wait=5.0, sleep=sleeps)
        message = rf"stayed locked for 5 s by process {holder.process.pid}\b.*ps -p"
        with pytest.raises(StoreError, match=message), impatient.write():
            pass
    assert sum(sleeps.pauses) == pytest.approx(5.0)


def test_pauses_grow_and_differ_between_processes(store: Store) -> None:
    def pauses(seed: int) -> list[float]:
        sleeps = Sleeps()
        waiting = Store(store.path, wait=5.0, sleep=sleeps, jitter=random.Random(seed))
        with pytest.raises(StoreError), waiting.write():
            pass
        return sleeps.pauses

    with holding(store.path, "read"):
        first, second = pauses(1), pauses(2)
    assert first != second
    assert max(first[:2]) < 0.1 < max(first)
    assert max(first) <= 1.5


def test_a_foreign_connection_of_this_process_is_waited_for(store: Store) -> None:
    foreign = duckdb.connect(str(store.path), read_only=True)
    sleeps = Sleeps(at=2, then=foreign.close)
    with Store(store.path, sleep=sleeps).write() as connection:
        add_event(connection)
    assert len(sleeps.pauses) == 2


def test_a_foreign_connection_of_this_process_that_stays_is_named_as_such(store: Store) -> None:
    with duckdb.connect(str(store.path), read_only=True):
        impatient = Store(store.path, wait=1.0, sleep=Sleeps())
        with (
            pytest.raises(StoreError, match="connection of this process that is not ours"),
            impatient.write(),
        ):
            pass


def test_opening_twice_in_one_thread_is_refused_at_once(store: Store) -> None:
    with store.read(), pytest.raises(StoreError, match="already open in this thread"), store.write():
        pass
    assert events(store) == 0


def test_two_databases_may_be_open_at_once(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other.duckdb")
    with other.write(migrating=True) as connection:
        connection.execute("CREATE TABLE notes (text VARCHAR)")
    with store.read(), other.read(any_version=True) as connection:
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)


def test_more_databases_than_are_kept_ready_may_be_open_at_once(tmp_path: Path) -> None:
    with ExitStack() as opened:
        for name in "abcdef":
            connection = opened.enter_context(Store(tmp_path / f"{name}.duckdb").write(migrating=True))
            connection.execute(f"CREATE TABLE {name} (text VARCHAR)")
    for name in "abcdef":
        with Store(tmp_path / f"{name}.duckdb").read(any_version=True) as connection:
            assert list(stored_columns(connection, name)) == ["text"]


def test_a_database_that_was_replaced_on_disk_is_read_anew(store: Store) -> None:
    with store.write() as connection:
        add_event(connection)
    store.path.unlink()
    migrate(store)
    assert events(store) == 0


def test_asking_for_a_table_that_is_missing_leaves_the_transaction_alone(store: Store) -> None:
    with store.write() as connection:
        add_event(connection)
        assert stored_columns(connection, "no_such_table") == {}
    assert events(store) == 1


def test_threads_of_one_process_take_turns(store: Store) -> None:
    def write() -> None:
        with store.write() as connection:
            add_event(connection)

    threads = [threading.Thread(target=write) for _ in range(8)]
    with store.read():
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert events(store) == 8


def test_a_thread_waits_for_another_no_longer_than_the_bound(store: Store) -> None:
    errors: list[StoreError] = []

    def read() -> None:
        try:
            events(Store(store.path, wait=0.01))
        except StoreError as error:
            errors.append(error)

    with store.write():
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(timeout=30)
    assert "another thread" in str(errors[0])


def test_a_file_that_is_no_database_is_an_error_at_once(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("symbol,close\n" * 1000)
    sleeps = Sleeps()
    with pytest.raises(StoreError, match="HRP_DATABASE"), Store(path, sleep=sleeps).read():
        pass
    assert sleeps.pauses == []


def test_a_database_of_a_newer_release_is_refused(store: Store) -> None:
    with store.write() as connection:
        connection.execute("INSERT INTO schema_version VALUES (999, 'from_the_future')")
    for opened in (store.read, store.write):
        with pytest.raises(StoreError, match=r"schema version 999.*newer release"), opened():
            pass


def test_a_database_of_an_older_release_asks_for_the_migration(store: Store) -> None:
    with store.write() as connection:
        connection.execute("DELETE FROM schema_version WHERE version > 1")
    for opened in (store.read, store.write):
        with pytest.raises(NotReadyError, match="hrp db migrate"), opened():
            pass


def test_times_are_in_new_york(store: Store) -> None:
    with store.read() as connection:
        assert connection.execute("SELECT current_setting('TimeZone')").fetchone() == ("America/New_York",)
