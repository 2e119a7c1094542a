"""Quotes, bars and previews over a wire that bends: what is missing, delayed, refused or late."""

import socket
import sys
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from ibkr_support import AFTER_OPEN, ConfigFor, Connect, market_order
from wire_proxy import Fields, Rule, WireProxy

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import BrokerConnectionError, BrokerError, SettingsError
from hrp_core.execution.broker import QuoteQuality
from hrp_core.execution.config import BrokerConfig, IbLibrary, broker_config
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.ibkr_bars import IbkrBars
from hrp_core.execution.ibkr_loop import Pacer
from hrp_core.ledger.types import Contract
from hrp_core.market import IbkrSource
from hrp_core.matching import Tape
from hrp_core.settings import Settings
from hrp_core.simgateway import GatewayServer
from hrp_core.simgateway.control import GatewayClient

# Numbers of the protocol: answers, then requests.
TICK, ERROR, OPEN_ORDER, BARS, SNAPSHOT_END, DATA_TYPE = "1", "4", "5", "17", "57", "58"
PLACE, HISTORY = 3, 20
FIRST, D = date(2022, 12, 1), date(2022, 12, 5)


@pytest.fixture(scope="session")
def tape(tape: Tape) -> Tape:
    """The adapter's market with a high and a low: a bar needs them."""
    return Tape(
        tape.sessions, tape.symbols, tape.open, tape.close + 1, tape.open - 1, tape.close, tape.volume
    )


@pytest.fixture
def broker(connect: Connect, wire: WireProxy) -> IBKRBroker:
    return connect(port=wire.port, timeout=5)


@pytest.fixture
def contracts(broker: IBKRBroker) -> dict[str, Contract]:
    return broker.qualify(["AAPL", "MSFT"])


def error(request_id: str, code: int, text: str) -> Fields:
    return [ERROR, "2", request_id, str(code), text, ""]


def instead_of_the_first_quote(code: int, text: str) -> Rule:
    """Return a rule that answers the first request for market data with an error and nothing else."""
    refused: list[str] = []

    def rule(fields: Fields) -> Iterable[Fields]:
        if fields[0] == DATA_TYPE and not refused:
            refused.append(fields[2])
            yield error(fields[2], code, text)
        elif not (fields[0] in (TICK, SNAPSHOT_END, DATA_TYPE) and fields[2] in refused):
            yield fields

    return rule


@pytest.mark.parametrize("price", ["NaN", "-1", "0", "1.7976931348623157e+308"])
def test_a_price_that_is_none_is_not_a_price(
    broker: IBKRBroker, wire: WireProxy, contracts: dict[str, Contract], price: str
) -> None:
    wire.rule = lambda fields: [[*fields[:4], price, *fields[5:]] if fields[0] == TICK else fields]
    quote = broker.quotes([contracts["AAPL"]], 10)["AAPL"]
    assert (quote.last, quote.close, quote.quality) == (None, None, QuoteQuality.NONE)


def test_delayed_prices_are_called_so(
    broker: IBKRBroker, wire: WireProxy, contracts: dict[str, Contract]
) -> None:
    def rule(fields: Fields) -> Iterable[Fields]:
        if fields[0] == DATA_TYPE:
            yield error(fields[2], 10167, "Requested market data is not subscribed. Displaying delayed data.")
            yield [*fields[:3], "3"]
        elif fields[0] == TICK:
            yield [*fields[:3], {"4": "68", "9": "75"}.get(fields[3], fields[3]), *fields[4:]]
        else:
            yield fields

    wire.rule = rule
    quote = broker.quotes([contracts["AAPL"]], 10)["AAPL"]
    assert (quote.quality, quote.last) == (QuoteQuality.DELAYED, Decimal("102.5"))


def test_all_quotes_are_asked_for_before_the_first_is_answered(
    broker: IBKRBroker, wire: WireProxy, contracts: dict[str, Contract]
) -> None:
    held: list[Fields] = []

    def rule(fields: Fields) -> Iterable[Fields]:
        if fields[0] not in (TICK, SNAPSHOT_END, DATA_TYPE):
            yield fields
            return
        held.append(fields)
        if [each[0] for each in held].count(SNAPSHOT_END) == len(contracts):
            yield from held

    wire.rule = rule
    quotes = broker.quotes(list(contracts.values()), 10)
    assert {symbol: quote.quality for symbol, quote in quotes.items()} == dict.fromkeys(
        contracts, QuoteQuality.LIVE
    )


@pytest.mark.parametrize("code", [200, 354, 10089, 10168, 10186])
def test_one_name_without_permission_or_definition_leaves_the_others_their_quotes(
    broker: IBKRBroker, wire: WireProxy, contracts: dict[str, Contract], code: int
) -> None:
    wire.rule = instead_of_the_first_quote(code, "no market data")
    quotes = broker.quotes(list(contracts.values()), 10)
    assert [quote.quality for quote in quotes.values()] == [QuoteQuality.NONE, QuoteQuality.LIVE]


@pytest.mark.parametrize("code", [10197, 101, 100])
def test_a_competing_session_or_too_many_requests_end_the_whole_request(
    broker: IBKRBroker, wire: WireProxy, contracts: dict[str, Contract], code: int
) -> None:
    wire.rule = instead_of_the_first_quote(code, "not now")
    with pytest.raises(BrokerError, match=f"error {code}"):
        broker.quotes(list(contracts.values()), 10)
    wire.rule = lambda fields: [fields]
    assert broker.quotes([contracts["AAPL"]], 10)["AAPL"].quality is QuoteQuality.LIVE


def test_a_quote_that_does_not_end_has_what_came_in_time(
    broker: IBKRBroker, wire: WireProxy, contracts: dict[str, Contract]
) -> None:
    wire.rule = lambda fields: [] if fields[0] == SNAPSHOT_END else [fields]
    quote = broker.quotes([contracts["AAPL"]], 0.3)["AAPL"]
    assert quote.last == Decimal("102.5")
    # Nothing was lost: the connection goes on.
    assert broker.snapshot().open_orders == ()


def test_without_time_nothing_is_asked_for_and_nothing_has_a_price(
    broker: IBKRBroker, contracts: dict[str, Contract]
) -> None:
    quotes = broker.quotes(list(contracts.values()), 0)
    assert {quote.quality for quote in quotes.values()} == {QuoteQuality.NONE}


def test_a_connection_that_ends_is_no_quote(
    broker: IBKRBroker, wire: WireProxy, contracts: dict[str, Contract]
) -> None:
    def rule(fields: Fields) -> Iterable[Fields]:
        if fields[0] == SNAPSHOT_END:
            wire.cut()
            return
        yield fields

    wire.rule = rule
    with pytest.raises(BrokerConnectionError):
        broker.quotes([contracts["AAPL"]], 10)


def test_the_bar_of_a_session_that_is_not_over_is_left_out(
    broker: IBKRBroker, wire: WireProxy, contracts: dict[str, Contract], control: GatewayClient
) -> None:
    """IB sends today's unfinished bar along with the others."""
    unfinished = ["20221206", "103", "104", "102", "103.25", "10", "-1", "-1"]
    wire.rule = lambda fields: (
        [[*fields[:4], str(int(fields[4]) + 1), *fields[5:], *unfinished]] if fields[0] == BARS else [fields]
    )
    control.advance(AFTER_OPEN)
    assert [bar.session for bar in broker.bars(contracts["AAPL"], D, date(2022, 12, 9))] == [D]


def test_pacing_of_history_is_an_error_and_no_empty_answer(
    broker: IBKRBroker, wire: WireProxy, contracts: dict[str, Contract]
) -> None:
    wire.rule = lambda fields: (
        [
            error(
                fields[1],
                162,
                "Historical Market Data Service error message:API historical data query pacing",
            )
        ]
        if fields[0] == BARS
        else [fields]
    )
    with pytest.raises(BrokerError, match=r"error 162.*slow down"):
        broker.bars(contracts["AAPL"], FIRST, D)


def test_a_preview_carries_no_order_reference(
    broker: IBKRBroker, wire: WireProxy, contracts: dict[str, Contract]
) -> None:
    request = market_order(contracts["AAPL"])
    broker.what_if(request)
    assert request.order_ref not in wire.heard(PLACE)
    broker.place(request)
    assert request.order_ref in wire.heard(PLACE)


def test_a_preview_without_figures_is_not_taken_for_one(
    connect: Connect, wire: WireProxy, control: GatewayClient
) -> None:
    broker = connect(port=wire.port, timeout=0.5)
    contract = broker.qualify(["AAPL"])["AAPL"]
    answers: list[Fields] = []

    def rule(fields: Fields) -> Iterable[Fields]:
        if fields[0] == OPEN_ORDER:
            answers.append(fields)
            if len(answers) > 1:
                return
        yield fields

    wire.rule = rule
    with pytest.raises(BrokerError, match="did not finish answering the preview"):
        broker.what_if(market_order(contract))
    assert control.state().orders_received == 0


def test_a_read_only_api_refuses_the_preview_with_its_code(
    broker: IBKRBroker, contracts: dict[str, Contract], control: GatewayClient
) -> None:
    """Asked before the first order, it tells a read-only connection from one that trades (F22)."""
    control.fault("read_only")
    with pytest.raises(BrokerError, match="error 321"):
        broker.what_if(market_order(contracts["AAPL"]))


def test_bars_of_the_broker_are_a_price_source_that_asks_once_a_name(
    broker: IBKRBroker, wire: WireProxy, control: GatewayClient
) -> None:
    source = IbkrSource(IbkrBars(broker, pacer=Pacer(float("inf"))), ["AAPL", "MSFT"])
    assert (source.first_session(), source.last_session()) == (FIRST, D)
    frame = source.load(FIRST, D)
    assert frame["close"].tolist()[:2] == [100.5, 200.5]
    assert len(frame) == 6
    asked = [wire.heard(HISTORY) for _ in range(2)]
    assert [fields[3] for fields in asked] == ["AAPL", "MSFT"]
    # A new session is over: what is held is not all there is any more.
    control.advance(datetime(2022, 12, 6, 18, 0, tzinfo=NEW_YORK))
    assert len(source.load(FIRST, date(2022, 12, 6))) == 8
    assert [wire.heard(HISTORY)[3] for _ in range(2)] == ["AAPL", "MSFT"]


def test_requests_for_history_are_spaced(broker: IBKRBroker) -> None:
    naps: list[float] = []
    bars = IbkrBars(broker, pacer=Pacer(0.1, 1), clock=lambda: sum(naps), sleep=naps.append)
    for symbol in ("AAPL", "MSFT", "AAPL"):
        assert len(bars.daily_bars(symbol, D, D)) == 1
    assert naps == [10.0]


def test_bars_of_a_name_the_broker_does_not_know_are_an_error(broker: IBKRBroker) -> None:
    with pytest.raises(BrokerError, match="knows no US stock ZZZ"):
        IbkrBars(broker).span("ZZZ")


def test_the_library_is_chosen_by_a_setting(
    gateway: GatewayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HRP_IB_LIBRARY", raising=False)
    assert broker_config(Settings(home=tmp_path)).library == "ib_insync"
    monkeypatch.setenv("HRP_IB_LIBRARY", "ib_async")
    assert broker_config(Settings(home=tmp_path)).library == "ib_async"
    monkeypatch.setenv("IBKR_ACCOUNT", "DU1")
    assert broker_config(Settings(home=tmp_path, mode="paper")).library == "ib_async"  # type: ignore[arg-type]
    monkeypatch.setenv("HRP_IB_LIBRARY", "ibapi")
    with pytest.raises(ValueError, match="ib_library"):
        Settings()


@pytest.mark.parametrize("library", ["ib_insync", "ib_async"])
def test_either_library_leads_to_a_cause_and_a_fix_where_nothing_answers(library: IbLibrary) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        config = BrokerConfig("127.0.0.1", port, 1, "DU1", timeout=0.3, simulated=True, library=library)
        with pytest.raises(BrokerConnectionError, match=r"did not answer within 0\.3 s"):
            IBKRBroker(config).connect()
    with pytest.raises(BrokerConnectionError, match=r"connection refused.*hrp gateway serve"):
        IBKRBroker(config).connect()


def test_a_library_that_is_not_installed_is_named_with_the_way_to_install_it(
    config_for: ConfigFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: BrokerConfig = config_for(library="ib_async")
    monkeypatch.setitem(sys.modules, "ib_async", None)
    with pytest.raises(SettingsError, match=r"hrp-dagster\[ib_async\]"):
        IBKRBroker(config).connect()
