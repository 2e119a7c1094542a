"""Child processes end with us, whole groups of them, and say when they end by themselves."""

import os
import signal
import subprocess
import sys
from select import select

import pytest
from process_support import all_gone, is_alive

from hrp_dagster.processes import ChildProcess, StopRequest, ending_on_signals, supervise

# A child that ignores TERM and has a child of its own, which prints both pids.
STUBBORN = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(os.getpid(), child.pid, flush=True)
signal.pause()
"""


def test_a_stubborn_child_and_its_children_are_ended() -> None:
    child = ChildProcess([sys.executable, "-c", STUBBORN], name="stubborn", output=subprocess.PIPE)
    assert child.process.stdout is not None
    pids = [int(pid) for pid in child.process.stdout.readline().split()]
    assert all(is_alive(pid) for pid in pids)
    child.stop(grace=0.2)
    assert all_gone(pids)
    child.process.stdout.close()


def test_a_child_that_ends_by_itself_ends_the_others_and_is_named() -> None:
    brief = ChildProcess([sys.executable, "-c", "pass"], name="brief")
    lasting = ChildProcess([sys.executable, "-c", "import signal; signal.pause()"], name="lasting")
    request = StopRequest()
    assert supervise([lasting, brief], request) == "brief"
    assert lasting.process.poll() is not None
    request.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_without_an_exception(number: signal.Signals) -> None:
    child = ChildProcess([sys.executable, "-c", "import signal; signal.pause()"], name="child")
    with ending_on_signals() as request:
        os.kill(os.getpid(), number)
        assert supervise([child], request) is None
    assert child.process.poll() is not None
    assert signal.getsignal(number) is not request


def test_a_stop_request_can_be_made_before_the_wait() -> None:
    request = StopRequest()
    request.set()
    request.wait()
    assert select([request._reader], [], [], 0)[0]
    request.close()
