"""Taking working orders back around the open, and what became of each.

What belongs here: cancelling a set of orders by orderRef, and the record that they were cancelled. Which, and
why, is decided by whoever asks (`preopen`, `open_monitor`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

from hrp_core.errors import BrokerConnectionError, BrokerError
from hrp_core.execution.sender import Sender
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Attempt, Intent, OrderStatus
from hrp_core.portfolio.types import Purpose
from hrp_core.store import EventType, Store, append_event


@dataclass(frozen=True, slots=True)
class SentOrder:
    """An intent of an execution session with its newest attempt."""

    intent: Intent
    attempt: Attempt
    purpose: Purpose = Purpose.DAILY

    @property
    def symbol(self) -> str:
        """The name."""
        return self.intent.contract.symbol

    @property
    def is_live(self) -> bool:
        """Whether it could still fill."""
        return not self.attempt.status.is_terminal

    @property
    def is_working(self) -> bool:
        """Whether it is known to stand at the broker."""
        return self.is_live and self.attempt.status not in (OrderStatus.SENT, OrderStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """One order that was to be cancelled.

    Attributes:
        why: the reason.
        problem: why it may still fill; empty when its end was confirmed.
    """

    order_ref: str
    symbol: str
    why: str
    problem: str = ""


def sent_orders(journal: Journal, session: date) -> tuple[SentOrder, ...]:
    """Return the orders of every plan decided on `session` that were sent, in the order of the plans."""
    found: list[SentOrder] = []
    for plan in journal.plans(session, session):
        attempts = journal.newest_attempts(plan.plan_id)
        found += [
            SentOrder(intent, attempts[intent.intent_id], plan.purpose)
            for intent in plan.intents
            if intent.intent_id in attempts and attempts[intent.intent_id].status is not OrderStatus.NOT_SENT
        ]
    return tuple(found)


def withdraw(
    sender: Sender, journal: Journal, orders: Mapping[str, tuple[str, str]], *, dry_run: bool = False
) -> tuple[Withdrawal, ...]:
    """Ask for the cancellation of live orders and wait for the answer of each; one failure stops no other.

    Args:
        sender: on the writer's connection.
        journal: what the broker answers is recorded in it.
        orders: symbol and reason by orderRef; those that ended meanwhile are left out.
        dry_run: nothing is sent; each order is reported as not cancelled.
    """
    done: list[Withdrawal] = []
    for order_ref, (symbol, why) in orders.items():
        if journal.attempt(order_ref).status.is_terminal:
            continue
        problem = ""
        try:
            if dry_run:
                problem = "nothing is sent in a dry run"
            else:
                sender.cancel(order_ref)
        except BrokerConnectionError as error:
            problem = f"the connection ended: {error}"
        except BrokerError as error:
            problem = str(error)
        status = journal.attempt(order_ref).status
        if not problem and not status.is_terminal:
            problem = f"the broker has not confirmed it; the order is {status.value}"
        done.append(Withdrawal(order_ref, symbol, why, "" if status.is_terminal else problem))
    return tuple(done)


def looked_up(journal: Journal, withdrawn: tuple[Withdrawal, ...]) -> tuple[Withdrawal, ...]:
    """Return the withdrawals as a later look at the broker's lists has them.

    A pushed cancel is a hint: the lists say whether the order ended, and with which fills (F10). A second
    order under the same reference is still open then (F7).
    """
    found: list[Withdrawal] = []
    for item in withdrawn:
        status = journal.attempt(item.order_ref).status
        problem = item.problem or f"the broker's lists still have it; the order is {status.value}"
        found.append(replace(item, problem="" if status.is_terminal else problem))
    return tuple(found)


def record_withdrawals(store: Store, actor: str, withdrawn: tuple[Withdrawal, ...], now: datetime) -> None:
    """Append an event to the lineage for each order whose end was confirmed."""
    confirmed = [item for item in withdrawn if not item.problem]
    if not confirmed:
        return
    with store.write() as connection:
        for item in confirmed:
            details = {"order_ref": item.order_ref, "symbol": item.symbol, "why": item.why}
            append_event(connection, EventType.ORDER_CANCELLED, actor, details=details, now=now)
