"""Taking the evidence for the trade gate, storing its verdict, and asking for it before sending.

What belongs here: reading store, journal and one heartbeat; the row of `trade_gate`. What does not: what the
evidence amounts to (`gate`). Whatever cannot be read becomes part of the evidence and never a go.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, datetime
from typing import Any, TypeVar, cast

import pandas as pd
from duckdb import DuckDBPyConnection

from hrp_core.calendar import NEW_YORK, nyse, require_decision_session
from hrp_core.checks import blocking_claims, standing_verdicts
from hrp_core.errors import HrpError, NoGoError, RefusedError
from hrp_core.execution.approval import changed_settings
from hrp_core.execution.bookkeeping import Connect
from hrp_core.execution.gate import (
    JUDGED_ASSETS,
    BrokerFact,
    Evidence,
    Judgement,
    ModelFact,
    Reason,
    ReconciliationFact,
    Verdict,
    judge,
)
from hrp_core.execution.reconciliation import ReconciliationStatus
from hrp_core.execution.send_window import SendAt, send_window
from hrp_core.features import FEATURES
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FrozenPlan
from hrp_core.models.deployments import ROLLED_BACK
from hrp_core.models.drift_checks import DriftCheck, DriftReport, DriftStatus
from hrp_core.portfolio.strategies import load_strategies
from hrp_core.portfolio.types import OrderType
from hrp_core.settings import Settings
from hrp_core.store import EventType, Store, append_event, table
from hrp_core.store.schema import stored_columns

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """A verdict together with what it was made of."""

    evidence: Evidence
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Permission:
    """What the stored verdict allows.

    Attributes:
        exits_only: why only exits may be sent; empty when all may.
    """

    verdict: Verdict
    exits_only: str


def judge_session(
    settings: Settings, store: Store, journal: Journal, connect: Connect, session: date, now: datetime
) -> GateVerdict:
    """Take the evidence of `session`, judge it, and note the verdict in the lineage.

    Args:
        settings: mode, send window, dry run, grace of drift.
        store: holds rows, check results, drift verdicts and reconciliation runs.
        journal: holds plan, approvals, latch and ledger.
        connect: opens a reader's connection to the broker.
        session: decision session D.
        now: from the clock.

    Raises:
        RefusedError: `session` is not the decision session.
    """
    require_decision_session(session, now)
    evidence = gather(settings, store, journal, connect, session, now)
    judgement = judge(evidence)
    with store.write() as connection:
        append_event(
            connection,
            EventType.GATE_VERDICT,
            "trade_gate",
            details={
                "session": session,
                "verdict": judgement.verdict.value,
                "reasons": [reason.code.value for reason in judgement.reasons],
                "plan_id": evidence.plan.plan_id if evidence.plan else None,
            },
            now=now,
        )
    return GateVerdict(evidence, judgement)


def gather(
    settings: Settings, store: Store, journal: Journal, connect: Connect, session: date, now: datetime
) -> Evidence:
    """Return the evidence; what raises while it is read is named in its `failures`."""
    calendar, failures = nyse(), dict[str, str]()
    send_at = SendAt(settings.send_at)
    evidence = Evidence(
        session=session,
        now=now,
        mode=settings.mode.value,
        account="",
        closed_at=calendar.close(session),
        dry_run=settings.is_dry_run,
        grace=settings.drift_grace_sessions,
        required={asset: blocking_claims(asset) for asset in JUDGED_ASSETS},
        windows={kind: send_window(calendar, session, kind, send_at) for kind in OrderType},
    )
    # First, while `now` is young: the clocks are compared.
    broker = _guarded("broker", failures, lambda: _heartbeat(connect))
    evidence = _guarded("journal", failures, lambda: _from_journal(evidence, journal)) or evidence
    known = evidence
    evidence = _guarded("store", failures, lambda: _from_store(known, store)) or evidence
    decided = _guarded("settings", failures, lambda: _decided_anew(settings, known)) or ()
    return replace(evidence, outdated=(*evidence.outdated, *decided), broker=broker, failures=failures)


def _guarded(part: str, failures: dict[str, str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    # Whatever goes wrong, a bug included, must end as a verdict that says no.
    except Exception as error:  # noqa: BLE001
        failures[part] = str(error) if isinstance(error, HrpError) else f"{type(error).__name__}: {error}"
        return None


def _heartbeat(connect: Connect) -> BrokerFact:
    with connect() as broker:
        return BrokerFact(broker.account, broker.heartbeat())


def _from_journal(evidence: Evidence, journal: Journal) -> Evidence:
    plan, snapshot = journal.latest_plan(evidence.session), journal.newest_snapshot()
    approvals = journal.approvals(plan.plan_id) if plan else ()
    _, account = journal.binding()
    strategies = _strategies(plan) if plan else []
    return replace(
        evidence,
        account=account,
        plan=plan,
        approved=bool(
            plan and approvals and approvals[-1].approved and approvals[-1].plan_hash == plan.inputs_hash
        ),
        latch=journal.latch(),
        empty=not journal.executions()
        and snapshot is not None
        and not snapshot.shares
        and snapshot.account == account
        and snapshot.asked_at >= evidence.closed_at,
        active=tuple(
            str(each["strategy_id"]) for each in strategies if not each["paused"] and not each["retired"]
        ),
        factors=frozenset(str(each["strategy_id"]) for each in strategies if each["model"] in FEATURES),
    )


def _decided_anew(settings: Settings, evidence: Evidence) -> tuple[str, ...]:
    """Return what a person has decided anew since the plan was made; nothing where nothing is left to send.

    Whoever pauses a strategy or tightens a limit in the evening means the orders of this evening, too.
    """
    if evidence.plan is None or not evidence.pending:
        return ()
    return changed_settings(settings, evidence.plan, load_strategies(settings.strategies))


def _strategies(plan: FrozenPlan) -> list[Mapping[str, Any]]:
    return cast(list[Mapping[str, Any]], plan.inputs["strategies"])


def _from_store(evidence: Evidence, store: Store) -> Evidence:
    """Read everything of the database in one transaction: one state of the data."""
    session = evidence.session
    with store.read() as connection:
        versions = connection.execute(
            f"SELECT asset, content_hash, rows FROM partition_versions WHERE session = ? AND asset IN "
            f"({', '.join('?' * len(JUDGED_ASSETS))})",
            [session, *JUDGED_ASSETS],
        ).fetchall()
        checks = standing_verdicts(connection, session)
        newest = connection.execute(
            "SELECT reconciliation_id, taken_at, status, details FROM reconciliation_runs WHERE mode = ? AND "
            "account = ? ORDER BY taken_at DESC, reconciliation_id DESC LIMIT 1",
            [evidence.mode, evidence.account],
        ).fetchone()
        models = _models(connection, evidence)
        outdated = _outdated(connection, evidence.plan) if evidence.plan else ()
    return replace(
        evidence,
        hashes={asset: content_hash for asset, content_hash, _ in versions},
        rows={asset: rows for asset, _, rows in versions},
        checks=checks,
        models=models,
        outdated=outdated,
        reconciliation=None
        if newest is None
        else ReconciliationFact(
            newest[0],
            newest[1].astimezone(NEW_YORK),
            ReconciliationStatus(newest[2]),
            tuple(f"{item['cause']}: {item['message']}" for item in json.loads(newest[3])),
        ),
    )


def _models(connection: DuckDBPyConnection, evidence: Evidence) -> tuple[ModelFact, ...]:
    """Return the models of the active strategies that were scored."""
    if not stored_columns(connection, "predictions"):
        return ()
    rows = connection.execute(
        "SELECT strategy_id, any_value(model_name), min(model_version), count(DISTINCT model_version) "
        "FROM predictions WHERE session = ? AND prediction IS NOT NULL GROUP BY strategy_id "
        "ORDER BY strategy_id",
        [evidence.session],
    ).fetchall()
    found: list[ModelFact] = []
    for strategy_id, model, version, versions in rows:
        if strategy_id not in evidence.active:
            continue
        if versions != 1 or strategy_id in evidence.factors:
            found.append(
                ModelFact(strategy_id, model, version if versions == 1 else "", False, None, None, 0)
            )
            continue
        [sessions] = connection.execute(
            "SELECT count(DISTINCT session) FROM predictions WHERE model_name = ? AND model_version = ? "
            "AND session <= ?",
            [model, version, evidence.session],
        ).fetchone() or (0,)
        newest = connection.execute(
            "SELECT status FROM model_deployments WHERE model_name = ? AND model_version = ? "
            "ORDER BY deployed_at DESC, deployment_id DESC LIMIT 1",
            [model, version],
        ).fetchone()
        drift = _drift(connection, model, version, evidence.session)
        found.append(
            ModelFact(
                strategy_id,
                model,
                version,
                newest is not None,
                drift.status if drift else None,
                drift.session if drift else None,
                int(sessions),
                rolled_back=newest is not None and newest[0] == ROLLED_BACK,
            )
        )
    return tuple(found)


def _drift(connection: DuckDBPyConnection, model: str, version: str, session: date) -> DriftReport | None:
    rows = connection.execute(
        "SELECT session, drift_type, subject, status FROM model_drift_checks WHERE model_name = ? AND "
        "model_version = ? AND session <= ? QUALIFY session = max(session) OVER ()",
        [model, version, session],
    ).fetchall()
    if not rows:
        return None
    checks = tuple(DriftCheck(kind, subject, DriftStatus(status)) for _, kind, subject, status in rows)
    return DriftReport(rows[0][0], model, version, checks)


def _outdated(connection: DuckDBPyConnection, plan: FrozenPlan) -> tuple[str, ...]:
    """Return which of the plan's inputs differ from what is stored of its session now."""
    inputs = cast(Mapping[str, Any], plan.inputs)
    wanted: dict[str, str] = {
        "prices": "SELECT symbol, close FROM prices WHERE session = ?",
        "universe": "SELECT symbol, in_universe FROM universe WHERE session = ?",
        "signals": "SELECT strategy_id, symbol, signal, prediction FROM signals WHERE session = ?",
    }
    stored = {
        name: connection.execute(sql, [plan.session]).fetchall() if stored_columns(connection, name) else []
        for name, sql in wanted.items()
    }
    closes = dict(stored["prices"])
    signals = {(strategy, symbol): (signal, score) for strategy, symbol, signal, score in stored["signals"]}
    frozen_signals = {
        (strategy, symbol): (signal, inputs["predictions"][strategy][symbol])
        for strategy, by_symbol in inputs["signals"].items()
        for symbol, signal in by_symbol.items()
    }
    same = {
        "prices": {name: closes.get(name) for name in inputs["prices"]} == dict(inputs["prices"]),
        "universe": sorted(name for name, inside in stored["universe"] if inside)
        == sorted(inputs["universe"]),
        "signals": signals == frozen_signals,
    }
    return tuple(name for name, is_same in same.items() if not is_same)


def verdict_frame(found: GateVerdict) -> pd.DataFrame:
    """Return the one row of the `trade_gate` table."""
    evidence, judgement, plan = found.evidence, found.judgement, found.evidence.plan
    told: dict[str, object] = {
        item.name: getattr(evidence, item.name)
        for item in fields(evidence)
        if item.name not in ("plan", "windows", "required", "hashes")
    }
    told["windows"] = {kind.value: str(evidence.windows[kind]) for kind in sorted(evidence.pending)}
    told["models"] = [asdict(fact) for fact in evidence.models]
    told["reconciliation"] = asdict(evidence.reconciliation) if evidence.reconciliation else None
    told["broker"] = asdict(evidence.broker) if evidence.broker else None
    told["latch"] = asdict(evidence.latch) if evidence.latch else None
    told["factors"] = sorted(evidence.factors)
    told["plan_status"] = plan.status.value if plan else None
    row = {
        "session": evidence.session,
        "verdict": judgement.verdict.value,
        "reasons": json.dumps([asdict(reason) for reason in judgement.reasons]),
        "evidence": json.dumps(told, default=str, sort_keys=True),
        "plan_id": plan.plan_id if plan else None,
        "plan_hash": plan.inputs_hash if plan else None,
        "hashes": json.dumps(dict(evidence.hashes), sort_keys=True),
        "judged_at": evidence.now,
        "expires_at": judgement.expires_at,
        "mode": evidence.mode,
        "account": evidence.account,
    }
    return pd.DataFrame([row], columns=list(table("trade_gate").column_names))


def require_permission(
    store: Store, plan: FrozenPlan, now: datetime, *, mode: str, account: str
) -> Permission:
    """Return what the stored verdict lets be sent of `plan`, read together with the contents it judged.

    Raises:
        NoGoError: the verdict is no. Nothing was sent.
        RefusedError: there is no verdict, it is of another plan, mode, account or other contents, or it has
            expired. Nothing was sent.
    """
    with store.read() as connection:
        row = None
        if stored_columns(connection, "trade_gate"):
            row = connection.execute(
                "SELECT verdict, reasons, plan_id, plan_hash, hashes, expires_at, mode, account FROM "
                "trade_gate WHERE session = ?",
                [plan.session],
            ).fetchone()
        current = dict(
            connection.execute(
                f"SELECT asset, content_hash FROM partition_versions WHERE session = ? AND asset IN "
                f"({', '.join('?' * len(JUDGED_ASSETS))})",
                [plan.session, *JUDGED_ASSETS],
            ).fetchall()
        )
    if row is None:
        raise _refusal(plan, "has no verdict of the trade gate")
    verdict, reasons, plan_id, plan_hash, hashes, expires_at, of_mode, of_account = row
    told = [Reason(item["code"], Verdict(item["verdict"]), item["message"]) for item in json.loads(reasons)]
    why = "; ".join(f"{reason.code} ({reason.message})" for reason in told)
    verdict = Verdict(verdict)
    if verdict not in (Verdict.GO, Verdict.REDUCE_ONLY):
        raise NoGoError(
            f"the trade gate says {verdict.value} to plan {plan.plan_id}: {why}. Nothing was sent"
        )
    if (plan_id, plan_hash) != (plan.plan_id, plan.inputs_hash):
        raise _refusal(plan, f"was not judged: the verdict is of plan {plan_id} with another content")
    if (of_mode, of_account) != (mode, account):
        raise _refusal(plan, f"was judged for {of_mode} account {of_account}, not {mode} account {account}")
    judged = json.loads(hashes)
    changed = sorted(name for name in {*judged, *current} if judged.get(name) != current.get(name))
    if changed:
        raise _refusal(plan, f"was judged on other contents of {', '.join(changed)} than are stored now")
    if now >= expires_at:
        raise _refusal(
            plan, f"has a verdict that expired at {expires_at.astimezone(NEW_YORK):%Y-%m-%d %H:%M}"
        )
    return Permission(
        verdict, f"the trade gate lets only exits go: {why}" if verdict is Verdict.REDUCE_ONLY else ""
    )


def _refusal(plan: FrozenPlan, what: str) -> RefusedError:
    return RefusedError(
        f"plan {plan.plan_id} {what}. Nothing was sent; run live_trader_job, which judges it first"
    )
