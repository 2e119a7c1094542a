"""What every `Broker` does alike: the adapter with either client library over a socket, and `SimBroker`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import BrokerConnectionError, BrokerError, RefusedError
from hrp_core.execution.broker import Broker, OrderEvent, OrderPreview, OrderRequest, QuoteQuality
from hrp_core.execution.config import BrokerConfig, IbLibrary
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.ibkr_loop import Pacer
from hrp_core.execution.sim_broker import SimBroker
from hrp_core.ledger.types import OrderId, OrderStatus
from hrp_core.matching import Engine, EngineState, Tape
from hrp_core.portfolio.types import OrderSide, OrderType
from hrp_core.simgateway import GatewayServer
from hrp_core.simgateway.control import GatewayClient

D, E = date(2022, 12, 5), date(2022, 12, 6)
CASH = Decimal(100_000)


def at(day: date, clock: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(clock), NEW_YORK)


EVENING = at(D, "18:30")


def tape() -> Tape:
    """2022-12-01 to 2022-12-14; AAPL opens day n at 100 + n, closes 0.50 higher. IPO has no price yet."""
    sessions = nyse().between(date(2022, 12, 1), date(2022, 12, 14))
    rows = []
    for n, session in enumerate(sessions):
        for symbol, base in (("AAPL", 100.0), ("MSFT", 200.0), ("IPO", 20.0)):
            if symbol == "IPO" and session < E:
                continue
            prices = {"open": base + n, "high": base + n + 1, "low": base + n - 1, "close": base + n + 0.5}
            rows.append({"session": session, "symbol": symbol, **prices, "volume": 1_000.0})
    return Tape.from_frame(pd.DataFrame(rows))


@dataclass
class Market:
    """A broker that is not connected yet, and the way to let time pass there."""

    broker: Broker
    advance: Callable[[datetime], object]


@pytest.fixture(params=["ib_insync", "ib_async", "sim"])
def market(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Market]:
    if request.param == "sim":
        broker = SimBroker(Engine(tape(), EngineState.opening(now=EVENING, cash=CASH)), "DU1234567")
        yield Market(broker, broker.advance)
        return
    library: IbLibrary = request.param
    with GatewayServer(tmp_path / "sim", tape(), start=EVENING, cash=CASH) as gateway:
        info = gateway.info
        config = BrokerConfig(info.host, info.port, 1, info.account, simulated=True, library=library)
        control = GatewayClient(gateway.gateway_file)
        broker = IBKRBroker(config, pacer=Pacer(float("inf")))
        yield Market(broker, control.advance)
        broker.disconnect()


@pytest.fixture
def broker(market: Market) -> Iterator[Broker]:
    with market.broker as connected:
        yield connected


def order(broker: Broker, shares: int, ref: str = "ref", symbol: str = "AAPL") -> OrderRequest:
    side = OrderSide.BUY if shares > 0 else OrderSide.SELL
    return OrderRequest(ref, broker.qualify([symbol])[symbol], side, abs(shares), OrderType.MARKET)


def told(broker: Broker, last: Callable[[OrderEvent], bool]) -> OrderEvent:
    while (event := broker.next_event(10)) is not None:
        if last(event):
            return event
    raise AssertionError("the event did not come")


def test_before_connecting_nothing_is_answered_and_nothing_is_sent(market: Market) -> None:
    broker = market.broker
    with broker:
        request = order(broker, 1)
    calls: list[Callable[[], object]] = [
        broker.heartbeat,
        broker.snapshot,
        lambda: broker.qualify(["AAPL"]),
        lambda: broker.quotes([request.contract], 1),
        lambda: broker.bars(request.contract, D, D),
        lambda: broker.what_if(request),
        lambda: broker.place(request),
        lambda: broker.cancel("ref"),
        broker.cancel_everything,
        broker.used_order_id,
        broker.next_order_id,
    ]
    assert not broker.is_connected()
    for call in calls:
        with pytest.raises(BrokerConnectionError, match="not connected"):
            call()
    with broker:
        assert broker.snapshot().open_orders == ()


def test_a_heartbeat_is_the_brokers_clock_in_new_york(market: Market, broker: Broker) -> None:
    assert broker.heartbeat() == EVENING
    market.advance(at(E, "10:00"))
    now = broker.heartbeat()
    assert (now, now.tzinfo) == (at(E, "10:00"), NEW_YORK)


def test_unknown_symbols_are_absent(broker: Broker) -> None:
    assert set(broker.qualify(["AAPL", "ZZZ", "MSFT"])) == {"AAPL", "MSFT"}


def test_a_connection_knows_the_order_ids_used_before_it_and_over_it(market: Market) -> None:
    with market.broker as broker:
        assert broker.used_order_id() == OrderId(1, 0)
        first, second, unused = (broker.next_order_id() for _ in range(3))
        assert first.number < second.number < unused.number
        for ref, order_id in (("one", first), ("two", second)):
            broker.place(replace(order(broker, 1, ref), order_id=order_id))
            told(broker, lambda event: event.perm_id > 0)
        assert broker.used_order_id() == second
    with market.broker as broker:
        assert broker.used_order_id() == second
        assert broker.next_order_id().number > second.number


def test_an_order_is_acknowledged_filled_and_in_the_snapshot(market: Market, broker: Broker) -> None:
    broker.place(order(broker, 10))
    ack = told(broker, lambda event: event.status is OrderStatus.SUBMITTED and event.perm_id > 0)
    (waiting,) = broker.snapshot().open_orders
    assert (waiting.order_ref, waiting.perm_id, waiting.filled) == ("ref", ack.perm_id, 0)
    market.advance(at(E, "10:00"))
    event = told(broker, lambda event: bool(event.execution and event.execution.commission))
    assert event.execution is not None
    assert (event.execution.shares, event.execution.price) == (10, Decimal("103.0000"))
    snapshot = broker.snapshot()
    assert snapshot.open_orders == ()
    assert [each.exec_id for each in snapshot.executions] == [event.execution.exec_id]
    assert [(each.contract.symbol, each.shares) for each in snapshot.positions] == [("AAPL", 10)]
    assert snapshot.values.cash == CASH - 1030 - 1


def test_an_open_order_is_cancelled_once(broker: Broker) -> None:
    broker.place(order(broker, 10))
    told(broker, lambda event: event.status is OrderStatus.SUBMITTED)
    broker.cancel("ref")
    told(broker, lambda event: event.status is OrderStatus.CANCELLED)
    with pytest.raises(BrokerError, match="no open order"):
        broker.cancel("ref")


def test_everything_is_cancelled_at_once(broker: Broker) -> None:
    for number, symbol in enumerate(("AAPL", "MSFT")):
        broker.place(order(broker, 10, f"ref{number}", symbol))
    assert len(broker.snapshot().open_orders) == 2
    broker.cancel_everything()
    assert broker.snapshot().open_orders == ()


def test_quotes_of_all_names_come_together_each_with_what_there_is(market: Market, broker: Broker) -> None:
    contracts = broker.qualify(["MSFT", "AAPL", "IPO"])
    quotes = broker.quotes(list(contracts.values()), 10)
    assert set(quotes) == {"AAPL", "MSFT", "IPO"}
    assert (quotes["IPO"].quality, quotes["IPO"].last) == (QuoteQuality.NONE, None)
    aapl = quotes["AAPL"]
    assert (aapl.quality, aapl.last, aapl.close) == (QuoteQuality.LIVE, Decimal("102.5"), Decimal("101.5"))
    assert (aapl.bid, aapl.ask, aapl.order_price(OrderSide.BUY)) == (None, None, Decimal("102.5"))
    market.advance(at(E, "10:00"))
    assert broker.quotes([contracts["AAPL"]], 10)["AAPL"].last == Decimal("103")
    assert broker.quotes([], 10) == {}


def test_bars_are_those_of_completed_sessions_within_the_range(market: Market, broker: Broker) -> None:
    contract = broker.qualify(["AAPL"])["AAPL"]
    first = date(2022, 12, 1)
    assert [bar.session for bar in broker.bars(contract, D, E)] == [D]
    market.advance(at(E, "15:59"))
    assert [bar.session for bar in broker.bars(contract, D, E)] == [D]
    market.advance(at(E, "16:00"))
    assert [bar.session for bar in broker.bars(contract, D, E)] == [D, E]
    assert [bar.session for bar in broker.bars(contract, first, D)] == nyse().between(first, D)
    # More than a year goes out in another unit.
    long_ago = date(2020, 1, 2)
    assert [bar.session for bar in broker.bars(contract, long_ago, E)] == nyse().between(first, E)
    assert list(broker.bars(contract, E.replace(day=7), E.replace(day=9))) == []


def test_a_name_without_any_bar_has_none(broker: Broker) -> None:
    contract = broker.qualify(["IPO"])["IPO"]
    assert list(broker.bars(contract, date(2022, 12, 1), D)) == []


def test_a_bar_has_the_official_prices_and_the_volume(broker: Broker) -> None:
    (bar,) = broker.bars(broker.qualify(["AAPL"])["AAPL"], D, D)
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (102.0, 103.0, 101.0, 102.5, 1000.0)


def test_a_preview_says_what_an_order_costs_and_places_nothing(market: Market, broker: Broker) -> None:
    request = order(broker, 10)
    assert broker.what_if(request) == OrderPreview(
        margin_before=Decimal(0),
        margin_change=Decimal(1025),
        equity_before=CASH,
        equity_change=Decimal(-1),
        commission=Decimal(1),
    )
    assert broker.next_event(0) is None
    snapshot = broker.snapshot()
    assert (snapshot.open_orders, snapshot.completed_orders) == ((), ())
    # The reference is still free: the order itself can be placed under it.
    broker.place(request)
    told(broker, lambda event: event.status is OrderStatus.SUBMITTED)
    market.advance(at(E, "10:00"))
    assert len(broker.snapshot().executions) == 1


@pytest.mark.parametrize(("shares", "says"), [(2_000, "201"), (-1, "201.*cannot go short")])
def test_a_preview_of_an_order_that_would_be_rejected_is_an_error(
    broker: Broker, shares: int, says: str
) -> None:
    with pytest.raises(BrokerError, match=says):
        broker.what_if(order(broker, shares))
    assert broker.is_connected()
    assert broker.snapshot().completed_orders == ()


def test_a_preview_of_what_could_not_be_sent_is_refused(broker: Broker) -> None:
    good = order(broker, 1)
    bad = OrderRequest("ref", good.contract, OrderSide.BUY, 1, OrderType.MARKET_ON_OPEN)
    with pytest.raises(RefusedError, match="time in force OPG"):
        broker.what_if(bad)
