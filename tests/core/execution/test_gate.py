"""The verdict as a pure function of the evidence."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.checks import blocking_claims
from hrp_core.execution.gate import (
    JUDGED_ASSETS,
    VALID_FOR,
    BrokerFact,
    Code,
    Evidence,
    ModelFact,
    ReconciliationFact,
    Verdict,
    judge,
)
from hrp_core.execution.reconciliation import ReconciliationStatus
from hrp_core.execution.send_window import send_window
from hrp_core.ledger.types import (
    Contract,
    FrozenPlan,
    Intent,
    Latch,
    LatchState,
    OrderStatus,
    PlanStatus,
)
from hrp_core.models.drift_checks import DriftStatus
from hrp_core.portfolio.types import OrderSide, OrderType, Purpose

D = date(2022, 12, 15)
NOW = datetime(2022, 12, 15, 18, 30, tzinfo=NEW_YORK)
CLOSE = nyse().close(D)
INTENT = Intent(
    *(
        "i",
        "p",
        Contract("AAPL", 1),
        OrderSide.BUY,
        10,
        "increase",
        OrderType.MARKET,
        None,
        None,
        (("S", 10),),
    )
)
PLAN = FrozenPlan(
    *("p", "sim", "DU1", D, nyse().next(D), Purpose.DAILY, 1, PlanStatus.APPROVED, Decimal(1), Decimal(1)),
    *({}, "hash", NOW, (INTENT,)),
)
MODEL = ModelFact("S", "ranker", "3", True, DriftStatus.OK, D, 40)
REQUIRED = {asset: blocking_claims(asset) for asset in JUDGED_ASSETS}
GOOD = Evidence(
    session=D,
    now=NOW,
    mode="sim",
    account="DU1",
    closed_at=CLOSE,
    dry_run=False,
    grace=10,
    required=REQUIRED,
    windows={kind: send_window(nyse(), D, kind) for kind in OrderType},
    plan=PLAN,
    approved=True,
    hashes=dict.fromkeys(JUDGED_ASSETS, "h"),
    rows=dict.fromkeys(JUDGED_ASSETS, 20),
    checks={asset: dict.fromkeys(claims, (True, "fine")) for asset, claims in REQUIRED.items()},
    active=("S",),
    models=(MODEL,),
    reconciliation=ReconciliationFact("r", CLOSE + timedelta(minutes=105), ReconciliationStatus.RECONCILED),
    broker=BrokerFact("DU1", NOW),
    latch=Latch(LatchState.ACTIVE),
)


def with_model(**changes: Any) -> dict[str, Any]:
    return {"models": (replace(MODEL, **changes),)}


def with_run(status: ReconciliationStatus, after: timedelta = timedelta(hours=1)) -> dict[str, Any]:
    return {"reconciliation": ReconciliationFact("r", CLOSE + after, status)}


def without(mapping: Any, key: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name != key}


LATE = timedelta(seconds=-1)
OBJECTIONS: list[tuple[Code, Verdict, dict[str, Any]]] = [
    (Code.NO_PLAN, Verdict.BLOCKED, {"plan": None, "models": ()}),
    (Code.PLAN_OUTDATED, Verdict.NO_GO, {"outdated": ("prices",)}),
    (Code.NOT_APPROVED, Verdict.NO_GO, {"plan": replace(PLAN, status=PlanStatus.PROPOSED)}),
    (Code.NOT_APPROVED, Verdict.NO_GO, {"approved": False}),
    (Code.DATA_MISSING, Verdict.BLOCKED, {"hashes": without(GOOD.hashes, "prices")}),
    (Code.DATA_MISSING, Verdict.BLOCKED, {"rows": {**GOOD.rows, "signals": 0}}),
    (Code.CHECK_MISSING, Verdict.BLOCKED, {"checks": {**GOOD.checks, "signals": {}}}),
    (
        Code.CHECK_FAILED,
        Verdict.NO_GO,
        {"checks": {**GOOD.checks, "signals": dict.fromkeys(REQUIRED["signals"], (False, "2 rows"))}},
    ),
    (Code.NO_PREDICTIONS, Verdict.NO_GO, {"models": ()}),
    (Code.MODEL_UNRESOLVED, Verdict.NO_GO, with_model(version="")),
    (Code.MODEL_UNRESOLVED, Verdict.NO_GO, with_model(deployed=False)),
    (Code.MODEL_UNRESOLVED, Verdict.NO_GO, with_model(rolled_back=True)),
    (Code.DRIFT_MISSING, Verdict.BLOCKED, with_model(drift=None, drift_session=None)),
    (Code.DRIFT_MISSING, Verdict.BLOCKED, with_model(drift_session=nyse().previous(D))),
    (Code.DRIFT_ERROR, Verdict.BLOCKED, with_model(drift=DriftStatus.ERROR)),
    (Code.DRIFT_DETECTED, Verdict.NO_GO, with_model(drift=DriftStatus.DRIFT)),
    (Code.DRIFT_INSUFFICIENT, Verdict.NO_GO, with_model(drift=DriftStatus.INSUFFICIENT, sessions=11)),
    (Code.RECONCILIATION_MISSING, Verdict.BLOCKED, {"reconciliation": None}),
    (Code.RECONCILIATION_MISSING, Verdict.BLOCKED, with_run(ReconciliationStatus.RECONCILED, LATE)),
    (Code.RECONCILIATION_REDUCE_ONLY, Verdict.REDUCE_ONLY, with_run(ReconciliationStatus.REDUCE_ONLY)),
    (Code.RECONCILIATION_HALTED, Verdict.NO_GO, with_run(ReconciliationStatus.HALTED)),
    (Code.BROKER_UNREACHABLE, Verdict.BLOCKED, {"broker": None, "failures": {"broker": "refused"}}),
    (Code.WRONG_ACCOUNT, Verdict.NO_GO, {"broker": BrokerFact("DU2", NOW)}),
    (Code.CLOCKS_DIFFER, Verdict.BLOCKED, {"broker": BrokerFact("DU1", NOW + timedelta(seconds=61))}),
    (Code.CLOCKS_DIFFER, Verdict.BLOCKED, {"broker": BrokerFact("DU1", NOW - timedelta(hours=1))}),
    (Code.LATCH_REDUCING, Verdict.REDUCE_ONLY, {"latch": Latch(LatchState.REDUCING, "me", "why")}),
    (Code.LATCH_HALTED, Verdict.NO_GO, {"latch": Latch(LatchState.HALTED, "me", "why")}),
    (Code.WINDOW_CLOSED, Verdict.NO_GO, {"now": NOW + timedelta(hours=15)}),
    (Code.EVIDENCE_FAILED, Verdict.BLOCKED, {"failures": {"journal": "locked"}}),
]


def changed(changes: dict[str, Any]) -> Evidence:
    # The clocks agree, whatever the time, where they are not what is changed.
    now = changes.get("now", NOW)
    return replace(GOOD, **{"broker": BrokerFact("DU1", now), **changes})


def test_with_nothing_against_it_the_plan_goes_for_half_an_hour() -> None:
    judgement = judge(GOOD)
    assert (judgement.verdict, judgement.reasons) == (Verdict.GO, ())
    assert judgement.expires_at == NOW + VALID_FOR


@pytest.mark.parametrize(("code", "verdict", "changes"), OBJECTIONS)
def test_each_condition_has_its_code(code: Code, verdict: Verdict, changes: dict[str, Any]) -> None:
    judgement = judge(changed(changes))
    assert {(reason.code, reason.verdict) for reason in judgement.reasons} == {(code, verdict)}
    assert judgement.verdict is verdict


def test_every_code_is_tested() -> None:
    assert {code for code, _, _ in OBJECTIONS} == set(Code)


@given(st.lists(st.sampled_from(OBJECTIONS), min_size=1, max_size=4))
def test_several_objections_are_never_milder_than_one(
    objections: list[tuple[Code, Verdict, dict[str, Any]]],
) -> None:
    evidence = GOOD
    for _, _, changes in objections:
        evidence = replace(evidence, **changes)
    # The last one stands as it is; earlier ones may have been overwritten by it.
    strictest = objections[-1][1]
    order = list(Verdict)
    hidden = {"journal", "broker"} & evidence.failures.keys() or evidence.plan is None
    judged = judge(evidence).verdict
    assert judged is not Verdict.GO
    assert hidden or order.index(judged) >= order.index(strictest)


@pytest.mark.parametrize(
    "changes",
    [
        {"reconciliation": None, "empty": True},
        with_model(drift=DriftStatus.INSUFFICIENT, sessions=10),
        {"factors": frozenset({"S"}), **with_model(drift=None, drift_session=None, deployed=False)},
        {"plan": replace(PLAN, status=PlanStatus.SENT), "approved": False},
        {"dry_run": True, "plan": replace(PLAN, status=PlanStatus.PROPOSED), "approved": False},
        {"rows": {**GOOD.rows, "target_portfolio": 0}},
        {"active": (), "models": ()},
        with_run(ReconciliationStatus.WARNING),
        {
            "now": NOW + timedelta(hours=15),
            "plan": replace(PLAN, intents=(replace(INTENT, status=OrderStatus.SUBMITTED),)),
        },
    ],
    ids=[
        *("the first day", "a new model", "a factor", "sent before", "a dry run", "nothing to hold"),
        *("all strategies paused", "a small difference in cash", "nothing left to send"),
    ],
)
def test_what_is_no_objection(changes: dict[str, Any]) -> None:
    assert judge(changed(changes)).verdict is Verdict.GO


def test_a_verdict_ends_with_the_send_window() -> None:
    now = datetime(2022, 12, 16, 9, 20, tzinfo=NEW_YORK)
    judgement = judge(changed({"now": now}))
    assert judgement.verdict is Verdict.GO
    assert judgement.expires_at == datetime(2022, 12, 16, 9, 25, tzinfo=NEW_YORK)
