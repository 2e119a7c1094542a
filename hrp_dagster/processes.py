"""Child processes that must not outlive their parent: the simulated gateway and `dagster dev`.

Each child leads its own process group, so that a Ctrl-C reaches only us and we end the group: TERM first,
KILL after a grace period (`dagster dev` leaves its code server behind on TERM alone).
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from types import FrameType
from typing import IO

from hrp_core.errors import BrokerConnectionError

GRACE_SECONDS = 5.0


class ChildProcess:
    """One child in its own process group.

    Args:
        command: program and arguments.
        name: what messages call it.
        output: where its output goes; None inherits ours.
    """

    def __init__(
        self, command: Sequence[str], *, name: str, output: int | None = None, cwd: Path | None = None
    ) -> None:
        self.name = name
        self.process = subprocess.Popen(
            command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=output, stderr=None, cwd=cwd
        )

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """End the whole group; returns when its leader is gone."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        # The leader may be gone while members of its group still run.
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def hrp_command(*arguments: str) -> list[str]:
    """Return the command line that runs `hrp` with this interpreter."""
    return [sys.executable, "-m", "hrp_dagster.cli", *arguments]


def start_gateway(timeout: float = 60.0) -> ChildProcess:
    """Start `hrp gateway serve` and wait until it listens.

    Raises:
        BrokerConnectionError: it ended, or said nothing, within `timeout` seconds.
    """
    child = ChildProcess(hrp_command("gateway", "serve"), name="simulated gateway", output=subprocess.PIPE)
    stdout = child.process.stdout
    assert stdout is not None
    ready, _, _ = select([stdout], [], [], timeout)
    line = stdout.readline() if ready else b""
    if not line:
        child.stop()
        raise BrokerConnectionError(
            "the simulated gateway did not start; run `hrp gateway serve` to see what it says"
        )
    # Its later lines must not fill the pipe and block it.
    threading.Thread(target=_drain, args=(stdout,), daemon=True).start()
    return child


def _drain(stream: IO[bytes]) -> None:
    for _ in stream:
        pass


class StopRequest:
    """Something to wait for that a signal handler may set.

    A pipe, not a `threading.Event`: setting an event from a handler deadlocks when the interrupted thread
    is just entering its wait and holds the event's lock.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def set(self) -> None:
        """Wake the waiter."""
        os.write(self._writer, b"x")

    def wait(self) -> None:
        """Return once `set` was called."""
        select([self._reader], [], [])

    def close(self) -> None:
        """Free the pipe."""
        os.close(self._reader)
        os.close(self._writer)


@contextmanager
def ending_on_signals() -> Iterator[StopRequest]:
    """Yield a request that SIGINT or SIGTERM sets, instead of interrupting whatever runs."""
    request = StopRequest()

    def stop(_number: int, _frame: FrameType | None) -> None:
        request.set()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        request.close()


def supervise(children: Sequence[ChildProcess], request: StopRequest) -> str | None:
    """Wait until `request` is set or a child ends, then end all children.

    Returns:
        The name of the child that ended by itself; None when we were asked to stop.
    """
    ended: list[str] = []

    def watch(child: ChildProcess) -> None:
        child.process.wait()
        ended.append(child.name)
        request.set()

    watchers = [threading.Thread(target=watch, args=(child,), daemon=True) for child in children]
    try:
        for watcher in watchers:
            watcher.start()
        request.wait()
        return ended[0] if ended else None
    finally:
        for child in reversed(children):
            child.stop()
        for watcher in watchers:
            watcher.join()
