"""What the adapter says when the wire misbehaves: nothing is assumed, nothing lost, nothing sent blind.

Longer than other files on purpose: one catalogue of faults, each with its own few lines of wire.
"""

from collections.abc import Iterable

import pytest
from ibkr_support import AFTER_OPEN, Connect, events_so_far, events_until, market_order, place
from wire_proxy import Fields, WireProxy, unchanged, without

from hrp_core.errors import BrokerConnectionError, BrokerError, IncompleteSnapshotError
from hrp_core.execution import ibkr_session
from hrp_core.execution.broker import NotSentError
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.ledger.types import Contract, OrderStatus
from hrp_core.money import to_money
from hrp_core.simgateway.control import GatewayClient

REF = "S221205-1-abcdef-1"
DBL_MAX = "1.7976931348623157E308"

PLACE_ORDER, EXECUTIONS_REQUEST, IDS_REQUEST, TIME_REQUEST = 3, 7, 8, 49
STATUS, ERROR, OPEN_ORDER, CONTRACT, EXECUTION = 3, 4, 5, 10, 11
TIME, OPEN_END, EXECUTIONS_END, COMMISSION, POSITION, POSITIONS_END = 49, 53, 55, 59, 61, 62
SUMMARY, SUMMARY_END, COMPLETED_END = 63, 64, 102

ENDS = {
    "current time": TIME,
    "all open orders": OPEN_END,
    "completed orders": COMPLETED_END,
    "executions": EXECUTIONS_END,
    "positions": POSITIONS_END,
    "account values": SUMMARY_END,
}


def aapl(broker: IBKRBroker) -> Contract:
    return broker.qualify(["AAPL"])["AAPL"]


@pytest.fixture
def broker(connect: Connect, wire: WireProxy) -> IBKRBroker:
    """A broker connected through the wire that the test bends."""
    return connect(port=wire.port)


@pytest.fixture
def order_id(broker: IBKRBroker, wire: WireProxy) -> str:
    """The order id of an open order that the broker has acknowledged."""
    place(broker, market_order(aapl(broker)))
    sent = wire.heard(PLACE_ORDER)
    events_until(broker, lambda event: event.code == 399)
    events_so_far(broker)
    return sent[1]


def say_status(wire: WireProxy, order_id: str, status: str, why_held: str = "") -> None:
    wire.say(STATUS, order_id, status, 0, 10, 0, 1200000001, 0, 0, 1, why_held, 0)


# Answers that do not end.


@pytest.mark.parametrize("name", ENDS)
def test_an_answer_without_its_end_makes_the_snapshot_incomplete_and_the_connection_unusable(
    name: str, connect: Connect, wire: WireProxy, control: GatewayClient
) -> None:
    broker = connect(port=wire.port, timeout=1.0)
    contract = aapl(broker)
    wire.rule = without(ENDS[name])

    with pytest.raises(IncompleteSnapshotError, match=f"did not finish answering {name} "):
        broker.snapshot()
    wire.rule = unchanged
    with pytest.raises(IncompleteSnapshotError, match="connect again"):
        broker.snapshot()
    with pytest.raises(BrokerConnectionError, match="not used any more"):
        broker.place(market_order(contract))
    assert control.state().orders_received == 0

    broker.connect()
    assert broker.snapshot().values.cash == 100_000


@pytest.mark.parametrize("name", ["current time", "all open orders", "executions"])
def test_an_answer_without_its_end_while_connecting_is_no_connection(
    name: str, connect: Connect, wire: WireProxy
) -> None:
    wire.rule = without(ENDS[name])

    with pytest.raises(BrokerConnectionError, match=r"did not answer within 1 s"):
        connect(port=wire.port, timeout=1.0)


def test_a_snapshot_dies_with_its_connection(broker: IBKRBroker, wire: WireProxy) -> None:
    def rule(fields: Fields) -> Iterable[Fields]:
        if fields[0] == str(EXECUTIONS_END):
            wire.cut()
        yield fields

    wire.rule = rule

    with pytest.raises(BrokerConnectionError, match="was lost; executions was not answered"):
        broker.snapshot()


def test_a_half_open_connection_fails_its_heartbeat(connect: Connect, wire: WireProxy) -> None:
    broker = connect(port=wire.port, timeout=1.0)
    wire.rule = lambda _fields: []

    with pytest.raises(BrokerConnectionError, match="the connection is dead"):
        broker.heartbeat()


def test_an_order_after_long_silence_is_sent_only_if_the_broker_still_answers(
    connect: Connect, wire: WireProxy, control: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = connect(port=wire.port, timeout=1.0)
    contract = aapl(broker)
    monkeypatch.setattr(ibkr_session, "_SILENCE_SECONDS", 0.0)
    place(broker, market_order(contract, ref="answered"))
    assert control.state().orders_received == 1
    wire.rule = without(TIME)

    with pytest.raises(NotSentError, match="order unanswered was not sent"):
        broker.place(market_order(contract, ref="unanswered"))
    assert control.state().orders_received == 1


# Messages that cannot be decoded.


@pytest.mark.undecodable
def test_an_undecodable_execution_makes_the_snapshot_incomplete(
    broker: IBKRBroker, wire: WireProxy, control: GatewayClient
) -> None:
    contract = aapl(broker)
    place(broker, market_order(contract))
    control.advance(AFTER_OPEN)
    wire.rule = lambda fields: [fields[:-1] if fields[0] == str(EXECUTION) else fields]

    with pytest.raises(IncompleteSnapshotError, match="could not be decoded"):
        broker.snapshot()


@pytest.mark.undecodable
def test_after_an_undecodable_message_no_order_is_sent(
    broker: IBKRBroker, wire: WireProxy, control: GatewayClient
) -> None:
    contract = aapl(broker)
    wire.say(OPEN_ORDER, "not", "an", "order")
    with pytest.raises(BrokerError, match="could not be decoded"):
        broker.qualify(["AAPL"])

    with pytest.raises(NotSentError, match="could not be decoded"):
        broker.place(market_order(contract))
    assert control.state().orders_received == 0


@pytest.mark.undecodable
def test_a_connection_is_not_blamed_for_what_another_could_not_decode(
    broker: IBKRBroker, connect: Connect, wire: WireProxy
) -> None:
    other = connect(client_id=2)
    wire.say(OPEN_ORDER, "not", "an", "order")

    with pytest.raises(IncompleteSnapshotError):
        broker.snapshot()
    assert other.snapshot().values.cash == 100_000


@pytest.mark.undecodable
def test_a_fractional_position_is_named_and_not_rounded(broker: IBKRBroker, wire: WireProxy) -> None:
    contract = aapl(broker)

    def rule(fields: Fields) -> Iterable[Fields]:
        if fields[0] == str(POSITIONS_END):
            yield position_row(broker.account, contract, "1.5")
        yield fields

    wire.rule = rule

    with pytest.raises(BrokerError, match=r"position in AAPL: quantity 1\.5 is not a whole number"):
        broker.snapshot()


def position_row(account: str, contract: Contract, shares: str) -> Fields:
    head = [str(POSITION), "3", account, str(contract.con_id), contract.symbol, "STK"]
    return [*head, "", "0.0", "", "", "NASDAQ", "USD", contract.symbol, "NMS", shares, "100.0"]


# Executions and commissions.


def test_a_commission_before_its_execution_is_kept_until_it_comes(
    broker: IBKRBroker, wire: WireProxy, control: GatewayClient
) -> None:
    place(broker, market_order(aapl(broker)))
    held: list[Fields] = []

    def rule(fields: Fields) -> Iterable[Fields]:
        if fields[0] == str(EXECUTION):
            held.append(fields)
            return
        yield fields
        if fields[0] == str(COMMISSION):
            yield from held

    wire.rule = rule
    control.advance(AFTER_OPEN)
    seen = events_until(broker, lambda event: event.execution is not None)

    fill = seen[-1].execution
    assert fill is not None
    assert fill.commission == to_money(1)


def test_an_unknown_commission_is_none_until_it_is_reported(
    broker: IBKRBroker, wire: WireProxy, control: GatewayClient
) -> None:
    place(broker, market_order(aapl(broker)))

    def rule(fields: Fields) -> Iterable[Fields]:
        if fields[0] == str(COMMISSION):
            fields = [*fields[:3], DBL_MAX, *fields[4:]]
        yield fields

    wire.rule = rule
    control.advance(AFTER_OPEN)
    assert [execution.commission for execution in broker.snapshot().executions] == [None]
    assert [event.execution.commission for event in events_so_far(broker) if event.execution] == [None]

    wire.rule = unchanged
    assert [execution.commission for execution in broker.snapshot().executions] == [to_money(1)]
    assert [event.execution.commission for event in events_so_far(broker) if event.execution] == [to_money(1)]


def test_repeated_messages_give_one_event_each(
    broker: IBKRBroker, wire: WireProxy, control: GatewayClient
) -> None:
    wire.rule = lambda fields: [fields, fields] if int(fields[0]) in {3, 5, 11, 59} else [fields]
    place(broker, market_order(aapl(broker)))
    control.advance(AFTER_OPEN)
    seen = events_so_far(broker)

    statuses = [event.status for event in seen if event.status is not None]
    assert statuses == [OrderStatus.SUBMITTED, OrderStatus.FILLED]
    assert [event.execution.commission for event in seen if event.execution] == [None, to_money(1)]
    snapshot = broker.snapshot()
    assert len(snapshot.executions) == 1
    assert [position.shares for position in snapshot.positions] == [10]


def test_a_fill_that_was_never_pushed_arrives_with_the_next_snapshot(
    broker: IBKRBroker, wire: WireProxy, control: GatewayClient
) -> None:
    place(broker, market_order(aapl(broker)))
    wire.rule = without(EXECUTION, COMMISSION, STATUS, OPEN_ORDER)
    control.advance(AFTER_OPEN)
    assert [event for event in events_so_far(broker) if event.execution] == []

    wire.rule = unchanged
    snapshot = broker.snapshot()
    seen = [event.execution for event in events_so_far(broker) if event.execution]

    assert [execution.shares for execution in snapshot.executions] == [10]
    assert {execution.exec_id for execution in seen} == {snapshot.executions[0].exec_id}


# Statuses and errors about a live order.


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (10349, None),
        (399, None),
        (2109, None),
        (404, OrderStatus.HELD),
        (201, OrderStatus.REJECTED),
        (321, OrderStatus.REJECTED),
        (161, OrderStatus.UNKNOWN),
        (10147, OrderStatus.UNKNOWN),
        (10148, OrderStatus.UNKNOWN),
        (104, OrderStatus.UNKNOWN),
        (19999, OrderStatus.UNKNOWN),
    ],
)
def test_an_error_about_a_live_order_says_what_the_code_table_says_and_the_snapshot_decides(
    code: int, status: OrderStatus | None, broker: IBKRBroker, order_id: str, wire: WireProxy
) -> None:
    wire.say(ERROR, 2, order_id, code, "what the broker says", "")

    (event,) = events_so_far(broker)
    assert (event.order_ref, event.code, event.status) == (REF, code, status)
    assert "what the broker says" in event.message
    assert [order.status for order in broker.snapshot().open_orders] == [OrderStatus.SUBMITTED]


def test_a_reject_as_an_error_and_then_cancelled_is_one_reject(
    broker: IBKRBroker, order_id: str, wire: WireProxy
) -> None:
    wire.say(ERROR, 2, order_id, 201, "Order rejected - reason:margin", "")
    say_status(wire, order_id, "Cancelled")

    assert [(event.status, event.code) for event in events_so_far(broker)] == [(OrderStatus.REJECTED, 201)]


def test_a_reject_as_inactive_and_then_an_error_is_held_first(
    broker: IBKRBroker, order_id: str, wire: WireProxy
) -> None:
    say_status(wire, order_id, "Inactive")
    wire.say(ERROR, 2, order_id, 201, "Order rejected - reason:margin", "")
    say_status(wire, order_id, "Inactive")

    assert [event.status for event in events_so_far(broker)] == [OrderStatus.HELD, OrderStatus.REJECTED]


def test_an_order_held_for_a_locate_is_not_dead(broker: IBKRBroker, order_id: str, wire: WireProxy) -> None:
    say_status(wire, order_id, "PreSubmitted", why_held="locate")

    assert [event.status for event in events_so_far(broker)] == [OrderStatus.HELD]


def test_a_status_that_nobody_knows_is_unknown(broker: IBKRBroker, order_id: str, wire: WireProxy) -> None:
    say_status(wire, order_id, "ValidationError")

    assert [event.status for event in events_so_far(broker)] == [OrderStatus.UNKNOWN]


def test_a_duplicate_order_id_asks_for_the_next_free_one(
    broker: IBKRBroker, order_id: str, wire: WireProxy
) -> None:
    wire.say(ERROR, 2, order_id, 103, "Duplicate order id", "")
    assert [event.status for event in events_so_far(broker)] == [OrderStatus.UNKNOWN]
    assert wire.heard(IDS_REQUEST)

    wire.say(9, 1, 5000)
    broker.place(market_order(aapl(broker), ref="next"))

    assert int(wire.heard(PLACE_ORDER)[1]) >= 5000


# The session.


def test_no_order_is_sent_while_tws_has_lost_ib_and_executions_are_asked_for_first_afterwards(
    broker: IBKRBroker, wire: WireProxy, control: GatewayClient
) -> None:
    contract = aapl(broker)
    wire.say(ERROR, 2, -1, 1100, "Connectivity between IB and TWS has been lost.", "")
    broker.heartbeat()
    with pytest.raises(NotSentError, match=r"lost its connection to IB \(1100\); nothing was sent"):
        broker.place(market_order(contract))
    assert control.state().orders_received == 0

    wire.say(ERROR, 2, -1, 1102, "Connectivity between IB and TWS has been restored.", "")
    broker.heartbeat()
    while not wire.received.empty():
        wire.received.get()
    place(broker, market_order(contract))

    assert wire.received.get(timeout=5)[0] == str(EXECUTIONS_REQUEST)
    assert wire.received.get(timeout=5)[0] == str(PLACE_ORDER)


@pytest.mark.parametrize("code", [2103, 2104, 2105, 2106, 2107, 2108, 2158, 2199, 10197])
def test_messages_of_the_session_that_are_harmless_change_nothing(
    code: int, broker: IBKRBroker, wire: WireProxy
) -> None:
    wire.say(ERROR, 2, -1, code, "something", "")

    assert events_so_far(broker) == []
    assert broker.snapshot().values.cash == 100_000


def test_a_read_only_api_is_named_with_its_fix(connect: Connect, wire: WireProxy) -> None:
    text = "Error validating request.-'bO' : cause - The API interface is currently in Read-Only mode."

    def rule(fields: Fields) -> Iterable[Fields]:
        yield [str(ERROR), "2", "-1", "321", text, ""] if fields[0] == str(OPEN_END) else fields

    wire.rule = rule

    with pytest.raises(BrokerConnectionError, match="untick 'Read-Only API'"):
        connect(port=wire.port)


def test_an_account_in_another_currency_is_incomplete(broker: IBKRBroker, wire: WireProxy) -> None:
    def rule(fields: Fields) -> Iterable[Fields]:
        yield [*fields[:-1], "CHF"] if fields[0] == str(SUMMARY) else fields

    wire.rule = rule

    with pytest.raises(IncompleteSnapshotError, match=r"NetLiquidation and TotalCashValue .* \(.*CHF\)"):
        broker.snapshot()


def test_positions_of_another_account_and_positions_gone_flat_are_left_out(
    broker: IBKRBroker, wire: WireProxy
) -> None:
    contract = aapl(broker)

    def rule(fields: Fields) -> Iterable[Fields]:
        if fields[0] == str(POSITIONS_END):
            yield position_row("DU0000001", contract, "5")
            yield position_row(broker.account, Contract("MSFT", 272093), "7")
            yield position_row(broker.account, Contract("MSFT", 272093), "0")
            yield position_row(broker.account, Contract("KO", 8894), "3")
        yield fields

    wire.rule = rule

    assert [(row.contract.symbol, row.shares) for row in broker.snapshot().positions] == [("KO", 3)]


# Contracts.


@pytest.mark.parametrize("listings", [["NASDAQ", "NYSE"], ["LSEETF"], []])
def test_a_symbol_that_is_not_exactly_one_us_stock_is_absent(
    listings: list[str], broker: IBKRBroker, wire: WireProxy, caplog: pytest.LogCaptureFixture
) -> None:
    def rule(fields: Fields) -> Iterable[Fields]:
        if fields[0] != str(CONTRACT):
            yield fields
            return
        for number, listing in enumerate(listings):
            at = fields.index("NASDAQ", 15)
            yield [*fields[:12], str(1000 + number), *fields[13:at], listing, *fields[at + 1 :]]

    wire.rule = rule

    assert broker.qualify(["AAPL"]) == {}
    assert "AAPL: not exactly one US stock" in caplog.text


def test_a_contract_request_that_fails_for_another_reason_is_an_error(
    broker: IBKRBroker, wire: WireProxy
) -> None:
    def rule(fields: Fields) -> Iterable[Fields]:
        if fields[0] == str(CONTRACT):
            yield [str(ERROR), "2", fields[1], "322", "Error processing request", ""]

    wire.rule = rule

    with pytest.raises(BrokerError, match="refused the contract of AAPL: error 322"):
        broker.qualify(["AAPL"])
