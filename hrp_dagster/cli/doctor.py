"""`hrp doctor`: look at everything that must work, and say what to do about what does not."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from hrp_core.calendar import WallClock
from hrp_core.errors import SettingsError
from hrp_core.log import configure_logging
from hrp_core.settings import Settings
from hrp_dagster.cli.context import JsonOption, out, print_json, read_settings
from hrp_dagster.cli.init import env_file
from hrp_dagster.environment import prepare_environment
from hrp_dagster.instance_checks import examine_dagster, given_environment

if TYPE_CHECKING:
    from hrp_core.doctor import Check

_STYLES = {"ok": "green", "warning": "yellow", "failure": "bold red", "skipped": "dim"}


def doctor(as_json: JsonOption = False) -> None:
    """Check Python, packages, stored state, the broker and Dagster. Exit 1 when something fails."""
    from hrp_core.doctor import Check, Outcome, failed

    try:
        checks = list(_examine(read_settings()))
    except SettingsError as error:
        checks = [Check("settings", Outcome.FAILURE, str(error), "correct it; docs/settings.md has them all")]
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            _print_check(check)
        counts = [f"{sum(check.outcome is each for check in checks)} {each.value}" for each in Outcome]
        out.print(", ".join(counts))
    if failed(checks):
        raise typer.Exit(1)


def _print_check(check: "Check") -> None:
    """Print the outcome and beside it, as wide as the terminal, what was found; below that the fix."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, min_width=max(map(len, _STYLES)))
    grid.add_column(overflow="fold")
    grid.add_row(
        Text(check.outcome.value, _STYLES[check.outcome.value]), Text(f"{check.name}: {check.found}")
    )
    if check.fix:
        grid.add_row("", Text(f"-> {check.fix}"))
    out.print(grid)


def _examine(settings: Settings) -> Iterator["Check"]:
    from hrp_core.doctor import examine_broker, examine_machine, examine_state

    given = given_environment()
    yield from examine_machine(settings, env_file())
    if settings.home.exists() and not settings.home.is_dir():
        return  # nothing else can be there; the check of HRP_HOME says so
    if settings.home.is_dir():
        prepare_environment(settings)
        configure_logging(settings.log_level, settings.log_format, settings.logs_dir, console=False)
    yield from examine_state(settings)
    yield from examine_broker(settings, WallClock().now())
    yield from examine_dagster(settings, given)
