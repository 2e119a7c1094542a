"""What sending a plan came to.

What belongs here: the report that the order manager returns, made from the plan as it stands in the journal.
"""

from dataclasses import dataclass

from hrp_core.execution.sender import Sending
from hrp_core.ledger.types import FrozenPlan, Intent, OrderStatus, PlanStatus


@dataclass(frozen=True, slots=True)
class SubmitReport:
    """What is known of a plan after sending, or trying to.

    Attributes:
        status: the plan's.
        dry_run: nothing was to be sent.
        placed: orderRefs handed to the broker by this call.
        intents: the plan's intents as they stand now.
        skipped: symbols left unsent because their contract is locked, only exits may go, or a limit forbids
            them.
        stopped: why sending ended early; empty when it did not. What is PENDING is sent by `resume`.
    """

    plan_id: str
    status: PlanStatus
    dry_run: bool
    placed: tuple[str, ...]
    intents: tuple[Intent, ...]
    skipped: tuple[str, ...]
    stopped: str

    def count(self, *statuses: OrderStatus) -> int:
        """Return how many intents stand at one of `statuses`."""
        return sum(intent.status in statuses for intent in self.intents)

    @property
    def unknown(self) -> tuple[Intent, ...]:
        """Orders whose fate is unknown; their contracts are locked."""
        return tuple(intent for intent in self.intents if intent.status is OrderStatus.UNKNOWN)

    @property
    def pending(self) -> tuple[Intent, ...]:
        """Orders not sent yet."""
        return tuple(intent for intent in self.intents if intent.status is OrderStatus.PENDING)


def report_of(plan: FrozenPlan, sending: Sending, *, dry_run: bool) -> SubmitReport:
    """Return the report on `plan` as it stands after `sending`."""
    return SubmitReport(
        plan_id=plan.plan_id,
        status=plan.status,
        dry_run=dry_run,
        placed=tuple(sending.placed),
        intents=plan.intents,
        skipped=tuple(sending.skipped),
        stopped=sending.stopped,
    )
