"""What every command needs: the settings, the consoles, and how results are printed."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from numbers import Number
from typing import Annotated, cast

import pandas as pd
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hrp_core.errors import SettingsError
from hrp_core.log import configure_logging
from hrp_core.settings import Mode, Settings
from hrp_dagster.environment import prepare_environment

# Results go to standard output, everything else to standard error, so that --json can be piped.
out = Console(soft_wrap=False)
err = Console(stderr=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def load_settings(console_log: bool = True) -> Settings:
    """Return the settings, with logging and the process environment prepared.

    Raises:
        SettingsError: a setting is wrong; the message names its environment variable.
    """
    settings = read_settings()
    prepare_environment(settings)
    configure_logging(settings.log_level, settings.log_format, settings.logs_dir, console=console_log)
    return settings


def read_settings(mode: Mode | None = None) -> Settings:
    """Return the settings and touch nothing else; for whoever looks at the installation before it is used.

    Raises:
        SettingsError: a setting is wrong; the message names its environment variable.
    """
    try:
        return Settings() if mode is None else Settings(mode=mode)
    except ValidationError as error:
        problems = "; ".join(
            f"{_variable(item['loc'][0]) if item['loc'] else 'settings'}: {item['msg']}"
            for item in error.errors()
        )
        raise SettingsError(f"{problems}. Correct the environment or .env") from None


def _variable(name: object) -> str:
    text = str(name).upper()
    return text if text in ("HRP_LOG_LEVEL", "LOG_LEVEL") else f"HRP_{text}"


def parse_session(text: str) -> date:
    """Return the date that an option names.

    Raises:
        typer.BadParameter: it is not of the form YYYY-MM-DD.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date of the form YYYY-MM-DD") from None


def print_json(value: object) -> None:
    """Print `value` as JSON on standard output; Decimals, dates and times become strings, NaN null."""
    print(json.dumps(_plain(value), indent=2, default=str, allow_nan=False))  # noqa: T201


def _plain(value: object) -> object:
    """Return a value in which nothing is left that JSON does not know and a reader would stumble over."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [_plain(item) for item in cast(Sequence[object], value)]
    if isinstance(value, Number) and not isinstance(value, int | float):  # numpy's numbers, and Decimal
        return str(value) if isinstance(value, Decimal) else _plain(value.item())  # type: ignore[attr-defined]
    missing = value is pd.NaT or value is pd.NA or (isinstance(value, float) and not math.isfinite(value))
    return None if missing else value


def print_table(title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, object]]) -> None:
    """Print `rows` as a table.

    Args:
        title: heading.
        columns: (key, heading); a heading that starts with ">" is set flush right.
        rows: one mapping a row; missing keys and None print as an empty cell.
    """
    # Not the table's own title: that is wrapped to the width of the table.
    out.print(title, style="italic", markup=False, highlight=False)
    table = Table(header_style="bold", expand=False)
    for _, heading in columns:
        right = heading.startswith(">")
        table.add_column(heading.removeprefix(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if row.get(key) is None else str(row[key]) for key, _ in columns))
    out.print(table)
    if not rows:
        out.print("  (none)", style="dim")


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print a label and its value a line; what does not fit goes on below its own value."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in facts:
        grid.add_row(label, Text(value))
    out.print(grid)


def money(value: object) -> str:
    """Return an amount with two places and thousands separators; empty for None."""
    return "" if value is None else f"{value:,.2f}"
