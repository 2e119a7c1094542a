"""`hrp model`: versions in the registry, training, promotion, rollback, drift."""

import getpass
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from hrp_core.calendar import nyse
from hrp_core.features import FEATURES
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.tracking import Tracking
from hrp_core.settings import Settings
from hrp_core.store import Store
from hrp_dagster.cli.context import JsonOption, load_settings, out, parse_session, print_json, print_table

app = typer.Typer(help="Trained models: list, train, promote, roll back, watch.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Name of the model in the registry.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept.")]


def _registry(settings: Settings) -> ModelRegistry:
    return ModelRegistry(Tracking(settings.home))


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """Show every registered version and its aliases."""
    rows = [
        {
            "model": version.name,
            "version": version.version,
            "aliases": ", ".join(version.aliases),
            "created": f"{version.created_at:%Y-%m-%d %H:%M}",
            "run": (version.run_id or "")[:8],
        }
        for version in _registry(load_settings()).versions()
    ]
    if as_json:
        print_json(rows)
        return
    columns = [
        ("model", "Model"),
        ("version", ">Version"),
        ("aliases", "Aliases"),
        ("created", "Created (UTC)"),
    ]
    print_table("Models", [*columns, ("run", "MLflow run")], rows)


@app.command()
def train(
    name: NameArgument = "us_equity_ranker",
    learner: Annotated[str, typer.Option(help="gradient_boosting or ridge.")] = "gradient_boosting",
    since: Annotated[str, typer.Option(help="First session to learn from.")] = "2010-01-04",
    folds: Annotated[int, typer.Option(min=2, help="Walk-forward folds.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Train a version on everything up to the decision session, through the Dagster job."""
    settings = load_settings()
    parse_session(since)
    from hrp_dagster.runs import run_job

    config = {"model_name": name, "learner": learner, "since": since, "folds": folds}
    metadata = run_job(settings, "training_job", config={"trained_model": config}).metadata["trained_model"]
    if as_json:
        print_json(metadata)
        return
    out.print(training_line(metadata))
    out.print(f"Put it into production: hrp model promote {name} {metadata['version']} --reason WHY")


@app.command()
def promote(name: NameArgument, version: str, reason: ReasonOption) -> None:
    """Put a version into production; the one that was there becomes `previous`."""
    settings = load_settings()
    done = _registry(settings).promote(
        name,
        version,
        actor=getpass.getuser(),
        reason=reason,
        store=Store(settings.database_path),
        now=settings.clock().now(),
    )
    out.print(f"{done.model_name} version {done.version} is in production.")


@app.command()
def rollback(
    name: NameArgument,
    reason: ReasonOption,
    to: Annotated[str | None, typer.Option(help="Version to go back to; default: `previous`.")] = None,
) -> None:
    """Go back to an earlier version. Exit 3 when there is none: then trading must halt."""
    settings = load_settings()
    done = _registry(settings).rollback(
        name,
        to,
        actor=getpass.getuser(),
        reason=reason,
        store=Store(settings.database_path),
        now=settings.clock().now(),
    )
    out.print(f"{done.model_name} is back at version {done.version}.")


@app.command()
def drift(
    session: Annotated[
        str | None, typer.Option(help="Session to judge; default: the decision session.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the models in production for drift now, and record the checks."""
    settings = load_settings()
    from hrp_core.models.service import monitor_drift, monitor_rows
    from hrp_core.portfolio.strategies import load_strategies

    now = settings.clock().now()
    judged = nyse().decision_session(now) if session is None else parse_session(session)
    models = [item.model for item in load_strategies(settings.strategies) if item.model not in FEATURES]
    result = monitor_drift(Store(settings.database_path), _registry(settings), models, judged, now=now)
    rows = monitor_rows(result, now)
    if as_json:
        print_json({"status": result.status.value, "checks": rows.to_dict(orient="records")})
        return
    notable = rows.loc[rows["status"] != "ok"]
    out.print(f"{judged}: {result.status.value}; {len(rows)} checks, {len(notable)} not ok.")
    if len(notable):
        columns = [
            ("model_name", "Model"),
            ("subject", "Check"),
            ("status", "Status"),
            ("samples", ">Samples"),
        ]
        print_table(
            "Not ok", columns, [{str(k): v for k, v in row.items()} for row in notable.to_dict("records")]
        )


def training_line(values: Mapping[str, Any]) -> str:
    """Return the out-of-sample result of a training in one line, as it is."""
    return (
        f"{values['model']} version {values['version']}: out-of-sample rank IC "
        f"{values.get('oos_mean_ic', float('nan')):+.4f}, t = {values.get('oos_t_stat', float('nan')):+.2f} "
        f"over {values.get('oos_sessions', 0):.0f} sessions (trained {values['first_session']} to "
        f"{values['last_session']})."
    )
