"""Closing the trading latch and cancelling what works; opening it again.

What belongs here: `hrp halt`, `reduce` and `resume` as functions. The latch is set in the journal before any
lock or connection is waited for, so that a running sender stops at its next order whatever comes after.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from hrp_core.calendar import Clock
from hrp_core.errors import HrpError, RefusedError
from hrp_core.execution.broker import Broker, BrokerOrder
from hrp_core.execution.config import ClientRole
from hrp_core.execution.order_ref import parse_order_ref
from hrp_core.execution.sender import Sender
from hrp_core.execution.sync import observe
from hrp_core.execution.writer_lock import WriterLock
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Attempt, ExternalPolicy, Intent, Latch, LatchState, OrderStatus
from hrp_core.portfolio.types import OrderSide
from hrp_core.settings import Settings
from hrp_core.store import EventType, Store, log_event, migrate

ConnectAs = Callable[[ClientRole], AbstractContextManager[Broker]]

BY_HAND = (
    "Orders may still be working: look in TWS (Orders) or the Client Portal and cancel them there, then run "
    "the same command again"
)


@dataclass(frozen=True, slots=True)
class StillWorking:
    """An order that was to be cancelled and may still trade."""

    order_ref: str
    symbol: str
    side: str
    left: int
    status: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class StopReport:
    """What closing the latch did.

    Attributes:
        latch: as it stands; it stays whatever else went wrong.
        cancelled: orderRefs that worked before and are CANCELLED now.
        working: orders that may still trade.
        problems: what could not be done, one sentence each.
    """

    latch: Latch
    cancelled: tuple[str, ...]
    working: tuple[StillWorking, ...]
    problems: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing that was to be cancelled can trade any more."""
        return not self.working and not self.problems


def stop_trading(
    settings: Settings,
    store: Store,
    journal: Journal,
    connect: ConnectAs,
    state: LatchState,
    *,
    by: str,
    reason: str,
    clock: Clock,
    everything: bool = False,
) -> StopReport:
    """Set the latch, then cancel our working orders: all of them, or while REDUCING the entries.

    Args:
        settings: mode, lock, waits.
        store: takes the event.
        journal: of this mode; may be in use by a sender at this moment.
        connect: opens a connection in a role; the writer's need not be armed to cancel.
        state: HALTED or REDUCING.
        by: the person, or the rule.
        reason: why, never empty.
        clock: the clock of the mode.
        everything: ask the broker to cancel every order of the account first, also those placed elsewhere.

    Raises:
        RefusedError: no reason, or REDUCING while HALTED, which would loosen the latch.
        JournalError: the latch could not be set. Everything after that is reported, not raised.
    """
    _require_reason(reason)
    now = clock.now()
    if state is LatchState.HALTED:
        journal.set_latch(state, by=by, reason=reason, now=now)
    # Whoever halts between a look and the act must not be overruled, so that the journal compares.
    elif state is LatchState.ACTIVE or not journal.tighten_latch(state, by=by, reason=reason, now=now):
        before = journal.latch()
        if before.state is not state or state is LatchState.ACTIVE:
            raise RefusedError(
                f"trading is {before.state.value} by {before.by}: {before.reason}. A person loosens that "
                "with `hrp resume --reason ...`; nothing was changed"
            )
    problems: list[str] = []
    if everything:
        try:
            with connect(ClientRole.READER) as broker:
                broker.cancel_everything()
                broker.heartbeat()  # answered in turn: the broker has read the cancellation
        except HrpError as error:
            problems.append(f"the cancellation of every order could not be asked for: {error}")
    worked = [attempt.order_ref for attempt in journal.live_attempts()]
    try:
        purpose = f"cancelling, {state.value}"
        with (
            WriterLock(settings.broker_lock_path, timeout=settings.lock_timeout, purpose=purpose),
            connect(ClientRole.WRITER) as broker,
        ):
            cancelled, working = cancel_working(
                settings,
                journal,
                broker,
                clock,
                entries_only=state is LatchState.REDUCING,
                everything=everything,
            )
    except HrpError as error:
        cancelled = _cancelled(journal, worked)
        working = _may_work(journal, (), entries_only=state is LatchState.REDUCING)
        problems.append(f"{error}. {BY_HAND}")
    try:
        migrate(store)
        details = {
            "state": state.value,
            "reason": reason,
            "cancelled": list(cancelled),
            "working": [order.order_ref for order in working],
        }
        log_event(store, EventType.TRADING_HALTED, by, details=details, now=clock.now())
    except HrpError as error:
        problems.append(f"the event was not stored: {error}")
    return StopReport(journal.latch(), cancelled, working, tuple(problems))


def cancel_working(
    settings: Settings,
    journal: Journal,
    broker: Broker,
    clock: Clock,
    *,
    entries_only: bool = False,
    everything: bool = False,
) -> tuple[tuple[str, ...], tuple[StillWorking, ...]]:
    """Cancel our working orders; return the orderRefs that are cancelled now, and what may still trade.

    What can be cancelled is asked for first, without waiting for a whole snapshot; then the broker is asked
    what it knows, and what the journal did not know of is cancelled as well.

    Args:
        settings: mode and waits.
        journal: of this mode.
        broker: connected with the writer's client id; the caller holds the writer lock.
        clock: the clock of the mode.
        entries_only: leave exits alone.
        everything: count every order of the account among what may still trade.

    Raises:
        IncompleteSnapshotError, BrokerConnectionError: the broker does not say what works.
    """
    sender = Sender(
        broker,
        journal,
        clock,
        max_in_flight=settings.max_in_flight,
        ack_timeout=settings.send_ack_timeout,
        monotonic=time.monotonic,
    )
    live = [attempt.order_ref for attempt in journal.live_attempts()]
    wanted = [ref for ref, (_, intent) in journal.sent(live).items() if _is_meant(intent, entries_only)]
    refused = sender.cancel_all(wanted)
    open_orders, ours = _open_orders(settings, journal, broker, clock, entries_only)
    missed = [order.order_ref for order in ours if order.order_ref not in wanted]
    if missed:
        wanted += missed
        refused |= sender.cancel_all(missed)
        open_orders, ours = _open_orders(settings, journal, broker, clock, entries_only)
    listed = open_orders if everything else ours
    return _cancelled(journal, wanted), _may_work(journal, listed, refused, entries_only=entries_only)


def resume_trading(store: Store, journal: Journal, *, by: str, reason: str, now: datetime) -> tuple[str, ...]:
    """Open the latch again; return what a person should know first, one sentence each.

    Args:
        store: takes the event.
        journal: of this mode.
        by: the person; no rule may call this.
        reason: why it is safe, never empty.
        now: timezone-aware.

    Raises:
        RefusedError: no reason, trading is active, or somebody closed the latch meanwhile: that one stands.
    """
    _require_reason(reason)
    before = journal.latch()
    if before.state is LatchState.ACTIVE:
        raise RefusedError("trading is active: there is nothing to resume")
    warnings = [item.message for item in journal.breaks()]
    warnings += [
        f"{ref} ({intent.side.value} {intent.contract.symbol}) is of unknown fate: `hrp orders resolve`"
        for ref, (_, intent) in journal.sent_with_status(OrderStatus.UNKNOWN).items()
    ]
    newest = journal.open_latch(before, by=by, reason=reason, evidence="; ".join(warnings), now=now)
    if newest.state is not LatchState.ACTIVE:
        raise RefusedError(
            f"meanwhile {newest.by} set trading to {newest.state.value}: {newest.reason}. It stays so and "
            "nothing was resumed; look at that first, then run `hrp resume --reason ...` again"
        )
    migrate(store)
    details = {"was": before.state.value, "reason": reason, "warnings": warnings}
    log_event(store, EventType.TRADING_RESUMED, by, details=details, now=now)
    return tuple(warnings)


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise RefusedError("the latch is moved with a reason: say why; nothing was changed")


def _open_orders(
    settings: Settings, journal: Journal, broker: Broker, clock: Clock, entries_only: bool
) -> tuple[tuple[BrokerOrder, ...], list[BrokerOrder]]:
    """Ask the broker; return all open orders of the account, and those of ours that are meant.

    An order with a reference of our form counts as ours though the journal does not know it.
    """
    open_orders = observe(
        broker,
        journal,
        clock.now(),
        mode=settings.mode.value,
        writer=True,
        external=ExternalPolicy(settings.external_orders),
    ).snapshot.open_orders
    sent = journal.sent([order.order_ref for order in open_orders])
    ours = []
    for order in open_orders:
        if order.order_ref in sent:
            meant = _is_meant(sent[order.order_ref][1], entries_only)
        else:
            lost = parse_order_ref(order.order_ref) is not None
            meant = lost and not (entries_only and order.side is OrderSide.SELL)
        if meant:
            ours.append(order)
    return open_orders, ours


def _cancelled(journal: Journal, refs: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        ref for ref, (attempt, _) in journal.sent(refs).items() if attempt.status is OrderStatus.CANCELLED
    )


def _is_meant(intent: Intent, entries_only: bool) -> bool:
    return not entries_only or intent.leg == "increase"


def _may_work(
    journal: Journal,
    listed: Iterable[BrokerOrder],
    refused: Mapping[str, str] | None = None,
    *,
    entries_only: bool,
) -> tuple[StillWorking, ...]:
    """Return what the broker lists as open, and what the journal cannot say has ended, by orderRef."""
    refused = refused or {}
    found = {
        order.order_ref or f"permId {order.perm_id}": StillWorking(
            order.order_ref or f"permId {order.perm_id}",
            order.contract.symbol,
            order.side.value,
            order.quantity - order.filled,
            order.status.value,
            refused.get(order.order_ref, ""),
        )
        for order in listed
    }
    live: dict[str, tuple[Attempt, Intent]] = journal.sent(
        [item.order_ref for item in journal.live_attempts()]
    )
    for ref, (attempt, intent) in live.items():
        if _is_meant(intent, entries_only):
            found.setdefault(
                ref,
                StillWorking(
                    ref,
                    intent.contract.symbol,
                    intent.side.value,
                    attempt.quantity - attempt.filled,
                    attempt.status.value,
                    refused.get(ref, attempt.reason),
                ),
            )
    return tuple(found[ref] for ref in sorted(found))
