"""The thread that the client library lives on, and the spacing of what it sends.

What belongs here: one thread with one event loop of its own, to which plain synchronous callers hand
coroutines, and the pacing of outgoing messages. Nothing here knows IB's messages.
"""

import asyncio
import concurrent.futures
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from hrp_core.errors import BrokerConnectionError

_Result = TypeVar("_Result")
_Item = TypeVar("_Item")
_JOIN_SECONDS = 5.0
_LIVENESS_SECONDS = 1.0
# IB counts 50; two are for what the network pushes together.
_MOST_A_SECOND = 48


class LoopThread:
    """A thread with an event loop; `run` may be called from any other thread, with or without a loop (F39).

    The library takes "the loop of this thread" at import and at every send, fails in a thread without one and
    cannot run inside one that is running; here it always finds its own.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._guard = threading.Lock()
        self._stopping = False
        # A daemon: an adapter that nobody disconnected must not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    @property
    def ident(self) -> int | None:
        """The thread's identifier, to recognise what was logged on it."""
        return self._thread.ident

    def run(self, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """Run the coroutine that `work` makes and return its result; it must limit its own waiting.

        An interrupted caller takes the coroutine with it: nothing goes on behind its back.

        Raises:
            BrokerConnectionError: the thread has been stopped.
        """
        with self._guard:
            if self._stopping:
                raise BrokerConnectionError("the broker connection was closed; connect again")
            future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            while not concurrent.futures.wait([future], timeout=_LIVENESS_SECONDS).done:
                if not self._thread.is_alive():
                    raise BrokerConnectionError("the broker connection's thread has ended; connect again")
            return future.result()
        except concurrent.futures.CancelledError:
            raise BrokerConnectionError("the broker connection was closed while it was waited for") from None
        finally:
            future.cancel()

    def stop(self) -> None:
        """Cancel what still runs, close the loop and end the thread; calling it again does nothing."""
        with self._guard:
            if not self._stopping:
                self._stopping = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN_SECONDS)

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            remaining = asyncio.all_tasks(self._loop)
            for task in remaining:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*remaining, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            self._loop.close()


def since_boot() -> float:
    """Return seconds since the machine was started, those it slept included, which other clocks leave out."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Pacer:
    """Spaces messages evenly, lets a few go at once after a pause, and keeps every second below IB's limit.

    IB allows 50 a second and ends the connection of who sends more (F31). The library's own throttle lets two
    bursts fall just under a second apart. The rule is the generic cell rate algorithm (ITU-T I.371) under a
    count of the last second.

    Args:
        rate: messages a second in the long run; infinity lifts every limit.
        burst: messages that may go at once after a pause: enough for all questions of a snapshot.
    """

    def __init__(self, rate: float = 45.0, burst: int = 20) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(f"a rate of {rate} with bursts of {burst} would send nothing")
        self._interval = 1.0 / rate
        self._tolerance = (burst - 1) * self._interval
        self._due = float("-inf")
        self._last_second: deque[float] = deque(maxlen=_MOST_A_SECOND if math.isfinite(rate) else 0)

    def reserve(self, now: float) -> float:
        """Take the next free slot and return how many seconds after `now` (any clock) it begins."""
        send_at = max(now, self._due - self._tolerance)
        if len(self._last_second) == _MOST_A_SECOND and self._last_second[0] + 1.0 > send_at:
            send_at = self._last_second[0] + 1.0
            # Evenly from here: what was saved up while waiting would be another burst.
            self._due = send_at + self._tolerance
        self._due = max(self._due, send_at) + self._interval
        self._last_second.append(send_at)
        return send_at - now


async def run_all(work: Sequence[Coroutine[Any, Any, _Item]]) -> list[_Item]:
    """Run all of `work` at once; the first error ends the rest before it is raised."""
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
