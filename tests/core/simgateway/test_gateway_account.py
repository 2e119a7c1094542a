"""Connecting, the account, contracts and prices, with the unpatched client library."""

import socket
from decimal import Decimal

import pytest


def test_connecting_synchronises_everything_and_logs_no_time_out(gateway, library, caplog):
    client = library.connect(gateway)
    assert client.call("isConnected")
    assert client.call("managedAccounts") == [gateway.account]
    assert gateway.account.startswith("DU")
    assert len(gateway.account) == 9
    assert [code for _, code, _ in client.errors] == [2104, 2106, 2158]
    assert not [record for record in caplog.records if "timed out" in record.getMessage()]


def test_the_other_maintained_client_library_connects_too(gateway, library):
    ib_async = pytest.importorskip("ib_async")
    ib = library.call(ib_async.IB)
    library.run(lambda: ib.connectAsync("127.0.0.1", gateway.port, clientId=5, raiseSyncErrors=True))
    assert ib.client.serverVersion() == 176
    assert ib.managedAccounts() == [gateway.account]
    library.call(ib.disconnect)


def test_a_client_too_old_or_too_new_is_turned_away(gateway):
    for offer in (b"v100..156", b"v177..200"):
        with socket.create_connection((gateway.host, gateway.port), 5) as connection:
            connection.sendall(b"API\0" + len(offer).to_bytes(4, "big") + offer)
            assert connection.recv(100) == b""


def test_the_brokers_time_is_the_gateways_clock(gateway, library, at):
    client = library.connect(gateway)
    assert client.ask("reqCurrentTime") == at("2022-12-05", "16:30")
    gateway.client().advance(at("2022-12-06", "08:00"))
    assert client.ask("reqCurrentTime") == at("2022-12-06", "08:00")


def test_contract_details_say_id_exchange_and_tick(gateway, library):
    client = library.connect(gateway)
    (details,) = client.ask("reqContractDetails", library.ib_insync.Stock("AAPL", "SMART", "USD"))
    assert details.contract.conId > 0
    assert (details.contract.primaryExchange, details.contract.currency) == ("NASDAQ", "USD")
    assert (details.minTick, details.stockType, details.marketRuleIds) == (0.01, "COMMON", "26,26,26")
    (by_id,) = client.ask("reqContractDetails", library.ib_insync.Contract(conId=details.contract.conId))
    assert by_id.contract.symbol == "AAPL"
    (rule,) = client.ask("reqMarketRule", 26)
    assert (rule.lowEdge, rule.increment) == (0.0, 0.01)


@pytest.mark.parametrize(
    "fields",
    [
        {"symbol": "NONE"},
        {"symbol": "AAPL", "currency": "EUR"},
        {"symbol": "AAPL", "secType": "OPT"},
        {"symbol": "AAPL", "exchange": "LSE"},
        {"symbol": "AAPL", "primaryExchange": "NYSE"},
        {"conId": 1},
    ],
)
def test_an_unknown_contract_is_error_200(gateway, library, fields):
    client = library.connect(gateway)
    contract = library.ib_insync.Contract(
        **{"secType": "STK", "exchange": "SMART", "currency": "USD", **fields}
    )
    assert client.ask("reqContractDetails", contract) == []
    assert client.errors[-1][1] == 200


def test_positions_and_account_values_follow_the_fills(gateway, library, at):
    client = library.connect(gateway)
    client.place("AAPL", "BUY", 100)
    gateway.client().advance(at("2022-12-06", "16:30"))
    client.sync()
    (position,) = client.ask("reqPositions")
    assert (position.account, position.contract.symbol, position.position) == (gateway.account, "AAPL", 100)
    assert position.avgCost == 103.51  # 103.50 and one cent a share of commission
    values = {value.tag: value.value for value in client.call("accountValues")}
    cash = Decimal(100_000) - Decimal("10350") - 1
    assert Decimal(values["TotalCashValue"]) == cash
    assert Decimal(values["NetLiquidation"]) == cash + 10_400
    assert Decimal(values["UnrealizedPnL"]) == 10_400 - 10_351
    (item,) = client.call("portfolio")
    assert (item.position, item.marketPrice, item.marketValue) == (100, 104.0, 10_400.0)
    state = gateway.client().state()
    assert (state.cash, state.net_liquidation) == (cash, cash + 10_400)


def test_a_position_sold_out_is_pushed_as_zero(gateway, library, at):
    client = library.connect(gateway)
    client.place("AAPL", "BUY", 10)
    gateway.client().advance(at("2022-12-06", "16:30"))
    client.place("AAPL", "SELL", 10)
    assert [position.position for position in client.call("positions")] == [10]
    gateway.client().advance(at("2022-12-07", "16:30"))
    client.sync()
    assert client.call("positions") == []
    assert client.call("portfolio") == []
    assert client.ask("reqPositions") == []


def test_the_account_summary_has_the_tags_that_were_asked_for(gateway, library):
    client = library.connect(gateway)
    client.ask("reqAccountSummary")
    summary = {value.tag: value.value for value in client.ib.wrapper.acctSummary.values()}
    assert summary["NetLiquidation"] == "100000.0000"
    assert summary["AccountType"] == "INDIVIDUAL"


def test_values_of_another_account_are_refused(gateway, library):
    client = library.connect(gateway)
    library.call(client.ib.client.reqAccountUpdates, True, "DU0000001")
    client.sync()
    assert client.errors[-1][:2] == (-1, 321)


@pytest.mark.parametrize(
    ("day", "clock", "last", "close"),
    [
        ("2022-12-05", "16:30", 103.0, 102.0),  # the evening: today's close, yesterday's as prior close
        ("2022-12-06", "08:00", 103.0, 103.0),  # before the open
        ("2022-12-06", "09:30", 103.5, 103.0),  # the open
        ("2022-12-06", "16:00", 104.0, 103.0),
        ("2022-12-10", "12:00", 107.0, 107.0),  # Saturday
    ],
)
def test_a_snapshot_shows_the_newest_official_price_and_the_prior_close(
    gateway, library, at, day, clock, last, close
):
    client = library.connect(gateway)
    gateway.client().advance(at(day, clock))
    (ticker,) = client.ask("reqTickers", client.stock("AAPL"))
    assert (ticker.last, ticker.close) == (last, close)


def test_a_subscribed_quote_moves_with_the_clock_until_it_is_cancelled(gateway, library, at):
    client = library.connect(gateway)
    stock = client.stock("AAPL")
    ticker = client.call("reqMktData", stock)
    client.sync()
    assert (ticker.last, ticker.close) == (103.0, 102.0)
    gateway.client().advance(at("2022-12-06", "09:31"))
    client.sync()
    assert (ticker.last, ticker.close, ticker.open) == (103.5, 103.0, 103.5)
    client.call("cancelMktData", stock)
    gateway.client().advance(at("2022-12-06", "16:30"))
    client.sync()
    assert ticker.last == 103.5
    library.call(client.ib.client.cancelMktData, 999)
    client.sync()
    assert client.errors[-1][1] == 300


def test_daily_bars_end_at_the_clock_and_have_no_made_up_parts(gateway, library):
    client = library.connect(gateway)
    stock = client.stock("AAPL")
    bars = client.ask("reqHistoricalData", stock, "", "2 D", "1 day", "TRADES", True)
    assert [(bar.date.isoformat(), bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars] == [
        ("2022-12-02", 101.5, 103.0, 100.0, 102.0, 1_000_001),
        ("2022-12-05", 102.5, 104.0, 101.0, 103.0, 1_000_002),
    ]
    early = client.ask("reqHistoricalData", stock, "20221202 20:00:00", "1 W", "1 day", "TRADES", True)
    assert [bar.close for bar in early] == [101.0, 102.0]
    assert not client.ask("reqHistoricalData", client.stock("KO"), "", "2 D", "1 day", "TRADES", True)
    assert client.errors[-1][1] == 162
    client.ask("reqHistoricalData", stock, "", "2 D", "5 mins", "TRADES", True)
    assert client.errors[-1][1] == 321


def test_an_unserved_request_is_refused_under_its_own_id(gateway, library):
    client = library.connect(gateway)
    assert client.ask("reqHeadTimeStamp", client.stock("AAPL"), "TRADES", True, 1) == []
    assert client.errors[-1][1] == 505
    assert "head time stamp" in client.errors[-1][2]
    assert client.errors[-1][0] > 0


def test_a_malformed_request_is_refused_and_the_connection_stays(gateway, library):
    client = library.connect(gateway)
    library.call(client.ib.client.send, 9, 8, 77, "not a number")
    library.call(client.ib.client.send, 4242, 1)
    client.sync()
    assert [(id_, code) for id_, code, _ in client.errors[-2:]] == [(77, 320), (-1, 505)]
    assert client.call("isConnected")
