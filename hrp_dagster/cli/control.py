"""`hrp halt | reduce | resume | flatten | arm | disarm`: who may trade, and stopping it.

What belongs here: parsing, calling, printing. A halt must work when nothing else does: it reads no store and
no clock before the latch is set.
"""

import getpass
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from hrp_core.calendar import NEW_YORK, Clock, WallClock
from hrp_core.errors import NotReadyError
from hrp_core.execution.broker import Broker
from hrp_core.execution.config import ClientRole
from hrp_core.execution.latching import StillWorking, StopReport
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import LatchState
from hrp_core.settings import Settings
from hrp_core.store import EventType, Store
from hrp_dagster.cli.context import JsonOption, load_settings, money, out, print_json, print_table

ReasonOption = Annotated[str, typer.Option(help="Why; it is kept.")]

_AMOUNT_OF_TIME = re.compile(r"(\d+)([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def halt(
    reason: ReasonOption,
    everything: Annotated[
        bool, typer.Option("--all", help="Cancel every order of the account, also those placed elsewhere.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Stop all trading and cancel our working orders. Exit 1 when one may still trade."""
    _stop(LatchState.HALTED, reason, everything, as_json)


def reduce(reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Let only exits trade and cancel our working entries. Exit 1 when one may still trade."""
    _stop(LatchState.REDUCING, reason, False, as_json)


def resume(reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Let trading go on after a halt, or after only exits were let through."""
    settings = load_settings()
    from hrp_core.execution.latching import resume_trading
    from hrp_dagster.cli.plan import outlook

    with _journal(settings) as journal:
        warnings = resume_trading(
            Store(settings.database_path),
            journal,
            by=getpass.getuser(),
            reason=reason,
            now=_clock(settings).now(),
        )
        follows = outlook(settings, journal)
    if as_json:
        print_json({"state": LatchState.ACTIVE.value, "warnings": list(warnings), "next": follows})
        return
    out.print("Trading is active again.")
    out.print(follows, markup=False, highlight=False)
    for warning in warnings:
        out.print(f"Not explained yet: {warning}", markup=False, style="yellow")


def flatten(
    reason: ReasonOption,
    confirm: Annotated[
        str | None, typer.Option(metavar="CODE", help="The code that a first call without it shows.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Sell everything at the coming open, while trading is halted; asks for its own confirmation."""
    settings = load_settings()
    from hrp_core.execution.config import broker_config
    from hrp_core.execution.flatten import flatten as flatten_account
    from hrp_core.execution.flatten import offer_flatten
    from hrp_core.execution.ibkr import IBKRBroker

    clock, who = settings.clock(), getpass.getuser()
    with _journal(settings) as journal:
        if confirm is None:
            with _connect(settings, ClientRole.READER) as broker:
                offer = offer_flatten(settings, journal, broker, by=who, now=clock.now())
            if as_json:
                print_json(asdict(offer))
                return
            rows = [{"symbol": symbol, "shares": shares} for symbol, shares in offer.positions.items()]
            print_table(f"Account {offer.account} holds", [("symbol", "Symbol"), ("shares", ">Shares")], rows)
            out.print(
                f"To sell all of it at the open of {offer.executes_at:%a %Y-%m-%d %H:%M} New York, run this "
                f"before {offer.expires_at:%H:%M}:",
                markup=False,
            )
            out.print(f"  hrp flatten --reason ... --confirm {offer.code}", markup=False, soft_wrap=True)
            return
        done = flatten_account(
            settings,
            Store(settings.database_path),
            journal,
            # Whoever typed the code named account and positions; no arm token is asked for.
            lambda: IBKRBroker(replace(broker_config(settings), armed=True)),
            confirm,
            by=who,
            reason=reason,
            clock=clock,
        )
    report = done.report
    if as_json:
        print_json({**asdict(done), "complete": done.is_complete})
    else:
        print_table(
            f"Flatten {report.plan_id}",
            [("symbol", "Symbol"), ("side", "Side"), ("quantity", ">Shares"), ("status", "Status")],
            [
                {
                    "symbol": intent.contract.symbol,
                    "side": intent.side.value,
                    "quantity": intent.quantity,
                    "status": intent.status.value,
                }
                for intent in report.intents
            ],
        )
        _print_working(done.working)
        if report.stopped:
            out.print(f"Stopped: {report.stopped}", markup=False)
        out.print(
            f"{len(report.placed)} orders are at the broker and execute at the open of "
            f"{done.executes_at:%a %Y-%m-%d %H:%M} New York. Afterwards run `hrp reconcile`; trading stays "
            "halted until `hrp resume`.",
            markup=False,
        )
    if not done.is_complete:
        raise typer.Exit(1)


def arm(
    account: Annotated[str | None, typer.Option(help="The live account, typed in full.")] = None,
    max_notional: Annotated[str | None, typer.Option(help="USD of orders that may be sent.")] = None,
    expires: Annotated[
        str | None, typer.Option(help="After 30m, 8h or 2d, or at a New York time like 2026-01-05T16:00.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Arm the live account for an amount and a time; without options show the token."""
    settings = load_settings()
    from hrp_core.execution.arming import arm as arm_account
    from hrp_core.execution.arming import settings_limits_hash, token_state
    from hrp_core.store import log_event, migrate

    now, who = _clock(settings).now(), getpass.getuser()
    given = (account, max_notional, expires)
    with _journal(settings) as journal:
        if account is not None and max_notional is not None and expires is not None:
            token = arm_account(
                settings,
                journal,
                account=account,
                max_notional=_amount(max_notional),
                expires_at=_moment(expires, now),
                by=who,
                reason=reason,
                now=now,
            )
            store = Store(settings.database_path)
            migrate(store)
            log_event(store, EventType.LIVE_ARMED, who, details=asdict(token), now=now)
        elif any(given):
            raise typer.BadParameter("arming needs --account, --max-notional and --expires")
        else:
            token = journal.arm_token()
    state = token_state(token, token.account if token else "", settings_limits_hash(settings), now)
    if as_json:
        print_json({"state": state.value, "token": None if token is None else asdict(token)})
        return
    if token is None:
        out.print("Not armed.")
        return
    out.print(
        f"Account {token.account}: {state.value}, {money(token.left)} of {money(token.max_notional)} USD "
        f"left, until {token.expires_at:%a %Y-%m-%d %H:%M} New York (by {token.by}).",
        markup=False,
    )


def disarm(reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Take the arm token back: nothing more is sent to the live account."""
    settings = load_settings()
    from hrp_core.store import log_event, migrate

    now, who = _clock(settings).now(), getpass.getuser()
    with _journal(settings) as journal:
        journal.disarm(by=who, reason=reason, now=now)
    store = Store(settings.database_path)
    migrate(store)
    log_event(store, EventType.LIVE_DISARMED, who, details={"reason": reason}, now=now)
    if as_json:
        print_json({"state": "absent"})
        return
    out.print("Not armed any more. Orders at the broker stay there: `hrp halt` cancels them.")


def _stop(state: LatchState, reason: str, everything: bool, as_json: bool) -> None:
    settings = load_settings()
    from hrp_core.execution.latching import stop_trading

    with _journal(settings) as journal:
        done = stop_trading(
            settings,
            Store(settings.database_path),
            journal,
            lambda role: _connect(settings, role),
            state,
            by=getpass.getuser(),
            reason=reason,
            clock=_clock(settings),
            everything=everything,
        )
    if as_json:
        print_json({**asdict(done), "complete": done.is_complete})
    else:
        _print_stop(done)
    if not done.is_complete:
        raise typer.Exit(1)


def _print_stop(done: StopReport) -> None:
    what = "Trading is halted" if done.latch.state is LatchState.HALTED else "Only exits are traded"
    out.print(
        f"{what}: {done.latch.reason} ({done.latch.by}). `hrp resume --reason ...` ends it.", markup=False
    )
    out.print(f"Cancelled orders: {len(done.cancelled)}")
    _print_working(done.working)
    for problem in done.problems:
        out.print(f"Not done: {problem}", markup=False, style="red")


def _print_working(working: Iterable[StillWorking]) -> None:
    rows = [asdict(order) for order in working]
    if rows:
        columns = [("order_ref", "Reference"), ("symbol", "Symbol"), ("side", "Side"), ("left", ">Left")]
        print_table("Not cancelled: these may still trade", [*columns, ("status", "Status")], rows)
        out.print("Cancel them in TWS (Orders) or the Client Portal, then run the same command again.")


def _connect(settings: Settings, role: ClientRole) -> AbstractContextManager[Broker]:
    from hrp_core.execution.config import broker_config
    from hrp_core.execution.ibkr import IBKRBroker

    return IBKRBroker(broker_config(settings, role))


def _clock(settings: Settings) -> Clock:
    """Return the clock of the mode; the wall clock while no simulated gateway has ever run."""
    clock = settings.clock()
    try:
        clock.now()
    except NotReadyError:
        return WallClock()
    return clock


@contextmanager
def _journal(settings: Settings) -> Iterator[Journal]:
    journal = Journal(settings.journal_path)
    try:
        yield journal
    finally:
        journal.close()


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text.replace(",", ""))
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not an amount of money") from None


def _moment(text: str, now: datetime) -> datetime:
    span = _AMOUNT_OF_TIME.fullmatch(text.strip())
    if span is not None:
        return now + int(span[1]) * _UNITS[span[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a time nor a span such as 8h") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=NEW_YORK)
