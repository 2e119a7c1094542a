"""An in-process broker on the matching engine: the `Broker` protocol without a wire.

What belongs here: the translation between the protocol and the engine. What trades when and at which price
is the engine's business, which the simulated gateway and replay share.
"""

import queue
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Self

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import BrokerConnectionError, BrokerError
from hrp_core.execution.broker import (
    AccountValues,
    BrokerOrder,
    BrokerPosition,
    BrokerSnapshot,
    NotSentError,
    OrderEvent,
    OrderPreview,
    OrderRequest,
    Quote,
    QuoteQuality,
)
from hrp_core.execution.order_terms import TERMS, check_request
from hrp_core.ledger.types import Contract, Execution, OrderId, OrderStatus
from hrp_core.matching import (
    Engine,
    Event,
    Fill,
    Instruments,
    NewOrder,
    Order,
    OrderFilled,
    OrderState,
    Side,
    official_quote,
    preview,
)
from hrp_core.money import from_units, to_units
from hrp_core.portfolio.types import OrderSide

if TYPE_CHECKING:
    from hrp_core.market import Bar

_CLIENT_ID = 1  # of the one client there is

# An order that waits for the open has been accepted all the same (the broker's PreSubmitted with code 399).
_STATUSES = {
    OrderState.HELD: OrderStatus.SUBMITTED,
    OrderState.WORKING: OrderStatus.SUBMITTED,
    OrderState.FILLED: OrderStatus.FILLED,
    OrderState.CANCELLED: OrderStatus.CANCELLED,
    OrderState.REJECTED: OrderStatus.REJECTED,
}


class SimBroker:
    """A broker account in this process. Not for use by several threads at once.

    Like a real one it forgets: what happens while nobody is connected is in the next snapshot only, and a
    snapshot lists the executions and completed orders of the current day in New York.

    Args:
        engine: the market and the account; its clock moves by `advance` alone.
        account: the account's name.
    """

    def __init__(self, engine: Engine, account: str) -> None:
        self._engine = engine
        self._account = account
        self._instruments = Instruments(engine.tape.symbols)
        self._events: queue.SimpleQueue[OrderEvent] = queue.SimpleQueue()
        self._connected = False
        self._orders_received = 0
        self._number_given = 0
        self._number_used = 0

    @property
    def account(self) -> str:
        """The one account every order and filter names."""
        return self._account

    @property
    def engine(self) -> Engine:
        """The market and the account behind it."""
        return self._engine

    @property
    def orders_received(self) -> int:
        """How often `place` was called."""
        return self._orders_received

    def connect(self) -> None:
        """Connect; events from before are gone."""
        if not self._connected:
            self._events = queue.SimpleQueue()
            self._connected = True

    def disconnect(self) -> None:
        """End the connection; calling it again does nothing."""
        self._connected = False

    def is_connected(self) -> bool:
        """Return whether the connection stands."""
        return self._connected

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *exc: object) -> None:
        self.disconnect()

    def now(self) -> datetime:
        """Return the broker's clock, New York time: a `Clock` for whoever trades here."""
        return self._engine.now

    def advance(self, to: datetime) -> None:
        """Move the broker's clock; what trades on the way is pushed to the connection.

        Raises:
            RefusedError: `to` is in the past, or beyond the last priced session.
        """
        self._push(self._engine.advance(to))

    def heartbeat(self) -> datetime:
        """Return the broker's clock (New York time).

        Raises:
            BrokerConnectionError: not connected.
        """
        self._require_connected()
        return self.now().astimezone(NEW_YORK)

    def qualify(self, symbols: Sequence[str]) -> dict[str, Contract]:
        """Return the contract of each symbol that is on the tape."""
        self._require_connected()
        return {symbol: self._contract(symbol) for symbol in symbols if symbol in self._engine.tape}

    def used_order_id(self) -> OrderId:
        """Return the highest order id that was used.

        Raises:
            BrokerConnectionError: not connected.
        """
        self._require_connected()
        return OrderId(_CLIENT_ID, self._number_used)

    def next_order_id(self) -> OrderId:
        """Return the id for one order that is about to be placed.

        Raises:
            NotSentError: (a BrokerConnectionError) not connected.
        """
        if not self._connected:
            raise NotSentError("the in-process broker is not connected; nothing was sent")
        self._number_given += 1
        return OrderId(_CLIENT_ID, self._number_given)

    def place(self, request: OrderRequest) -> None:
        """Hand one order to the engine; what becomes of it arrives as events.

        Raises:
            RefusedError: the request cannot be sent as it stands; nothing was sent.
            NotSentError: (a BrokerConnectionError) not connected; nothing was sent.
        """
        if not self._connected:
            raise NotSentError("the in-process broker is not connected; nothing was sent")
        check_request(request)
        self._orders_received += 1
        self._number_used = (request.order_id or self.next_order_id()).number
        self._push(self._engine.place(_new_order(request)))

    def cancel(self, order_ref: str) -> None:
        """Cancel an open order.

        Raises:
            BrokerError: no open order carries `order_ref`.
        """
        self._require_connected()
        for order in self._engine.open_orders:
            if order.order_ref == order_ref:
                self._push(self._engine.cancel(order.perm_id))
                return
        raise BrokerError(f"no open order carries {order_ref}; look at the account with `hrp orders`")

    def cancel_everything(self) -> None:
        """Cancel every open order of the account.

        Raises:
            BrokerConnectionError: not connected.
        """
        self._require_connected()
        for order in tuple(self._engine.open_orders):
            self._push(self._engine.cancel(order.perm_id))

    def next_event(self, timeout: float) -> OrderEvent | None:
        """Return the next order event, waiting at most `timeout` seconds while connected; else None."""
        try:
            if timeout > 0 and self._connected:
                return self._events.get(timeout=timeout)
            return self._events.get_nowait()
        except queue.Empty:
            return None

    def quotes(self, contracts: Sequence[Contract], timeout: float) -> dict[str, Quote]:  # noqa: ARG002
        """Return the official prices known at the broker's clock, by symbol; the tape has no bid and no ask.

        Raises:
            BrokerConnectionError: not connected.
        """
        self._require_connected()
        return {contract.symbol: self._quote(contract.symbol) for contract in contracts}

    def bars(self, contract: Contract, start: date, end: date) -> "list[Bar]":
        """Return the daily bars of completed sessions that the tape has whole: open, high, low and close.

        Raises:
            BrokerConnectionError: not connected.
            BrokerError: the contract is not on the tape.
        """
        from hrp_core.market import Bar

        self._require_connected()
        tape, symbol = self._engine.tape, contract.symbol
        if symbol not in tape:
            raise BrokerError(f"the in-process broker knows no stock {symbol}; load its prices first")
        last = min(end, nyse().decision_session(self._engine.now))
        found: list[Bar] = []
        for session in tape.sessions:
            if not start <= session <= last:
                continue
            prices = [tape.price_units(session, symbol, field) for field in ("open", "high", "low", "close")]
            known = [float(from_units(units)) for units in prices if units is not None]
            if len(known) == len(prices):
                volume = tape.shares_traded(session, symbol)
                found.append(Bar(session, *known, volume=float("nan") if volume is None else volume))
        return found

    def what_if(self, request: OrderRequest) -> OrderPreview:
        """Return what an order would cost at its limit, or without one at the last official price.

        In a cash account the margin of a position is its whole value.

        Raises:
            RefusedError: the request cannot be sent as it stands.
            BrokerConnectionError: not connected.
            BrokerError: the order would be rejected.
        """
        self._require_connected()
        check_request(request)
        engine, new = self._engine, _new_order(request)
        refusal = engine.check(new)
        if refusal is not None:
            raise BrokerError(
                f"the broker would reject {request.order_ref}: {refusal.code}, {refusal.reason}; it was not "
                "sent"
            )
        price = request.limit_price or self._quote(new.symbol).last
        if price is None:
            raise BrokerError(
                f"{new.symbol} has no price yet, so nothing says what {request.order_ref} would cost; it "
                "was not sent"
            )
        figures = preview(engine, new, to_units(price))
        if figures.refusal is not None:
            raise BrokerError(
                f"the broker would reject {request.order_ref}: {figures.refusal.code}, "
                f"{figures.refusal.reason}; it was not sent"
            )
        return OrderPreview(
            margin_before=from_units(figures.margin_before),
            margin_change=from_units(figures.margin_change),
            equity_before=from_units(figures.equity_before),
            equity_change=from_units(figures.equity_change),
            commission=from_units(figures.commission),
        )

    def snapshot(self) -> BrokerSnapshot:
        """Return open and completed orders, executions, positions and account values as they are now.

        Raises:
            BrokerConnectionError: not connected.
        """
        self._require_connected()
        engine = self._engine
        return BrokerSnapshot(
            account=self._account,
            asked_at=engine.now.astimezone(NEW_YORK),
            open_orders=tuple(self._order(order) for order in engine.open_orders),
            completed_orders=tuple(self._order(order) for order in engine.completed),
            executions=tuple(self._execution(fill) for fill in engine.fills),
            positions=tuple(
                BrokerPosition(self._contract(position.symbol), position.shares, position.average_cost)
                for position in engine.account.positions
            ),
            values=AccountValues(
                account=self._account,
                net_liquidation=from_units(engine.net_liquidation_units()),
                cash=from_units(engine.account.cash_units),
            ),
        )

    def _push(self, events: Iterable[Event]) -> None:
        for event in events:
            if not self._connected:
                continue
            order = event.order
            if isinstance(event, OrderFilled):
                self._events.put(
                    OrderEvent(order.order_ref, order.perm_id, execution=self._execution(event.fill))
                )
            self._events.put(
                OrderEvent(
                    order.order_ref,
                    order.perm_id,
                    status=_STATUSES[order.state],
                    code=order.code or None,
                    message=order.reason,
                )
            )

    def _quote(self, symbol: str) -> Quote:
        known = official_quote(self._engine.tape, symbol, self._engine.now, nyse())
        return Quote(
            symbol,
            bid=None,
            ask=None,
            last=None if known.last is None else from_units(known.last),
            close=None if known.close is None else from_units(known.close),
            quality=QuoteQuality.LIVE,
        )

    def _contract(self, symbol: str) -> Contract:
        instrument = self._instruments[symbol]
        return Contract(symbol, instrument.con_id, instrument.primary_exchange, min_tick=instrument.min_tick)

    def _order(self, order: Order) -> BrokerOrder:
        return BrokerOrder(
            order_ref=order.order_ref,
            perm_id=order.perm_id,
            contract=self._contract(order.symbol),
            side=_side(order.side),
            quantity=order.quantity,
            filled=order.filled,
            status=_STATUSES[order.state],
            raw_status=order.reason,
        )

    def _execution(self, fill: Fill) -> Execution:
        return Execution(
            exec_id=fill.exec_id,
            account=self._account,
            order_ref=fill.order_ref,
            perm_id=fill.perm_id,
            contract=self._contract(fill.symbol),
            side=_side(fill.side),
            shares=fill.quantity,
            price=from_units(fill.price_units),
            executed_at=fill.time,
            commission=from_units(fill.commission_units),
        )

    def _require_connected(self) -> None:
        if not self._connected:
            raise BrokerConnectionError("the in-process broker is not connected; connect it first")


def _new_order(request: OrderRequest) -> NewOrder:
    return NewOrder(
        symbol=request.contract.symbol,
        side=Side.BUY if request.side is OrderSide.BUY else Side.SELL,
        quantity=request.quantity,
        order_type=TERMS[request.order_type].order_type,
        tif=request.tif,
        limit_price=request.limit_price,
        order_ref=request.order_ref,
    )


def _side(side: Side) -> OrderSide:
    return OrderSide.BUY if side is Side.BUY else OrderSide.SELL
