"""`hrp demo`: ten sessions on real prices through the simulated gateway, then what came of them."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from hrp_core.errors import HrpError, RefusedError
from hrp_core.settings import Mode
from hrp_dagster.cli import replay as replay_command
from hrp_dagster.cli import views
from hrp_dagster.cli.context import JsonOption, err, load_settings, money, out, print_json

# Four jobs an evening: market data, book, predictions, orders.
_STEPS_A_SESSION = 4


def demo(
    sessions: Annotated[int, typer.Option(min=1, max=250, help="Decision sessions to trade.")] = 10,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete gateway, journal and database first.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Trade consecutive sessions on real prices: jobs, broker, fills, positions, NAV, replay check.

    A second run goes on where the first stopped, or shows what is there.
    """
    settings = load_settings(console_log=False)
    if settings.mode is not Mode.SIM:
        raise RefusedError(f"the demo trades in sim only, and HRP_MODE is {settings.mode.value}")
    from hrp_dagster.demo import run_demo, start_fresh

    if fresh:
        start_fresh(settings)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<44}"),
        BarColumn(bar_width=14),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=not err.is_terminal,
    ) as progress:
        task = progress.add_task("starting the simulated gateway", total=_STEPS_A_SESSION * sessions + 5)

        def report(step: str) -> None:
            progress.update(task, description=step)
            progress.advance(task)
            if not err.is_terminal:
                err.print(f"  {step}", highlight=False)

        result = run_demo(settings, sessions, report)
        progress.update(task, completed=_STEPS_A_SESSION * sessions + 5, description="done")
    parity = replay_command.run_check(settings)
    if as_json:
        print_json(
            {
                **asdict(result),
                "positions": views.position_rows(settings),
                "navs": views.nav_rows(settings),
                "replay": {
                    "sessions": len(parity.sessions),
                    "intents": parity.intents,
                    "fills": parity.fills,
                    "differences": [str(each) for each in parity.differences],
                },
            }
        )
    else:
        views.print_positions(views.position_rows(settings))
        views.print_trades(views.trade_rows(settings, limit=10))
        views.print_nav(settings, views.nav_rows(settings))
        out.print(
            f"Our NAV {money(result.nav)} USD, the broker's account "
            f"{money(result.broker_net_liquidation)} USD."
        )
        if result.oos_rank_ic is not None and result.oos_t_stat is not None:
            out.print(
                f"{result.model}: OOS rank IC {result.oos_rank_ic:+.4f}, "
                f"t = {result.oos_t_stat:+.2f}"
                f"{'' if abs(result.oos_t_stat) >= 2 else ' (no edge shown)'}."
            )
        out.print(replay_command.parity_line(parity))
        for difference in parity.differences:
            out.print(f"  {difference}")
        if not result.traded:
            out.print("Nothing was left to trade. --fresh starts over, --sessions N trades more sessions.")
        out.print("Look around: `make dev`, then http://127.0.0.1:3000 (Lineage, Catalog, Runs).")
    if parity.differences:
        raise HrpError(f"replay and trading differ in {len(parity.differences)} places, listed above")
