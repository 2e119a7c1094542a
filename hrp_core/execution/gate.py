"""The trade gate: one verdict on the plan of a session, from evidence that is all there or says no.

What belongs here: the conditions, as pure functions of `Evidence`, and the verdict they add up to. What does
not: taking the evidence and storing the verdict (`gate_record`), and sending (`trading`).
Past 400 lines because it is one list of conditions, each with its words.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from hrp_core.execution.preflight import MAX_CLOCK_DIFFERENCE
from hrp_core.execution.reconciliation import ReconciliationStatus
from hrp_core.execution.send_window import SendWindow
from hrp_core.ledger.types import FrozenPlan, Latch, LatchState, OrderStatus, PlanStatus
from hrp_core.models.drift_checks import DriftStatus
from hrp_core.portfolio.types import OrderType

JUDGED_ASSETS = ("universe", "prices", "features", "predictions", "signals", "target_portfolio")
VALID_FOR = timedelta(minutes=30)
# A plan that changes nothing has no targets; without rows of the others there is nothing to have planned on.
_MAY_BE_EMPTY = frozenset({"target_portfolio"})


class Verdict(StrEnum):
    """What may be sent, mildest first."""

    GO = "go"
    REDUCE_ONLY = "reduce_only"  # exits only
    BLOCKED = "blocked"  # evidence is missing
    NO_GO = "no_go"


class Code(StrEnum):
    """Why something may not be sent: one code a condition."""

    EVIDENCE_FAILED = "evidence_failed"  # a part of the evidence could not be read at all
    NO_PLAN = "no_plan"
    PLAN_OUTDATED = "plan_outdated"  # decided on other rows, strategies or limits than those of now
    NOT_APPROVED = "not_approved"
    DATA_MISSING = "data_missing"
    CHECK_MISSING = "check_missing"  # a blocking claim was not judged for the present rows
    CHECK_FAILED = "check_failed"
    NO_PREDICTIONS = "no_predictions"
    MODEL_UNRESOLVED = "model_unresolved"
    DRIFT_MISSING = "drift_missing"
    DRIFT_ERROR = "drift_error"
    DRIFT_INSUFFICIENT = "drift_insufficient"
    DRIFT_DETECTED = "drift_detected"
    RECONCILIATION_MISSING = "reconciliation_missing"
    RECONCILIATION_REDUCE_ONLY = "reconciliation_reduce_only"
    RECONCILIATION_HALTED = "reconciliation_halted"
    BROKER_UNREACHABLE = "broker_unreachable"
    WRONG_ACCOUNT = "wrong_account"
    CLOCKS_DIFFER = "clocks_differ"  # send windows are kept by our clock
    LATCH_REDUCING = "latch_reducing"
    LATCH_HALTED = "latch_halted"
    WINDOW_CLOSED = "window_closed"


@dataclass(frozen=True, slots=True)
class Reason:
    """One objection.

    Attributes:
        verdict: the most that may be sent because of it.
        message: what is wrong, and the next step.
    """

    code: Code
    verdict: Verdict
    message: str


@dataclass(frozen=True, slots=True)
class ModelFact:
    """A strategy's model, as the predictions of the session name it.

    Attributes:
        version: empty when the predictions name none, or several.
        deployed: whether that version was ever put into production here.
        drift: the newest drift verdict of the version; None without one.
        drift_session: the session that verdict is of.
        sessions: sessions with predictions of the version, this one included.
        rolled_back: whether a person, or drift, took that version out of production and nobody put it back.
    """

    strategy_id: str
    model: str
    version: str
    deployed: bool
    drift: DriftStatus | None
    drift_session: date | None
    sessions: int
    rolled_back: bool = False


@dataclass(frozen=True, slots=True)
class ReconciliationFact:
    """The newest reconciliation run of the account.

    Attributes:
        found: each difference, with its class.
    """

    reconciliation_id: str
    taken_at: datetime
    status: ReconciliationStatus
    found: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BrokerFact:
    """The broker's answer to a heartbeat: for which account, and its clock."""

    account: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known when a verdict is asked for.

    Attributes:
        session: decision session D.
        account: the one this journal belongs to; empty when it belongs to none yet.
        closed_at: close of the last execution session, which is D itself.
        plan: the newest daily plan of D.
        outdated: what of the plan's inputs is no longer what is stored, or what files and settings say.
        approved: whether the plan's newest approval is of its present content.
        hashes: current content hash by judged asset; absent = never written.
        rows: rows stored of it.
        checks: for the current content, by asset: the claim, whether it is true, and what was observed.
        required: blocking claims by asset.
        active: strategies that are neither paused nor retired; the others only hold or sell.
        factors: those whose model is a feature and needs no version and no drift verdict.
        models: of the active strategies that were scored.
        reconciliation: the newest run; None without one.
        empty: whether ledger and account are empty since `closed_at`: nothing to reconcile.
        windows: when orders of each type may be sent.
        grace: sessions for which a new version may have too few samples for a drift verdict.
        failures: by part of the evidence, why it could not be read.
    """

    session: date
    now: datetime
    mode: str
    account: str
    closed_at: datetime
    dry_run: bool
    grace: int
    required: Mapping[str, tuple[str, ...]]
    windows: Mapping[OrderType, SendWindow]
    plan: FrozenPlan | None = None
    outdated: tuple[str, ...] = ()
    approved: bool = False
    hashes: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    checks: Mapping[str, Mapping[str, tuple[bool, str]]] = field(default_factory=dict)
    active: tuple[str, ...] = ()
    factors: frozenset[str] = frozenset()
    models: tuple[ModelFact, ...] = ()
    reconciliation: ReconciliationFact | None = None
    empty: bool = False
    broker: BrokerFact | None = None
    latch: Latch | None = None
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def pending(self) -> frozenset[OrderType]:
        """Types of the orders that are still to be sent."""
        intents = self.plan.intents if self.plan else ()
        return frozenset(item.order_type for item in intents if item.status is OrderStatus.PENDING)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reasons; `reasons` is empty when it is `go`."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    expires_at: datetime


def judge(evidence: Evidence) -> Judgement:
    """Return the verdict: the strictest of all objections, `go` without one.

    What could not be read is an objection by itself; the conditions that rest on it are judged as far as
    they can be.
    """
    reasons = [
        Reason(
            Code.EVIDENCE_FAILED,
            Verdict.BLOCKED,
            f"{part} could not be read: {why}. Mend that and run live_trader_job again",
        )
        for part, why in evidence.failures.items()
        if part != "broker"
    ]
    for condition in CONDITIONS:
        reasons.extend(condition(evidence))
    order = list(Verdict)
    verdict = max((reason.verdict for reason in reasons), key=order.index, default=Verdict.GO)
    return Judgement(verdict, tuple(reasons), _expiry(evidence))


def _expiry(evidence: Evidence) -> datetime:
    closes = [evidence.windows[kind].closes for kind in evidence.pending]
    return min([evidence.now + VALID_FOR, *([max(closes)] if closes else [])])


def _plan(evidence: Evidence) -> Iterator[Reason]:
    plan, session = evidence.plan, evidence.session
    if plan is None:
        if "journal" not in evidence.failures:
            yield Reason(
                Code.NO_PLAN, Verdict.BLOCKED, f"session {session} has no plan; run predictions_job for it"
            )
        return
    if evidence.outdated:
        yield Reason(
            Code.PLAN_OUTDATED,
            Verdict.NO_GO,
            f"plan {plan.plan_id} was decided on other {', '.join(evidence.outdated)} than those of now; "
            "run predictions_job again",
        )
    # Of a plan that was sent, or whose window has passed, nothing is left to send.
    if evidence.dry_run or plan.status in (PlanStatus.SENT, PlanStatus.EXPIRED):
        return
    if plan.status is not PlanStatus.APPROVED or not evidence.approved:
        yield Reason(
            Code.NOT_APPROVED,
            Verdict.NO_GO,
            f"plan {plan.plan_id} is {plan.status.value}, not approved as it stands; approve it with "
            "`hrp plan approve`",
        )


def _data(evidence: Evidence) -> Iterator[Reason]:
    if "store" in evidence.failures:
        return
    for asset in JUDGED_ASSETS:
        rows = evidence.rows.get(asset, 0)
        if asset not in evidence.hashes or (not rows and asset not in _MAY_BE_EMPTY):
            job = "market_data_job" if asset in ("universe", "prices", "features") else "predictions_job"
            what = "has no rows" if asset in evidence.hashes else "is not stored"
            message = f"{asset} of session {evidence.session} {what}; run {job} for it"
            yield Reason(Code.DATA_MISSING, Verdict.BLOCKED, message)


def _checks(evidence: Evidence) -> Iterator[Reason]:
    for asset in evidence.hashes:
        judged = evidence.checks.get(asset, {})
        for claim in evidence.required.get(asset, ()):
            if claim not in judged:
                yield Reason(
                    Code.CHECK_MISSING,
                    Verdict.BLOCKED,
                    f"{claim} was not judged for the present content of {asset}; run {asset} with its checks",
                )
            elif not judged[claim][0]:
                yield Reason(
                    Code.CHECK_FAILED,
                    Verdict.NO_GO,
                    f"{claim} is not true: {judged[claim][1]}. Correct the source and run {asset} again",
                )


def _models(evidence: Evidence) -> Iterator[Reason]:
    if "store" in evidence.failures or evidence.plan is None:
        return
    if evidence.active and not evidence.models:
        yield Reason(
            Code.NO_PREDICTIONS,
            Verdict.NO_GO,
            f"none of {', '.join(evidence.active)} was scored in session {evidence.session}; see the errors "
            "of the predictions, mend them and run predictions_job again",
        )
    for fact in evidence.models:
        if not fact.version or not (fact.strategy_id in evidence.factors or fact.deployed):
            yield Reason(
                Code.MODEL_UNRESOLVED,
                Verdict.NO_GO,
                f"the predictions of {fact.strategy_id} name "
                + (f"{fact.model} version {fact.version}, which was never" if fact.version else "no version")
                + (" put into production here" if fact.version else f" of {fact.model}")
                + f"; promote a version (`hrp model promote {fact.model} VERSION`) and run predictions_job "
                "again, or pause the strategy",
            )
        elif fact.rolled_back:
            yield Reason(
                Code.MODEL_UNRESOLVED,
                Verdict.NO_GO,
                f"the predictions of {fact.strategy_id} are of {fact.model} version {fact.version}, which "
                "was rolled back; run predictions_job again",
            )
        elif fact.strategy_id not in evidence.factors:
            yield from _drift(fact, evidence)


def _drift(fact: ModelFact, evidence: Evidence) -> Iterator[Reason]:
    name = f"{fact.model} version {fact.version}"
    away = "promote or roll back to a version you trust, or pause the strategy, and run predictions_job again"
    if fact.drift is None or fact.drift_session != evidence.session:
        last = f", the newest is of {fact.drift_session}" if fact.drift_session else ""
        yield Reason(
            Code.DRIFT_MISSING,
            Verdict.BLOCKED,
            f"{name} has no drift verdict of {evidence.session}{last}; run drift_monitor_job for it",
        )
    elif fact.drift is DriftStatus.ERROR:
        yield Reason(
            Code.DRIFT_ERROR,
            Verdict.BLOCKED,
            f"the drift of {name} could not be judged; see `hrp model drift`, mend it and run "
            "drift_monitor_job again",
        )
    elif fact.drift is DriftStatus.DRIFT:
        yield Reason(Code.DRIFT_DETECTED, Verdict.NO_GO, f"{name} has drifted; {away}")
    elif fact.drift is DriftStatus.INSUFFICIENT and fact.sessions > evidence.grace:
        yield Reason(
            Code.DRIFT_INSUFFICIENT,
            Verdict.NO_GO,
            f"{name} has too few samples for a drift verdict in its session {fact.sessions}, which only the "
            f"first {evidence.grace} may; see `hrp model drift` for why, or raise "
            "HRP_DRIFT_GRACE_SESSIONS",
        )


def _reconciliation(evidence: Evidence) -> Iterator[Reason]:
    if {"store", "journal"} & evidence.failures.keys():
        return
    newest = evidence.reconciliation
    if newest is None or newest.taken_at < evidence.closed_at:
        if not evidence.empty:
            last = f" (the newest is of {newest.taken_at:%Y-%m-%d %H:%M})" if newest else ""
            yield Reason(
                Code.RECONCILIATION_MISSING,
                Verdict.BLOCKED,
                f"no reconciliation was run since the close of {evidence.closed_at:%Y-%m-%d %H:%M}{last}; "
                "run book_job or `hrp reconcile`",
            )
    elif newest.status is ReconciliationStatus.REDUCE_ONLY:
        yield Reason(
            Code.RECONCILIATION_REDUCE_ONLY,
            Verdict.REDUCE_ONLY,
            f"reconciliation {newest.reconciliation_id} left a difference in cash"
            f"{_named(newest)}; record what it is with `hrp cash record`, then `hrp reconcile`",
        )
    elif newest.status is ReconciliationStatus.HALTED:
        yield Reason(
            Code.RECONCILIATION_HALTED,
            Verdict.NO_GO,
            f"reconciliation {newest.reconciliation_id} found breaks between ledger and broker"
            f"{_named(newest)}; explain them, then `hrp reconcile`",
        )


def _named(fact: ReconciliationFact) -> str:
    return f" ({'; '.join(fact.found)})" if fact.found else ""


def _broker(evidence: Evidence) -> Iterator[Reason]:
    if evidence.broker is None:
        why = evidence.failures.get("broker", "it was not asked")
        yield Reason(Code.BROKER_UNREACHABLE, Verdict.BLOCKED, f"the broker does not answer: {why}")
    elif evidence.account and evidence.broker.account != evidence.account:
        yield Reason(
            Code.WRONG_ACCOUNT,
            Verdict.NO_GO,
            f"the broker connection is for account {evidence.broker.account}, the journal belongs to "
            f"{evidence.account}; correct the settings",
        )


def _clocks(evidence: Evidence) -> Iterator[Reason]:
    if evidence.broker is None:
        return
    difference = evidence.broker.time - evidence.now
    if abs(difference) > MAX_CLOCK_DIFFERENCE:
        yield Reason(
            Code.CLOCKS_DIFFER,
            Verdict.BLOCKED,
            f"the broker's clock is {difference.total_seconds():+.0f} s from ours, by which orders are sent; "
            "set this machine's clock by NTP",
        )


def _latch(evidence: Evidence) -> Iterator[Reason]:
    latch = evidence.latch
    if latch is None or latch.state is LatchState.ACTIVE:
        return
    halted = latch.state is LatchState.HALTED
    yield Reason(
        Code.LATCH_HALTED if halted else Code.LATCH_REDUCING,
        Verdict.NO_GO if halted else Verdict.REDUCE_ONLY,
        f"trading is {latch.state.value} by {latch.by}: {latch.reason}; a person ends it",
    )


def _window(evidence: Evidence) -> Iterator[Reason]:
    pending = evidence.pending
    if not pending or any(evidence.windows[kind].contains(evidence.now) for kind in pending):
        return
    yield Reason(
        Code.WINDOW_CLOSED,
        Verdict.NO_GO,
        f"orders of session {evidence.session} may be sent from {evidence.windows[min(pending)]}; it is "
        f"{evidence.now:%a %Y-%m-%d %H:%M}",
    )


CONDITIONS: tuple[Callable[[Evidence], Iterator[Reason]], ...] = (
    *(_plan, _data, _checks, _models, _reconciliation, _broker, _clocks, _latch, _window),
)
