"""Parity: does the replay decide and fill what was really decided and filled?

What belongs here: running the loop with the strategies and limits that were frozen with each plan, and naming
every difference. What does not: judging which side is right.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, cast

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import NotReadyError
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import BookedCross, FrozenPlan, Intent, PlanStatus
from hrp_core.portfolio.risk import frozen_limits
from hrp_core.portfolio.types import Performance, PlannedOrder, Purpose, Strategy, SymbolAction
from hrp_core.replay.history import History
from hrp_core.replay.loop import Decided, Policy, ReplayedCross, ReplayedSession, replay


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same in both.

    Attributes:
        kind: ``intent``, ``fill`` or ``cross``.
        traded: what really was, in words; empty when there was nothing.
        replayed: likewise of the replay.
    """

    session: date
    kind: str
    symbol: str
    traded: str
    replayed: str

    def __str__(self) -> str:
        return (
            f"{self.session} {self.symbol} {self.kind}: traded {self.traded or 'nothing'}, "
            f"replayed {self.replayed or 'nothing'}"
        )


@dataclass(frozen=True, slots=True)
class Parity:
    """The result of a check.

    Attributes:
        sessions: decision sessions compared.
        intents: intents compared; fills and crosses likewise.
        differences: empty when both are the same to the share and to the cent.
    """

    sessions: tuple[date, ...]
    intents: int
    fills: int
    differences: tuple[Difference, ...]
    crosses: int = 0


def check_parity(history: History, journal: Journal) -> Parity:
    """Replay every session that was traded and whose orders have executed, and compare.

    Raises:
        NotReadyError: no session has been traded and executed yet.
    """
    plans = {
        plan.session: plan
        for plan in journal.plans(purpose=Purpose.DAILY)
        if plan.status is PlanStatus.SENT and plan.execution_session <= history.tape.last_session
    }
    if not plans:
        raise NotReadyError("no session has been traded and executed yet; run `hrp demo`, or trade one first")
    sessions = sorted(plans)
    opening, flows = _cash(journal, [plans[session] for session in sessions])
    replayed = replay(
        history,
        sessions,
        lambda session: frozen_policy(plans[session]),
        cash=opening,
        flows=flows,
        splits=journal.splits(),
    )
    decided_intents = {intent.intent_id for plan in plans.values() for intent in plan.intents}
    traded_fills = _traded_fills(journal, decided_intents)
    traded_crosses = _traded_crosses(journal)
    differences: list[Difference] = []
    intents = fills = crosses = 0
    for result in replayed:
        decided = _traded_intents(plans[result.session])
        intents += len(decided)
        differences += _compare(result.session, "intent", decided, _replayed_intents(result))
        filled = traded_fills.get(plans[result.session].execution_session, {})
        fills += sum(len(each) for each in filled.values())
        differences += _compare(result.session, "fill", filled, _replayed_fills(result))
        crossed = traded_crosses.get(plans[result.session].plan_id, {})
        crosses += len(crossed)
        differences += _compare(result.session, "cross", crossed, _replayed_crosses(result))
    return Parity(tuple(sessions), intents, fills, tuple(differences), crosses)


def frozen_policy(plan: FrozenPlan) -> Policy:
    """Return the strategies, limits, locked names, controls and account state a plan was decided with."""
    strategies: Any = plan.inputs["strategies"]
    limits = frozen_limits(cast(Mapping[str, Any], plan.inputs["limits"]))
    earned = cast("dict[str, Any] | None", plan.inputs.get("performance"))
    return Policy(
        tuple(Strategy(**{**each, "capital_weight": Decimal(each["capital_weight"])}) for each in strategies),
        limits,
        {
            symbol: Decimal(cost)
            for symbol, cost in cast(Mapping[str, str], plan.inputs.get("locked", {})).items()
        },
        {
            symbol: SymbolAction(action)
            for symbol, action in cast(Mapping[str, str], plan.inputs.get("controls", {})).items()
        },
        Decided(None if earned is None else Performance(**earned), bool(plan.inputs.get("reducing", False))),
    )


def _cash(journal: Journal, plans: Sequence[FrozenPlan]) -> tuple[Decimal, dict[date, Decimal]]:
    """Return the cash before the first plan, and what moved later by the first session decided with it."""
    opening = Decimal(0)
    later: dict[date, Decimal] = defaultdict(Decimal)
    for flow in journal.cash_flows():
        decided = [plan.session for plan in plans if plan.created_at >= flow.at]
        if decided[:1] == [plans[0].session]:
            opening += flow.amount
        elif decided:
            later[decided[0]] += flow.amount
    return opening, dict(later)


def _traded_intents(plan: FrozenPlan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for intent in plan.intents:
        found[intent.contract.symbol].append(_order_words(intent))
    return found


def _replayed_intents(result: ReplayedSession) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for order in result.plan.orders:
        found[order.symbol].append(_order_words(order))
    return found


def _order_words(order: Intent | PlannedOrder) -> str:
    limit = "" if order.limit_price is None else f" at {order.limit_price}"
    return (
        f"{order.side.value} {order.quantity} {order.order_type.value}{limit} "
        f"({order.leg}; {dict(order.allocations)})"
    )


def _traded_crosses(journal: Journal) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for cross in journal.book_crosses():
        found[cross.plan_id][cross.symbol] = [_cross_words(cross)]
    return found


def _replayed_crosses(result: ReplayedSession) -> dict[str, list[str]]:
    return {cross.symbol: [_cross_words(cross)] for cross in result.crosses}


def _cross_words(cross: BookedCross | ReplayedCross) -> str:
    return f"{dict(cross.shares)} at {'no price yet' if cross.price is None else cross.price}"


def _traded_fills(journal: Journal, intents: Set[str]) -> dict[date, dict[str, list[str]]]:
    found: dict[date, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    allocations = journal.order_allocations()
    for execution in journal.executions():
        # Orders by hand or of another program are in the book; no daily plan decided them.
        allocation = allocations.get(execution.order_ref)
        if allocation is None or allocation.intent_id not in intents:
            continue
        day = execution.executed_at.astimezone(NEW_YORK).date()
        found[day][execution.contract.symbol].append(
            f"{execution.side.value} {execution.shares} at {execution.price}, "
            f"commission {execution.commission}"
        )
    return found


def _replayed_fills(result: ReplayedSession) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for fill in result.fills:
        found[fill.symbol].append(
            f"{fill.side.value} {fill.shares} at {fill.price}, commission {fill.commission}"
        )
    return found


def _compare(
    session: date, kind: str, traded: Mapping[str, list[str]], replayed: Mapping[str, list[str]]
) -> list[Difference]:
    return [
        Difference(session, kind, symbol, "; ".join(left), "; ".join(right))
        for symbol in sorted({*traded, *replayed})
        if (left := sorted(traded.get(symbol, []))) != (right := sorted(replayed.get(symbol, [])))
    ]
