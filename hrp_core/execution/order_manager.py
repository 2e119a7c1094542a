"""The order manager: who sends, how often, and what is known afterwards.

What belongs here: deciding whether a frozen plan may be sent now, and the public order methods. The loop
that sends is in `sender`, the comparison with the broker in `sync`, every fact in the journal.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from decimal import Decimal

from hrp_core.calendar import Calendar, Clock, nyse, require_decision_session
from hrp_core.errors import HrpError, JournalError, ReconciliationBreakError, RefusedError
from hrp_core.execution.broker import Broker
from hrp_core.execution.crosses import crosses_waiting, never_sent
from hrp_core.execution.orders import BrokerNotConnectedError, Order
from hrp_core.execution.reconcile import describe
from hrp_core.execution.send_checks import (
    cash_shortfall,
    controlled,
    over_limits,
    require_approved,
    require_latch,
    require_same_ledger,
    require_sound_plan,
)
from hrp_core.execution.send_quotes import entry_quotes
from hrp_core.execution.send_window import SendAt, SendWindow, send_window
from hrp_core.execution.sender import Sender, Sending
from hrp_core.execution.single_order import MANUAL, freeze_order
from hrp_core.execution.submit_report import SubmitReport, report_of
from hrp_core.execution.sync import SyncReport, sync_broker
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import ExternalPolicy, FrozenPlan, Intent, OrderStatus, PlanStatus
from hrp_core.money import to_average
from hrp_core.portfolio.types import OrderType, PortfolioLimits

_log = logging.getLogger(__name__)


class OrderManager:
    """Sends frozen plans and single orders of one account, each at most once.

    The caller holds the writer lock of the mode for as long as the manager may send.

    Args:
        broker: connected with the writer's client id.
        journal: the journal of this mode.
        clock: the clock of the mode.
        mode: sim, paper or live.
        calendar: default the New York Stock Exchange.
        max_in_flight: most orders sent and not yet acknowledged.
        ack_timeout: longest wait for the acknowledgement of an order, real seconds.
        dry_run: check and record everything, send nothing.
        external: what to do about orders placed elsewhere.
        send_at: when sending may begin.
        limits: of single orders (`limits_from_settings` gives those of the settings); a plan brings its own.
        monotonic: measures the waits, seconds.
    """

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        *,
        clock: Clock,
        mode: str,
        calendar: Calendar | None = None,
        max_in_flight: int = 20,
        ack_timeout: float = 10.0,
        dry_run: bool = False,
        external: ExternalPolicy = ExternalPolicy.HALT,
        send_at: SendAt = SendAt.EVENING,
        limits: PortfolioLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._journal = journal
        self._clock = clock
        self._mode = mode
        self._calendar = calendar or nyse()
        self._dry_run = dry_run
        self._external = external
        self._send_at = send_at
        self._limits = limits or PortfolioLimits()
        self._orders: dict[str, tuple[Order, str]] = {}
        self._sender = Sender(
            broker,
            journal,
            clock,
            max_in_flight=max_in_flight,
            ack_timeout=ack_timeout,
            monotonic=monotonic,
        )

    # --- plans ---------------------------------------------------------------------------------------

    def submit_plan(self, plan_id: str, *, exits_only: str = "") -> SubmitReport:
        """Send what is still PENDING of an approved plan, after finding out what became of everything sent.

        Calling it again, after whatever happened, sends nothing twice. It returns when each order sent is
        acknowledged, rejected or UNKNOWN.

        Args:
            plan_id: which plan.
            exits_only: why only exits may be sent; empty when all may.

        Raises:
            BrokerNotConnectedError: (a ValueError) the broker is not connected.
            IncompleteSnapshotError: the broker's answers do not add up. Nothing was sent.
            ReconciliationBreakError: ledger and broker disagree, before sending or through an answer to it.
            RefusedError: the plan is not of the decision session or not approved, or the send window is
                closed (past it, PENDING orders become EXPIRED). Nothing was sent.
        """
        self._require_connected()
        plan = self._journal.plan(plan_id)
        if (plan.mode, plan.account) != (self._mode, self._broker.account):
            raise RefusedError(
                f"plan {plan_id} is for {plan.mode} account {plan.account}, the broker connection is "
                f"{self._mode} account {self._broker.account}; nothing was sent"
            )
        # First find out: whatever is refused below, what is known is journaled.
        seen = self._sync()
        plan = self._journal.plan(plan_id)
        opening = self._calendar.open(plan.execution_session)
        crosses = crosses_waiting(self._journal, plan, opening, self._clock.now())
        windows = self._require_may_send(plan, crosses)
        if _pending(plan) or crosses:
            require_same_ledger(plan, seen.book, self._journal.book_crosses())
        if _pending(plan):
            require_sound_plan(plan)
        if self._dry_run:
            return report_of(self._journal.plan(plan_id), Sending(), dry_run=True)
        now = self._clock.now()
        # What has just expired is outside its window too.
        pending = [intent for intent in _pending(plan) if windows[intent.order_type].contains(now)]
        # REDUCING lets them go: the account's exposure stays as it is, and a strategy's exit may be one.
        crosses = crosses and windows[OrderType.MARKET].contains(now)
        if not pending and not crosses:
            return self._after(plan_id, Sending())
        barred = over_limits(plan, pending, entry_quotes(self._broker, plan, pending, now))
        barred |= controlled(plan, pending, self._journal.symbol_controls(plan.session))
        epoch = self._journal.acquire_epoch(f"pid {os.getpid()}, {plan_id}", self._clock.now())
        # What another writer did up to here is seen now; from here on it can do nothing.
        ready = {intent.intent_id for intent in pending if intent.intent_id not in barred}
        pending = [intent for intent in _pending(self._journal.plan(plan_id)) if intent.intent_id in ready]
        # Exits first, so that a basket that stops half-way has reduced, not added.
        pending.sort(key=lambda intent: intent.leg != "decrease")
        if crosses:
            self._journal.release_crosses(plan_id, epoch, opening, self._clock.now())
        values = seen.snapshot.values
        wait = exits_only
        if seen.cash_breaks and not wait:
            wait = cash_shortfall(seen.book.cash, values.cash, values.net_liquidation)
        sending = self._sender.send(plan, pending, windows, epoch, exits_only=wait)
        for intent in plan.intents:
            if intent.intent_id in barred:
                _log.warning("%s is not sent: %s", intent.contract.symbol, barred[intent.intent_id])
                sending.skipped.append(intent.contract.symbol)
        self._note_unsent(plan_id, sending, barred)
        return self._after(plan_id, sending)

    def _note_unsent(self, plan_id: str, sending: Sending, barred: Mapping[str, str]) -> None:
        """Journal why orders were held back: should their window pass, they say so for good."""
        why = {**sending.reasons, **barred}
        left = [intent.intent_id for intent in _pending(self._journal.plan(plan_id))]
        noted = {key: why.get(key, sending.stopped) for key in left}
        self._journal.note_unsent({key: reason for key, reason in noted.items() if reason})

    def resume(self, plan_id: str) -> SubmitReport:
        """Go on with a plan whose sending ended early; the same as `submit_plan`, which is safe to repeat."""
        return self.submit_plan(plan_id)

    def _require_may_send(self, plan: FrozenPlan, crosses: bool) -> dict[OrderType, SendWindow]:
        now = self._clock.now()
        windows = {kind: send_window(self._calendar, plan.session, kind, self._send_at) for kind in OrderType}
        pending = _pending(plan)
        for kind in {intent.order_type for intent in pending}:
            if now >= windows[kind].closes and not self._dry_run:
                reason = f"not sent before the window closed ({windows[kind]})"
                self._journal.expire_pending(plan.plan_id, reason, kind)
        require_decision_session(plan.session, now)
        if not pending and not crosses:
            return windows
        require_latch(plan, self._journal.latch())
        if not self._dry_run:
            require_approved(plan, self._journal.approvals(plan.plan_id))
        types = [intent.order_type for intent in pending] or [OrderType.MARKET]  # crosses are for the open
        if not any(windows[kind].contains(now) for kind in types):
            raise RefusedError(
                f"orders of session {plan.session} may be sent from {windows[types[0]]}; it is "
                f"{now:%a %Y-%m-%d %H:%M}. Nothing was sent"
            )
        return windows

    def _after(self, plan_id: str, sending: Sending) -> SubmitReport:
        """Look once more where an answer is missing, then judge and report."""
        plan = self._journal.plan(plan_id)
        if self._broker.is_connected() and any(
            intent.status is OrderStatus.UNKNOWN for intent in plan.intents
        ):
            self._sync()
            plan = self._journal.plan(plan_id)
        breaks = self._journal.breaks()
        if breaks:
            raise ReconciliationBreakError(
                f"the broker's answers to plan {plan_id} contradict what was sent: {describe(breaks)}. "
                "Nothing more is sent until this is explained: compare with the broker's statement"
            )
        sent = not _pending(plan) and not never_sent(self._journal, plan)
        if plan.status is PlanStatus.APPROVED and sent:
            self._journal.mark_sent(plan_id)
            plan = self._journal.plan(plan_id)
        return report_of(plan, sending, dry_run=self._dry_run)

    # --- single orders -------------------------------------------------------------------------------

    def submit_order(self, order: Order) -> Order:
        """Send one order, through a manual plan of its own; `order` is brought up to date and returned.

        One that adds exposure passes the limits of a plan's entry (collar, one order, one name, restricted),
        measured by the broker's price and net liquidation value. Beyond them it is EXPIRED, its `reason`
        names the rule, and nothing was sent. Exits pass.

        Raises:
            BrokerNotConnectedError: (a ValueError) "Broker not connected".
            RefusedError: the broker does not know the symbol, or gives no price or equity to judge the order
                by; the order was submitted before; or as for `submit_plan`, which leaves it EXPIRED. In live
                mode a person must approve a plan first, so a single order is always refused.
            IncompleteSnapshotError, ReconciliationBreakError: as for `submit_plan`.
        """
        self._require_connected()
        if order.order_id in self._orders or order.status is not OrderStatus.PENDING:
            raise RefusedError(
                f"order {order.order_id} ({order.symbol}) was submitted before and is {order.status.value}; "
                "make a new Order to trade again"
            )
        plan = self._freeze(order)
        self._orders[order.order_id] = (order, plan.intents[0].intent_id)
        try:
            if self._mode != "live":
                now = self._clock.now()
                self._journal.approve(plan.plan_id, by="submit_order", plan_hash=plan.inputs_hash, now=now)
            report = self.submit_plan(plan.plan_id)
            if report.pending and not self._dry_run:
                why = report.intents[0].reason or report.stopped
                self._journal.expire_pending(plan.plan_id, f"not sent when it was submitted: {why}")
        except HrpError:
            # A refused order must not be sent by a later run that its owner does not expect.
            self._journal.expire_pending(plan.plan_id, "refused when it was submitted")
            raise
        finally:
            self._refresh(order, plan.intents[0].intent_id)
        return order

    def get_order(self, order_id: str) -> Order | None:
        """Return an order of this manager, or any intent by its id, as it stands; None when there is none."""
        if order_id in self._orders:
            order, intent_id = self._orders[order_id]
            self._refresh(order, intent_id)
            return order
        intent = self._journal.intent(order_id)
        return None if intent is None else self._order_of(intent)

    def get_all_orders(self) -> list[Order]:
        """Return every order of the current decision session, plans and single orders, oldest first."""
        session = self._calendar.decision_session(self._clock.now())
        submitted = {intent_id: order_id for order_id, (_, intent_id) in self._orders.items()}
        found = [
            self.get_order(submitted.get(intent.intent_id, intent.intent_id))
            for plan in self._journal.plans(session, session)
            for intent in plan.intents
        ]
        return [order for order in found if order is not None]

    def cancel_order(self, order_id: str) -> Order:
        """Ask the broker to cancel an order and return it as it stands once answered, or after the wait.

        Raises:
            BrokerNotConnectedError: (a ValueError) the broker is not connected.
            RefusedError: there is no such order, or it is not at the broker.
            BrokerError: the broker has no such open order of this client.
        """
        self._require_connected()
        order = self.get_order(order_id)
        intent_id = self._orders[order_id][1] if order_id in self._orders else order_id
        live = [item for item in self._journal.attempts(intent_id) if not item.status.is_terminal]
        if order is None or not live:
            state = "unknown to the journal" if order is None else order.status.value
            raise RefusedError(f"order {order_id} is {state}; there is nothing to cancel at the broker")
        self._sender.cancel(live[-1].order_ref)
        self._refresh(order, intent_id)
        return order

    def _freeze(self, order: Order) -> FrozenPlan:
        contract = self._broker.qualify([order.symbol]).get(order.symbol)
        if contract is None:
            raise RefusedError(f"the broker knows no US stock {order.symbol}; nothing was sent")
        # What was filled meanwhile decides what is an exit.
        seen = self._sync()
        now = self._clock.now()
        session = self._calendar.decision_session(now)
        return freeze_order(
            self._broker,
            self._journal,
            order,
            contract,
            self._limits,
            seen,
            mode=self._mode,
            session=session,
            execution_session=self._calendar.next(session),
            now=now,
        )

    def _order_of(self, intent: Intent) -> Order:
        owners = [name for name, _ in intent.allocations if name != MANUAL]
        order = Order(
            symbol=intent.contract.symbol,
            side=intent.side,
            quantity=intent.quantity,
            order_type=intent.order_type,
            limit_price=intent.limit_price,
            hypothesis_id=owners[0] if len(owners) == 1 else None,
            order_id=intent.intent_id,
        )
        self._refresh(order, intent.intent_id)
        return order

    def _refresh(self, order: Order, intent_id: str) -> None:
        intent = self._journal.intent(intent_id)
        if intent is None:
            raise JournalError(f"order {order.order_id} has no intent {intent_id} in {self._journal.path}")
        attempts = self._journal.attempts(intent_id)
        fills = self._journal.executions_of([attempt.order_ref for attempt in attempts])
        shares = sum(fill.shares for fill in fills)
        commissions = [fill.commission for fill in fills if fill.commission is not None]
        order.status, order.filled_quantity, order.reason = intent.status, shares, intent.reason
        left = [attempt for attempt in attempts if attempt.status is not OrderStatus.NOT_SENT]
        if left:
            order.broker_order_id = left[-1].perm_id
            order.submitted_at = left[0].sent_at
        if shares:
            order.filled_at = max(fill.executed_at for fill in fills)
            order.filled_price = to_average(
                sum((fill.price * fill.shares for fill in fills), Decimal(0)) / shares
            )
            order.commission = sum(commissions, Decimal(0)) if len(commissions) == len(fills) else None

    def _sync(self) -> SyncReport:
        return sync_broker(
            self._broker,
            self._journal,
            self._clock.now(),
            mode=self._mode,
            writer=True,
            external=self._external,
            calendar=self._calendar,
        )

    def _require_connected(self) -> None:
        if not self._broker.is_connected():
            raise BrokerNotConnectedError("Broker not connected")


def _pending(plan: FrozenPlan) -> list[Intent]:
    return [intent for intent in plan.intents if intent.status is OrderStatus.PENDING]
