"""Quotes and daily bars over one connection.

What belongs here: what is asked of IB about prices, and which of its answers count. What the messages mean is
in `ibkr_translate`, pacing and health in `ibkr_connection`. Coroutines on the library's thread only.
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from hrp_core.calendar import nyse
from hrp_core.errors import BrokerConnectionError
from hrp_core.execution.broker import Quote
from hrp_core.execution.ib_codes import CodeKind
from hrp_core.execution.ibkr_connection import Connection
from hrp_core.execution.ibkr_loop import run_all
from hrp_core.execution.ibkr_prices import to_bar, to_quote
from hrp_core.execution.ibkr_requests import Request, RequestError
from hrp_core.execution.ibkr_translate import build_contract
from hrp_core.ledger.types import Contract

if TYPE_CHECKING:
    from hrp_core.market import Bar

log = logging.getLogger(__name__)

# The best there is, in this order: live, frozen, delayed, delayed and frozen. IB says which one it sends.
_BEST_AVAILABLE = 4
# Delayed prices follow, or a part of the live ones.
_PRICES_FOLLOW = frozenset({10090, 10167})
_COMPETING_SESSION = 10197
# An account without booster packs has 100 market data lines; one more is error 101.
_QUOTES_AT_ONCE = 90
_NO_BARS = "history_no_data"
_DAYS_A_YEAR = 365


class MarketData:
    """The market data requests over one connection.

    Args:
        wire: the connection; this object does not open or close it.
    """

    def __init__(self, wire: Connection) -> None:
        self._wire = wire
        self._client = wire.client
        self._is_type_set = False

    async def quotes(self, contracts: Sequence[Contract], timeout: float) -> dict[str, Quote]:
        """Return a quote of each contract by symbol, from snapshots asked for at once.

        Whoever did not answer within `timeout` seconds has the prices that came until then. A late answer
        carries its request's id and is told from every other, so the connection stays as good as it was.

        Raises:
            BrokerConnectionError: the connection cannot be used, or ended.
            RequestError: IB gives no prices now: too many requests (100, 101), or another session has them
                (10197).
        """
        self._wire.check_healthy(BrokerConnectionError)
        if not self._is_type_set:
            await self._wire.slot()
            self._client.reqMarketDataType(_BEST_AVAILABLE)
            self._is_type_set = True
        wanted = list(dict.fromkeys(contracts))
        deadline = asyncio.get_running_loop().time() + timeout
        lines = asyncio.Semaphore(_QUOTES_AT_ONCE)

        async def quote(contract: Contract) -> Quote:
            async with lines:
                return await self._quote(contract, deadline)

        found = await run_all([quote(contract) for contract in wanted])
        self._wire.check_healthy()
        return {quote.symbol: quote for quote in found}

    async def bars(self, contract: Contract, start: date, end: date, now: datetime) -> "list[Bar]":
        """Return the daily bars of the sessions from `start` to `end` that were over at `now`, in order.

        Raises:
            RequestError: IB answered with an error; that it has no bars is an empty answer.
            IncompleteSnapshotError: IB did not answer in time.
        """
        last = min(end, nyse().decision_session(now))
        if start > last:
            return []
        days = (last - start).days + 1
        # More than a year has to be asked for in years.
        duration = f"{days} D" if days <= _DAYS_A_YEAR else f"{math.ceil(days / _DAYS_A_YEAR)} Y"
        req_id = self._wire.next_id()
        raw = build_contract(self._wire.library, contract)
        try:
            rows = await self._wire.ask(
                req_id,
                f"the daily bars of {contract.symbol}",
                lambda: self._client.reqHistoricalData(
                    req_id, raw, f"{last:%Y%m%d}-23:59:59", duration, "1 day", "TRADES", 1, 1, False, []
                ),
            )
        except RequestError as error:
            if error.code.name == _NO_BARS:
                return []
            raise
        self._wire.check_healthy()
        bars = sorted((to_bar(row) for row in rows), key=lambda bar: bar.session)
        return [bar for bar in bars if start <= bar.session <= last]

    async def _quote(self, contract: Contract, deadline: float) -> Quote:
        symbol, now = contract.symbol, asyncio.get_running_loop().time
        if now() < deadline:
            await self._wire.slot()
        if now() >= deadline:
            log.warning("%s: too many quotes for the time given, its own was not asked for", symbol)
            return to_quote(symbol, ())
        self._wire.check_healthy(BrokerConnectionError)
        req_id = self._wire.next_id()
        request = self._wire.receiver.begin(req_id, f"the quote of {symbol}")
        request.on_market_data = lambda error: _take_market_data_code(request, error)
        raw = build_contract(self._wire.library, contract)
        try:
            async with asyncio.timeout_at(deadline):
                self._client.reqMktData(req_id, raw, "", True, False, [])
                await request.future
        except TimeoutError:
            # IB ends such a snapshot itself, after eleven seconds.
            log.warning("%s: the quote did not come whole in time", symbol)
        except RequestError as error:
            if error.code.kind in (CodeKind.PACING, CodeKind.CONFIG) or error.code.code == _COMPETING_SESSION:
                raise
            log.warning("%s has no quote: %s", symbol, error)
            return to_quote(symbol, ())
        finally:
            self._wire.receiver.requests.pop(req_id, None)
        return to_quote(symbol, request.rows)


def _take_market_data_code(request: Request, error: RequestError) -> None:
    """End a quote that cannot come; delayed prices do come, marked as such (F31)."""
    if error.code.code not in _PRICES_FOLLOW:
        request.fail(error)
