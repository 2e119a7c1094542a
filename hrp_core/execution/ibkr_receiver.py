"""Where the decoded messages of one connection arrive.

What belongs here: collecting the answer to each request that was made, remembering which order is whose, and
turning what the broker pushes into `OrderEvent`s. It stands in for the client library's own wrapper, so
nothing that the library would cache or conclude by itself exists: no local Cancelled after an error (F1), no
commission dropped for coming early (F17). Runs on the library's thread only.
"""
# ruff: noqa: N802 - the decoder calls these methods by IB's names.

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC
from decimal import Decimal
from typing import Any

from hrp_core.errors import BrokerConnectionError
from hrp_core.execution.broker import OrderEvent
from hrp_core.execution.ib_codes import Code, CodeKind, classify
from hrp_core.execution.ibkr_prices import RawDataType, RawHalt, RawTick, has_figures
from hrp_core.execution.ibkr_requests import Request, RequestError
from hrp_core.execution.ibkr_translate import (
    RawOrder,
    RawStatus,
    to_commission,
    to_execution,
    to_status,
)
from hrp_core.ledger.types import Execution, OrderStatus

log = logging.getLogger(__name__)

_HARMLESS = frozenset({CodeKind.INFO, CodeKind.WARNING, CodeKind.MARKET_DATA})
_CONNECTIVITY = frozenset({CodeKind.CONNECTION_LOST, CodeKind.CONNECTION_RESTORED})
_LARGEST_ORDER_ID = 2**31 - 2
# How IB writes that an error names no request.
_NO_ID = frozenset({-1, 2**31 - 1})
_DUPLICATE_ORDER_ID = 103
_HALTED = 49  # tick type

# Answers that carry no request id: at most one request of each kind is under way (the session sees to it).
OPEN_ORDERS = "all open orders"
COMPLETED_ORDERS = "completed orders"
POSITIONS = "positions"
CURRENT_TIME = "current time"


@dataclass
class KnownOrder:
    """What this connection knows of one order; order ids mean nothing outside of it (F3)."""

    order_ref: str
    client_id: int
    order_id: int
    perm_id: int = 0
    filled: float = 0
    rejected: bool = False
    told: tuple[OrderStatus, int] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the broker has said that the order is no longer open (or has not spoken of it yet)."""
        return self.told is None or self.told[0].is_terminal


class Receiver:
    """The sink of one connection's messages.

    Args:
        account: the configured account; what concerns others is left out.
        client_id: this connection's.
        emit: takes each order event.
        on_session_error: takes code and text of every error that names no request and no order.

    Attributes:
        on_duplicate_id: called when an order id was used before (103), to ask for the next free one.
    """

    defaultTimezone = UTC  # noqa: N815 - ib_async's decoder asks for it

    def __init__(
        self,
        account: str,
        client_id: int,
        emit: Callable[[OrderEvent], None],
        on_session_error: Callable[[Code, str], None],
    ) -> None:
        self._account = account
        self._client_id = client_id
        self._emit = emit
        self._on_session_error = on_session_error
        self.on_duplicate_id: Callable[[], None] = lambda: None
        self.requests: dict[int | str, Request] = {}
        self.executions: dict[str, Execution] = {}
        self.highest_order_id = 0
        # The broker's count of this client when it connected, and what was sent since. Ids in its lists are
        # not counted: those orders carry an orderRef, and may be from before a restart of the gateway (F3).
        self.used_order_number: int | None = None
        self.last_data_at = 0.0
        # Executions found while connecting belong to the snapshot, not to the events of this connection.
        self.announces_executions = False
        self._pushed: set[str] = set()
        self._commissions: dict[str, Decimal] = {}
        self._by_ids: dict[tuple[int, int], KnownOrder] = {}
        self._by_perm_id: dict[int, KnownOrder] = {}

    # What the session asks of it.

    def begin(self, key: int | str, name: str) -> Request:
        """Register a request; its answer ends it."""
        request = Request(name, asyncio.get_running_loop().create_future())
        self.requests[key] = request
        return request

    def fail_all(self, reason: str) -> None:
        """End every request under way: the connection is gone."""
        for request in list(self.requests.values()):
            request.fail(BrokerConnectionError(f"{reason}; {request.name} was not answered"))

    def sent(self, order_ref: str, order_id: int) -> None:
        """Remember the order that is about to be sent under `order_id`."""
        self._by_ids[self._client_id, order_id] = KnownOrder(order_ref, self._client_id, order_id)
        self.used_order_number = max(self.used_order_number or 0, order_id)

    def own_order(self, order_ref: str) -> KnownOrder | None:
        """Return this client's order that carries `order_ref`, if this connection has seen it."""
        own = (known for (client_id, _), known in self._by_ids.items() if client_id == self._client_id)
        return next((known for known in own if known.order_ref == order_ref), None)

    def has_seen(self, order_ref: str) -> bool:
        """Return whether this connection has sent, or heard of, an order that carries `order_ref`."""
        filled = any(execution.order_ref == order_ref for execution in self.executions.values())
        return filled or any(known.order_ref == order_ref for known in self._by_ids.values())

    def rejected_perm_ids(self) -> frozenset[int]:
        """Return the permIds of the orders that an error said were not accepted."""
        return frozenset(perm_id for perm_id, known in self._by_perm_id.items() if known.rejected)

    def with_commission(self, execution: Execution) -> Execution:
        """Return `execution` with its commission, where one was reported."""
        return replace(execution, commission=self._commissions.get(execution.exec_id, execution.commission))

    # Connection.

    def tcpDataArrived(self) -> None:
        """Note when the broker was last heard."""
        self.last_data_at = asyncio.get_running_loop().time()

    def connectAck(self) -> None:
        """The handshake was answered; nothing to do."""

    def setEventsDone(self) -> None:
        """The library ends its own event objects here; there are none."""

    def connectionClosed(self) -> None:
        """The session watches the socket itself."""

    def managedAccounts(self, accounts: str) -> None:
        """The client keeps the list; the session reads it there."""

    def nextValidId(self, order_id: int) -> None:
        """Move past ids that the broker has seen (F4)."""
        self.highest_order_id = max(self.highest_order_id, order_id - 1)
        if self.used_order_number is None:
            self.used_order_number = order_id - 1

    def error(self, req_id: int, code: int, text: str, _advanced_reject: str = "") -> None:
        """Sort an error to the request, the order or the session that it is about."""
        meaning = classify(code, text)
        if code == _DUPLICATE_ORDER_ID:
            self.on_duplicate_id()
        request = self.requests.get(req_id)
        known = self._by_ids.get((self._client_id, req_id))
        if request is not None:
            if meaning.kind is CodeKind.MARKET_DATA and request.on_market_data:
                request.on_market_data(RequestError(request.name, meaning, text))
            elif meaning.kind not in _HARMLESS:
                request.fail(RequestError(request.name, meaning, text))
        elif known is not None:
            self._order_error(known, meaning, text)
        elif req_id in _NO_ID or meaning.kind in _CONNECTIVITY:
            self._on_session_error(meaning, text)
        else:
            # About a request that was given up, or an order of an earlier connection that is no longer open.
            log.warning("broker message %s about id %s, not in use here: %s", code, req_id, text)

    def currentTime(self, seconds: int) -> None:
        """The broker's clock."""
        self._row(CURRENT_TIME, seconds)
        self._end(CURRENT_TIME)

    # Orders.

    def openOrder(self, order_id: int, contract: Any, order: Any, state: Any) -> None:
        """An order as it stands: part of an answer, or pushed."""
        if order.whatIf:
            # The broker answers a preview twice, first without figures.
            if has_figures(state):
                self._row(order_id, state)
                self._end(order_id)
            return
        if 0 < order_id <= _LARGEST_ORDER_ID:
            self.highest_order_id = max(self.highest_order_id, order_id)
        self._row(OPEN_ORDERS, RawOrder(contract, order, state))
        known = self._learn(order.orderRef, int(order.clientId), order_id, int(order.permId))
        self._status_event(known, to_status(state.status, filled=known.filled, rejected=known.rejected))

    def openOrderEnd(self) -> None:
        """All open orders have been sent."""
        self._end(OPEN_ORDERS)

    def orderStatus(
        self,
        order_id: int,
        status: str,
        filled: float,
        remaining: float,
        _average_price: float,
        perm_id: int,
        _parent_id: int,
        _last_price: float,
        client_id: int,
        why_held: str,
        _price_cap: float = 0.0,
    ) -> None:
        """The state of an order: a hint, repeated and reordered at will (F15)."""
        self._row(OPEN_ORDERS, RawStatus(order_id, client_id, perm_id, status, filled, remaining, why_held))
        known = self._learn("", client_id, order_id, perm_id)
        known.filled = max(known.filled, filled)
        self._status_event(
            known, to_status(status, filled=filled, why_held=why_held, rejected=known.rejected)
        )

    def completedOrder(self, contract: Any, order: Any, state: Any) -> None:
        """One completed order of an answer."""
        self._row(COMPLETED_ORDERS, RawOrder(contract, order, state))

    def completedOrdersEnd(self) -> None:
        """All completed orders have been sent."""
        self._end(COMPLETED_ORDERS)

    # Executions.

    def execDetails(self, req_id: int, contract: Any, raw: Any) -> None:
        """A fill: pushed, or part of the answer to `req_id`; taken in whatever state the session is (F6)."""
        if raw.acctNumber != self._account:
            log.warning("left out execution %s of another account", raw.execId)
            return
        if raw.clientId == self._client_id and 0 < raw.orderId <= _LARGEST_ORDER_ID:
            self.highest_order_id = max(self.highest_order_id, raw.orderId)
        known = self._by_perm_id.get(int(raw.permId)) or self._by_ids.get((raw.clientId, raw.orderId))
        execution = to_execution(contract, raw, known.order_ref if known else "")
        is_new = execution.exec_id not in self.executions
        self.executions[execution.exec_id] = execution
        self._row(req_id, execution)
        if is_new and self.announces_executions:
            self._pushed.add(execution.exec_id)
            self._emit_execution(execution)

    def execDetailsEnd(self, req_id: int) -> None:
        """All executions of the request have been sent."""
        self._end(req_id)

    def commissionReport(self, report: Any) -> None:
        """A commission, before or after the execution it belongs to (F17)."""
        commission = to_commission(report)
        if commission is None or self._commissions.get(report.execId) == commission:
            return
        self._commissions[report.execId] = commission
        if report.execId in self._pushed:
            self._emit_execution(self.executions[report.execId])

    # Account.

    def position(self, account: str, contract: Any, shares: float, average_cost: float) -> None:
        """One position of an answer, or an update of it."""
        if account == self._account:
            self._row(POSITIONS, (contract, shares, average_cost))

    def positionEnd(self) -> None:
        """All positions have been sent."""
        self._end(POSITIONS)

    def accountSummary(self, req_id: int, account: str, tag: str, value: str, currency: str) -> None:
        """One account figure of an answer."""
        self._row(req_id, (account, tag, value, currency))

    def accountSummaryEnd(self, req_id: int) -> None:
        """All account figures have been sent."""
        self._end(req_id)

    # Contracts.

    def contractDetails(self, req_id: int, details: Any) -> None:
        """One contract that fits the request."""
        self._row(req_id, details)

    def contractDetailsEnd(self, req_id: int) -> None:
        """All contracts that fit have been sent."""
        self._end(req_id)

    # Market data.

    def marketDataType(self, req_id: int, kind: int) -> None:
        """Whether the prices that follow are live, frozen or delayed."""
        self._row(req_id, RawDataType(kind))

    def priceSizeTick(self, req_id: int, kind: int, price: float, _size: float) -> None:
        """One price of a quote."""
        self._row(req_id, RawTick(kind, price))

    def tickGeneric(self, req_id: int, kind: int, value: float) -> None:
        """One figure of a quote that is no price: whether trading is halted; others are left out."""
        if kind == _HALTED:
            self._row(req_id, RawHalt(value))

    def tickSnapshotEnd(self, req_id: int) -> None:
        """All prices that the broker has at once have been sent."""
        self._end(req_id)

    def historicalData(self, req_id: int, bar: Any) -> None:
        """One bar of an answer."""
        self._row(req_id, bar)

    def historicalDataEnd(self, req_id: int, _start: str, _end: str) -> None:
        """All bars have been sent."""
        self._end(req_id)

    # Helpers.

    def _row(self, key: int | str, row: Any) -> None:
        request = self.requests.get(key)
        if request is not None:
            request.rows.append(row)

    def _end(self, key: int | str) -> None:
        request = self.requests.get(key)
        if request is not None and not request.future.done():
            request.future.set_result(None)

    def _learn(self, order_ref: str, client_id: int, order_id: int, perm_id: int) -> KnownOrder:
        """Return the order that the ids name, with whatever they add to what was known of it."""
        by_ids = self._by_ids.get((client_id, order_id)) if order_id > 0 else None
        known = by_ids or self._by_perm_id.get(perm_id) or KnownOrder(order_ref, client_id, order_id)
        known.order_ref = order_ref or known.order_ref
        known.perm_id = perm_id or known.perm_id
        if order_id > 0:
            self._by_ids[client_id, order_id] = known
        if perm_id:
            self._by_perm_id[perm_id] = known
        return known

    def _status_event(self, known: KnownOrder, status: OrderStatus) -> None:
        """Emit a status of one of this client's orders, once for each change."""
        if not known.order_ref or known.client_id != self._client_id:
            return
        told = (status, known.perm_id)
        if known.told != told:
            known.told = told
            self._emit(OrderEvent(known.order_ref, perm_id=known.perm_id, status=status))

    def _order_error(self, known: KnownOrder, meaning: Code, text: str) -> None:
        """Emit an error about one of this client's orders, with what our table says of it."""
        if meaning.means_for_order is OrderStatus.REJECTED:
            known.rejected = True
        if meaning.means_for_order is not None:
            known.told = (meaning.means_for_order, known.perm_id)
        self._emit(
            OrderEvent(
                known.order_ref,
                perm_id=known.perm_id,
                status=meaning.means_for_order,
                code=meaning.code,
                message=f"{meaning.name}: {text}",
            )
        )

    def _emit_execution(self, execution: Execution) -> None:
        if not execution.order_ref:
            return  # placed by hand or by another program: not ours to follow, the snapshot has it (F14)
        self._emit(
            OrderEvent(
                execution.order_ref, perm_id=execution.perm_id, execution=self.with_commission(execution)
            )
        )
