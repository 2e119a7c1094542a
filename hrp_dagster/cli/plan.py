"""`hrp plan`: what the session's plan would do, and deciding about it."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from typing import Annotated

import typer

from hrp_core.calendar import nyse
from hrp_core.errors import HrpError, NotReadyError
from hrp_core.execution.approval import approve_plan, drop_from_plan, newest_plan, reject_plan
from hrp_core.execution.review import PlanReview, diff_plan, review_plan
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FrozenPlan, OrderStatus
from hrp_core.portfolio.types import Purpose
from hrp_core.settings import Settings
from hrp_core.store import Store
from hrp_dagster.cli.context import (
    JsonOption,
    load_settings,
    money,
    out,
    parse_session,
    print_json,
    print_table,
)

app = typer.Typer(help="The plan of a session: look, change, decide.", no_args_is_help=True)

SessionOption = Annotated[
    str | None, typer.Option("--session", help="Decision session; default: the newest that has a plan.")
]
HashOption = Annotated[
    str | None, typer.Option("--hash", help="First 8 or more characters of the hash that was shown.")
]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept.")]


@app.command()
def show(session: SessionOption = None, as_json: JsonOption = False) -> None:
    """Show a plan: weights before and after, orders, cost, and what was clipped or held."""
    settings = load_settings()
    with _journal(settings) as journal:
        review = review_plan(newest_plan(journal, _session(journal, session)))
    if as_json:
        print_json(_as_json(review))
        return
    print_review(review)


@app.command()
def diff(session: SessionOption = None, as_json: JsonOption = False) -> None:
    """Show every name whose target differs from the plan before, beside what is held."""
    settings = load_settings()
    with _journal(settings) as journal:
        plan = newest_plan(journal, _session(journal, session))
        earlier, rows = diff_plan(journal, plan)
    shown = [{**asdict(row), "change": row.target - row.held} for row in rows]
    if as_json:
        print_json(
            {"plan": plan.plan_id, "earlier": None if earlier is None else earlier.plan_id, "names": shown}
        )
        return
    before = "no earlier plan" if earlier is None else f"{earlier.session}"
    columns = [("symbol", "Symbol"), ("earlier_target", f">Target {before}"), ("held", ">Held")]
    columns += [("target", f">Target {plan.session}"), ("change", ">Change")]
    print_table("Shares that differ", columns, shown)


@app.command()
def drop(
    symbol: Annotated[str, typer.Argument(help="The name to take out.")],
    reason: ReasonOption,
    session: SessionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a name out of the plan and plan again; the new plan leaves it out and is decided about anew."""
    settings = load_settings()
    from hrp_dagster.runs import run_job

    now = settings.clock().now()
    with _journal(settings) as journal:
        day = _session(journal, session)
        old = drop_from_plan(
            Store(settings.database_path),
            journal,
            day,
            symbol.upper(),
            by=getpass.getuser(),
            reason=reason,
            now=now,
        )
        out_of = f"{symbol.upper()} is out of {old.plan_id}, which is superseded."
        try:
            run_job(settings, "predictions_job", day, only=["target_portfolio"], checked=True)
        finally:
            # Until the session is planned again it has no plan that could be sent.
            plan = newest_plan(journal, day)
            if not as_json:
                out.print(out_of, markup=False)
        review = review_plan(plan)
    if as_json:
        print_json(_as_json(review))
        return
    print_review(review)


@app.command()
def approve(
    seen: HashOption = None,
    reason: Annotated[str, typer.Option(help="Anything worth knowing.")] = "",
    session: SessionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve the plan as it was shown; refused when what it was decided from has changed."""
    settings = load_settings()
    from hrp_core.portfolio.strategies import load_strategies

    with _journal(settings) as journal:
        plan = approve_plan(
            settings,
            Store(settings.database_path),
            journal,
            load_strategies(settings.strategies),
            _session(journal, session),
            seen=seen,
            by=getpass.getuser(),
            reason=reason,
            now=settings.clock().now(),
        )
        follows = outlook(settings, journal)
    _print_decided(plan, as_json, follows)


@app.command()
def reject(
    reason: ReasonOption, seen: HashOption = None, session: SessionOption = None, as_json: JsonOption = False
) -> None:
    """Reject the plan; nothing of it is sent."""
    settings = load_settings()
    with _journal(settings) as journal:
        plan = reject_plan(
            Store(settings.database_path),
            journal,
            _session(journal, session),
            seen=seen,
            by=getpass.getuser(),
            reason=reason,
            now=settings.clock().now(),
        )
    _print_decided(plan, as_json)


def print_review(review: PlanReview) -> None:
    """Print a plan as tables of at most 80 columns."""
    plan = review.plan
    out.print(f"Plan {plan.plan_id}: {plan.status.value}, hash {plan.inputs_hash[:12]}", highlight=False)
    out.print(
        f"Equity {money(plan.equity)}, cash {money(plan.cash)} USD; executes at the open of "
        f"{plan.execution_session}",
        highlight=False,
    )
    out.print(
        f"Gross {review.gross_before:.1%} -> {review.gross_after:.1%}, net {review.net_before:.1%} -> "
        f"{review.net_after:.1%}, turnover {review.turnover:.1%}, costs {money(review.cost)} USD",
        highlight=False,
    )
    print_table(
        "Orders (USD at the close)",
        [
            ("symbol", "Symbol"),
            ("side", "Side"),
            ("quantity", ">Shares"),
            ("notional", ">Notional"),
            ("before", ">Before"),
            ("after", ">After"),
            ("status", "Status"),
        ],
        _order_rows(review),
    )
    notable = [name for name in review.names if name.is_clipped or name.is_held]
    if notable:
        print_table(
            "Clipped, dropped or held",
            [
                ("symbol", "Symbol"),
                ("before", ">Shares"),
                ("after", ">Target"),
                ("why", "Why"),
                *([("note", "Note")] if any(name.notes for name in notable) else []),
            ],
            [
                {
                    "symbol": name.symbol,
                    "before": name.shares_before,
                    "after": name.shares_after,
                    "why": ", ".join(name.reasons),
                    "note": "; ".join(name.notes),
                }
                for name in notable
            ],
        )
    if review.verdicts:
        columns = [("rule", "Rule"), ("symbol", "Symbol"), ("action", "Action")]
        columns += [("before", ">Before"), ("after", ">After"), ("reason", "Why")]
        if any(verdict["strategy_id"] for verdict in review.verdicts):
            columns.insert(2, ("strategy_id", "Strategy"))
        print_table("Risk rules", columns, review.verdicts)
    for note in plan.notes:
        out.print(f"- {note}", markup=False, highlight=False)


def _order_rows(review: PlanReview) -> list[dict[str, object]]:
    weights = {name.symbol: name for name in review.names}
    rows: list[dict[str, object]] = []
    for intent in review.plan.intents:
        name = weights.get(intent.contract.symbol)
        price = intent.limit_price or intent.reference_price
        rows.append(
            {
                "symbol": intent.contract.symbol,
                "side": intent.side.value,
                "quantity": intent.quantity,
                "order_type": intent.order_type.value,
                "notional": None if price is None else money(intent.quantity * price),
                "before": "" if name is None else f"{name.weight_before:.1%}",
                "after": "" if name is None else f"{name.weight_after:.1%}",
                "status": intent.status.value,
            }
        )
    return rows


def _as_json(review: PlanReview) -> dict[str, object]:
    plan = review.plan
    return {
        "plan_id": plan.plan_id,
        "status": plan.status.value,
        "hash": plan.inputs_hash,
        "session": plan.session,
        "execution_session": plan.execution_session,
        "equity": plan.equity,
        "cash": plan.cash,
        "gross": [review.gross_before, review.gross_after],
        "net": [review.net_before, review.net_after],
        "turnover": review.turnover,
        "cost": review.cost,
        "orders": _order_rows(review),
        "names": [
            {**asdict(name), "clipped": name.is_clipped, "held": name.is_held} for name in review.names
        ],
        "verdicts": list(review.verdicts),
        "notes": list(plan.notes),
    }


def outlook(settings: Settings, journal: Journal) -> str:
    """Return what happens next to the plan of the decision session; said instead, where it cannot be read."""
    from hrp_core.execution.outlook import plan_outlook
    from hrp_dagster.runs import keeping_instance
    from hrp_dagster.state import desk_state

    # The decision stands already: what follows it must not make its command fail.
    try:
        now = settings.clock().now()
        with keeping_instance() as instance:
            state = desk_state(settings, instance, now)
        return plan_outlook(journal.latest_plan(nyse().decision_session(now)), state, now)
    except HrpError as error:
        return f"What happens next could not be read: {error}"


def _print_decided(plan: FrozenPlan, as_json: bool, follows: str = "") -> None:
    if as_json:
        decided = {"plan_id": plan.plan_id, "status": plan.status.value, "hash": plan.inputs_hash}
        print_json({**decided, **({"next": follows} if follows else {})})
        return
    pending = sum(intent.status is OrderStatus.PENDING for intent in plan.intents)
    out.print(f"Plan {plan.plan_id} is {plan.status.value}; {pending} orders to send.", markup=False)
    if follows:
        out.print(follows, markup=False, highlight=False)


def _session(journal: Journal, text: str | None) -> date:
    if text is not None:
        day = parse_session(text)
        nyse().close(day)
        return day
    plans = journal.plans(purpose=Purpose.DAILY)
    if not plans:
        raise NotReadyError("there is no plan yet; run predictions_job first")
    return plans[-1].session


@contextmanager
def _journal(settings: Settings) -> Iterator[Journal]:
    journal = Journal(settings.journal_path)
    try:
        yield journal
    finally:
        journal.close()
