"""The brokerage behind the wire: one account, its orders and their owners, kept in the gateway's file.

What belongs here: what a request does to the account, and what is known of it. No sockets and no messages;
changes are durable after `commit`, and nobody may be told of them before.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from hrp_core.calendar import nyse
from hrp_core.errors import SettingsError
from hrp_core.matching import (
    Engine,
    EngineState,
    Event,
    Fill,
    Instrument,
    Instruments,
    NewOrder,
    Order,
    OrderFilled,
    OrderState,
    Position,
    Preview,
    Refusal,
    Side,
    Tape,
    official_quote,
    preview,
    previewed_order,
)
from hrp_core.matching.state import scalars_of
from hrp_core.simgateway.faults import About, Fault, FaultBook, Parameters, order_number
from hrp_core.simgateway.faults.lasting import (
    FillAfterCancel,
    PartialFill,
    PositionLag,
    ReadOnly,
    RefuseAllOrders,
    Reject,
    SplitFill,
)
from hrp_core.simgateway.order_entry import translated
from hrp_core.simgateway.order_messages import STATUS_WORDS, BrokerOrder
from hrp_core.simgateway.place_order import PlaceOrder
from hrp_core.simgateway.requests import ContractQuery, ExecutionsRequest, RequestError
from hrp_core.simgateway.store import GatewayStore, Ownership


@dataclass(frozen=True, slots=True)
class Opening:
    """What a new gateway begins with. An existing one goes on from its file.

    Attributes:
        account: None chooses a random paper account (DU and seven digits).
    """

    start: datetime
    cash: Decimal
    seed: int = 0
    account: str | None = None
    participation_bps: int = 0


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of an order at once; `notices` are (code, text) that come with it."""

    events: list[Event]
    notices: list[tuple[int, str]]
    preview: tuple[BrokerOrder, Preview] | None = None


class Brokerage:
    """The account and everything that happens to it."""

    def __init__(self, store: GatewayStore, tape: Tape, opening: Opening) -> None:
        self._store = store
        self.calendar = nyse()
        loaded = store.load_engine()
        if loaded is None:
            account = opening.account or f"DU{1_000_000 + secrets.randbelow(9_000_000)}"
            state = EngineState.opening(
                now=opening.start,
                cash=opening.cash,
                seed=opening.seed,
                participation_bps=opening.participation_bps,
            )
            owners: dict[int, Ownership] = {}
            store.put({"account": account, "orders_received": 0})
        else:
            state, owners = loaded
            account = store.get("account") or ""
            if opening.account is not None and opening.account != account:
                raise SettingsError(
                    f"the gateway's file belongs to account {account}, not {opening.account}; start afresh, "
                    "or leave the account unsaid"
                )
        self.account = account
        self.engine = Engine(tape, state, lots=self._lots)
        self.instruments = Instruments(tape.symbols, store.con_ids())
        store.save_instruments(self.instruments.con_ids())
        self.faults = FaultBook(store.active_faults(), state.seed, store.save_fault, store.end_fault)
        self._owners = owners
        self._order_ids = store.next_order_ids()
        self.orders_received = int(store.get("orders_received") or 0)
        self._changed = True
        self.commit()

    @property
    def now(self) -> datetime:
        """The gateway's clock, New York time."""
        return self.engine.now

    def commit(self) -> None:
        """Make every change durable.

        Raises:
            BrokerError: the disk refuses.
        """
        if self._changed:
            self._store.put(scalars_of(self.engine.state()))
            self._store.put({"orders_received": self.orders_received})
            self._changed = False
        self._store.commit()

    def next_order_id(self, client_id: int) -> int:
        """Return the lowest order id the client may use."""
        return self._order_ids.get(client_id, 1)

    def find(self, query: ContractQuery) -> Instrument:
        """Return the stock that a client describes.

        Raises:
            RequestError: none is listed like that, or its id and its symbol contradict each other.
        """
        symbol = query.symbol or query.local_symbol
        instrument = (
            self.instruments.by_con_id(query.con_id)
            if query.con_id
            else self.instruments.by_ib_symbol(symbol)
        )
        if (
            instrument is None
            or query.sec_type not in ("STK", "")
            or query.currency not in ("USD", "")
            or query.exchange not in ("SMART", "", instrument.primary_exchange)
            or query.primary_exchange not in ("", instrument.primary_exchange)
        ):
            raise RequestError(200, "No security definition has been found for the request")
        if symbol and symbol != instrument.ib_symbol:
            raise RequestError(
                478,
                "Parameters in request conflicts with contract parameters received by contract id: "
                f"requested symbol {symbol}, in contract {instrument.ib_symbol}",
            )
        return instrument

    def check_account(self, account: str, *, optional: bool) -> None:
        """Refuse any account but this one.

        Raises:
            RequestError: another account is named, or none where one is needed.
        """
        if account == self.account or (optional and not account):
            return
        raise RequestError(321, f"Error validating request.-'bO' : cause - Invalid account code '{account}'.")

    def place(self, client_id: int, request: PlaceOrder) -> Placed:
        """Take an order.

        Raises:
            RequestError: the order is not even an order here; nothing is recorded but that one came.
        """
        if not request.what_if:
            self.orders_received += 1
            self._changed = True
        self._check_writable()
        self.check_account(request.account, optional=True)
        if request.order_id < self.next_order_id(client_id):
            raise RequestError(103, "Duplicate order id")
        instrument = self.find(request.contract)
        new, notices = translated(request, instrument)
        if request.what_if:
            return Placed([], [], self._previewed(client_id, request.order_id, new, instrument))
        owner = Ownership(client_id, request.order_id, request.outside_rth)
        events = self.place_new(new, owner, self._scripted_refusal(client_id, new))
        self.set_next_order_id(client_id, request.order_id + 1)
        return Placed(events, notices)

    def place_new(self, new: NewOrder, owner: Ownership, refusal: Refusal | None = None) -> list[Event]:
        """Give an order to the market, whoever it comes from."""
        # Known before the engine speaks of it: its first event may already be asked about by a fault.
        self._owners[self.engine.next_perm_id] = owner
        return self.record(self.engine.place(new, refusal))

    def owner(self, perm_id: int) -> Ownership:
        """Return whose order it is on the wire."""
        return self._owners[perm_id]

    def bind_manual_orders(self) -> list[BrokerOrder]:
        """Give open orders that a person placed an order id of client 0 (below zero); return them."""
        bound: list[BrokerOrder] = []
        for order in self.engine.open_orders:
            owner = self._owners[order.perm_id]
            if owner.order_id == 0:
                self._owners[order.perm_id] = replace(owner, order_id=-order_number(order.perm_id))
                self._store.save_order(order, self._owners[order.perm_id])
                self._changed = True
                bound.append(self.broker_order(order))
        return bound

    def set_next_order_id(self, client_id: int, order_id: int) -> None:
        """Set the lowest order id the client may use."""
        self._order_ids[client_id] = order_id
        self._store.save_next_order_id(client_id, order_id)
        self._changed = True

    @property
    def known_clients(self) -> list[int]:
        """Client ids that ever placed an order."""
        return sorted(self._order_ids)

    def cancel(self, client_id: int, order_id: int) -> list[Event]:
        """Cancel one of the client's own open orders.

        Raises:
            RequestError: the client has no such order (another client's never is), or it has ended.
        """
        self._check_writable()
        for order in self.engine.open_orders:
            owner = self._owners[order.perm_id]
            if order_id and (owner.client_id, owner.order_id) == (client_id, order_id):
                too_late = self.faults.take(FillAfterCancel, About.of(self.broker_order(order)))
                return self.record(self.engine.cancel(order.perm_id, too_late=too_late is not None))
        state = self._store.order_state(client_id, order_id)
        if state is None:
            raise RequestError(10147, f"OrderId {order_id} that needs to be cancelled is not found.")
        word = STATUS_WORDS[state]
        raise RequestError(
            10148, f"OrderId {order_id} that needs to be cancelled can not be cancelled, state: {word}."
        )

    def cancel_all(self) -> list[Event]:
        """Cancel every open order of the account.

        Raises:
            RequestError: the API is read-only (a scripted fault).
        """
        self._check_writable()
        events: list[Event] = []
        for order in self.engine.open_orders:
            events += self.engine.cancel(order.perm_id)
        return self.record(events)

    def advance(self, to: datetime) -> list[Event]:
        """Move the clock forward; return what happened on the way, in time order.

        Raises:
            RefusedError: `to` is in the past, or beyond the last priced session.
        """
        events = self.record(self.engine.advance(to))
        self._changed = True
        return events

    def add_fault(self, name: str, parameters: Parameters) -> Fault:
        """Put a scripted fault in force, unless it acts at once; return it.

        Raises:
            DataError: no such fault, or parameters that it does not take.
        """
        active = self._store.add_fault(name, parameters)
        if not active.fault.at_once:
            self.faults.add(active)
        return active.fault

    def positions(self) -> list[Position]:
        """Return the positions as clients are told them: a fault may let them lag behind the fills (F13)."""
        held = {position.symbol: position for position in self.engine.account.positions}
        lag = self.faults.in_force(PositionLag)
        if isinstance(lag, PositionLag):
            since = self.now - timedelta(minutes=lag.minutes)
            for fill in self.engine.fills:
                if fill.time > since and not fill.is_correction:
                    known = held.get(fill.symbol, Position(fill.symbol, 0, 0, fill.price_units))
                    shares = known.shares - fill.quantity * (1 if fill.side is Side.BUY else -1)
                    held[fill.symbol] = replace(known, shares=shares)
        return [held[symbol] for symbol in sorted(held) if held[symbol].shares]

    def open_orders(self, client_id: int | None = None, *, stale: bool = False) -> list[BrokerOrder]:
        """Return open orders: of one client, or of all.

        Args:
            client_id: None for all.
            stale: list those that ended today as if they were open and unfilled (a scripted fault).
        """
        orders = [self.broker_order(order) for order in self.engine.open_orders]
        if stale:
            orders += [
                self.broker_order(
                    replace(order, state=OrderState.WORKING, filled=0, value_units=0, closed_at=None)
                )
                for order in self.engine.completed
                if order.state is not OrderState.REJECTED
            ]
        return [order for order in orders if client_id is None or order.client_id == client_id]

    def completed_orders(self) -> list[BrokerOrder]:
        """Return the orders that ended today in New York."""
        return [self.broker_order(order) for order in self.engine.completed]

    def executions(self, request: ExecutionsRequest) -> list[tuple[BrokerOrder, Fill]]:
        """Return today's executions (New York) that pass the filter and that no fault hides."""
        orders = {order.perm_id: order for order in (*self.engine.completed, *self.engine.open_orders)}
        found: list[tuple[BrokerOrder, Fill]] = []
        for fill in self.engine.fills:
            order = self.broker_order(orders[fill.perm_id])
            side = "BUY" if fill.side is Side.BUY else "SELL"
            exchange = order.instrument.primary_exchange
            if (
                (request.client_id in (0, order.client_id))
                and (request.since is None or fill.time >= request.since)
                and request.symbol in ("", order.instrument.ib_symbol)
                and request.sec_type in ("", "STK")
                and request.exchange in ("", "SMART", exchange)
                and request.side.upper() in ("", side, side[0], "BOT" if side == "BUY" else "SLD")
                and not self.faults.hides_execution(fill.number)
            ):
                found.append((order, fill))
        return found

    def broker_order(self, order: Order) -> BrokerOrder:
        """Return an order together with its owner on the wire."""
        owner = self._owners[order.perm_id]
        return BrokerOrder(
            order,
            self.instruments[order.symbol],
            self.account,
            owner.client_id,
            owner.order_id,
            owner.outside_rth,
        )

    def orders_by_state(self) -> Mapping[str, int]:
        """Return how many orders of all time are in each state."""
        return {state.value: count for state, count in sorted(self._store.orders_by_state().items())}

    def _check_writable(self) -> None:
        if self.faults.in_force(ReadOnly):
            raise RequestError(
                321,
                "Error validating request.-'bW' : cause - The API interface is currently in Read-Only mode.",
            )

    def _scripted_refusal(self, client_id: int, new: NewOrder) -> Refusal | None:
        about = About(order_number(self.engine.next_perm_id), new.symbol, new.order_ref, client_id)
        reject = self.faults.take(Reject, about)
        if reject is not None:
            inactive = reject.shape == "inactive"
            state = OrderState.REJECTED if inactive else OrderState.CANCELLED
            return Refusal(reject.code, reject.reason, state)
        if self.faults.in_force(RefuseAllOrders):
            return Refusal(201, "Order rejected - reason:the simulated gateway was told to refuse all orders")
        return None

    def _previewed(
        self, client_id: int, order_id: int, new: NewOrder, instrument: Instrument
    ) -> tuple[BrokerOrder, Preview]:
        refusal = self.engine.check(new)
        last = official_quote(self.engine.tape, new.symbol, self.now, self.calendar).last
        figures = preview(self.engine, new, last or 0)
        refusal = refusal or figures.refusal
        if refusal is not None:
            raise RequestError(refusal.code, refusal.reason)
        order = previewed_order(new, self.now)
        return BrokerOrder(order, instrument, self.account, client_id, order_id), figures

    def _lots(self, order: Order, shares: int) -> tuple[int, ...]:
        about = About.of(self.broker_order(order))
        partial = self.faults.take(PartialFill, about)
        if partial is not None:
            shares = min(shares, partial.shares)
        split = self.faults.take(SplitFill, about)
        pieces = min(split.pieces, shares) if split is not None else 1
        return tuple(shares // pieces + (n < shares % pieces) for n in range(pieces))

    def record(self, events: list[Event]) -> list[Event]:
        """Store what happened, and return it."""
        for event in events:
            self._changed = True
            self._store.save_order(event.order, self._owners[event.order.perm_id])
            if isinstance(event, OrderFilled):
                self._store.save_fill(event.fill)
                self._store.save_position(event.fill.symbol, self.engine.account.position(event.fill.symbol))
        return events
