"""One order writer at a time, and nothing left behind by a dead one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hrp_core.errors import RefusedError
from hrp_core.execution.writer_lock import WriterLock

HOLDER = """
import sys
from pathlib import Path
from hrp_core.execution.writer_lock import WriterLock
with WriterLock(Path(sys.argv[1]), purpose="orders of 2022-12-15"):
    print("held", flush=True)
    sys.stdin.read()
"""


class Waits:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.count += 1

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sim" / "broker.lock"


def hold(path: Path) -> "subprocess.Popen[str]":
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_writer_is_refused_after_a_bounded_wait_and_told_who_holds_the_lock(path: Path) -> None:
    waits = Waits()
    with (
        WriterLock(path, purpose="first"),
        pytest.raises(RefusedError, match=rf"pid {os.getpid()} \(first\) holds .*Waited 2 s"),
    ):
        WriterLock(path, timeout=2.0, wait=waits.wait, monotonic=waits.monotonic).acquire()
    assert waits.now == pytest.approx(2.0)
    assert waits.count <= 41


def test_the_lock_is_free_again_after_it_was_released_or_refused(path: Path) -> None:
    lock = WriterLock(path, timeout=0)
    for _ in range(3):
        with lock, pytest.raises(RefusedError):
            WriterLock(path, timeout=0).acquire()
    lock.release()
    with WriterLock(path, timeout=0):
        pass


def test_a_holder_that_lets_go_while_another_waits_gives_it_the_lock(path: Path) -> None:
    first = WriterLock(path)
    first.acquire()
    waits = Waits()

    def wait(seconds: float) -> None:
        waits.wait(seconds)
        if waits.count == 3:
            first.release()

    with WriterLock(path, timeout=30.0, wait=wait, monotonic=waits.monotonic):
        assert waits.count == 3


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_kernel_frees_the_lock_of_a_killed_process(path: Path, end: signal.Signals) -> None:
    holder = hold(path)
    with pytest.raises(RefusedError, match=rf"pid {holder.pid} \(orders of 2022-12-15\)"):
        WriterLock(path, timeout=0).acquire()
    holder.send_signal(end)
    holder.wait(30)
    with WriterLock(path, timeout=0):
        assert path.read_text() == str(os.getpid())
    holder.communicate()


def test_a_child_of_the_holder_does_not_keep_the_lock_alive(path: Path) -> None:
    lock = WriterLock(path)
    lock.acquire()
    ready, release = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(release[1])
        os.write(ready[1], b"x")
        os.read(release[0], 1)
        os._exit(0)
    os.close(release[0])
    assert os.read(ready[0], 1) == b"x"
    lock.release()
    with WriterLock(path, timeout=0):
        pass
    os.close(release[1])
    assert os.waitpid(child, 0)[1] == 0
    os.close(ready[0])
    os.close(ready[1])


def test_an_interrupt_while_waiting_leaves_nothing_locked(path: Path) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    first = WriterLock(path)
    first.acquire()
    second = WriterLock(path, wait=interrupt)
    with pytest.raises(KeyboardInterrupt):
        second.acquire()
    first.release()
    with second:
        pass
