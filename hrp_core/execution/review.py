"""What a frozen plan changes, in figures, and how it differs from the plan before.

What belongs here: reading a plan for a person. What does not: how it is printed, and deciding about it
(`approval`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FrozenPlan, Intent, PlanStatus
from hrp_core.portfolio.risk import frozen_limits
from hrp_core.portfolio.types import PlannedOrder, PortfolioLimits, Purpose


@dataclass(frozen=True, slots=True)
class NameChange:
    """What a plan does to one name of the account, all strategies together.

    Attributes:
        price: close of D, USD; None without one.
        weight_before: share of the equity; `weight_after` likewise.
        reasons: reason codes of its target rows, sorted.
        notes: of its target rows, those not empty.
    """

    symbol: str
    price: Decimal | None
    shares_before: int
    shares_after: int
    weight_before: float
    weight_after: float
    reasons: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_clipped(self) -> bool:
        """Whether a limit made less of it than a strategy wanted."""
        return any(reason.startswith(("clip_", "drop_")) for reason in self.reasons)

    @property
    def is_held(self) -> bool:
        """Whether something missing, and no score, keeps its shares."""
        return any(reason.startswith("hold_") for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class PlanReview:
    """A frozen plan in figures.

    Attributes:
        names: each name held, wanted or left, by symbol.
        gross_before: share of the equity; long plus short. `net` is long minus short.
        turnover: value of all orders at the close of D, share of the equity.
        cost: estimated commissions, USD.
        verdicts: rows of the risk rules, where the plan has them.
    """

    plan: FrozenPlan
    names: tuple[NameChange, ...]
    gross_before: float
    gross_after: float
    net_before: float
    net_after: float
    turnover: float
    cost: Decimal
    verdicts: tuple[Mapping[str, object], ...]


@dataclass(frozen=True, slots=True)
class NameDifference:
    """One name in two plans, shares of the account."""

    symbol: str
    earlier_target: int | None
    held: int
    target: int


def review_plan(plan: FrozenPlan) -> PlanReview:
    """Return what a plan changes, from what was frozen with it."""
    names = _names(plan)
    limits = limits_of(plan)
    cost = sum(
        (
            max(limits.commission_minimum, intent.quantity * limits.commission_per_share)
            for intent in plan.intents
        ),
        Decimal(0),
    )
    traded = sum((_value(intent) for intent in plan.intents), Decimal(0))
    return PlanReview(
        plan=plan,
        names=names,
        gross_before=sum(abs(name.weight_before) for name in names),
        gross_after=sum(abs(name.weight_after) for name in names),
        net_before=sum(name.weight_before for name in names),
        net_after=sum(name.weight_after for name in names),
        turnover=float(traded / plan.equity) if plan.equity else 0.0,
        cost=cost,
        verdicts=plan.verdicts,
    )


def diff_plan(journal: Journal, plan: FrozenPlan) -> tuple[FrozenPlan | None, tuple[NameDifference, ...]]:
    """Return the plan of the session before that counted, and every name whose target differs from its.

    Beside both targets stands what is held: where it differs from the earlier target, that plan was not
    filled as decided.
    """
    earlier = [
        old
        for old in journal.plans(purpose=Purpose.DAILY)
        if old.session < plan.session and old.status not in (PlanStatus.REJECTED, PlanStatus.SUPERSEDED)
    ]
    before = {name.symbol: name.shares_after for name in _names(earlier[-1])} if earlier else {}
    now = {name.symbol: name for name in _names(plan)}
    rows = [
        NameDifference(
            symbol,
            before.get(symbol, 0) if earlier else None,
            now[symbol].shares_before if symbol in now else 0,
            now[symbol].shares_after if symbol in now else 0,
        )
        for symbol in sorted(before.keys() | now.keys())
    ]
    return (
        earlier[-1] if earlier else None,
        tuple(row for row in rows if len({row.earlier_target or 0, row.held, row.target}) > 1),
    )


def _names(plan: FrozenPlan) -> tuple[NameChange, ...]:
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in plan.targets:
        rows.setdefault(str(row["symbol"]), []).append(row)
    return tuple(
        NameChange(
            symbol=symbol,
            price=None if own[0]["price"] is None else Decimal(own[0]["price"]),
            shares_before=sum(row["shares_before"] for row in own),
            shares_after=sum(row["shares_target"] for row in own),
            weight_before=sum(row["weight_before"] or 0.0 for row in own),
            weight_after=sum(row["weight_target"] or 0.0 for row in own),
            reasons=tuple(sorted({row["reason"] for row in own})),
            notes=tuple(row["note"] for row in own if row["note"]),
        )
        for symbol, own in sorted(rows.items())
    )


def _value(order: PlannedOrder | Intent) -> Decimal:
    return order.quantity * (order.limit_price or order.reference_price or Decimal(0))


def net_cost(orders: Iterable[PlannedOrder | Intent]) -> Decimal:
    """Return what orders cost at their limits or the close of D, USD; sales count against purchases."""
    return sum((order.side.sign * _value(order) for order in orders), Decimal(0))


def limits_of(plan: FrozenPlan) -> PortfolioLimits:
    """Return the limits that were frozen with the plan; the standard ones for an order by hand."""
    frozen = cast("Mapping[str, Any] | None", plan.inputs.get("limits"))
    return PortfolioLimits() if frozen is None else frozen_limits(frozen)
