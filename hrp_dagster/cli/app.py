"""The `hrp` command line: which commands exist, and what its exit codes mean.

Exit codes: 0 done, 1 failed, 2 usage or settings, 3 refused by a safety rule.
"""

import sys
from typing import NoReturn

import typer

from hrp_core.errors import HrpError, RefusedError
from hrp_dagster.cli import (
    book,
    control,
    dashboard,
    data,
    demo,
    dev,
    doctor,
    gateway,
    init,
    job,
    model,
    orders,
    plan,
    replay,
    strategy,
    views,
)
from hrp_dagster.cli.context import err

app = typer.Typer(
    name="hrp",
    help="Trade US stocks every day from a model's predictions, through Interactive Brokers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("init")(init.init)
app.command("doctor")(doctor.doctor)
app.command("dev")(dev.dev)
app.command("dashboard")(dashboard.dashboard)
app.command("replay")(replay.replay)
app.command("status")(views.status)
app.command("positions")(views.positions)
app.command("trades")(views.trades)
app.command("nav")(views.nav)
app.command("explain")(orders.explain)
app.command("sync")(book.sync)
app.command("reconcile")(book.reconcile)
app.command("split")(book.split)
app.command("halt")(control.halt)
app.command("reduce")(control.reduce)
app.command("resume")(control.resume)
app.command("flatten")(control.flatten)
app.command("arm")(control.arm)
app.command("disarm")(control.disarm)
app.add_typer(plan.app, name="plan")
app.add_typer(orders.app, name="orders")
app.add_typer(book.cash_app, name="cash")
app.add_typer(job.app, name="job")
app.add_typer(model.app, name="model")
app.add_typer(strategy.app, name="strategy")
app.add_typer(strategy.symbol_app, name="symbol")
app.add_typer(gateway.app, name="gateway")
app.add_typer(data.data_app, name="data")
app.add_typer(data.db_app, name="db")


def main() -> NoReturn:
    """Run the command line; an `HrpError` becomes one message and its exit code."""
    try:
        app()
    except HrpError as error:
        word = "Refused" if isinstance(error, RefusedError) else "Failed"
        err.print(f"[bold red]{word}:[/] ", end="")
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    sys.exit(0)
