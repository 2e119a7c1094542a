"""The lock that makes one process at a time the order writer of a mode.

What belongs here: an exclusive kernel lock on a file. The kernel frees it when its holder dies, however it
dies, so that nothing is left to clean up after a SIGKILL.
"""

import fcntl
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

from hrp_core.errors import RefusedError

_POLL_SECONDS = 0.05
_held: "weakref.WeakSet[WriterLock]" = weakref.WeakSet()


class WriterLock:
    """Exclusive lock on `path`, as a context manager; not reentrant.

    Args:
        path: the lock file; it stays when the lock is released, its text names the last holder.
        timeout: longest wait for another holder, seconds.
        purpose: what the holder is doing; shown to whoever waits in vain.
        wait: lets the given number of seconds pass; the default waits on an event nobody sets.
        monotonic: measures the wait, seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        timeout: float = 30.0,
        purpose: str = "",
        wait: Callable[[float], object] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._timeout = timeout
        self._purpose = purpose
        self._wait = wait or threading.Event().wait
        self._monotonic = monotonic
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            RefusedError: another process holds it for longer than the timeout; the message names its pid.
        """
        if self._file is not None:
            raise RefusedError(f"this process already holds {self._path}")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # "a+" neither truncates what the holder wrote nor fails when the file is missing.
        file = self._path.open("a+", encoding="utf-8")
        locked = False
        try:
            self._wait_for(file)
            file.seek(0)
            file.truncate()
            file.write(f"{os.getpid()} {self._purpose}".rstrip())
            file.flush()
            self._file = file
            _held.add(self)
            locked = True
        finally:
            # SIGTERM arrives as a BaseException, at any line.
            if not locked:
                self._file = None
                file.close()

    def release(self) -> None:
        """Give the lock up; calling it again does nothing."""
        file, self._file = self._file, None
        _held.discard(self)
        if file is not None:
            file.close()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _wait_for(self, file: IO[str]) -> None:
        deadline = self._monotonic() + self._timeout
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                left = deadline - self._monotonic()
            if left <= 0:
                file.seek(0)
                pid, _, purpose = file.read().partition(" ")
                raise RefusedError(
                    f"another process is the order writer: pid {pid or 'unknown'}"
                    f"{f' ({purpose})' if purpose else ''} holds {self._path}. Waited {self._timeout:g} s; "
                    "nothing was sent. Let it finish, or end it and run the same command again"
                )
            self._wait(min(_POLL_SECONDS, left))


def _drop_inherited() -> None:
    """Close the locks' files in a forked child: the lock would live on there after its owner's death."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_drop_inherited)
