"""Daily bars from a connected broker, for the price source `ibkr`.

What belongs here: pacing, and asking once for what is asked for often. What a bar is belongs to
`hrp_core.market`, how one is asked for to the broker.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Self

from hrp_core.calendar import nyse
from hrp_core.errors import BrokerError
from hrp_core.execution.broker import Broker
from hrp_core.execution.ibkr_loop import Pacer
from hrp_core.ledger.types import Contract

if TYPE_CHECKING:
    from hrp_core.market import Bar

# IB's strict rule, sixty requests in ten minutes, is for bars of seconds. Larger bars are slowed down softly,
# by no published number; one at a time and about one a second is modest.
_REQUESTS_A_SECOND = 1.0
_BURST = 10


class ConnectingBars:
    """A `BarsProvider` that connects when it is first asked, and disconnects when its block ends.

    Args:
        connect: opens a connection to the broker.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[Broker]]) -> None:
        self._connect = connect
        self._open = ExitStack()
        self._bars: IbkrBars | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars = None
        self._open.close()

    def daily_bars(self, symbol: str, start: date, end: date) -> Sequence["Bar"]:
        """Return the bars of the sessions from `start` to `end`; see `IbkrBars.daily_bars`.

        Raises:
            BrokerConnectionError: with cause and fix.
        """
        return self._connected().daily_bars(symbol, start, end)

    def span(self, symbol: str) -> tuple[date, date]:
        """Return the first and the last completed session; see `IbkrBars.span`.

        Raises:
            BrokerConnectionError: with cause and fix.
        """
        return self._connected().span(symbol)

    def _connected(self) -> "IbkrBars":
        if self._bars is None:
            self._bars = IbkrBars(self._open.enter_context(self._connect()))
        return self._bars


@dataclass(frozen=True, slots=True)
class _Held:
    """All bars of one name from `since` to `newest`, the last session that was over when it was asked for."""

    since: date
    newest: date
    bars: tuple["Bar", ...]


class IbkrBars:
    """A `BarsProvider` on a connected broker. Not for use by several threads at once.

    A name is asked for once, from the first session wanted up to the newest one, so that all its bars are
    adjusted for the same splits; again, when an earlier session is wanted or one more is over.

    Args:
        broker: connected; connecting and disconnecting are its owner's business.
        pacer: spacing of the requests for history.
        clock: seconds of a clock that only rises; `pacer` is asked with it.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        pacer: Pacer | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._broker = broker
        self._pacer = pacer or Pacer(_REQUESTS_A_SECOND, _BURST)
        self._clock = clock
        self._sleep = sleep
        self._contracts: dict[str, Contract] = {}
        self._held: dict[str, _Held] = {}

    def daily_bars(self, symbol: str, start: date, end: date) -> Sequence["Bar"]:
        """Return the bars of the sessions from `start` to `end`, both included, in order; empty = none.

        Raises:
            BrokerError: the broker did not answer, or does not know the symbol.
        """
        return [bar for bar in self._bars(symbol, start) if start <= bar.session <= end]

    def span(self, symbol: str) -> tuple[date, date]:
        """Return the first and the last completed session that the broker has a bar of.

        Raises:
            BrokerError: the broker did not answer, does not know the symbol, or has no bar of it.
        """
        bars = self._bars(symbol, nyse().first)
        if not bars:
            raise BrokerError(
                f"the broker has no daily bar of {symbol}; leave the name out of HRP_SYMBOLS, or check the "
                "account's market data permissions"
            )
        return bars[0].session, bars[-1].session

    def _bars(self, symbol: str, start: date) -> tuple["Bar", ...]:
        newest = nyse().decision_session(self._broker.heartbeat())
        held = self._held.get(symbol)
        if held is None or start < held.since or newest != held.newest:
            since = start if held is None else min(start, held.since)
            contract = self._contract(symbol)
            self._wait()
            held = _Held(since, newest, tuple(self._broker.bars(contract, since, newest)))
            self._held[symbol] = held
        return held.bars

    def _contract(self, symbol: str) -> Contract:
        if symbol not in self._contracts:
            found = self._broker.qualify([symbol]).get(symbol)
            if found is None:
                raise BrokerError(
                    f"the broker knows no US stock {symbol}; correct the name in HRP_SYMBOLS, or leave it out"
                )
            self._contracts[symbol] = found
        return self._contracts[symbol]

    def _wait(self) -> None:
        delay = self._pacer.reserve(self._clock())
        if delay > 0:
            self._sleep(delay)
