"""`hrp replay`: backtest through the live path, and parity with what was traded."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrp_core.calendar import nyse
from hrp_core.errors import HrpError, SettingsError
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

if TYPE_CHECKING:
    from hrp_core.replay import Parity, ReplayedSession


def replay(
    start: Annotated[str | None, typer.Option(help="First decision session, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Last decision session, YYYY-MM-DD.")] = None,
    strategy: Annotated[
        Path | None, typer.Option(help="A strategy file; default: the deployed strategies.", dir_okay=False)
    ] = None,
    cash: Annotated[float, typer.Option(min=1, help="Opening cash, USD.")] = 100_000,
    output: Annotated[Path | None, typer.Option("--out", help="Write the sessions to this CSV file.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with what was really traded; exit 1 on any difference.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the daily loop over stored history, or check that it repeats what was traded."""
    if check == (start is not None or end is not None):
        raise typer.BadParameter("give --start and --end, or --check")
    settings = load_settings()
    if check:
        _check(settings, as_json)
        return
    if start is None or end is None:
        raise typer.BadParameter("a replay needs --start and --end")
    from hrp_core.money import to_money
    from hrp_core.portfolio.decide import limits_from_settings
    from hrp_core.portfolio.strategies import load_strategies, read_strategy_file
    from hrp_core.replay import History, Policy, rule_changes, summarize
    from hrp_core.replay import replay as run
    from hrp_core.store import Store

    calendar = nyse()
    sessions = calendar.between(parse_session(start), parse_session(end))
    if not sessions:
        raise SettingsError(f"there is no session from {start} to {end}")
    chosen = (read_strategy_file(strategy).strategy,) if strategy else load_strategies(settings.strategies)
    policy = Policy(tuple(chosen), limits_from_settings(settings))
    history = History.from_store(Store(settings.database_path))
    results = run(history, sessions, lambda _: policy, cash=to_money(Decimal(str(cash))))
    if output is not None:
        _write(output, results)
    summary = summarize(results, to_money(Decimal(str(cash))))
    changes = rule_changes(results)
    if as_json:
        print_json(
            {
                **summary,
                "rules": {each.rule: {"names": each.names, "sessions": each.sessions} for each in changes},
            }
        )
        return
    print_table(
        f"Replay {sessions[0]} to {sessions[-1]}",
        [("name", ""), ("value", ">")],
        [{"name": name.replace("_", " "), "value": _shown(name, value)} for name, value in summary.items()],
    )
    if changes:
        print_table(
            "What the risk rules changed (all sessions: --json)",
            [("rule", "Rule"), ("sessions", ">Sessions"), ("names", ">Names"), ("when", "When")],
            [
                {
                    "rule": each.rule,
                    "sessions": str(len(each.sessions)),
                    "names": str(each.names),
                    "when": _when(each.sessions),
                }
                for each in changes
            ],
        )


def _check(settings: Settings, as_json: bool) -> None:
    parity = run_check(settings)
    if as_json:
        print_json(
            {
                "sessions": len(parity.sessions),
                "intents": parity.intents,
                "fills": parity.fills,
                "crosses": parity.crosses,
                "differences": [str(each) for each in parity.differences],
            }
        )
    else:
        out.print(parity_line(parity))
        for difference in parity.differences:
            out.print(f"  {difference}")
    if parity.differences:
        raise HrpError(f"replay and trading differ in {len(parity.differences)} places, listed above")


def run_check(settings: Settings) -> "Parity":
    """Replay every traded session and compare.

    Raises:
        NotReadyError: nothing was traded yet.
    """
    from hrp_core.ledger.journal import Journal
    from hrp_core.replay import History, check_parity
    from hrp_core.store import Store

    journal = Journal(settings.journal_path)
    try:
        return check_parity(History.from_store(Store(settings.database_path)), journal)
    finally:
        journal.close()


def parity_line(parity: "Parity") -> str:
    """Return the result of a check in one line."""
    return (
        f"Replay check: {len(parity.sessions)} sessions, {parity.intents} intents, {parity.fills} fills, "
        f"{parity.crosses} crosses, {len(parity.differences)} differences."
    )


def _write(path: Path, results: "Sequence[ReplayedSession]") -> None:
    import pandas as pd

    pd.DataFrame(
        [
            {
                "session": each.session,
                "cash": each.cash,
                "nav": each.nav,
                "orders": len(each.plan.orders),
                "fills": len(each.fills),
            }
            for each in results
        ]
    ).to_csv(path, index=False)


def _when(sessions: "Sequence[date]") -> str:
    """Return sessions in a few words: all of three, else the first two and the last."""
    named = [str(session) for session in sessions]
    return ", ".join(named if len(named) <= 3 else [*named[:2], f"... {named[-1]}"])


def _shown(name: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}" if name == "sharpe" else f"{value:.2%}"
    return money(value) if name in ("opening", "final_nav", "commissions", "traded_value") else str(value)
