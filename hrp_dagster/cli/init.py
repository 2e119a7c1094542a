"""`hrp init`: make what an installation needs; safe to run again."""

from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hrp_core.calendar import WallClock
from hrp_core.execution.broker import Broker
from hrp_core.settings import ENV_FILE, Mode, Settings
from hrp_dagster.cli.context import JsonOption, out, print_json, read_settings
from hrp_dagster.environment import prepare_environment


def init(
    mode: Annotated[
        Mode | None, typer.Option(help="Mode to set up and to write into a new settings file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make HRP_HOME, database, journal, registry, .env and strategies; connect in paper and live."""
    settings = read_settings(mode)
    from hrp_core.setup import set_up

    def connect() -> AbstractContextManager[Broker]:
        from hrp_core.execution.config import ClientRole, broker_config
        from hrp_core.execution.ibkr import IBKRBroker

        return IBKRBroker(broker_config(settings, ClientRole.READER))

    steps = []
    for step in set_up(settings, env_file(), connect, WallClock().now()):
        steps.append(step)
        if not as_json:
            word = "made" if step.changed else "kept" if step.done else "FAILED"
            out.print(f"{word:<7} {step.name}: {step.told}", markup=False, highlight=False, soft_wrap=True)
        if step.name == "home" and step.done:
            prepare_environment(settings)
    if as_json:
        print_json([asdict(step) for step in steps])
    elif all(step.done and not step.changed for step in steps):
        out.print("Everything was there already; nothing was changed.")
    if not all(step.done for step in steps):
        if not as_json:
            out.print("Correct what FAILED and run `hrp init` again; `hrp doctor` says more.", markup=False)
        raise typer.Exit(1)
    if not as_json:
        out.print(_next_step(settings), markup=False)


def env_file() -> Path:
    """Return the settings file that this process reads."""
    configured = Settings.model_config.get("env_file")
    return Path(configured) if isinstance(configured, str | Path) else ENV_FILE


def _next_step(settings: Settings) -> str:
    if settings.mode is Mode.SIM:
        return "Next: `hrp demo`, or `hrp dev`."
    return "Next: `hrp doctor`, then `hrp data load`."
