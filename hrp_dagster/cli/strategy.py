"""`hrp strategy` and `hrp symbol`: which strategies trade, and what may be done in one name."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from hrp_core.calendar import nyse
from hrp_core.errors import RefusedError
from hrp_core.ledger.journal import Journal
from hrp_core.portfolio.strategies import StrategyState, read_strategy_files
from hrp_core.portfolio.types import SymbolAction
from hrp_core.store import EventType, Store, log_event, migrate
from hrp_dagster.cli.context import JsonOption, load_settings, out, parse_session, print_json, print_table

app = typer.Typer(help="Strategies: list, add, deploy, pause, retire.", no_args_is_help=True)
symbol_app = typer.Typer(help="What may be done in one name, for every strategy.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(help="Strategy id, such as HYP-2026-001.")]
SymbolArgument = Annotated[str, typer.Argument(help="Ticker.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept.")]
UntilOption = Annotated[
    str | None, typer.Option(help="Last decision session it holds for; default: until cleared.")
]


@app.command("list")
def list_strategies(as_json: JsonOption = False) -> None:
    """Show every strategy file with its state and capital weight."""
    settings = load_settings()
    rows: list[dict[str, object]] = [
        {
            "id": file.strategy.strategy_id,
            "name": file.strategy.name,
            "state": file.state.value,
            "capital_weight": file.strategy.capital_weight,
            "model": file.strategy.model,
            "file": file.path.name,
        }
        for file in read_strategy_files(settings.strategies)
    ]
    if as_json:
        print_json(rows)
        return
    columns = [("id", "Id"), ("name", "Name"), ("state", "State"), ("capital_weight", ">Capital")]
    shown = [{**row, "capital_weight": f"{row['capital_weight']:.0%}"} for row in rows]
    print_table("Strategies", [*columns, ("model", "Model")], shown)


@app.command()
def add(
    strategy_id: IdArgument,
    source: Annotated[
        Path | None, typer.Option("--from", help="Strategy file to copy; default: the shipped template.")
    ] = None,
    name: Annotated[str, typer.Option(help="Short human name.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Write a new strategy file as a draft."""
    settings = load_settings()
    from hrp_core.portfolio.strategy_files import add_strategy

    file = add_strategy(
        settings.strategies,
        Store(settings.database_path),
        strategy_id,
        name=name,
        source=source,
        by=getpass.getuser(),
        now=settings.clock().now(),
    )
    if as_json:
        print_json({"id": strategy_id, "state": file.state.value, "file": str(file.path)})
        return
    out.print(f"{file.path} is a draft. Edit it, then: hrp strategy deploy {strategy_id} --reason ...")


@app.command()
def deploy(strategy_id: IdArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Score and trade a strategy from the next plan on."""
    _change(strategy_id, StrategyState.DEPLOYED, reason, as_json)


@app.command()
def pause(strategy_id: IdArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Let a strategy hold what it has, and order nothing."""
    _change(strategy_id, StrategyState.PAUSED, reason, as_json)


@app.command()
def retire(strategy_id: IdArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Let a strategy sell what it has; its capital is free for another one."""
    _change(strategy_id, StrategyState.RETIRED, reason, as_json)


@symbol_app.command("list")
def list_controls(as_json: JsonOption = False) -> None:
    """Show the names that are restricted."""
    settings = load_settings()
    journal = Journal(settings.journal_path)
    try:
        found = journal.symbol_control_rows()
    finally:
        journal.close()
    rows: list[dict[str, object]] = [
        {
            "symbol": row.symbol,
            "action": None if row.action is None else row.action.value,
            "until": row.until or "cleared by hand",
            "by": row.by,
            "reason": row.reason,
        }
        for row in found
    ]
    if as_json:
        print_json(rows)
        return
    columns = [("symbol", "Symbol"), ("action", "Action"), ("until", "Until"), ("by", "By")]
    print_table("Restricted names", [*columns, ("reason", "Reason")], rows)


@symbol_app.command()
def freeze(
    symbol: SymbolArgument, reason: ReasonOption, until: UntilOption = None, as_json: JsonOption = False
) -> None:
    """Order nothing in a name: what is held of it stays."""
    _control(symbol, SymbolAction.FREEZE, reason, until, as_json)


@symbol_app.command("no-buy")
def no_buy(
    symbol: SymbolArgument, reason: ReasonOption, until: UntilOption = None, as_json: JsonOption = False
) -> None:
    """Let a name be sold, not bought."""
    _control(symbol, SymbolAction.NO_BUY, reason, until, as_json)


@symbol_app.command("exit")
def exit_name(
    symbol: SymbolArgument, reason: ReasonOption, until: UntilOption = None, as_json: JsonOption = False
) -> None:
    """Sell what is held of a name, and buy nothing."""
    _control(symbol, SymbolAction.EXIT, reason, until, as_json)


@symbol_app.command()
def clear(symbol: SymbolArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Let a name be traded as any other."""
    _control(symbol, None, reason, None, as_json)


def _change(strategy_id: str, state: StrategyState, reason: str, as_json: bool) -> None:
    settings = load_settings()
    from hrp_core.portfolio.strategy_files import change_state

    file = change_state(
        settings.strategies,
        Store(settings.database_path),
        strategy_id,
        state,
        by=getpass.getuser(),
        reason=reason,
        now=settings.clock().now(),
    )
    if as_json:
        print_json({"id": strategy_id, "state": file.state.value, "file": str(file.path)})
        return
    out.print(
        f"{strategy_id} is {file.state.value}; the next plan follows it. What a plan made before has not "
        "sent stays unsent: `hrp job run predictions` plans the session again.",
        markup=False,
    )


def _control(symbol: str, action: SymbolAction | None, reason: str, until: str | None, as_json: bool) -> None:
    settings = load_settings()
    if not reason.strip():
        raise RefusedError("a name is restricted, or freed, with a reason: say why; nothing was changed")
    now, who, name = settings.clock().now(), getpass.getuser(), symbol.strip().upper()
    last = None if until is None else parse_session(until)
    session = nyse().decision_session(now)
    if last is not None and last < session:
        raise typer.BadParameter(f"{last} is over: the decision session is {session}")
    journal = Journal(settings.journal_path)
    try:
        journal.control_symbol(name, action, until=last, by=who, reason=reason, now=now)
    finally:
        journal.close()
    details = {"symbol": name, "action": "clear" if action is None else action.value, "until": last}
    store = Store(settings.database_path)
    migrate(store)
    log_event(store, EventType.SYMBOL_CONTROLLED, who, details={**details, "reason": reason}, now=now)
    if as_json:
        print_json(details)
        return
    word = "may be traded again" if action is None else f"{action.value}{f' until {last}' if last else ''}"
    out.print(f"{name}: {word}; the next plan follows it.", markup=False)
