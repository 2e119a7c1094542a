"""The state of an attempt as a pure function of what is known about it.

What belongs here: the fold from evidence to `OrderStatus`, and nothing that reads or writes. Executions are
truth, then the broker's lists of open and completed orders, then its pushed messages, which are hints: their
order and repetition change nothing (F1, F10, F15).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hrp_core.ledger.types import Evidence, OrderStatus, Source

_LISTS = frozenset({Source.OPEN, Source.COMPLETED})
_DEAD = frozenset(
    {OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.EXPIRED, OrderStatus.EXPIRED_UNSEEN}
)
# Hints arrive in any order, so the state that a hint describes cannot be "the latest": it is the one of
# highest rank. A hint FILLED without its executions says no more than that the order works.
_WORKING_RANK = {
    OrderStatus.HELD: 1,
    OrderStatus.SUBMITTED: 2,
    OrderStatus.PARTIALLY_FILLED: 2,
    OrderStatus.FILLED: 2,
    OrderStatus.PENDING_CANCEL: 3,
}


@dataclass(frozen=True, slots=True)
class AttemptState:
    """What the evidence about one attempt amounts to.

    Attributes:
        filled: shares of its effective executions.
        perm_ids: every positive permId seen with its orderRef; more than one is a break.
        overfilled: executions exceed the quantity: a break.
    """

    status: OrderStatus
    filled: int
    perm_ids: tuple[int, ...]
    reason: str
    overfilled: bool

    @property
    def perm_id(self) -> int | None:
        """The broker's permanent id, once known (0 is no id)."""
        return self.perm_ids[0] if self.perm_ids else None


def fold_attempt(quantity: int, filled: int, evidence: Iterable[Evidence]) -> AttemptState:
    """Return the state of an attempt that was claimed for sending.

    The result depends on the set of evidence only. Between a pushed message and one of our own observations
    (a list that was asked for, a wait that ended, a decision) the `position` of each says which came later.

    Args:
        quantity: shares sent.
        filled: shares of the effective executions that carry its orderRef (corrections and busts applied).
        evidence: all of it, in any order, repeated or not.
    """
    known = sorted(set(evidence), key=_order)
    perm_ids = tuple(sorted({item.perm_id for item in known if item.perm_id > 0}))
    status = _status(quantity, filled, known)
    return AttemptState(status, filled, perm_ids, _reason(status, known), filled > quantity)


def is_proven_terminal(status: OrderStatus, evidence: Iterable[Evidence], snapshots_from: int) -> bool:
    """Return whether an attempt can never fill again as far as the broker's own lists can tell.

    A pushed cancel or reject alone is no proof (F1): the completed list must have said so, or a later
    complete snapshot must have been taken in which the order was not open, or a decision was recorded.

    Args:
        status: the attempt's folded status.
        evidence: all evidence about it.
        snapshots_from: position of the newest complete snapshot; -1 when there is none.
    """
    if status in {OrderStatus.FILLED, OrderStatus.NOT_SENT}:
        return True
    if status not in _DEAD:
        return False
    dead = [item for item in evidence if item.status in _DEAD]
    if any(item.source in {Source.COMPLETED, Source.RESOLUTION} for item in dead):
        return True
    return bool(dead) and snapshots_from > max(item.position for item in dead)


def intent_status(
    quantity: int, unsent: OrderStatus, attempts: Sequence[tuple[OrderStatus, int]]
) -> tuple[OrderStatus, int]:
    """Return (status, filled) of an intent from its attempts' (status, filled), in order of their number.

    An attempt that never left counts for nothing: the intent is as if it had not been made.

    Args:
        quantity: shares the intent asks for.
        unsent: state of the intent while it has no attempt: PENDING or EXPIRED.
        attempts: empty for an intent never sent.
    """
    attempts = [attempt for attempt in attempts if attempt[0] is not OrderStatus.NOT_SENT]
    if not attempts:
        return unsent, 0
    filled = sum(shares for _, shares in attempts)
    if filled >= quantity:
        return OrderStatus.FILLED, filled
    status = attempts[-1][0]
    # A second attempt may be complete while a correction took shares from the first.
    if status is OrderStatus.FILLED or (status is OrderStatus.SUBMITTED and filled):
        status = OrderStatus.PARTIALLY_FILLED
    return status, filled


def _order(item: Evidence) -> tuple[int, str, str, int, str]:
    return (item.position, item.source.value, item.status or "", item.perm_id, item.message)


def _last(items: Iterable[Evidence]) -> int:
    return max((item.position for item in items), default=-1)


def _is_sighting(item: Evidence) -> bool:
    """A message with a permId, a list entry or a fill proves that the broker has the order."""
    if item.source is Source.EVENT:
        return item.perm_id > 0 or item.status in _DEAD
    return item.source in _LISTS or item.source is Source.EXECUTION


def _status(quantity: int, filled: int, known: Sequence[Evidence]) -> OrderStatus:
    if filled >= quantity:
        return OrderStatus.FILLED
    dead = _dead_status(known)
    if dead is not None:
        # Whatever ended it, an order with fills is a cancelled one that keeps them (F11).
        return OrderStatus.CANCELLED if filled else dead
    sightings = [item for item in known if _is_sighting(item)]
    listed = _last(item for item in known if item.source in _LISTS)
    unseen = _last(item for item in known if item.source is Source.UNSEEN)
    doubted = _last(
        item for item in known if item.source is Source.EVENT and item.status is OrderStatus.UNKNOWN
    )
    if not sightings and any(item.source is Source.NOT_SENT for item in known):
        return OrderStatus.NOT_SENT
    # An error that may or may not have ended the order is settled by asking, not by another hint (F1).
    if unseen > _last(sightings) or doubted > listed:
        return OrderStatus.UNKNOWN
    if not sightings:
        return OrderStatus.SENT
    working = _working_status(sightings, listed)
    if filled and working is not OrderStatus.PENDING_CANCEL:
        return OrderStatus.PARTIALLY_FILLED
    return working


def _dead_status(known: Sequence[Evidence]) -> OrderStatus | None:
    """Return how the order ended, or None while it may still live."""
    last_open = _last(item for item in known if item.source is Source.OPEN)
    last_seen = _last(item for item in known if _is_sighting(item))
    ends = {
        item.status
        for item in known
        if item.status in _DEAD
        and (
            (item.source in {Source.EVENT, Source.COMPLETED} and item.position > last_open)
            or (item.source is Source.RESOLUTION and item.position > last_seen)
        )
    }
    order = (
        OrderStatus.REJECTED,
        OrderStatus.CANCELLED,
        OrderStatus.EXPIRED,
        OrderStatus.EXPIRED_UNSEEN,
    )
    for status in order:
        if status in ends:
            return status
    return None


def _working_status(sightings: Sequence[Evidence], listed: int) -> OrderStatus:
    """Return the working state: the newest list entry's and later hints', by rank."""
    best = OrderStatus.SUBMITTED
    said = (item.status for item in sightings if item.position >= listed)
    ranked = [status for status in said if status is not None and status in _WORKING_RANK]
    if ranked:
        best = max(ranked, key=lambda status: _WORKING_RANK[status])
    return best if best in {OrderStatus.HELD, OrderStatus.PENDING_CANCEL} else OrderStatus.SUBMITTED


def _reason(status: OrderStatus, known: Sequence[Evidence]) -> str:
    """Return the text that explains a state in need of explaining; a broker's error code before our words."""
    if status is OrderStatus.NOT_SENT:
        return [item.message for item in known if item.source is Source.NOT_SENT][-1]
    if status not in _DEAD | {OrderStatus.UNKNOWN, OrderStatus.HELD}:
        return ""
    telling = [
        item
        for item in known
        if (
            item.status in _DEAD | {OrderStatus.UNKNOWN, OrderStatus.HELD}
            and item.source is not Source.UNSEEN
        )
        or (item.source is Source.UNSEEN and status is OrderStatus.UNKNOWN)
    ]
    coded = [f"{item.code}: {item.message}" for item in telling if item.code is not None]
    said = [item.message for item in telling if item.message]
    return (coded or said or [""])[-1]
