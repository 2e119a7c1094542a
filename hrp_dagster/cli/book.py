"""`hrp sync`, `hrp reconcile`, `hrp split`, `hrp cash`: the journal brought up to date, and what differs."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated

import typer

from hrp_core.calendar import nyse
from hrp_core.errors import ReconciliationBreakError
from hrp_core.execution.broker import Broker
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import CashFlow, ExternalPolicy, FlowKind
from hrp_core.settings import Settings
from hrp_dagster.cli.context import (
    JsonOption,
    load_settings,
    money,
    out,
    parse_session,
    print_json,
    print_table,
)

cash_app = typer.Typer(help="Cash that moved without an execution.", no_args_is_help=True)


class CashKind(StrEnum):
    """What a person can record; the opening balance and the suspense account record themselves."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    DIVIDEND = "dividend"
    INTEREST = "interest"
    FEE = "fee"
    TAX = "tax"
    CASH_IN_LIEU = "cash-in-lieu"


_PAID_OUT = frozenset({CashKind.WITHDRAWAL, CashKind.FEE, CashKind.TAX})
# Of a short position they are paid, not received.
_EITHER_WAY = frozenset({CashKind.DIVIDEND, CashKind.CASH_IN_LIEU})


def sync(as_json: JsonOption = False) -> None:
    """Ask the broker for everything and bring the journal up to date."""
    settings = load_settings()
    from hrp_core.execution.looks import coverage_gaps
    from hrp_core.execution.sync import sync_broker

    now = settings.clock().now()
    with _connected(settings) as (broker, journal):
        report = sync_broker(
            broker,
            journal,
            now,
            mode=settings.mode.value,
            external=ExternalPolicy(settings.external_orders),
        )
        gaps = coverage_gaps(journal, now)
    shown = {
        "account": report.snapshot.account,
        "asked_at": report.snapshot.asked_at,
        "new_executions": report.new_executions,
        "open_orders": len(report.snapshot.open_orders),
        "unknown": list(report.unknown),
        "resolved": list(report.expired),
        "unreported_commissions": report.book.unreported_commissions,
        "cash": report.book.cash,
        "cash_breaks": [item.message for item in report.cash_breaks],
        "coverage_gaps": [str(gap) for gap in gaps],
    }
    if as_json:
        print_json(shown)
        return
    for label, value in shown.items():
        text = ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
        out.print(f"{label.replace('_', ' '):<24} {text}", markup=False)


def reconcile(as_json: JsonOption = False) -> None:
    """Compare ledger and broker, classify what differs, and record the run."""
    settings = load_settings()
    from hrp_core.execution.reconciliation import ReconciliationStatus, run_reconciliation
    from hrp_core.store import Store, migrate

    store = Store(settings.database_path)
    migrate(store)
    with _connected(settings) as (broker, journal):
        now, run_id = settings.clock().now(), f"cli-{getpass.getuser()}"
        result = run_reconciliation(settings, store, journal, broker, now, run_id=run_id)
    if as_json:
        print_json(asdict(result))
    else:
        columns = [("cause", "Cause"), ("symbol", "Symbol"), ("message", "Difference")]
        rows = [
            {"cause": item.cause.value, "symbol": item.symbol, "message": item.message}
            for item in result.breaks
        ]
        print_table(f"Reconciliation of {result.session}: {result.status.value}", columns, rows)
        if result.suspense:
            out.print(
                f"{money(result.suspense)} USD went to the suspense account. Once you know what it is, "
                "record it with `hrp cash record`; the next reconciliation takes it out again."
            )
    if result.status in (ReconciliationStatus.REDUCE_ONLY, ReconciliationStatus.HALTED):
        raise ReconciliationBreakError(
            f"ledger and broker of account {result.account} differ in {len(result.breaks)} places, listed "
            "above; compare with the broker's statement, record cash with `hrp cash record`, and run it again"
        )


def split(
    symbol: Annotated[str, typer.Argument(help="Name that was split.")],
    record: Annotated[
        bool, typer.Option("--record", help="Take it into the ledger; else it is shown.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a split does to the ledger, where the broker's shares prove it; take it with --record."""
    settings = load_settings()
    from hrp_core.execution.splits import split_effects, take_splits
    from hrp_core.store import Store, migrate

    symbol, now, store = symbol.strip().upper(), settings.clock().now(), Store(settings.database_path)
    migrate(store)
    journal = Journal(settings.journal_path)
    try:
        act = take_splits if record else split_effects
        effects = act(store, journal, symbol, by=getpass.getuser(), now=now)
    finally:
        journal.close()
    if as_json:
        shown = [
            {
                **asdict(effect),
                "split": str(effect.split),
                "fraction": str(effect.fraction),
                "before": {owner or "account": count for owner, count in effect.before.items()},
                "after": {owner or "account": count for owner, count in effect.after.items()},
            }
            for effect in effects
        ]
        print_json({"recorded": record, "effects": shown})
        return
    if not effects:
        out.print(f"The ledger has every known split of {symbol}; nothing to do.", markup=False)
        return
    columns = [("owner", "Owner"), ("before", "Shares before"), ("after", "Shares after")]
    for effect in effects:
        owners = [
            {"owner": owner or "account", "before": count, "after": effect.after.get(owner, 0)}
            for owner, count in effect.before.items()
        ]
        print_table(f"Split of {effect.split}", columns, owners)
        average = "no whole share" if effect.average_after is None else f"{effect.average_after} USD"
        out.print(f"Average price: {effect.average_before} USD before, {average} after.", markup=False)
        if effect.fraction:
            worth = "" if effect.cash_in_lieu is None else f", about {money(effect.cash_in_lieu)} USD"
            out.print(
                f"{effect.fraction} of a share is paid in cash{worth}. Once the broker has paid: hrp cash "
                f"record cash-in-lieu AMOUNT --reference cash-in-lieu-{symbol}-{effect.split.session}",
                markup=False,
            )
    if record:
        out.print("Recorded. Next: hrp reconcile; plans made before it are made again.", markup=False)
    else:
        out.print(
            f"Nothing is recorded yet. To take it into the ledger: hrp split {symbol} --record", markup=False
        )


@cash_app.command("record")
def record(
    kind: Annotated[CashKind, typer.Argument(help="What it is.")],
    amount: Annotated[str, typer.Argument(help="USD; positive, but for what is paid on a short.")],
    reference: Annotated[str, typer.Option(help="Unique name, such as the broker's statement line.")],
    session: Annotated[
        str | None, typer.Option(help="Session that first contains it; default: the newest that has opened.")
    ] = None,
    note: Annotated[str, typer.Option(help="Anything worth knowing.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Record a deposit, withdrawal, dividend, interest, fee, tax or cash in lieu in the journal."""
    settings = load_settings()
    from hrp_core.store import EventType, Store, log_event, migrate

    now, who = settings.clock().now(), getpass.getuser()
    value = _amount(kind, amount)
    day = nyse().next(nyse().book_session(now)) if session is None else parse_session(session)
    nyse().close(day)
    flow = CashFlow(reference, FlowKind(kind.value), value, day, now, who, note)
    journal = Journal(settings.journal_path)
    try:
        journal.binding()
        is_new = journal.record_cash_flow(flow)
    finally:
        journal.close()
    if is_new:
        store = Store(settings.database_path)
        migrate(store)
        details = {"reference": reference, "kind": kind.value, "amount": str(value), "session": day}
        log_event(store, EventType.CASH_RECORDED, who, details=details, now=now)
    if as_json:
        print_json({**asdict(flow), "new": is_new})
        return
    word = "Recorded" if is_new else "Already recorded"
    out.print(f"{word}: {kind.value} of {money(value)} USD in {day} ({reference}).", markup=False)


def _amount(kind: CashKind, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not an amount of money") from None
    if not value.is_finite() or value == 0 or (value < 0 and kind not in _EITHER_WAY):
        raise typer.BadParameter(f"{text} is no amount of a {kind.value}: give it as a positive number")
    return -value if kind in _PAID_OUT else value


@contextmanager
def _connected(settings: Settings) -> Iterator[tuple[Broker, Journal]]:
    from hrp_core.execution.config import ClientRole, broker_config
    from hrp_core.execution.ibkr import IBKRBroker

    journal = Journal(settings.journal_path)
    try:
        with IBKRBroker(broker_config(settings, ClientRole.READER)) as broker:
            yield broker, journal
    finally:
        journal.close()
