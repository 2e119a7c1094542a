"""The Yahoo source against a server on the loopback that speaks the chart format."""

import json
from collections.abc import Iterator
from datetime import date, datetime, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import DataError, NotReadyError
from hrp_core.market import PRICE_COLUMNS, YahooSource

pytest.importorskip("requests")
DAYS = nyse().between(date(2022, 1, 3), date(2022, 1, 7))


def moment(day: date, hour: int = 9, minute: int = 30) -> int:
    return int(datetime.combine(day, time(hour, minute), NEW_YORK).timestamp())


def chart(**changes: Any) -> dict[str, Any]:
    """Five bars, adjusted for a 4:1 split on the fourth day, with a dividend on the second."""
    closes: list[float | None] = [25.0, 26.0, 27.0, 28.0, 29.0]
    result: dict[str, Any] = {
        "meta": {
            "currency": "USD",
            "symbol": "AAA",
            "dataGranularity": "1d",
            "firstTradeDate": moment(date(1980, 12, 12)),
            "regularMarketTime": moment(DAYS[-1], 16, 0),
            "currentTradingPeriod": {
                "regular": {"start": moment(DAYS[-1]), "end": moment(DAYS[-1], 16, 0)},
            },
        },
        "timestamp": [moment(day) for day in DAYS],
        "events": {
            "splits": {"1": {"date": moment(DAYS[3]), "numerator": 4.0, "denominator": 1.0}},
            "dividends": {"1": {"date": moment(DAYS[1]), "amount": 0.25}},
        },
        "indicators": {
            "quote": [
                {
                    "open": closes,
                    "high": [close and close + 1 for close in closes],
                    "low": [close and close - 1 for close in closes],
                    "close": closes,
                    "volume": [400, 400, 400, 100, 100],
                }
            ]
        },
    }
    return result | changes


class Yahoo:
    """A running server, what it is to answer, and what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, str]]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                symbol = parts.path.removeprefix("/v8/finance/chart/")
                outer.asked.append((symbol, {name: each[0] for name, each in parse_qs(parts.query).items()}))
                queue = outer.answers[symbol]
                status, body = queue.pop(0) if len(queue) > 1 else queue[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def do_HEAD(self) -> None:
                self.send_response(503)
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                """Keep the output of the tests clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def source(self, *symbols: str) -> YahooSource:
        return YahooSource(symbols, f"http://127.0.0.1:{self._server.server_port}/", backoff=0, timeout=5)

    def answer(self, symbol: str, result: dict[str, Any], status: int = 200) -> None:
        body = {"chart": {"result": [result], "error": None}}
        self.answers.setdefault(symbol, []).append((status, json.dumps(body)))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def yahoo() -> Iterator[Yahoo]:
    server = Yahoo()
    yield server
    server.close()


def test_bars_are_put_back_as_traded_and_events_are_kept(yahoo):
    yahoo.answer("AAA", chart())
    frame = yahoo.source("AAA").load(DAYS[1], DAYS[4])
    assert tuple(frame.columns) == PRICE_COLUMNS
    assert frame["session"].tolist() == DAYS[1:]
    assert frame["close"].tolist() == [104.0, 108.0, 28.0, 29.0]
    assert frame["high"].tolist() == [108.0, 112.0, 29.0, 30.0]
    assert frame["volume"].tolist() == [100.0] * 4
    assert frame["split_factor"].tolist() == [1.0, 1.0, 4.0, 1.0]
    assert frame["dividend"].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert set(frame["source"]) == {"yahoo"}


def test_the_range_asked_for_reaches_to_the_present_so_that_no_later_split_is_missed(yahoo):
    yahoo.answer("AAA", chart())
    frame = yahoo.source("AAA").load(DAYS[0], DAYS[1])
    assert frame["close"].tolist() == [100.0, 104.0]
    [(_, query)] = yahoo.asked
    assert query["period1"] == str(moment(DAYS[0], 0, 0))
    assert int(query["period2"]) > moment(date(2099, 1, 1))
    assert (query["interval"], query["events"]) == ("1d", "div,splits")


def test_a_share_class_is_asked_for_with_a_hyphen_and_stored_as_the_exchange_writes_it(yahoo):
    yahoo.answer("AAA", chart())
    yahoo.answer("BRK-B", chart())
    frame = yahoo.source("AAA", "BRK.B").load(DAYS[4], DAYS[4])
    assert frame["symbol"].tolist() == ["AAA", "BRK.B"]


def test_the_session_that_is_still_trading_is_no_bar(yahoo):
    meta = chart()["meta"] | {"regularMarketTime": moment(DAYS[-1], 15, 59)}
    yahoo.answer("AAA", chart(meta=meta))
    source = yahoo.source("AAA")
    assert source.load(DAYS[3], DAYS[4])["session"].tolist() == [DAYS[3]]
    assert source.last_session() == DAYS[3]


def test_a_day_of_nulls_is_left_out_and_an_event_on_it_moves_to_the_next_bar(yahoo):
    quote = {name: [1.0, None, 1.0, 1.0, 1.0] for name in ("open", "high", "low", "close", "volume")}
    yahoo.answer("AAA", chart(indicators={"quote": [quote]}))
    frame = yahoo.source("AAA").load(DAYS[0], DAYS[4])
    assert DAYS[1] not in frame["session"].tolist()
    assert frame["dividend"].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_first_and_last_session_are_those_of_any_name(yahoo):
    yahoo.answer("AAA", chart())
    yahoo.answer(
        "BBB",
        chart(timestamp=[], indicators={"quote": [{}]})
        | {"meta": chart()["meta"] | {"firstTradeDate": moment(DAYS[0])}},
    )
    source = yahoo.source("BBB", "AAA")
    assert (source.first_session(), source.last_session()) == (nyse().first, DAYS[4])


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_and_then_its_answer_counts(yahoo, status):
    yahoo.answers["AAA"] = [(status, "Too Many Requests"), (status, "Too Many Requests")]
    yahoo.answer("AAA", chart())
    assert len(yahoo.source("AAA").load(DAYS[0], DAYS[4])) == 5
    assert len(yahoo.asked) == 3


def test_a_server_that_stays_busy_is_given_up_after_four_tries(yahoo):
    yahoo.answers["AAA"] = [(429, "Too Many Requests")]
    with pytest.raises(NotReadyError, match="answered 429 to all of 4 requests for AAA"):
        yahoo.source("AAA").load(DAYS[0], DAYS[4])
    assert len(yahoo.asked) == 4


def test_a_server_that_is_not_there_is_named():
    source = YahooSource(["AAA"], "http://127.0.0.1:1", backoff=0, timeout=1)
    with pytest.raises(NotReadyError, match="no prices of AAA in 4 tries"):
        source.load(DAYS[0], DAYS[4])


def test_a_name_that_yahoo_does_not_know_is_named(yahoo):
    error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
    yahoo.answers["ZZZ"] = [(404, json.dumps({"chart": {"result": None, "error": error}}))]
    with pytest.raises(DataError, match=r"Yahoo refuses ZZZ: Not Found, No data found.*HRP_SYMBOLS"):
        yahoo.source("ZZZ").load(DAYS[0], DAYS[4])


def test_a_name_that_was_not_listed_yet_has_no_rows(yahoo):
    error = {"code": "Bad Request", "description": "Data doesn't exist for startDate = 1, endDate = 2"}
    yahoo.answers["NEW"] = [(400, json.dumps({"chart": {"result": None, "error": error}}))]
    yahoo.answer("AAA", chart())
    assert set(yahoo.source("AAA", "NEW").load(DAYS[0], DAYS[4])["symbol"]) == {"AAA"}
    assert yahoo.source("NEW").load(DAYS[0], DAYS[4]).empty


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("<html>consent</html>", "is no chart: '<html>consent</html>'"),
        ("[]", "is no chart"),
        ('{"chart": {"result": [], "error": null}}', "neither a result nor an error"),
        (json.dumps({"chart": {"result": [{"meta": {}}]}}), "in None at steps of None"),
        (json.dumps({"chart": {"result": [chart(indicators={})]}}), "lacks what charts have"),
        (
            json.dumps({"chart": {"result": [chart(meta=chart()["meta"] | {"currency": "GBp"})]}}),
            "gives AAA in GBp",
        ),
        (json.dumps({"chart": {"result": [chart(timestamp=[1])]}}), "lacks what charts have"),
    ],
)
def test_an_answer_of_another_form_is_refused_by_name(yahoo, body, says):
    yahoo.answers["AAA"] = [(200, body)]
    with pytest.raises(DataError) as caught:
        yahoo.source("AAA").load(DAYS[0], DAYS[4])
    assert says in str(caught.value)


def test_a_bar_that_breaks_the_schema_is_refused_with_name_and_session(yahoo):
    quote = chart()["indicators"]["quote"][0] | {"close": [25.0, 26.0, None, 28.0, 29.0]}
    yahoo.answer("AAA", chart(indicators={"quote": [quote]}))
    with pytest.raises(DataError, match=r"yahoo for AAA, bar 3 \(2022-01-05\), column close: there is no"):
        yahoo.source("AAA").load(DAYS[0], DAYS[4])


def test_a_glance_says_whether_yahoo_answers_at_all(yahoo):
    source = yahoo.source("AAA")
    assert source.trouble() == ""
    yahoo.close()
    assert "Yahoo cannot be reached" in source.trouble()
