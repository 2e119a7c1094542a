"""From a fill back to the model and the data, through a real journal and a real store."""

from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from order_support import EVENING, BentBroker, D, E, at, manager, planned, sync

from hrp_core.errors import RefusedError
from hrp_core.execution.explain import Node, explain
from hrp_core.ledger.journal import Journal
from hrp_core.portfolio.types import Plan, PortfolioLimits, Reason, RuleAction, TargetRow, Verdict
from hrp_core.store import Sessions, Store, migrate, replace_slice, table

STRATEGY = "HYP-2026-001"
ROWS = {
    "prices": {"symbol": "AAPL", "close": 116.5, "source": "test"},
    "features": {"symbol": "AAPL", "momentum_12_1": 0.25},
    "predictions": {
        "strategy_id": STRATEGY,
        "symbol": "AAPL",
        "prediction": 0.25,
        "rank": 1,
        "model_name": "momentum_12_1",
        "model_version": "7",
    },
    "signals": {
        "strategy_id": STRATEGY,
        "symbol": "AAPL",
        "signal": 1.0,
        "prediction": 0.25,
        "method": "rank",
    },
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "hrp.duckdb")
    migrate(store)
    for name, row in ROWS.items():
        declared = table(name)
        frame = pd.DataFrame([{"session": D, **row}]).reindex(columns=list(declared.column_names))
        with store.write() as connection:
            replace_slice(connection, declared, frame, Sessions((D,)), "run-1", "code-3", EVENING)
    return store


def trade(
    journal: Journal,
    broker: BentBroker,
    verdicts: tuple[Verdict, ...] = (),
    inputs: dict[str, object] | None = None,
) -> str:
    """Trade a planned order; return its intent id."""
    target = TargetRow(STRATEGY, "AAPL", 1.0, 0.25, Decimal("116.50"), 0.0, 0.1, 0, 10, Reason.SIGNAL)
    order = replace(planned("AAPL", 10), reference_price=Decimal("116.50"))
    frozen = journal.freeze_plan(
        Plan(D, E, Decimal(100_000), Decimal(100_000), (target,), (order,), verdicts=verdicts),
        mode="sim",
        account=broker.account,
        contracts=broker.qualify(["AAPL"]),
        inputs=inputs or {},
        now=EVENING,
    )
    journal.approve(frozen.plan_id, by="ann", plan_hash=frozen.inputs_hash, now=EVENING)
    manager(broker, journal).submit_plan(frozen.plan_id)
    broker.advance(at(E, "17:45"))
    sync(broker, journal)
    return frozen.intents[0].intent_id


def walk(node: Node) -> list[Node]:
    return [node, *(below for child in node.children for below in walk(child))]


def test_a_fill_leads_back_to_model_version_and_feature_partition(
    store: Store, journal: Journal, broker: BentBroker
) -> None:
    trade(journal, broker)
    (fill,) = journal.executions()
    found = explain(store, journal, fill.exec_id)
    assert found.missing == ()
    nodes = walk(found.root)
    assert [node.kind for node in nodes][:8] == [
        "fill", "order", "intent", "plan", "target", "signal", "prediction", "model",
    ]  # fmt: skip
    by_name = {node.name: node for node in nodes}
    assert by_name["momentum_12_1 version 7"].details["model_version"] == "7"
    features = by_name[f"features {D}"].details
    assert (features["code_version"], len(str(features["content_hash"]))) == ("code-3", 64)
    assert {name for name in by_name if name.endswith(str(D)) and by_name[name].kind == "partition"} == {
        f"{name} {D}" for name in ROWS
    }


def test_an_intent_and_an_order_reference_are_explained_as_well(
    store: Store, journal: Journal, broker: BentBroker
) -> None:
    intent_id = trade(journal, broker)
    (attempt,) = journal.attempts()
    assert explain(store, journal, intent_id) == explain(store, journal, attempt.order_ref)


def test_what_the_risk_rules_said_stands_between_target_and_order(
    store: Store, journal: Journal, broker: BentBroker
) -> None:
    own = "max_order_pct"
    verdicts = (
        Verdict("max_order_pct", "AAPL", STRATEGY, RuleAction.CLIP, 12, 10, "above what one order may be"),
        Verdict("max_volume_pct", "", "", RuleAction.ALLOW, None, None, "the source has no volume"),
        Verdict("max_order_pct", "KO", "", RuleAction.CLIP, 9, 1, "of another name"),
    )
    inputs = {
        "limits": asdict(PortfolioLimits()),
        "strategies": [{"strategy_id": STRATEGY, "limits": {own: 0.05}}],
    }
    intent_id = trade(journal, broker, verdicts, inputs)
    found = explain(store, journal, intent_id).root.children[0]
    assert [child.kind for child in found.children] == ["verdict", "verdict", "plan"]
    clipped, allowed, _ = found.children
    assert (clipped.name, allowed.name) == ("max_order_pct", "max_volume_pct")
    assert dict(clipped.details) == {
        "action": "clip",
        "before": 12,
        "after": 10,
        "limit": "5%",
        "strategy_id": STRATEGY,
        "reason": "above what one order may be",
    }
    assert allowed.details["limit"] == "5%"


def test_what_cannot_be_followed_is_named(tmp_path: Path, journal: Journal, broker: BentBroker) -> None:
    empty = Store(tmp_path / "empty.duckdb")
    migrate(empty)
    trade(journal, broker)
    found = explain(empty, journal, journal.executions()[0].exec_id)
    assert f"no stored prediction of {STRATEGY} AAPL {D}" in found.missing
    assert f"no recorded version of the partition features {D}" in found.missing


def test_what_was_not_sent_from_here_is_refused(store: Store, journal: Journal, broker: BentBroker) -> None:
    trade(journal, broker)
    (fill,) = journal.executions()
    by_hand = replace(fill, exec_id="0000aaaa.1.01", order_ref="", perm_id=99)
    journal.record([], [by_hand], now=broker.now())
    with pytest.raises(RefusedError, match="was not sent from this journal"):
        explain(store, journal, by_hand.exec_id)
    with pytest.raises(RefusedError, match="knows no execution, cross, intent or orderRef 'nonsense'"):
        explain(store, journal, "nonsense")
