"""The thread of the library and the pacing of its messages."""

import asyncio
import math
import signal
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.errors import BrokerConnectionError
from hrp_core.execution.config import BrokerConfig
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.ibkr_loop import LoopThread, Pacer

IB_LIMIT = 50


class InterruptedFromOutsideError(BaseException):
    """What an orchestrator raises into a step that it ends."""


@pytest.fixture
def interrupt() -> Iterator[None]:
    """Raise into the main thread after a tenth of a second, as a signal handler does."""

    def handler(*_: object) -> None:
        raise InterruptedFromOutsideError

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=300))
def test_no_second_holds_more_messages_than_ib_allows(pauses: list[float]) -> None:
    pacer, now, sent = Pacer(), 0.0, []
    for pause in pauses:
        now += pause
        sent.append(now + pacer.reserve(now))

    assert sent == sorted(sent)
    for first, begin in enumerate(sent):
        assert sum(1 for moment in sent[first:] if moment < begin + 1) < IB_LIMIT


def test_a_basket_of_five_hundred_takes_at_most_a_fifth_longer_than_the_limit_requires() -> None:
    pacer = Pacer()

    last = max(pacer.reserve(0.0) for _ in range(500))

    assert 500 / IB_LIMIT <= last <= 1.2 * 500 / IB_LIMIT


def test_after_a_pause_a_few_messages_go_at_once() -> None:
    pacer = Pacer(rate=10, burst=3)

    assert [pacer.reserve(0.0) for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])


def test_a_burst_is_followed_by_even_spacing_also_where_the_limit_of_a_second_held_it_up() -> None:
    pacer = Pacer()

    sent = [pacer.reserve(0.0) for _ in range(300)]

    assert sent[:20] == [0.0] * 20
    pauses = [later - earlier for earlier, later in pairwise(sent[19:])]
    assert min(pauses) == pytest.approx(1 / 45)


def test_an_unlimited_pacer_never_waits() -> None:
    pacer = Pacer(math.inf)

    assert {pacer.reserve(now) for now in (0.0, 0.0, 0.0, 1.0)} == {0.0}


@pytest.mark.parametrize(("rate", "burst"), [(0, 5), (-1, 5), (10, 0)])
def test_a_pacer_that_would_send_nothing_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="would send nothing"):
        Pacer(rate, burst)


def test_an_interrupted_caller_takes_its_coroutine_along(interrupt: None) -> None:
    thread = LoopThread("test")
    ended = threading.Event()

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(InterruptedFromOutsideError):
        thread.run(wait_for_ever)
    assert ended.wait(5)
    thread.stop()


def test_stopping_cancels_what_still_runs_and_tells_its_caller() -> None:
    thread = LoopThread("test")
    started = threading.Event()
    raised: list[BaseException] = []

    async def wait_for_ever() -> None:
        started.set()
        await asyncio.Event().wait()

    def call() -> None:
        try:
            thread.run(wait_for_ever)
        except BrokerConnectionError as error:
            raised.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    assert started.wait(5)
    thread.stop()
    thread.stop()
    caller.join(5)

    assert "was closed while it was waited for" in str(raised[0])
    with pytest.raises(BrokerConnectionError, match="was closed"):
        thread.run(wait_for_ever)


def test_an_interrupted_connect_leaves_no_thread_and_no_socket(interrupt: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threads, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
        port = silent.getsockname()[1]
        broker = IBKRBroker(BrokerConfig("127.0.0.1", port, 1, "DU1", timeout=30, simulated=True))

        with pytest.raises(InterruptedFromOutsideError):
            broker.connect()

        assert threading.active_count() <= threads
        assert len(list(Path("/proc/self/fd").iterdir())) <= files
    assert not broker.is_connected()
