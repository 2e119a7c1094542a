"""Prices from Yahoo Finance (extra `yahoo`): its chart endpoint, version 8.

What belongs here: asking for charts and reading the answers. What does not: judging values (`validate`).

Yahoo adjusts prices, volumes and dividends for every split up to the day of the request, wherever the range
ends. So each request reaches to the present, and what is handed out is put back as it was traded. Yahoo
gives no promise about this endpoint: for research, not for an account.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any

import pandas as pd

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import DataError, NotReadyError, SettingsError
from hrp_core.market.bars import Bar, fetched_bars, frame_of_bars, undo_splits
from hrp_core.market.membership import Memberships
from hrp_core.market.schema import PRICE_FIELDS

BASE_URL = "https://query1.finance.yahoo.com"
_ATTEMPTS = 4
_GLANCE_SECONDS = 5.0
# The chart ends where Yahoo does; a fixed far end needs no clock.
_FAR_FUTURE = 4_102_444_800


class YahooSource:
    """Prices of the names asked for, with splits and dividends.

    Args:
        symbols: names, upper case, as the exchange writes them (BRK.B).
        base_url: where the endpoint is.
        memberships: point-in-time universe, where there is one.
        backoff: seconds before a failed request is repeated for the second time, doubled for the third; the
            first repetition follows at once.
        timeout: seconds to wait for an answer.
    """

    name = "yahoo"

    def __init__(
        self,
        symbols: Sequence[str],
        base_url: str = BASE_URL,
        *,
        memberships: Memberships | None = None,
        backoff: float = 1.0,
        timeout: float = 20.0,
    ) -> None:
        if not symbols:
            raise SettingsError("the price source yahoo has no names; set HRP_SYMBOLS, such as AAPL,MSFT")
        self._symbols = tuple(symbols)
        self._base_url = base_url.rstrip("/")
        self._memberships = memberships
        self._timeout = timeout
        self._session = _http_session(backoff)

    def first_session(self) -> date:
        """Return the first session with a price of any name."""
        first = min(_first_trade(self._recent(symbol), symbol) for symbol in self._symbols)
        return nyse().next_session_from(max(first, nyse().first))

    def last_session(self) -> date:
        """Return the last completed session with a price of any name."""
        ends = [bars[-1].session for symbol in self._symbols if (bars := _bars(self._recent(symbol), symbol))]
        if not ends:
            raise NotReadyError(
                f"Yahoo has no recent prices of {', '.join(self._symbols)}; check HRP_SYMBOLS"
            )
        return max(ends)

    def memberships(self) -> Memberships | None:
        """Return the point-in-time universe, where there is one."""
        return self._memberships

    def load(self, start: date, end: date) -> pd.DataFrame:
        """Return the prices from `start` to `end`; see `PriceSource.load`.

        Raises:
            NotReadyError: Yahoo cannot be reached, or answers that it is busy, after four tries.
            DataError: Yahoo does not know a name, or its answer breaks the format or the schema.
        """
        begin = int(datetime.combine(start, time(), NEW_YORK).timestamp())
        fetched = []
        for symbol in self._symbols:
            result = self._chart(symbol, {"period1": str(begin), "period2": str(_FAR_FUTURE)})
            bars = [bar for bar in _bars(result, symbol) if start <= bar.session <= end]
            fetched.append(fetched_bars(self.name, symbol, bars))
        return frame_of_bars(self.name, fetched, start, end)

    def trouble(self) -> str:
        """Return why Yahoo cannot be asked now, after one short try; empty when it answers at all."""
        import requests

        try:
            requests.head(self._base_url, timeout=_GLANCE_SECONDS)
        except requests.RequestException as error:
            return f"Yahoo cannot be reached ({error}); check the network, or set another HRP_PRICE_SOURCE"
        return ""

    def _recent(self, symbol: str) -> Mapping[str, Any]:
        return self._chart(symbol, {"range": "1mo"})

    def _chart(self, symbol: str, span: Mapping[str, str]) -> Mapping[str, Any]:
        """Return the one result of a chart answer; empty where there is nothing in the range."""
        import requests

        # Yahoo writes share classes with a hyphen.
        url = f"{self._base_url}/v8/finance/chart/{symbol.replace('.', '-')}"
        params = {**span, "interval": "1d", "events": "div,splits", "includePrePost": "false"}
        try:
            answer = self._session.get(url, params=params, timeout=self._timeout)
        except requests.RequestException as error:
            raise NotReadyError(
                f"Yahoo gave no prices of {symbol} in {_ATTEMPTS} tries ({error}); check the network, then "
                "run market_data_job again"
            ) from error
        if answer.status_code == 429 or answer.status_code >= 500:
            raise NotReadyError(
                f"Yahoo answered {answer.status_code} to all of {_ATTEMPTS} requests for {symbol}: it is "
                "busy or limits this address; run market_data_job again later"
            )
        try:
            chart = answer.json()["chart"]
            error, results = chart.get("error"), chart.get("result")
        except (ValueError, KeyError, TypeError, AttributeError) as failure:
            raise DataError(
                f"Yahoo's answer for {symbol} ({answer.status_code}) is no chart: {answer.text[:80]!r}; "
                "the endpoint may have changed, use another HRP_PRICE_SOURCE"
            ) from failure
        if error:
            # What Yahoo says for a name that was not listed yet in the range.
            if "Data doesn't exist" in str(error.get("description")):
                return {}
            raise DataError(
                f"Yahoo refuses {symbol}: {error.get('code')}, {error.get('description')}; "
                "correct HRP_SYMBOLS"
            )
        if not results:
            raise DataError(
                f"Yahoo's answer for {symbol} holds neither a result nor an error; try again later"
            )
        return results[0]


def _http_session(backoff: float) -> Any:
    """Return an HTTP session that repeats a failed request a bounded number of times."""
    try:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry
    except ImportError as error:
        raise SettingsError(
            "the price source yahoo needs the extra `yahoo`; run pip install 'hrp-dagster[yahoo]'"
        ) from error
    retry = Retry(
        total=_ATTEMPTS - 1,
        backoff_factor=backoff / 2 if backoff else 0,
        backoff_max=30,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET",),
        raise_on_status=False,
        # A Retry-After may say an hour; the next tick of the schedule is the longer wait.
        respect_retry_after_header=False,
    )
    session = requests.Session()
    session.headers["User-Agent"] = "Mozilla/5.0 (hrp-dagster)"
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    return session


def _bars(result: Mapping[str, Any], symbol: str) -> list[Bar]:
    """Return the completed bars of a chart as they were traded, with their splits and dividends."""
    if not result:
        return []
    try:
        meta = result["meta"]
        if meta.get("currency") != "USD" or meta.get("dataGranularity") != "1d":
            raise DataError(
                f"Yahoo gives {symbol} in {meta.get('currency')} at steps of {meta.get('dataGranularity')}, "
                "not in USD by day; correct HRP_SYMBOLS"
            )
        moments = result.get("timestamp") or []
        quote = result["indicators"]["quote"][0]
        # Yahoo leaves the fields out where there is no day at all.
        columns = [quote[name] for name in (*PRICE_FIELDS, "volume")] if moments else []
        events = result.get("events") or {}
        dividends = {
            _day(each["date"]): float(each["amount"]) for each in (events.get("dividends") or {}).values()
        }
        splits = sorted(
            (_day(each["date"]), float(each["numerator"]) / float(each["denominator"]))
            for each in (events.get("splits") or {}).values()
        )
        unfinished = _unfinished_session(meta)
        raw: dict[date, Bar] = {}
        for moment, *values in zip(moments, *columns, strict=True):
            session = _day(moment)
            # The running session, its quote once more beside the bar, and days without any trade.
            if session == unfinished or session in raw or all(value is None for value in values[:4]):
                continue
            numbers = [math.nan if value is None else float(value) for value in values]
            raw[session] = Bar(session, *numbers, split_factor=1.0, dividend=0.0)
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"Yahoo's chart of {symbol} lacks what charts have ({type(error).__name__}: {error}); the "
            "endpoint may have changed, use another HRP_PRICE_SOURCE"
        ) from error
    return _with_events(undo_splits(list(raw.values()), splits), splits, dividends)


def _with_events(
    bars: Sequence[Bar], splits: Sequence[tuple[date, float]], dividends: Mapping[date, float]
) -> list[Bar]:
    """Return bars with each event on the first bar on or after its day; dividends in shares of that day."""
    result = list(bars)
    days = [bar.session for bar in bars]
    for effective, factor in splits:
        place = next((index for index, day in enumerate(days) if day >= effective), None)
        if place is not None:
            result[place] = replace(result[place], split_factor=result[place].split_factor * factor)
    for effective, amount in sorted(dividends.items()):
        place = next((index for index, day in enumerate(days) if day >= effective), None)
        if place is not None:
            later = math.prod(factor for split, factor in splits if split > days[place])
            result[place] = replace(result[place], dividend=round(result[place].dividend + amount * later, 6))
    return result


def _unfinished_session(meta: Mapping[str, Any]) -> date | None:
    """Return the session that was still trading when Yahoo answered."""
    regular = meta["currentTradingPeriod"]["regular"]
    running = regular["start"] <= meta["regularMarketTime"] < regular["end"]
    return _day(regular["start"]) if running else None


def _first_trade(result: Mapping[str, Any], symbol: str) -> date:
    moment = (result.get("meta") or {}).get("firstTradeDate")
    if moment is None:
        raise DataError(f"Yahoo does not say since when {symbol} trades; leave it out of HRP_SYMBOLS")
    return _day(moment)


def _day(moment: int) -> date:
    """Return the day in New York of a moment in seconds since 1970."""
    return datetime.fromtimestamp(moment, UTC).astimezone(NEW_YORK).date()
