"""A person's decision about an order of unknown fate.

What belongs here: finding the order that is meant and recording the decision. The rule for orders that nobody
saw after their session is in `sync`.
"""

from datetime import datetime

from hrp_core.errors import RefusedError
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Attempt, OrderStatus


def resolve_order(
    journal: Journal, name: str, status: OrderStatus, *, by: str, reason: str, now: datetime
) -> Attempt:
    """Record what became of an UNKNOWN order; its contract is free again. A later sighting overrules it.

    Args:
        journal: the journal of this mode.
        name: intent id, or orderRef.
        status: CANCELLED, REJECTED or EXPIRED; fills come from executions alone.
        by: who decides.
        reason: why, never empty.
        now: timezone-aware.

    Raises:
        RefusedError: there is no such UNKNOWN order, the status cannot be decided, or no reason is given.
    """
    if not reason.strip():
        raise RefusedError("an order is resolved with a reason: say where you looked")
    unknown = journal.sent_with_status(OrderStatus.UNKNOWN)
    meant = [attempt for ref, (attempt, intent) in unknown.items() if name in (ref, intent.intent_id)]
    if not meant:
        known = ", ".join(f"{intent.intent_id} ({ref})" for ref, (_, intent) in unknown.items()) or "none"
        raise RefusedError(f"{name} is no order of unknown fate; orders of unknown fate: {known}")
    return journal.resolve(meant[-1].order_ref, status, by=by, reason=reason, now=now)
