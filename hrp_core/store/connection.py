"""How the DuckDB file is opened: briefly, in one transaction, by one connection of this process at a time.

What belongs here: opening, waiting for locks, commit, rollback and close. What does not: SQL about tables.
A DuckDB writer excludes every other process, readers included, and a reader blocks writers: so nobody keeps
the file open across other work, and everybody waits a bounded time for everybody else (F38).

What takes time is not the file but starting DuckDB: so this process keeps an empty DuckDB in memory for each
file, and attaches the file to it for the length of one transaction (5 ms instead of 25).
"""

import logging
import os
import random
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb
from duckdb import DuckDBPyConnection

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import NotReadyError, StoreError
from hrp_core.store.schema import database_version, latest_version, refuse_newer

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_FIRST_DELAY = 0.02
_LONGEST_DELAY = 1.0
_HOLDER_PID = re.compile(r"PID (\d+)")

# DuckDB cannot mix read-only and read-write connections to a file within one process, so this process opens
# each file once at a time.
_process_locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
_held_by_thread = threading.local()

_ATTACHED = "hrp"
_TIME_ZONE = f"SET GLOBAL TimeZone = '{NEW_YORK.key}'"
_MOST_INSTANCES = 4
# Those that nobody uses now, the last used last. By process too: a fork must not touch the DuckDB of its
# parent, whose threads it does not have.
_instances: dict[tuple[int, Path], DuckDBPyConnection] = {}
_instances_lock = threading.Lock()


def _shared_by_thread() -> dict[Path, DuckDBPyConnection]:
    return _held_by_thread.__dict__.setdefault("shared", {})


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


class Store:
    """The DuckDB database of one installation and mode.

    Args:
        path: the file; `hrp db migrate` makes it.
        wait: longest time in seconds spent waiting for other processes before giving up.
        sleep: called with the seconds to wait between two tries.
        jitter: source of randomness that keeps waiting processes from retrying in step.
    """

    def __init__(
        self,
        path: Path,
        *,
        wait: float = 60.0,
        sleep: Callable[[float], object] = _wait,
        jitter: random.Random | None = None,
    ) -> None:
        self.path = path.resolve()
        self._wait = wait
        self._sleep = sleep
        self._jitter = jitter or random.Random()

    @contextmanager
    def read(self, *, any_version: bool = False, apart: bool = False) -> Iterator[DuckDBPyConnection]:
        """Open read-only for the length of the `with` block: one transaction, one state of the data.

        Args:
            any_version: skip the check of the schema version (for `status`).
            apart: in a DuckDB of its own, whose settings may be changed for good.

        Raises:
            NotReadyError: the database does not exist, or has an older schema than this code.
            StoreError: it stays locked, has a newer schema, cannot be opened, or is already open in this
                thread.
        """
        shared = None if apart else _shared_by_thread().get(self.path)
        if shared is not None:
            yield shared
            return
        with self._open(read_only=True, apart=apart) as connection:
            if not any_version:
                self._check_version(connection)
            yield connection

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let each `read` of this thread inside the `with` block share one opening and one state of the data.

        For what reads several tables to make one thing of them. As short as any other opening: nothing is
        waited for in the block, a broker least of all.

        Raises:
            NotReadyError, StoreError: as `read`.
        """
        with self.read() as connection:
            shared = _shared_by_thread()
            outer = shared.get(self.path)
            shared[self.path] = connection
            try:
                yield
            finally:
                if outer is None:
                    del shared[self.path]

    @contextmanager
    def write(self, *, migrating: bool = False) -> Iterator[DuckDBPyConnection]:
        """Open for writing; the `with` block is one transaction, committed at its end.

        Whatever leaves the block as an exception undoes all of it (SIGTERM in a Dagster run is a
        BaseException).

        Args:
            migrating: create the file where it is missing and skip the check of the schema version.

        Raises:
            NotReadyError: the database does not exist, or has an older schema than this code.
            StoreError: it stays locked, has a newer schema, cannot be opened or committed, or is already
                open in this thread.
        """
        if migrating:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open(read_only=False, create=migrating) as connection:
            if not migrating:
                self._check_version(connection)
            yield connection
            try:
                connection.commit()
            except duckdb.Error as error:
                raise StoreError(
                    f"{self.path} could not commit, nothing was stored: {error}; check the disk, "
                    "then run the step again"
                ) from error

    @contextmanager
    def _open(
        self, *, read_only: bool, create: bool = False, apart: bool = False
    ) -> Iterator[DuckDBPyConnection]:
        with self._process_lock(), self._connect(read_only, create, apart) as connection:
            # A slow query would print its progress into the --json output of whoever asked.
            connection.execute("SET enable_progress_bar = false")
            connection.begin()
            # Closing discards a transaction that was not committed, also one that an error has aborted.
            yield connection

    @contextmanager
    def _connect(self, read_only: bool, create: bool, apart: bool) -> Iterator[DuckDBPyConnection]:
        if apart:
            path = str(self.path)
            with closing(self._patiently(lambda: duckdb.connect(path, read_only), create)) as connection:
                connection.execute(_TIME_ZONE)
                yield connection
            return
        with _instance(self.path) as instance:
            self._patiently(lambda: _attach(instance, self.path, read_only), create)
            with closing(instance.cursor()) as connection:
                connection.execute(f"USE {_ATTACHED}")
                yield connection

    @contextmanager
    def _process_lock(self) -> Iterator[None]:
        held: set[Path] = _held_by_thread.__dict__.setdefault("paths", set())
        if self.path in held:
            raise StoreError(f"{self.path} is already open in this thread; pass the open connection on")
        lock = _process_locks[self.path]
        if not lock.acquire(timeout=self._wait):
            raise StoreError(
                f"{self.path} was kept open by another thread of this process for more than "
                f"{self._wait:g} s; connections must be short"
            )
        held.add(self.path)
        try:
            yield
        finally:
            held.discard(self.path)
            lock.release()

    def _patiently(self, opens: Callable[[], _T], create: bool) -> _T:
        """Return what `opens` returns, which is called again while somebody else has the file open."""
        waited, delay = 0.0, _FIRST_DELAY
        while True:
            if not create and not self.path.exists():
                raise NotReadyError(
                    f"the database {self.path} does not exist; make it with `hrp db migrate`, "
                    "or run `make demo`"
                )
            try:
                return opens()
            except duckdb.Error as error:
                if not _is_lock(error):
                    raise StoreError(
                        f"cannot open the database {self.path}: {error}; check the path (HRP_DATABASE), its "
                        "permissions and the disk, or restore a backup"
                    ) from error
                if waited >= self._wait:
                    raise StoreError(self._locked(error)) from error
                pause = min(delay * self._jitter.uniform(0.5, 1.5), self._wait - waited)
                _log.debug("%s is locked, trying again in %.3f s: %s", self.path, pause, error)
                self._sleep(pause)
                waited += pause
                delay = min(2 * delay, _LONGEST_DELAY)

    def _locked(self, error: duckdb.Error) -> str:
        start = f"{self.path} stayed locked for {self._wait:g} s"
        if _is_ours(error):
            return f"{start} by a connection of this process that is not ours; close it, run the step again"
        match = _HOLDER_PID.search(str(error))
        if match is None:
            return f"{start} by another process ({error}); end it or wait for it, then run the step again"
        pid = match[1]
        return (
            f"{start} by process {pid}; see what it is with `ps -p {pid}`, close it or wait for it, then run "
            "the step again"
        )

    def _check_version(self, connection: DuckDBPyConnection) -> None:
        version = database_version(connection)
        refuse_newer(version, self.path)
        if version < latest_version():
            raise NotReadyError(
                f"{self.path} has schema version {version}, this code needs {latest_version()}; "
                "run `hrp db migrate`"
            )


@contextmanager
def _instance(path: Path) -> Iterator[DuckDBPyConnection]:
    """Yield this process's DuckDB for a file; what was attached to it is detached again."""
    process = os.getpid()
    with _instances_lock:
        instance = _instances.pop((process, path), None)
    if instance is None:
        # Where DuckDB puts what does not fit into memory, as when it opens the file itself.
        instance = duckdb.connect(config={"temp_directory": f"{path}.tmp"})
        instance.execute(_TIME_ZONE)
    try:
        yield instance
    finally:
        try:
            instance.execute(f"DETACH DATABASE IF EXISTS {_ATTACHED}")
        except duckdb.Error as error:
            # A fatal error ends a whole DuckDB: the next to open the file starts another.
            _log.warning("%s was not closed in order (%s); DuckDB is started anew for it", path, error)
            instance.close()
        else:
            with _instances_lock:
                _instances[process, path] = instance
                for old in [key for key in _instances if key[0] == process][:-_MOST_INSTANCES]:
                    _instances.pop(old).close()


def _attach(instance: DuckDBPyConnection, path: Path, read_only: bool) -> None:
    options = " (READ_ONLY)" if read_only else ""
    name = str(path).replace("'", "''")
    instance.execute(f"ATTACH '{name}' AS {_ATTACHED}{options}")


def _is_ours(error: duckdb.Error) -> bool:
    """Return whether a connection of this process, that no `Store` has made, has the file open."""
    return isinstance(error, duckdb.ConnectionException) or "Unique file handle conflict" in str(error)


def _is_lock(error: duckdb.Error) -> bool:
    return _is_ours(error) or "Could not set lock" in str(error)
