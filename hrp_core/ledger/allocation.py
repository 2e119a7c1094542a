"""Whose a fill is: the parts of executions by strategy.

What belongs here: sharing filled shares and commissions among the strategies of an order, to the share and
the ten-thousandth. What does not: positions and cash (`book`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from hrp_core.ledger.types import Execution, OrderAllocation
from hrp_core.money import from_units, to_units
from hrp_core.portfolio.types import OrderSide

EXTERNAL = "EXTERNAL"
"""Strategy id of what was traded by orders that are not ours, or beyond an order's quantity."""


@dataclass(frozen=True, slots=True)
class FillPart:
    """One strategy's part of one execution, or of one cross.

    The parts of an execution sum to it, commission included; those of a cross to no shares at all.

    Attributes:
        exec_id: the broker's; for a part of a cross, the id of the cross, and `order_ref` too.
        intent_id: None for an order placed elsewhere, and for a cross.
        shares: positive; `side` gives the direction.
        commission: USD; None until reported.
        session: the session it traded in (New York date).
    """

    exec_id: str
    intent_id: str | None
    order_ref: str
    strategy_id: str
    symbol: str
    side: OrderSide
    shares: int
    price: Decimal
    commission: Decimal | None
    executed_at: datetime
    session: date

    @property
    def is_cross(self) -> bool:
        """Whether it is a part of a cross: no execution of the account's."""
        return self.order_ref == self.exec_id


def allocate(allocation: OrderAllocation, filled: int) -> dict[str, int]:
    """Return the signed shares of each strategy once `filled` shares of an order have traded.

    Largest remainder, applied share by share: each share goes to the strategy that is furthest behind its
    proportion (first by name among equals). So the parts always sum to the fills, depend on the cumulative
    quantity alone and not on how it was split into executions, never shrink as it grows (which largest
    remainder on the total does, from three strategies on: the Alabama paradox), and end at the allocation.

    Args:
        allocation: how the order is shared. Strategies on the other side than the order's are served in
            proportion, from the strategies on its side.
        filled: shares traded over all attempts, 0 to `allocation.quantity`.
    """
    # Both signs only stand in orders of journals from before crosses; their history must stay what it was.
    names = sorted(name for name, shares in allocation.shares if shares)
    wanted = dict(allocation.shares)
    sign = allocation.side.sign
    with_order = [name for name in names if wanted[name] * sign > 0]
    against = [name for name in names if wanted[name] * sign < 0]
    crossed = sum(abs(wanted[name]) for name in against) * filled // allocation.quantity
    shares = dict.fromkeys(names, 0)
    for group, units, direction in ((with_order, filled + crossed, sign), (against, crossed, -sign)):
        for name, count in zip(group, _apportion([abs(wanted[n]) for n in group], units), strict=True):
            shares[name] = direction * count
    return shares


def _apportion(weights: Sequence[int], units: int) -> list[int]:
    total = sum(weights)
    if units >= total:
        return list(weights)
    if len(weights) == 1:
        return [units]
    given = [0] * len(weights)
    for count in range(1, units + 1):
        behind = [weight * count - have * total for weight, have in zip(weights, given, strict=True)]
        given[behind.index(max(behind))] += 1
    return given


@dataclass(slots=True)
class Progress:
    """How far an order has been filled and who got what (signed shares by strategy)."""

    filled: int = 0
    shares: dict[str, int] = field(default_factory=dict)


def parts_of(
    item: Execution, session: date, allocation: OrderAllocation | None, progress: dict[str, Progress]
) -> list[FillPart]:
    """Return each strategy's part of the next execution of an order, and bring `progress` up to it.

    Args:
        item: the execution; those of one order are given in the order in which they happened.
        session: the session it traded in.
        allocation: how its order is shared; None: placed elsewhere.
        progress: by intent, across executions.
    """
    signed = item.side.sign * item.shares
    given: dict[str, int] = {}
    if allocation is not None and allocation.side is item.side:
        done = progress.setdefault(allocation.intent_id, Progress())
        done.filled += item.shares
        now = allocate(allocation, min(done.filled, allocation.quantity))
        given = {name: shares - done.shares.get(name, 0) for name, shares in now.items()}
        done.shares = now
    rest = signed - sum(given.values())
    if rest:
        given[EXTERNAL] = given.get(EXTERNAL, 0) + rest
    parts = [(name, shares) for name, shares in sorted(given.items()) if shares]
    commissions = _split_commission(item.commission, [abs(shares) for _, shares in parts])
    return [
        FillPart(
            exec_id=item.exec_id,
            intent_id=None if allocation is None or not item.order_ref else allocation.intent_id,
            order_ref=item.order_ref,
            strategy_id=name,
            symbol=item.contract.symbol,
            side=OrderSide.BUY if shares > 0 else OrderSide.SELL,
            shares=abs(shares),
            price=item.price,
            commission=commission,
            executed_at=item.executed_at,
            session=session,
        )
        for (name, shares), commission in zip(parts, commissions, strict=True)
    ]


def _split_commission(commission: Decimal | None, weights: Sequence[int]) -> list[Decimal | None]:
    """Split a commission in proportion, by largest remainder in ten-thousandths of a dollar."""
    if commission is None:
        return [None] * len(weights)
    units, total = to_units(commission), sum(weights)
    parts = [units * weight // total for weight in weights]
    remainders = [units * weight % total for weight in weights]
    behind = sorted(range(len(weights)), key=lambda index: (-remainders[index], index))
    for index in behind[: units - sum(parts)]:
        parts[index] += 1
    return [from_units(part) for part in parts]
