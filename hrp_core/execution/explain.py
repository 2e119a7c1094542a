"""From a fill back to the model and the data it was decided on.

What belongs here: following the references that journal and store already hold, as one tree. Nothing is
computed again, and what cannot be followed is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from hrp_core.errors import NotReadyError, RefusedError
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import BookedCross, Execution, FrozenPlan, Intent
from hrp_core.portfolio.risk import BY_CODE, frozen_limits
from hrp_core.store import Store, partition_versions, read_table, table


@dataclass(frozen=True, slots=True)
class Node:
    """One step of the way back.

    Attributes:
        kind: fill, cross, order, intent, verdict, plan, target, signal, prediction, model, partition.
        name: what identifies it.
        details: what is known of it, as plain values.
        children: the steps it came from.
    """

    kind: str
    name: str
    details: Mapping[str, object] = field(default_factory=dict)
    children: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The tree, and what of it could not be followed.

    Attributes:
        missing: one message for each reference that leads nowhere; empty when all is explained.
    """

    root: Node
    missing: tuple[str, ...]


def explain(store: Store, journal: Journal, name: str) -> Explanation:
    """Return where an execution, a cross or an intent came from.

    Args:
        store: predictions and the versions of the partitions.
        journal: executions, crosses, orders and frozen plans.
        name: execution id, id of a cross, intent id, or orderRef.

    Raises:
        RefusedError: the journal knows nothing of that name.
    """
    cross = journal.cross(name)
    if cross is not None:
        missing_of_cross: list[str] = []
        node = _cross_node(store, journal, cross, missing_of_cross)
        return Explanation(node, tuple(missing_of_cross))
    fill = next((item for item in journal.executions() if item.exec_id == name), None)
    intent = _intent(journal, name if fill is None else fill.order_ref)
    if intent is None:
        if fill is not None:
            raise RefusedError(f"execution {name} belongs to an order that was not sent from this journal")
        raise RefusedError(
            f"the journal knows no execution, cross, intent or orderRef {name!r}; see `hrp trades --json`"
        )
    missing: list[str] = []
    node = _intent_node(store, journal, intent, missing)
    for attempt in reversed(journal.attempts(intent.intent_id)):
        if fill is None or attempt.order_ref == fill.order_ref:
            node = Node(
                "order",
                attempt.order_ref,
                {
                    "perm_id": attempt.perm_id,
                    "quantity": attempt.quantity,
                    "filled": attempt.filled,
                    "status": attempt.status.value,
                    "sent_at": attempt.sent_at.isoformat(),
                },
                (node,),
            )
            break
    return Explanation(node if fill is None else _fill_node(fill, node), tuple(missing))


def _intent(journal: Journal, name: str) -> Intent | None:
    found = journal.intent(name)
    if found is None:
        found = next((intent for _, intent in journal.sent([name]).values()), None)
    return found


def _fill_node(fill: Execution, order: Node) -> Node:
    return Node(
        "fill",
        fill.exec_id,
        {
            "symbol": fill.contract.symbol,
            "side": fill.side.value,
            "shares": fill.shares,
            "price": str(fill.price),
            "commission": None if fill.commission is None else str(fill.commission),
            "executed_at": fill.executed_at.isoformat(),
        },
        (order,),
    )


def _cross_node(store: Store, journal: Journal, cross: BookedCross, missing: list[str]) -> Node:
    plan = journal.plan(cross.plan_id)
    return Node(
        "cross",
        cross.cross_id,
        {
            "symbol": cross.symbol,
            "shares": dict(cross.shares),
            "price": None if cross.price is None else str(cross.price),
            "commission": "0",
            "executed_at": cross.executes_at.isoformat(),
        },
        (_plan_node(store, journal, plan, cross.symbol, [name for name, _ in cross.shares], missing),),
    )


def _intent_node(store: Store, journal: Journal, intent: Intent, missing: list[str]) -> Node:
    plan = journal.plan(intent.plan_id)
    return Node(
        "intent",
        intent.intent_id,
        {
            "symbol": intent.contract.symbol,
            "side": intent.side.value,
            "quantity": intent.quantity,
            "order_type": intent.order_type.value,
            "status": intent.status.value,
            "allocations": dict(intent.allocations),
        },
        (
            *_verdict_nodes(plan, intent),
            _plan_node(
                store,
                journal,
                plan,
                intent.contract.symbol,
                [strategy_id for strategy_id, _ in intent.allocations],
                missing,
            ),
        ),
    )


def _verdict_nodes(plan: FrozenPlan, intent: Intent) -> tuple[Node, ...]:
    """Return what the risk rules said between the targets of an order and its shares, as it was frozen.

    Verdicts about the whole account are among them, with the limit that was in force for each.
    """
    stated: Any = plan.inputs.get("limits", {})
    strategies: Any = plan.inputs.get("strategies", ())
    own = {each["strategy_id"]: each.get("limits", {}) for each in strategies}
    limits = frozen_limits(stated)
    strategy_ids = {strategy_id for strategy_id, _ in intent.allocations}
    nodes = []
    for verdict in plan.verdicts:
        strategy_id = str(verdict["strategy_id"])
        if verdict["symbol"] not in ("", intent.contract.symbol) or strategy_id not in ("", *strategy_ids):
            continue
        rule = BY_CODE.get(str(verdict["rule"]))  # a plan of another release may name one that is gone
        details = {
            "action": verdict["action"],
            "before": verdict["before"],
            "after": verdict["after"],
            "limit": "" if rule is None else rule.shown(replace(limits, **own.get(strategy_id, {}))),
            "strategy_id": strategy_id,
            "reason": verdict["reason"],
        }
        nodes.append(Node("verdict", str(verdict["rule"]), details))
    return tuple(nodes)


def _plan_node(
    store: Store,
    journal: Journal,
    plan: FrozenPlan,
    symbol: str,
    strategy_ids: Sequence[str],
    missing: list[str],
) -> Node:
    approvals = [item for item in journal.approvals(plan.plan_id) if item.approved]
    targets = {
        str(row["strategy_id"]): row
        for row in plan.targets
        if row["symbol"] == symbol and row["strategy_id"] in strategy_ids
    }
    missing += [
        f"plan {plan.plan_id} has no target of {strategy_id} in {symbol}"
        for strategy_id in strategy_ids
        if strategy_id not in targets
    ]
    return Node(
        "plan",
        plan.plan_id,
        {
            "session": plan.session.isoformat(),
            "inputs_hash": plan.inputs_hash,
            "approved_by": approvals[-1].by if approvals else None,
            "equity": str(plan.equity),
        },
        tuple(
            _target_node(store, plan, strategy_id, symbol, row, missing)
            for strategy_id, row in sorted(targets.items())
        ),
    )


def _target_node(
    store: Store,
    plan: FrozenPlan,
    strategy_id: str,
    symbol: str,
    row: Mapping[str, object],
    missing: list[str],
) -> Node:
    names = ("shares_before", "shares_target", "weight_target", "price", "reason", "note")
    signal = Node(
        "signal",
        f"{strategy_id} {symbol} {plan.session}",
        {"signal": row["signal"], "prediction": row["prediction"]},
        (
            _prediction_node(store, plan.session, strategy_id, symbol, missing),
            _partition(store, "signals", plan.session, missing),
        ),
    )
    return Node("target", f"{strategy_id} {symbol}", {name: row[name] for name in names}, (signal,))


def _prediction_node(store: Store, session: date, strategy_id: str, symbol: str, missing: list[str]) -> Node:
    name = f"{strategy_id} {symbol} {session}"
    try:
        rows = read_table(store, table("predictions"), sessions=[session])
    except NotReadyError:
        rows = None
    found = (
        []
        if rows is None
        else rows.loc[(rows["strategy_id"] == strategy_id) & (rows["symbol"] == symbol)].to_dict("records")
    )
    partitions = tuple(_partition(store, asset, session, missing) for asset in ("features", "prices"))
    if not found:
        missing.append(f"no stored prediction of {name}")
        return Node("prediction", name, {}, partitions)
    model = Node(
        "model",
        f"{found[0]['model_name']} version {found[0]['model_version']}",
        {"model_name": found[0]["model_name"], "model_version": found[0]["model_version"]},
        partitions,
    )
    values = {"prediction": found[0]["prediction"], "rank": found[0]["rank"]}
    return Node("prediction", name, values, (model, _partition(store, "predictions", session, missing)))


def _partition(store: Store, asset: str, session: date, missing: list[str]) -> Node:
    with store.read() as connection:
        versions = partition_versions(connection, asset, [session])
    name = f"{asset} {session}"
    if not versions:
        missing.append(f"no recorded version of the partition {name}")
        return Node("partition", name)
    version = versions[0]
    return Node(
        "partition",
        name,
        {
            "content_hash": version.content_hash,
            "rows": version.rows,
            "code_version": version.code_version,
            "run_id": version.run_id,
            "written_at": version.written_at.isoformat(),
        },
    )
