"""The matching engine: takes orders, moves its clock forward, and says what traded at which price.

What belongs here: the queue, the clock and the decision what fills. One engine serves the simulated
gateway, the in-process broker and replay. No input or output: its state goes out and comes back as a value.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2s
from typing import Literal

from hrp_core.calendar import NEW_YORK, Calendar, nyse
from hrp_core.errors import RefusedError
from hrp_core.matching.account import Account, Position
from hrp_core.matching.commission import fill_commission
from hrp_core.matching.corrections import corrected
from hrp_core.matching.order_book import OrderBook
from hrp_core.matching.orders import (
    Event,
    Fill,
    NewOrder,
    Order,
    OrderAccepted,
    OrderActivated,
    OrderCancelled,
    OrderEdited,
    OrderFilled,
    OrderRejected,
    OrderState,
    Refusal,
)
from hrp_core.matching.rules import FILL_RULES, arrival, price_of, refusal_of, unaffordable
from hrp_core.matching.state import EngineState
from hrp_core.matching.tape import Tape
from hrp_core.money import to_units

CANCELLED = 202  # the broker's code for an order that ended

Lots = Callable[[Order, int], Sequence[int]]
"""How the shares that an order could trade at one moment are executed: the shares of each execution."""


class Engine:
    """One cash account at one exchange, on daily data.

    A market order that arrives outside the session waits for the next open and trades at the official open;
    where the tape has no open, at the official close at the close. An order that arrives during a session
    trades at that session's close, because daily data knows no later price. A limit order takes the open if
    it is marketable there; else its limit, if the session's low or high reaches it (told at the close,
    because daily data does not say when; not for orders that arrived after the open); else the close if
    it is marketable there. Auction orders trade in their auction alone. What is left of a DAY order expires
    at the close. Orders that arrive in the five minutes after a close are cancelled. At each moment sales
    trade before purchases; otherwise first come, first served, by (active_from, perm_id). A purchase that
    the account cannot pay for at that moment is cancelled.

    Args:
        tape: the prices.
        state: where to go on from; `EngineState.opening` for a new account.
        calendar: sessions of the exchange; default the New York Stock Exchange.
        lots: cuts what an order trades at one moment into executions, or cuts it short; default one
            execution of it all.

    Raises:
        RefusedError: the state's clock lies beyond the last priced session.
    """

    def __init__(
        self,
        tape: Tape,
        state: EngineState,
        *,
        calendar: Calendar | None = None,
        lots: Lots | None = None,
    ) -> None:
        if state.now.tzinfo is None:
            raise ValueError(f"a moment needs a time zone: {state.now!r}")
        self._tape = tape
        self._calendar = calendar or nyse()
        self._lots: Lots = lots or (lambda _, shares: (shares,))
        self._participation_bps = state.participation_bps
        self._tape.check_horizon(state.now)
        self._now = state.now.astimezone(NEW_YORK)
        self._seed = state.seed
        self._venue = f"0000{blake2s(str(state.seed).encode(), digest_size=2).hexdigest()}"
        self._next_perm_id = state.next_perm_id
        self._fill_count = state.fill_count
        self._fill_moment = state.fill_moment
        self._fill_sequence = state.fill_sequence
        self.account = Account(
            state.cash_units, state.opening_cash_units, state.realized_units, state.positions
        )
        self._book = OrderBook(state.open_orders, state.completed)
        self._fills = list(state.fills)

    def state(self) -> EngineState:
        """Return everything as a value; `restore` continues from it."""
        return EngineState(
            now=self._now,
            seed=self._seed,
            cash_units=self.account.cash_units,
            opening_cash_units=self.account.opening_cash_units,
            realized_units=self.account.realized_units,
            next_perm_id=self._next_perm_id,
            fill_count=self._fill_count,
            fill_moment=self._fill_moment,
            fill_sequence=self._fill_sequence,
            participation_bps=self._participation_bps,
            positions=self.account.positions,
            open_orders=self._book.tradable,
            completed=self.completed,
            fills=self.fills,
        )

    @property
    def next_perm_id(self) -> int:
        """The perm id that the next order gets."""
        return self._next_perm_id

    @property
    def tape(self) -> Tape:
        """The prices it trades at."""
        return self._tape

    @property
    def now(self) -> datetime:
        """The engine's clock, New York time."""
        return self._now

    @property
    def open_orders(self) -> tuple[Order, ...]:
        """Orders that can still trade as far as the broker says, by perm id."""
        return tuple(order for order in self._book.tradable if order.state.is_open)

    @property
    def completed(self) -> tuple[Order, ...]:
        """Orders that ended on the clock's day in New York, by (closed_at, perm_id); midnight empties it."""
        return self._book.completed

    @property
    def fills(self) -> tuple[Fill, ...]:
        """Executions of the clock's day in New York; midnight empties the list."""
        return tuple(self._fills)

    @property
    def fill_count(self) -> int:
        """Executions ever, corrections counted."""
        return self._fill_count

    def mark_units(self, position: Position) -> int:
        """Return the last official close of a held symbol, a share; before one exists, its last execution."""
        close = self._tape.last_close_units(position.symbol, self._calendar.decision_session(self._now))
        return position.last_price_units if close is None else close

    def net_liquidation_units(self) -> int:
        """Return cash plus the positions at their marks."""
        return self.account.cash_units + self.account.market_value_units(self.mark_units)

    def place(self, new: NewOrder, refusal: Refusal | None = None) -> list[Event]:
        """Take an order and return what happened at once: accepted, accepted and cancelled, or rejected.

        Args:
            new: the order.
            refusal: refuse it with this, whatever the engine thinks (a scripted broker).

        Raises:
            ValueError: the quantity is not positive.
        """
        if new.quantity <= 0:
            raise ValueError("quantity must be positive")
        route = arrival(self._now, self._calendar)
        order = Order(
            perm_id=self._next_perm_id,
            order_ref=new.order_ref,
            symbol=new.symbol,
            side=new.side,
            quantity=new.quantity,
            order_type=new.order_type,
            tif=new.tif,
            accepted_at=self._now,
            active_from=route.active_from,
            session=route.session,
            state=OrderState.WORKING if route.state is OrderState.WORKING else OrderState.HELD,
            limit_units=None if new.limit_price is None else to_units(new.limit_price),
        )
        self._next_perm_id += 1
        refusal = refusal or self.check(new)
        if refusal is not None:
            return [OrderRejected(self._now, self._end(order, refusal.state, refusal))]
        accepted: list[Event] = [OrderAccepted(self._now, order)]
        if route.state is OrderState.CANCELLED:
            return [*accepted, self._cancel(order, "it arrived in the five minutes after the close")]
        self._book.keep(order)
        return accepted

    def check(self, new: NewOrder) -> Refusal | None:
        """Return why an order that arrived now would be refused; None when it would not."""
        session = arrival(self._now, self._calendar).session
        held, selling = self.account.shares(new.symbol), self._book.selling(new.symbol)
        return refusal_of(new, session, self._now, self._tape, self._calendar, held=held, selling=selling)

    def cancel(self, perm_id: int, *, too_late: bool = False) -> list[Event]:
        """Cancel an open order, as its owner asked.

        Args:
            perm_id: the order.
            too_late: it is called cancelled, and trades all the same (a scripted broker).

        Raises:
            KeyError: no open order has that perm id.
        """
        event = self._cancel(self._book.open_order(perm_id))
        if too_late:
            event = replace(event, order=replace(event.order, cancel_too_late=True))
            self._book.keep(event.order)
            self._book.replace(event.order)
        return [event]

    def edit(
        self, perm_id: int, *, quantity: int | None = None, limit_price: Decimal | None = None
    ) -> list[Event]:
        """Change quantity or limit of an open order, as a person at the broker's own screen can.

        Raises:
            KeyError: no open order has that perm id.
            RefusedError: the quantity is not above what is filled, or the order has no limit.
        """
        order = self._book.open_order(perm_id)
        if quantity is not None and quantity <= order.filled:
            raise RefusedError(
                f"order {perm_id} has {order.filled} shares filled; its quantity cannot become {quantity}"
            )
        if limit_price is not None and order.limit_units is None:
            raise RefusedError(f"order {perm_id} is of type {order.order_type} and has no limit to change")
        order = replace(
            order,
            quantity=quantity or order.quantity,
            limit_units=order.limit_units if limit_price is None else to_units(limit_price),
        )
        self._book.keep(order)
        return [OrderEdited(self._now, order)]

    def correct(self, number: int, price: Decimal | None) -> list[Event]:
        """Correct the price of one of today's executions, or take it back, as an exchange may.

        Args:
            number: the execution's number.
            price: the right price, USD a share; None busts the execution.

        Raises:
            RefusedError: no execution of today has that number, or one that a correction has replaced; or the
                account cannot bear it (the shares are sold, the money is spent).
        """
        newest = {fill.stem: fill for fill in self._fills}
        old = next((fill for fill in newest.values() if fill.number == number and fill.quantity), None)
        if old is None:
            raise RefusedError(f"no execution {number} stands today; only today's can be corrected")
        order = self._book.find(old.perm_id)
        order, fill = corrected(self.account, order, old, price, number=self._fill_count + 1)
        self._fill_count += 1
        self._fills.append(fill)
        self._book.replace(order)
        return [OrderFilled(self._now, order, fill)]

    def advance(self, to: datetime) -> list[Event]:
        """Move the clock to `to` and return what happened on the way, in time order.

        Raises:
            RefusedError: `to` is in the past, or beyond the last priced session; nothing has moved.
        """
        to = to.astimezone(NEW_YORK)
        if to < self._now:
            raise RefusedError(
                f"the simulated clock only goes forward: it stands at {self._now.isoformat()}, "
                f"{to.isoformat()} is earlier; start afresh to go back"
            )
        self._tape.check_horizon(to)
        events: list[Event] = []
        for session in sorted({order.session for order in self._book.tradable}):
            opens, closes = self._calendar.open(session), self._calendar.close(session)
            if self._now < opens <= to:
                self._move(opens)
                events += self._at_open(session)
            if self._now < closes <= to:
                self._move(closes)
                events += self._at_close(session)
        self._move(to)
        return events

    def _move(self, to: datetime) -> None:
        if to.date() != self._now.date():
            self._book.forget_completed()
            self._fills.clear()
        self._now = to

    def _at_open(self, session: date) -> Iterator[Event]:
        yield from self._trade(session, "open")
        for order in self._book.good_for(session):
            if not FILL_RULES[order.order_type, order.tif].at_close:
                yield self._cancel(order, f"the opening auction of {session} did not fill it")
            elif order.state is OrderState.HELD:
                working = replace(order, state=OrderState.WORKING)
                self._book.keep(working)
                yield OrderActivated(self._now, working)

    def _at_close(self, session: date) -> Iterator[Event]:
        yield from self._trade(session, "close")
        for order in self._book.good_for(session):
            priced = self._tape.price_units(session, order.symbol, "close") is not None
            yield self._cancel(
                order,
                f"{session} closed and it was not filled whole"
                if priced
                else f"{session} closed without a price for {order.symbol}",
            )

    def _trade(self, session: date, at: Literal["open", "close"]) -> Iterator[Event]:
        for order in self._book.good_for(session):
            units = price_of(order, session, at, self._tape, self._calendar)
            if units is not None:
                yield from self._execute(order, units)

    def _execute(self, order: Order, price_units: int) -> Iterator[Event]:
        cap = self._tape.participation_cap(order.symbol, order.session, self._participation_bps)
        available = order.remaining
        if cap is not None:
            newest = {fill.stem: fill for fill in self._fills if fill.symbol == order.symbol}
            available = min(available, cap - sum(fill.quantity for fill in newest.values()))
        for shares in self._lots(order, available) if available > 0 else ():
            if not 0 < shares <= order.remaining:
                raise ValueError(f"a lot of {shares} shares for order {order.perm_id} over {order.remaining}")
            event = self._fill(order, shares, price_units)
            yield event
            order = event.order
            if isinstance(event, OrderCancelled):
                return

    def _fill(self, order: Order, shares: int, price_units: int) -> OrderFilled | OrderCancelled:
        value = shares * price_units
        commission = fill_commission(shares, value, order.filled, order.value_units)
        refusal = unaffordable(order, shares, value + commission, self.account)
        if refusal is not None:
            return OrderCancelled(self._now, self._end(order, OrderState.CANCELLED, refusal))
        realized = self.account.apply(order.symbol, order.side, shares, price_units, commission)
        filled = replace(
            order,
            filled=order.filled + shares,
            value_units=order.value_units + value,
            commission_units=order.commission_units + commission,
        )
        self._fill_count += 1
        fill = Fill(
            number=self._fill_count,
            exec_id=self._next_exec_id(),
            perm_id=order.perm_id,
            order_ref=order.order_ref,
            symbol=order.symbol,
            side=order.side,
            time=self._now,
            quantity=shares,
            price_units=price_units,
            commission_units=commission,
            realized_units=realized,
            cum_quantity=filled.filled,
            cum_value_units=filled.value_units,
        )
        self._fills.append(fill)
        if filled.remaining == 0:
            return OrderFilled(self._now, self._end(filled, OrderState.FILLED), fill)
        if filled.state is OrderState.HELD:
            filled = replace(filled, state=OrderState.WORKING)
        self._book.replace(filled)
        return OrderFilled(self._now, filled, fill)

    def _next_exec_id(self) -> str:
        """Return an id made of seed, moment and sequence within the moment, shaped like the broker's."""
        self._fill_sequence = self._fill_sequence + 1 if self._fill_moment == self._now else 1
        self._fill_moment = self._now
        return f"{self._venue}.{int(self._now.timestamp()):08x}.{self._fill_sequence:02x}.01"

    def _cancel(self, order: Order, reason: str = "") -> OrderCancelled:
        cancellation = Refusal(CANCELLED, f"Order Canceled - reason:{reason}")
        return OrderCancelled(self._now, self._end(order, OrderState.CANCELLED, cancellation))

    def _end(self, order: Order, state: OrderState, why: Refusal | None = None) -> Order:
        code, reason = (0, "") if why is None else (why.code, why.reason)
        closed = replace(
            order, state=state, closed_at=self._now, code=code, reason=reason, cancel_too_late=False
        )
        self._book.end(closed)
        return closed
