"""`hrp job`: run one of the day's jobs for a session, as its schedule would."""

from enum import StrEnum
from typing import Annotated

import typer

from hrp_core.calendar import nyse
from hrp_dagster.cli.context import JsonOption, load_settings, out, parse_session, print_json

app = typer.Typer(help="Run the jobs of the day.", no_args_is_help=True)


class JobName(StrEnum):
    """Jobs by their public names."""

    MARKET_DATA = "market-data"
    PREDICTIONS = "predictions"
    LIVE_TRADER = "live-trader"
    BOOK = "book"
    DRIFT_MONITOR = "drift-monitor"


@app.command("run")
def run(
    name: Annotated[JobName, typer.Argument(help="Which job.")],
    session: Annotated[
        str | None, typer.Option(help="Decision session YYYY-MM-DD; default: the one of the clock.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a job in this process; the run shows in the Dagster UI. Exit 3 when a safety rule says no."""
    settings = load_settings()
    now = settings.clock().now()
    calendar = nyse()
    default = calendar.book_session(now) if name is JobName.BOOK else calendar.decision_session(now)
    chosen = default if session is None else parse_session(session)
    calendar.close(chosen)
    from hrp_dagster.runs import run_job

    result = run_job(settings, f"{name.value.replace('-', '_')}_job", chosen)
    if as_json:
        print_json(
            {
                "job": result.job,
                "session": result.partition_key,
                "run_id": result.run_id,
                "assets": result.metadata,
            }
        )
        return
    out.print(f"{result.job} of {result.partition_key}: done (run {result.run_id[:8]}).")
    for asset, values in result.metadata.items():
        shown = ", ".join(
            f"{label} {value}"
            for label, value in values.items()
            if isinstance(value, int | float | str | dict) and "/" not in label
        )
        out.print(f"  {asset}: {values.get('dagster/row_count', 0)} rows{'; ' + shown if shown else ''}")
