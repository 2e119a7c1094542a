"""What goes wrong in one schedule of the crash matrix, drawn from its seed.

What belongs here: kinds, faults, and how a seed becomes a schedule. Playing it is `crash_matrix`.
"""

import random
from dataclasses import dataclass

from crash_child import BOUNDARIES
from crash_desk import FIRST_ORDER, ORDERS

Fault = tuple[str, dict[str, int | str]]

ORDER_FAULTS = (
    "drop_before_ack",
    "drop_after_ack",
    "drop_mid_frame",
    "reject",
    "partial_fill",
    "split_fill",
    "unset_commission",
)
WHEN_FILLING = ("partial_fill", "split_fill", "unset_commission")
MESSAGE_FAULTS = ("omit", "duplicate", "reorder", "delay", "drop_message")
MESSAGES = ("openOrder", "orderStatus", "execDetails", "commissionReport")
REQUEST_FAULTS = ("missing_end", "lying_end", "silence", "half_open")
HIDDEN: Fault = ("lying_end", {"request": "allOpenOrders", "count": 0})
"""No open order is listed, for as long as the run asks."""
REQUESTS = ("allOpenOrders", "completedOrders", "executions", "positions")

EVENING = "evening"  # killed, and run again half an hour later
MIDNIGHT = "midnight"  # killed before midnight, run again after it: the broker's lists are empty
LOOK = "look"  # the look of 23:15 is killed too
LATE = "late"  # nobody runs it again before the next evening
REWRITTEN = "rewritten"  # the target is made again from other inputs before the plan is sent on
RESTORED = "restored"  # the journal is put back to before the sends
SUSPENDED = "suspended"  # not killed but frozen, while another writer takes over
KINDS = (
    EVENING, MIDNIGHT, EVENING, LOOK, EVENING, SUSPENDED, EVENING, REWRITTEN, LATE, RESTORED, EVENING,
    SUSPENDED, MIDNIGHT,
)  # fmt: skip
"""By seed; their number has no factor in common with the number of boundaries, so that all pairs come."""
TAKEOVERS = ("locked out", "gateway restarted", "another machine")


@dataclass(frozen=True)
class Schedule:
    """What goes wrong: where each run dies, what happens meanwhile, and what the gateway does.

    Attributes:
        kind: what happens between the first run and the next.
        kills: (boundary, n-th time) of the first run and of the first resume; None: it lives.
        freeze_statement: the plan's first transaction dies at this statement; 0: it does not.
        faults: scripted ones, in force from the first run until it has ended.
        resume_faults: those of the first resume: the broker lies to the run that asks what became of it.
        takeover: how another writer comes in while the first is frozen.
    """

    seed: int
    kind: str
    kills: tuple[tuple[str, int] | None, ...]
    freeze_statement: int
    faults: tuple[Fault, ...]
    resume_faults: tuple[Fault, ...] = ()
    takeover: str = ""


def schedule_of(seed: int) -> Schedule:
    """Return the schedule of a seed; the seeds go through boundaries and kinds one by one."""
    draw = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    first: tuple[str, int] | None = (BOUNDARIES[seed % len(BOUNDARIES)], draw.randint(1, ORDERS))
    if draw.random() < 0.1:
        first = None
    second = (draw.choice(BOUNDARIES), draw.randint(1, ORDERS)) if draw.random() < 0.3 else None
    faults = [_fault(draw) for _ in range(draw.choice((0, 1, 1, 1, 2)))]
    statement = draw.randint(2, 8) if draw.random() < 0.1 else 0
    takeover = draw.choice(TAKEOVERS) if kind == SUSPENDED else ""
    resume_faults = (_lie(draw),) if draw.random() < 0.35 else ()
    # The order has left and nobody has heard of it: here a list that leaves it out invites a second one.
    if first is not None and first[0] in ("after place", "before record") and draw.random() < 0.3:
        resume_faults = (HIDDEN,)
    # An older journal, and a broker that hides what it lacks: only the order ids tell (docs/decisions/0005).
    if kind == RESTORED and draw.random() < 0.5:
        resume_faults = (HIDDEN,)
    return Schedule(seed, kind, (first, second), statement, tuple(faults), resume_faults, takeover)


def _fault(draw: random.Random) -> Fault:
    family = draw.choice(("order", "message", "request", "line"))
    order = FIRST_ORDER + draw.randrange(ORDERS)
    if family == "order":
        return draw.choice(ORDER_FAULTS), {"order": order}
    if family == "message":
        return draw.choice(MESSAGE_FAULTS), {"message": draw.choice(MESSAGES), "order": order}
    if family == "request":
        # The first answer is what a run starts from, the second its look at what it could not see.
        return draw.choice(REQUEST_FAULTS), {"request": draw.choice(REQUESTS), "skip": draw.randint(0, 1)}
    return draw.choice(
        (
            ("lose_request", {"skip": draw.randint(0, 2)}),
            ("silence", {"request": "placeOrder", "skip": draw.randint(0, 2)}),
            ("half_open", {"request": "placeOrder", "skip": draw.randint(0, 2)}),
            ("connectivity_lost", {}),
            ("restart", {}),
        )
    )


def _lie(draw: random.Random) -> Fault:
    """Return what a broker does to the run that asks it what became of everything."""
    if draw.random() < 0.6:
        name = draw.choice((*REQUEST_FAULTS, "lying_end"))
        return name, {"request": draw.choice(REQUESTS), "count": draw.randint(0, 2)}
    return draw.choice(
        (("lose_request", {}), ("drop_before_ack", {}), ("half_open", {"request": "placeOrder"}))
    )
