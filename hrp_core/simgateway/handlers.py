"""From a request to its answer: one small function per message number.

What belongs here: reading a request, asking the brokerage, queueing the answer. A request that cannot be
served is answered with an error under its own id; none is dropped silently.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from hrp_core.simgateway import messages, pushes
from hrp_core.simgateway.faults import About
from hrp_core.simgateway.faults.base import REQUEST_NAMES
from hrp_core.simgateway.faults.lasting import (
    DropAfterAck,
    DropBeforeAck,
    DropMidFrame,
    StaleOpenOrders,
)
from hrp_core.simgateway.market_data import daily_bars
from hrp_core.simgateway.order_messages import (
    commission_report,
    completed_order,
    execution_details,
    open_order,
    order_status,
)
from hrp_core.simgateway.place_order import PlaceOrder
from hrp_core.simgateway.requests import (
    SERVED,
    UNSERVED,
    ContractDetailsRequest,
    ExecutionsRequest,
    HistoricalDataRequest,
    MarketDataRequest,
    Request,
    RequestError,
)
from hrp_core.simgateway.wire import FieldReader, WireError

if TYPE_CHECKING:
    from hrp_core.simgateway.session import ClientSession

log = logging.getLogger(__name__)

_MALFORMED = 320
_UNSERVED = 505


def dispatch(session: "ClientSession", fields: list[str]) -> None:
    """Serve one message.

    Raises:
        WireError: it is no message at all, or comes before the client has started the API.
    """
    reader = FieldReader(fields)
    number = reader.integer()
    if session.client_id is None and number != Request.START_API:
        raise WireError(f"message {number} before the API was started")
    try:
        request = Request(number)
    except ValueError:
        name, position = UNSERVED.get(number, ("unknown", 0))
        text = f"Fatal Error: Unknown message id. The simulated gateway does not serve {number} ({name})."
        session.send_error(_id_at(fields, position), _UNSERVED, text)
        log.warning("client %s sent message %d (%s), which is not served", session.client_id, number, name)
        return
    try:
        _HANDLERS[request](session, reader)
    except RequestError as error:
        session.send_error(_id_at(fields, SERVED[request]), error.code, error.text)
    except WireError as error:
        text = f"Server error when reading an API client request. {error}"
        session.send_error(_id_at(fields, SERVED[request]), _MALFORMED, text)
        log.warning("client %s: %s", session.client_id, error)


def _id_at(fields: list[str], position: int) -> int:
    """Return the request id at `position`; -1 where the message carries none."""
    if position == 0 or position >= len(fields):
        return -1
    try:
        return int(fields[position])
    except ValueError:
        return -1


def _start_api(session: "ClientSession", reader: FieldReader) -> None:
    reader.skip()
    session.start(reader.integer())


def _ids(session: "ClientSession", reader: FieldReader) -> None:  # noqa: ARG001
    session.send(messages.next_valid_id(session.brokerage.next_order_id(_client(session))))


def _managed_accounts(session: "ClientSession", reader: FieldReader) -> None:  # noqa: ARG001
    session.send(messages.managed_accounts(session.brokerage.account))


def _current_time(session: "ClientSession", reader: FieldReader) -> None:  # noqa: ARG001
    session.send(messages.current_time(session.brokerage.now))


def _nothing_to_do(session: "ClientSession", reader: FieldReader) -> None:
    """Settings that change nothing here; the real broker does not answer them either."""


def _contract_details(session: "ClientSession", reader: FieldReader) -> None:
    request = ContractDetailsRequest.read(reader, session.version)
    instrument = session.brokerage.find(request.contract)
    session.send(messages.contract_details(request.request_id, instrument, session.version))
    session.send(messages.contract_details_end(request.request_id))


def _market_rule(session: "ClientSession", reader: FieldReader) -> None:
    rule_id = reader.integer()
    if rule_id != messages.MARKET_RULE_ID:
        raise RequestError(321, f"Error validating request.-'bK' : cause - no market rule {rule_id}.")
    session.send(messages.market_rule(rule_id))


def _place_order(session: "ClientSession", reader: FieldReader) -> None:
    request = PlaceOrder.read(reader, session.version)
    brokerage, faults = session.brokerage, session.brokerage.faults
    placed = brokerage.place(_client(session), request)
    if placed.preview is not None:
        order, figures = placed.preview
        session.send(open_order(order, session.version, what_if=True), order)
        session.send(open_order(order, session.version, what_if=True, figures=figures), order)
        return
    order = brokerage.broker_order(placed.events[0].order)
    about = About.of(order)
    if faults.take(DropBeforeAck, about):
        session.drop()
        return
    queued = session.outgoing.queued
    for code, text in placed.notices:
        session.send_error(request.order_id, code, text, order)
    session.hub.publish(placed.events)
    if faults.take(DropMidFrame, about):
        session.outgoing.cut(queued)
    elif faults.take(DropAfterAck, about):
        session.close_after_flush()


def _cancel_order(session: "ClientSession", reader: FieldReader) -> None:
    reader.skip()
    session.hub.publish(session.brokerage.cancel(_client(session), reader.integer()))


def _global_cancel(session: "ClientSession", reader: FieldReader) -> None:  # noqa: ARG001
    session.hub.publish(session.brokerage.cancel_all())


def _open_orders(session: "ClientSession", reader: FieldReader) -> None:  # noqa: ARG001
    if _client(session) == 0:
        session.hub.bind_manual_orders(session)
    _send_open_orders(session, Request.OPEN_ORDERS, _client(session))


def _all_open_orders(session: "ClientSession", reader: FieldReader) -> None:  # noqa: ARG001
    _send_open_orders(session, Request.ALL_OPEN_ORDERS, None)


def _send_open_orders(session: "ClientSession", request: Request, client_id: int | None) -> None:
    about = About(client=_client(session), request=REQUEST_NAMES[request])
    stale = session.brokerage.faults.take(StaleOpenOrders, about) is not None
    for order in session.brokerage.open_orders(client_id, stale=stale):
        session.send(open_order(order, session.version), order)
        session.send(order_status(order), order)
    session.send(messages.open_order_end())


def _auto_open_orders(session: "ClientSession", reader: FieldReader) -> None:
    reader.skip()
    wanted = reader.flag()
    if wanted and session.client_id != 0:
        raise RequestError(327, "Only the default client (i.e 0) can auto bind orders.")
    session.binds_manual_orders = wanted
    if wanted:
        session.hub.bind_manual_orders(session)


def _completed_orders(session: "ClientSession", reader: FieldReader) -> None:  # noqa: ARG001
    for order in session.brokerage.completed_orders():
        session.send(completed_order(order, session.version), order)
    session.send(messages.completed_orders_end())


def _executions(session: "ClientSession", reader: FieldReader) -> None:
    request = ExecutionsRequest.read(reader)
    session.brokerage.check_account(request.account, optional=True)
    for order, fill in session.brokerage.executions(request):
        session.send(execution_details(request.request_id, order, fill, session.version), order)
        session.send(commission_report(fill), order)
    session.send(messages.executions_end(request.request_id))


def _positions(session: "ClientSession", reader: FieldReader) -> None:  # noqa: ARG001
    held = session.brokerage.positions()
    pushes.send_positions(session, [position.symbol for position in held])
    session.send(messages.position_end())
    session.wants_positions = True


def _cancel_positions(session: "ClientSession", reader: FieldReader) -> None:  # noqa: ARG001
    session.wants_positions = False


def _account_updates(session: "ClientSession", reader: FieldReader) -> None:
    reader.skip()
    subscribe, account = reader.flag(), reader.text()
    session.brokerage.check_account(account, optional=True)
    session.wants_account_updates = subscribe
    if subscribe:
        pushes.send_account(session)
        session.send(messages.account_download_end(session.brokerage.account))


def _account_updates_multi(session: "ClientSession", reader: FieldReader) -> None:
    reader.skip()
    request_id, account, model = reader.integer(), reader.text(), reader.text()
    session.brokerage.check_account(account, optional=True)
    if model:
        raise RequestError(321, f"Error validating request.-'cE' : cause - no model '{model}'.")
    pushes.send_multi(session, request_id)
    session.send(messages.account_update_multi_end(request_id))
    session.multi_requests.add(request_id)


def _cancel_account_updates_multi(session: "ClientSession", reader: FieldReader) -> None:
    reader.skip()
    session.multi_requests.discard(reader.integer())


def _account_summary(session: "ClientSession", reader: FieldReader) -> None:
    reader.skip()
    request_id, group, tags = reader.integer(), reader.text(), reader.text()
    if group not in ("All", "", session.brokerage.account):
        raise RequestError(321, f"Error validating request.-'cE' : cause - no account group '{group}'.")
    wanted = frozenset(tag.strip() for tag in tags.split(",") if tag.strip())
    pushes.send_summary(session, request_id, wanted)
    session.send(messages.account_summary_end(request_id))
    session.summary_requests[request_id] = wanted


def _cancel_account_summary(session: "ClientSession", reader: FieldReader) -> None:
    reader.skip()
    session.summary_requests.pop(reader.integer(), None)


def _market_data(session: "ClientSession", reader: FieldReader) -> None:
    request = MarketDataRequest.read(reader)
    instrument = session.brokerage.find(request.contract)
    session.send(messages.market_data_type(request.request_id, 1))
    pushes.send_quote(session, request.request_id, instrument)
    if request.snapshot:
        session.send(messages.tick_snapshot_end(request.request_id))
    else:
        session.tickers[request.request_id] = instrument


def _cancel_market_data(session: "ClientSession", reader: FieldReader) -> None:
    reader.skip()
    request_id = reader.integer()
    if session.tickers.pop(request_id, None) is None:
        raise RequestError(300, f"Can't find EId with tickerId:{request_id}")


def _historical_data(session: "ClientSession", reader: FieldReader) -> None:
    request = HistoricalDataRequest.read(reader)
    brokerage = session.brokerage
    instrument = brokerage.find(request.contract)
    if request.bar_size != "1 day" or request.what_to_show not in ("TRADES", "ADJUSTED_LAST"):
        raise RequestError(
            321,
            "Error validating request.-'bX' : cause - the simulated gateway has bars of `1 day` of TRADES or "
            f"ADJUSTED_LAST, not `{request.bar_size}` of {request.what_to_show}.",
        )
    if request.keep_up_to_date:
        raise RequestError(
            321,
            "Error validating request.-'bX' : cause - the simulated gateway does not keep bars up to date.",
        )
    bars = daily_bars(brokerage.engine.tape, instrument.symbol, request, brokerage.now, brokerage.calendar)
    if not bars:
        raise RequestError(
            162,
            "Historical Market Data Service error message:HMDS query returned no data: "
            f"{instrument.symbol}@SMART Trades",
        )
    start, end = str(bars[0][0]), str(bars[-1][0])
    session.send(messages.historical_data(request.request_id, f"{start} 00:00:00", f"{end} 00:00:00", bars))


def _cancel_historical_data(session: "ClientSession", reader: FieldReader) -> None:  # noqa: ARG001
    reader.skip()
    raise RequestError(366, f"No historical data query found for ticker id:{reader.integer()}")


def _client(session: "ClientSession") -> int:
    if session.client_id is None:
        raise WireError("a request before the API was started")
    return session.client_id


_HANDLERS: dict[Request, Callable[["ClientSession", FieldReader], None]] = {
    Request.MARKET_DATA: _market_data,
    Request.CANCEL_MARKET_DATA: _cancel_market_data,
    Request.PLACE_ORDER: _place_order,
    Request.CANCEL_ORDER: _cancel_order,
    Request.OPEN_ORDERS: _open_orders,
    Request.ACCOUNT_UPDATES: _account_updates,
    Request.EXECUTIONS: _executions,
    Request.IDS: _ids,
    Request.CONTRACT_DETAILS: _contract_details,
    Request.SERVER_LOG_LEVEL: _nothing_to_do,
    Request.AUTO_OPEN_ORDERS: _auto_open_orders,
    Request.ALL_OPEN_ORDERS: _all_open_orders,
    Request.MANAGED_ACCOUNTS: _managed_accounts,
    Request.HISTORICAL_DATA: _historical_data,
    Request.CANCEL_HISTORICAL_DATA: _cancel_historical_data,
    Request.CURRENT_TIME: _current_time,
    Request.GLOBAL_CANCEL: _global_cancel,
    Request.MARKET_DATA_TYPE: _nothing_to_do,
    Request.POSITIONS: _positions,
    Request.ACCOUNT_SUMMARY: _account_summary,
    Request.CANCEL_ACCOUNT_SUMMARY: _cancel_account_summary,
    Request.CANCEL_POSITIONS: _cancel_positions,
    Request.START_API: _start_api,
    Request.ACCOUNT_UPDATES_MULTI: _account_updates_multi,
    Request.CANCEL_ACCOUNT_UPDATES_MULTI: _cancel_account_updates_multi,
    Request.MARKET_RULE: _market_rule,
    Request.COMPLETED_ORDERS: _completed_orders,
}
