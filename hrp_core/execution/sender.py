"""Sending a basket: claim, place, listen, and never more than a bounded number of orders unanswered.

What belongs here: the loop between the journal and the broker for orders that may be sent. Whether they may
is decided before, by the order manager; what the answers amount to, by the journal. Each claim is a durable
commit of its own before its send; plain acknowledgements, which the next snapshot would find again, are
committed in groups.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hrp_core.calendar import Clock
from hrp_core.errors import BrokerConnectionError, BrokerError, HrpError, RefusedError
from hrp_core.execution.broker import Broker, NotSentError, OrderEvent, OrderRequest
from hrp_core.execution.ib_codes import CodeKind, classify
from hrp_core.execution.order_ref import build_order_ref
from hrp_core.execution.order_terms import TERMS, passive_price
from hrp_core.execution.send_checks import sales_missing
from hrp_core.execution.send_window import SendWindow
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import (
    AlreadyClaimedError,
    ContractLockedError,
    Evidence,
    Execution,
    FrozenPlan,
    Intent,
    LatchState,
    OrderId,
    OrderStatus,
    Source,
    TradingHaltedError,
)
from hrp_core.portfolio.types import OrderType, Purpose

log = logging.getLogger(__name__)

_UNREMARKABLE = frozenset({None, OrderStatus.SUBMITTED, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED})


@dataclass(slots=True)
class Sending:
    """What one run of the loop did.

    Attributes:
        placed: orderRefs handed to the broker, in order.
        skipped: symbols left PENDING because their contract is locked or only exits may go.
        reasons: why, by intent id.
        stopped: why the loop ended before the last order; empty when it did not.
    """

    placed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    stopped: str = ""


class Sender:
    """Sends the orders of one plan under one fencing epoch.

    Args:
        broker: connected; nobody else reads its events meanwhile.
        journal: holds the plan.
        clock: the clock of the mode.
        max_in_flight: most orders sent whose acknowledgement the journal does not have yet.
        ack_timeout: longest wait for the acknowledgement of an order, real seconds.
        monotonic: measures that wait, seconds.
    """

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        clock: Clock,
        *,
        max_in_flight: int,
        ack_timeout: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._broker = broker
        self._journal = journal
        self._clock = clock
        self._max_in_flight = max_in_flight
        self._ack_timeout = ack_timeout
        self._monotonic = monotonic
        self._deadlines: dict[str, float] = {}
        # What the broker said and the journal does not have yet, oldest first.
        self._heard: list[OrderEvent] = []

    def send(
        self,
        plan: FrozenPlan,
        intents: Sequence[Intent],
        windows: Mapping[OrderType, SendWindow],
        epoch: int,
        exits_only: str = "",
    ) -> Sending:
        """Send `intents` in this order; return when each one sent is acknowledged, rejected or UNKNOWN.

        Args:
            plan: whose intents they are.
            intents: PENDING ones.
            windows: when orders of each type may be sent.
            epoch: the writer's.
            exits_only: why only decreases may go; empty when increases may too.

        Raises:
            StaleEpochError: another writer took over; what was sent before is settled first.
            JournalError: the journal cannot be written; nothing is sent that it does not hold.
        """
        # What an earlier call left behind when it failed has been looked up since.
        self._deadlines.clear()
        self._heard.clear()
        done = Sending()
        failure: HrpError | None = None
        try:
            before = self._journal.newest_attempts(plan.plan_id)
            entering = False
            for intent in intents:
                # What is heard while waiting may be a reason to stop.
                while len(self._deadlines) >= self._max_in_flight:
                    self.listen()
                done.stopped = self._why_stop(plan, windows[intent.order_type], self._clock.now())
                if not done.stopped and intent.leg == "increase" and not entering:
                    entering = True
                    done.stopped = exits_only or self._why_sales_are_missing(plan)
                if done.stopped:
                    break
                # Only an intent whose every attempt provably never left is PENDING and comes here again.
                last = before.get(intent.intent_id)
                number = last.number + 1 if last else 1
                self._send_one(plan, intent, number, windows[intent.order_type], epoch, done)
                if done.stopped:
                    break
        except HrpError as error:
            failure = error
        except BaseException:
            self._save_heard()
            raise
        while self._deadlines:
            self.listen()
        self._commit()
        if failure is not None:
            raise failure
        if done.placed:
            self._hear_out()
        return done

    def _hear_out(self) -> None:
        """Hear all that the broker has said by now: a reject may follow the first word of its order (F8)."""
        try:
            if self._broker.is_connected():
                self._broker.heartbeat()
        except BrokerConnectionError as error:
            log.warning("the connection ended after the last order was answered: %s", error)
        self.listen(0)

    def listen(self, wait: float | None = None) -> None:
        """Journal what the broker says, until it says nothing more or the next deadline passes.

        Args:
            wait: longest wait for a first message, seconds; default: until the next deadline.
        """
        self._hear()
        if not self._heard:
            if wait is None:
                wait = max(0.0, min(self._deadlines.values(), default=0.0) - self._monotonic())
            event = self._broker.next_event(wait)
            if event is not None:
                self._heard.append(event)
                self._hear()
        self._commit()

    def cancel(self, order_ref: str) -> None:
        """Ask for a cancellation and listen until the order has ended, or the wait is over.

        Raises:
            BrokerError: no open order of this client carries `order_ref`.
        """
        self._broker.cancel(order_ref)
        deadline = self._monotonic() + self._ack_timeout
        while not self._journal.attempt(order_ref).status.is_terminal and self._broker.is_connected():
            left = deadline - self._monotonic()
            if left <= 0:
                return
            self.listen(left)

    def cancel_all(self, order_refs: Sequence[str]) -> dict[str, str]:
        """Ask for many cancellations at once and listen until all have ended, or the wait is over.

        Returns:
            By orderRef, why its cancellation could not be asked for.

        Raises:
            BrokerConnectionError: the connection ended; what was asked until then may be cancelled.
        """
        refused: dict[str, str] = {}
        for order_ref in order_refs:
            try:
                self._broker.cancel(order_ref)
            except BrokerConnectionError:
                raise
            except BrokerError as error:
                refused[order_ref] = str(error)
            self.listen(0)
        deadline = self._monotonic() + self._ack_timeout
        sent = self._journal.sent(order_refs)
        waiting = [ref for ref in order_refs if ref in sent and ref not in refused]
        while self._broker.is_connected():
            waiting = [ref for ref in waiting if not self._journal.attempt(ref).status.is_terminal]
            left = deadline - self._monotonic()
            if not waiting or left <= 0:
                break
            self.listen(left)
        return refused

    def _why_sales_are_missing(self, plan: FrozenPlan) -> str:
        while self._deadlines:
            self.listen()
        self._commit()
        return sales_missing(plan, self._journal.plan(plan.plan_id).intents)

    def _why_stop(self, plan: FrozenPlan, window: SendWindow, now: datetime) -> str:
        if not window.contains(now):
            return f"the send window ({window}) is over; it is {now:%H:%M}"
        if not self._broker.is_connected():
            return "the connection to the broker ended"
        latch = self._journal.latch()
        if latch.state is LatchState.HALTED and plan.purpose is not Purpose.FLATTEN:
            return f"trading is halted by {latch.by}: {latch.reason}"
        return ""

    def _send_one(
        self, plan: FrozenPlan, intent: Intent, number: int, window: SendWindow, epoch: int, done: Sending
    ) -> None:
        contract = intent.contract
        quantity = intent.quantity - intent.filled
        order_ref = build_order_ref(plan.mode, plan.session, contract.con_id, intent.intent_id, number)
        try:
            order_id = self._broker.next_order_id()
        except BrokerConnectionError as error:
            done.stopped = f"the connection cannot carry orders: {error}"
            return
        try:
            self._journal.claim(intent.intent_id, order_ref, quantity, epoch, self._clock.now(), order_id)
        except (AlreadyClaimedError, ContractLockedError) as refusal:
            log.warning("%s", refusal)
            done.skipped.append(contract.symbol)
            done.reasons[intent.intent_id] = str(refusal)
            return
        except TradingHaltedError as refusal:
            if intent.leg == "increase" and self._journal.latch().state is LatchState.REDUCING:
                done.skipped.append(contract.symbol)
                done.reasons[intent.intent_id] = str(refusal)
            else:
                done.stopped = str(refusal)
            return
        # From here on the order counts as sent, whatever happens next.
        self._deadlines[order_ref] = self._monotonic() + self._ack_timeout
        # Looked at again: a lock was waited for, and the machine may have slept since.
        now = self._clock.now()
        if not window.contains(now):
            done.stopped = f"the send window ({window}) is over; it is {now:%a %Y-%m-%d %H:%M}"
            self._conclude(order_ref, Source.NOT_SENT, done.stopped)
            return
        try:
            self._place(intent, order_ref, quantity, order_id)
        except RefusedError as refusal:
            # It stays PENDING: a later run tries again, and past the send window it expires with this reason.
            self._conclude(order_ref, Source.NOT_SENT, str(refusal))
            return
        except NotSentError as error:
            self._conclude(order_ref, Source.NOT_SENT, str(error))
            done.stopped = f"the connection cannot carry orders: {error}"
            return
        except BrokerConnectionError as error:
            self._conclude(order_ref, Source.UNSEEN, f"the connection ended while sending: {error}")
        except BrokerError as error:
            self._conclude(order_ref, Source.UNSEEN, f"the broker failed while sending: {error}")
            done.placed.append(order_ref)
            raise
        done.placed.append(order_ref)
        self._hear()
        if self._must_commit():
            self._commit()

    def _place(self, intent: Intent, order_ref: str, quantity: int, order_id: OrderId) -> None:
        terms, contract, limit = TERMS[intent.order_type], intent.contract, intent.limit_price
        if limit is not None:
            limit = passive_price(limit, contract.min_tick, intent.side)
        request = OrderRequest(
            order_ref=order_ref,
            contract=contract,
            side=intent.side,
            quantity=quantity,
            order_type=intent.order_type,
            limit_price=limit,
            tif=terms.tif,
            order_id=order_id,
        )
        self._broker.place(request)

    def _conclude(self, order_ref: str, source: Source, message: str) -> None:
        log.warning("%s: %s", order_ref, message)
        self._journal.record([Evidence(order_ref, source, message=message)], now=self._clock.now())
        del self._deadlines[order_ref]

    def _hear(self) -> None:
        """Take what the broker has said by now, without waiting."""
        while (event := self._broker.next_event(0)) is not None:
            self._heard.append(event)

    def _must_commit(self) -> bool:
        """Return whether what was heard is to be journaled, and acted upon, before the next order is sent.

        Anything but a plain acknowledgement or fill is; those are at the latest when they are of half as many
        orders as may be in flight, so that waiting for their commit never holds the window up.
        """
        if not self._broker.is_connected() or not all(_is_plain(event) for event in self._heard):
            return True
        if len({event.order_ref for event in self._heard}) >= max(1, self._max_in_flight // 2):
            return True
        return self._monotonic() >= min(self._deadlines.values(), default=float("inf"))

    def _commit(self) -> None:
        """Journal what was heard in one durable commit, and take out of flight what it answers."""
        heard, self._heard = self._heard, []
        try:
            if heard:
                self._record(heard)
        except BaseException:
            # Said twice it means the same. Executions, the one thing that can contradict the journal, are
            # left to the next snapshot, or such a one would stand in the way of all that follows.
            self._heard[:0] = [event for event in heard if event.execution is None]
            raise
        self._settle({event.order_ref for event in heard})

    def _save_heard(self) -> None:
        """Journal what was heard on the way out; the error that ends the loop goes before another one."""
        try:
            self._commit()
        except HrpError as error:
            log.warning("what the broker said last is left to the next snapshot: %s", error)

    def _record(self, events: Sequence[OrderEvent]) -> None:
        evidence = [
            Evidence(
                event.order_ref,
                Source.EVENT,
                event.status,
                perm_id=event.perm_id,
                code=event.code,
                message=event.message,
            )
            for event in events
            if event.execution is None
        ]
        executions: list[Execution] = [event.execution for event in events if event.execution is not None]
        self._journal.record(evidence, executions, now=self._clock.now())
        for event in events:
            if event.code is not None and classify(event.code, event.message).halts:
                self._halt(event)

    def _halt(self, event: OrderEvent) -> None:
        """Halt trading: a limit of the broker wider than ours was hit, so our sizing is wrong (F28)."""
        self._journal.tighten_latch(
            LatchState.HALTED,
            by="order limits",
            reason=f"the broker refused {event.order_ref} by a limit that ours should never reach: "
            f"{event.code}, {event.message}",
            evidence=event.order_ref,
            now=self._clock.now(),
        )

    def _settle(self, told: set[str]) -> None:
        """Take out of flight what was answered, and what waited too long: silence is UNKNOWN (F5)."""
        connected = self._broker.is_connected()
        now = self._monotonic()
        late = {ref for ref, deadline in self._deadlines.items() if not connected or now >= deadline}
        for order_ref in sorted((told | late) & self._deadlines.keys()):
            if self._journal.attempt(order_ref).status is not OrderStatus.SENT:
                del self._deadlines[order_ref]
            elif order_ref in late:
                why = f"no answer within {self._ack_timeout:g} s" if connected else "the connection ended"
                self._conclude(order_ref, Source.UNSEEN, f"{why}; the order may be live")


def _is_plain(event: OrderEvent) -> bool:
    """Return whether an event is good news: nothing depends on the moment it is journaled."""
    harmless = event.code is None or classify(event.code, event.message).kind is CodeKind.INFO
    return harmless and event.status in _UNREMARKABLE
