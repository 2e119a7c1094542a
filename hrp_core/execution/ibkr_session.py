"""What is asked of the broker over one connection, and what is sent.

What belongs here: the snapshot, contracts, placing and cancelling, as coroutines on the library's thread.
Every answer is what was received for the request, never what the library or this process had in memory.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import BrokerConnectionError, BrokerError, IncompleteSnapshotError, RefusedError
from hrp_core.execution.broker import (
    BrokerSnapshot,
    NotSentError,
    OrderEvent,
    OrderPreview,
    OrderRequest,
    Quote,
)
from hrp_core.execution.config import BrokerConfig, ClientRole
from hrp_core.execution.ibkr_connection import Connection
from hrp_core.execution.ibkr_loop import Pacer, run_all, since_boot
from hrp_core.execution.ibkr_market_data import MarketData
from hrp_core.execution.ibkr_prices import to_preview
from hrp_core.execution.ibkr_receiver import (
    COMPLETED_ORDERS,
    CURRENT_TIME,
    OPEN_ORDERS,
    POSITIONS,
)
from hrp_core.execution.ibkr_requests import RequestError
from hrp_core.execution.ibkr_translate import (
    ACCOUNT_TAGS,
    RawOrder,
    RawStatus,
    build_contract,
    build_order,
    fold_open_orders,
    ib_symbol,
    to_account_values,
    to_completed_order,
    to_contract,
    to_min_tick,
    to_position,
)
from hrp_core.ledger.types import Contract, Execution

if TYPE_CHECKING:
    from hrp_core.market import Bar

log = logging.getLogger(__name__)

_UNKNOWN_CONTRACT = 200
# Half-open connections say nothing for ever (F19): before an order, silence this long is probed.
_SILENCE_SECONDS = 30.0
# Longest between the decision to send an order and its sending; probing and pacing take half of it at most. A
# machine that is put to sleep in between wakes up in another market.
_HELD_UP_SECONDS = 60.0
_CONTRACTS_AT_ONCE = 20
# Where US stocks are listed. SMART also answers for the same symbol listed abroad in USD.
_US_LISTINGS = frozenset(
    {"NYSE", "NASDAQ", "NASDAQ.NMS", "NASDAQ.SCM", "ISLAND", "AMEX", "ARCA", "BATS", "IEX", "PINK"}
)


class Session:
    """The requests over one connection; `open` it once, `close` it.

    Args:
        config: endpoint and account.
        pacer: spaces what is sent.
        emit: takes each order event, and None when the socket has ended; called on the library's thread.
        uptime: seconds of a clock that only rises and goes on while the machine sleeps.
    """

    def __init__(
        self,
        config: BrokerConfig,
        pacer: Pacer,
        emit: Callable[[OrderEvent | None], None],
        uptime: Callable[[], float] = since_boot,
    ) -> None:
        self._config = config
        self._uptime = uptime
        self._wire = Connection(config, pacer, emit)
        self._client = self._wire.client
        self._library = self._wire.library
        self._receiver = self._wire.receiver
        self._market_data = MarketData(self._wire)

    @property
    def is_ready(self) -> bool:
        """Whether the connection stands."""
        return self._wire.is_ready

    @property
    def used_order_number(self) -> int:
        """The highest order number that this client has used, before this connection and over it."""
        return self._receiver.used_order_number or 0

    @property
    def is_healthy(self) -> bool:
        """Whether the connection stands and can be trusted."""
        return self._wire.is_healthy

    async def open(self, deadline: float) -> None:
        """Connect, and learn the orders and executions that the broker has.

        Args:
            deadline: moment of the loop's clock by which it must be done.

        Raises:
            BrokerConnectionError: there is no usable connection; the message says cause and fix.
        """
        await self._wire.open(deadline)
        try:
            async with asyncio.timeout_at(deadline):
                await self._current_time()
                # Both answers also move the order ids past those in use (F3, F4).
                await self._open_orders()
                await self._executions()
                self._wire.check_healthy()
        except (BrokerError, TimeoutError) as error:
            await self.close()
            raise self._wire.explain(error) from error
        except BaseException:
            await self.close()
            raise
        self._receiver.announces_executions = True

    async def close(self) -> None:
        """End the connection."""
        await self._wire.close()

    async def heartbeat(self) -> datetime:
        """Return the broker's clock (New York).

        Raises:
            BrokerConnectionError: it did not answer in time: a half-open connection (F19).
        """
        self._wire.check_healthy(BrokerConnectionError)
        try:
            return await self._current_time()
        except IncompleteSnapshotError as error:
            raise BrokerConnectionError(f"the connection is dead: {error}") from error

    async def snapshot(self) -> BrokerSnapshot:
        """Ask for everything, one request after the other.

        Raises:
            IncompleteSnapshotError: an end marker is missing, or an answer cannot be read.
            BrokerConnectionError: not connected, or the connection ended in the middle.
        """
        self._wire.check_healthy(IncompleteSnapshotError)
        try:
            snapshot = await self._ask_for_everything()
        except RequestError as error:
            raise IncompleteSnapshotError(str(error)) from error
        # A message that could not be decoded meanwhile may have been part of an answer.
        self._wire.check_healthy(IncompleteSnapshotError)
        return snapshot

    async def qualify(self, symbols: Sequence[str]) -> dict[str, Contract]:
        """Return the contract of each symbol that is exactly one US stock for the broker."""
        self._wire.check_healthy()
        limit = asyncio.Semaphore(_CONTRACTS_AT_ONCE)

        async def qualify_one(symbol: str) -> Contract | None:
            async with limit:
                return await self._contract(symbol)

        wanted = list(dict.fromkeys(symbols))
        found = await run_all([qualify_one(symbol) for symbol in wanted])
        self._wire.check_healthy()
        return {symbol: contract for symbol, contract in zip(wanted, found, strict=True) if contract}

    async def next_order_number(self) -> int:
        """Return the next order number, past every one seen.

        Raises:
            NotSentError: the connection is not fit for an order.
        """
        try:
            self._wire.check_healthy()
        except BrokerError as error:
            raise NotSentError(str(error)) from error
        return self._wire.next_id()

    async def place(self, request: OrderRequest) -> None:
        """Send one order.

        Raises:
            RefusedError: the request cannot be sent as it stands; nothing was sent.
            NotSentError: no order may go over this connection now; nothing was sent.
            BrokerError: an order with this orderRef is at the broker already; it was not sent again.
        """
        self._require_writer()
        self._require_armed(request)
        asked_at = self._uptime()
        order = build_order(self._library, request, self._config.account)
        contract = build_contract(self._library, request.contract)
        try:
            self._require_sendable()
            silence = asyncio.get_running_loop().time() - self._receiver.last_data_at
            if silence > _SILENCE_SECONDS:
                await self._current_time()
            if self._wire.executions_are_due:
                await self._executions()
            await self._wire.slot()
            self._require_sendable()
        except (BrokerConnectionError, IncompleteSnapshotError, RequestError) as error:
            raise NotSentError(f"order {request.order_ref} was not sent: {error}") from error
        # Looked up as late as possible: from here to the send nothing else runs on this thread.
        if self._receiver.has_seen(request.order_ref):
            # No RefusedError: that would say the order does not exist, while it may be live.
            raise BrokerError(
                f"order {request.order_ref} is at the broker already and was not sent again; the journal "
                "does not know it: synchronise before anything else is sent"
            )
        held_up = self._uptime() - asked_at
        if held_up > _HELD_UP_SECONDS:
            raise NotSentError(
                f"order {request.order_ref} was not sent: it was held up for {held_up:.0f} s, and its send "
                "window may be over; the machine was put to sleep or stood still"
            )
        order_id = self._wire.take_id(request.order_id)
        self._client.placeOrder(order_id, contract, order)
        self._receiver.sent(request.order_ref, order_id)

    async def cancel(self, order_ref: str) -> None:
        """Ask for the cancellation of one of this client's open orders.

        Raises:
            BrokerError: no open order of this client carries `order_ref`.
        """
        self._require_writer()
        self._wire.check_healthy()
        known = self._receiver.own_order(order_ref)
        if known is None or known.is_over:
            await self._open_orders()
            known = self._receiver.own_order(order_ref)
        if known is None or known.is_over:
            raise BrokerError(
                f"client {self._config.client_id} has no open order {order_ref} at the broker; only the "
                "client that placed an order can cancel it, any other is cancelled in TWS"
            )
        await self._wire.slot()
        self._wire.check_healthy()
        self._client.cancelOrder(known.order_id)

    async def cancel_everything(self) -> None:
        """Ask for the cancellation of every open order of the login; any client may."""
        self._wire.check_healthy()
        await self._wire.slot()
        self._wire.check_healthy()
        self._client.reqGlobalCancel()

    async def what_if(self, request: OrderRequest) -> OrderPreview:
        """Ask what an order would cost; it is not placed.

        Raises:
            RefusedError: the request cannot be sent as it stands; nothing was sent.
            RequestError: the broker would reject it.
        """
        self._require_armed(request)  # on the wire a preview is an order with a flag
        order = build_order(self._library, request, self._config.account)
        order.whatIf = True
        order.orderRef = ""  # a reference belongs to the one order that is placed under it
        contract = build_contract(self._library, request.contract)
        await self._wire.slot()
        # Order ids may only rise: looked up when nothing else can be sent before it.
        self._wire.check_healthy(BrokerConnectionError)
        order_id = self._wire.next_id()
        name = f"the preview of {request.order_ref} ({request.contract.symbol})"
        (state,) = await self._wire.ask_now(
            order_id, name, lambda: self._client.placeOrder(order_id, contract, order)
        )
        return to_preview(state)

    async def quotes(self, contracts: Sequence[Contract], timeout: float) -> dict[str, Quote]:
        """Return a quote of each contract by symbol; see `MarketData.quotes`."""
        return await self._market_data.quotes(contracts, timeout)

    async def bars(self, contract: Contract, start: date, end: date) -> "list[Bar]":
        """Return daily bars of completed sessions; see `MarketData.bars`."""
        return await self._market_data.bars(contract, start, end, await self.heartbeat())

    def _require_writer(self) -> None:
        if self._config.role is not ClientRole.WRITER:
            raise RefusedError(
                f"client {self._config.client_id} connected as a reader ({self._config.role.name.lower()}); "
                "only the writer places and cancels. Nothing was sent"
            )

    def _require_armed(self, request: OrderRequest) -> None:
        if not self._config.may_place:
            raise RefusedError(
                f"order {request.order_ref}: this connection to live account {self._config.account} is not "
                "armed, and only reads and cancels. Nothing was sent. See `hrp arm`"
            )

    def _require_sendable(self) -> None:
        self._wire.check_healthy(BrokerConnectionError)
        if not self._wire.ib_is_reachable:
            raise BrokerConnectionError(
                f"{self._config.endpoint} has lost its connection to IB (1100); nothing was sent. It comes "
                "back by itself (1101, 1102)"
            )

    async def _ask_for_everything(self) -> BrokerSnapshot:
        account = self._config.account
        asked_at = await self._current_time()
        open_orders = await self._open_orders()
        completed = await self._wire.ask(
            COMPLETED_ORDERS, COMPLETED_ORDERS, lambda: self._client.reqCompletedOrders(False)
        )
        executions = await self._executions()
        position_rows = await self._wire.ask(
            POSITIONS, POSITIONS, self._client.reqPositions, then=self._client.cancelPositions
        )
        values = await self._account_values()
        rejected = self._receiver.rejected_perm_ids()
        filled: dict[int, int] = {}
        for execution in executions:
            filled[execution.perm_id] = filled.get(execution.perm_id, 0) + execution.shares
        # An update that was pushed meanwhile follows the row it updates.
        positions = {row[0].conId: to_position(*row) for row in position_rows}
        return BrokerSnapshot(
            account=account,
            asked_at=asked_at,
            open_orders=fold_open_orders(open_orders, filled, rejected),
            completed_orders=tuple(
                to_completed_order(raw, rejected) for raw in completed if raw.order.account == account
            ),
            # Commissions may follow the end marker of their executions; by now they have had their time.
            executions=tuple(self._receiver.with_commission(execution) for execution in executions),
            positions=tuple(position for position in positions.values() if position.shares),
            values=to_account_values(values, account),
        )

    async def _current_time(self) -> datetime:
        rows = await self._wire.ask(CURRENT_TIME, CURRENT_TIME, self._client.reqCurrentTime)
        return datetime.fromtimestamp(rows[0], UTC).astimezone(NEW_YORK)

    async def _open_orders(self) -> list[RawOrder | RawStatus]:
        rows = await self._wire.ask(OPEN_ORDERS, OPEN_ORDERS, self._client.reqAllOpenOrders)
        account = self._config.account
        return [row for row in rows if isinstance(row, RawStatus) or row.order.account == account]

    async def _executions(self) -> list[Execution]:
        req_id = self._wire.next_id()
        ours = self._library.ExecutionFilter(acctCode=self._config.account)
        rows = await self._wire.ask(req_id, "executions", lambda: self._client.reqExecutions(req_id, ours))
        self._wire.executions_are_due = False
        return list({execution.exec_id: execution for execution in rows}.values())

    async def _account_values(self) -> list[tuple[str, str, str, str]]:
        req_id = self._wire.next_id()
        tags = ",".join(ACCOUNT_TAGS)
        return await self._wire.ask(
            req_id,
            "account values",
            lambda: self._client.reqAccountSummary(req_id, "All", tags),
            then=lambda: self._client.cancelAccountSummary(req_id),
        )

    async def _contract(self, symbol: str) -> Contract | None:
        req_id = self._wire.next_id()
        raw = self._library.Contract(
            secType="STK", symbol=ib_symbol(symbol), exchange="SMART", currency="USD"
        )
        try:
            rows = await self._wire.ask(
                req_id, f"the contract of {symbol}", lambda: self._client.reqContractDetails(req_id, raw)
            )
        except RequestError as error:
            if error.code.code != _UNKNOWN_CONTRACT:
                raise
            log.warning("%s: the broker knows no such US stock (200)", symbol)
            return None
        listed = {
            row.contract.conId: row
            for row in rows
            if row.contract.secType == "STK" and row.contract.primaryExchange in _US_LISTINGS
        }
        if len(listed) != 1:
            places = ", ".join(sorted(row.contract.primaryExchange for row in rows)) or "nowhere"
            log.warning("%s: not exactly one US stock at the broker (listed: %s)", symbol, places)
            return None
        (details,) = listed.values()
        return to_contract(details.contract, to_min_tick(details.minTick))
