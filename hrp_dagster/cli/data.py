"""`hrp data` and `hrp db`: what is stored, loading it, the schema, and rebuilding from the journal."""

import getpass
from dataclasses import asdict
from typing import Annotated

import typer

from hrp_core.calendar import nyse, require_completed
from hrp_dagster.cli.context import JsonOption, load_settings, out, parse_session, print_json, print_table

data_app = typer.Typer(help="Prices and features: load them, see what is stored.", no_args_is_help=True)
db_app = typer.Typer(
    help="The database: its schema, and rebuilding it from the journal.", no_args_is_help=True
)


@data_app.command("load")
def load(
    through: Annotated[
        str | None, typer.Option(help="Last session to load; default: the decision session of the clock.")
    ] = None,
) -> None:
    """Load history and every session up to the clock, through the Dagster jobs."""
    settings = load_settings()
    from hrp_core.store import Store, migrate
    from hrp_dagster.assets.session_asset import MOST_SESSIONS
    from hrp_dagster.runs import run_job

    migrate(Store(settings.database_path))
    now = settings.clock().now()
    last = nyse().decision_session(now) if through is None else parse_session(through)
    require_completed(last, now)
    run_job(settings, "history_job")
    first = nyse().next_session_from(settings.first_session)
    sessions = nyse().between(first, last)
    for start in range(0, len(sessions), MOST_SESSIONS):
        part = sessions[start : start + MOST_SESSIONS]
        run_job(settings, "market_data_job", part[0], through=part[-1])
    out.print(f"Prices and features are stored up to {last}.")


@data_app.command("status")
def status(as_json: JsonOption = False) -> None:
    """Show, per table, the first and last session stored and how many rows there are."""
    settings = load_settings()
    from hrp_core.store import Store, stored_ranges

    rows = [
        {"table": item.table, "first": item.first, "last": item.last, "rows": item.rows}
        for item in stored_ranges(Store(settings.database_path))
    ]
    if as_json:
        print_json(rows)
        return
    columns = [("table", "Table"), ("first", "First session"), ("last", "Last session"), ("rows", ">Rows")]
    print_table("Stored", columns, rows)


@db_app.command("migrate")
def migrate_command() -> None:
    """Create the database, or bring it to the schema of this version. Safe to run again."""
    settings = load_settings()
    from hrp_core.store import Store, migrate

    applied = migrate(Store(settings.database_path))
    out.print(f"Applied {', '.join(applied)}." if applied else "The schema is up to date.")


@db_app.command("status")
def db_status(as_json: JsonOption = False) -> None:
    """Show the schema version of the database and what `migrate` would apply."""
    settings = load_settings()
    from hrp_core.store import Store
    from hrp_core.store import status as schema_status

    current = schema_status(Store(settings.database_path))
    if as_json:
        print_json({"version": current.version, "latest": current.latest, "pending": list(current.pending)})
        return
    out.print(f"Schema version {current.version} of {current.latest}.")
    if current.pending:
        out.print(f"Pending: {', '.join(current.pending)}. Run `hrp db migrate`.")


@db_app.command("rebuild")
def rebuild_command(as_json: JsonOption = False) -> None:
    """Rebuild trades, positions, orders, fills and NAV from the order journal. Safe to run again."""
    settings = load_settings()
    from hrp_core.execution.projections import rebuild
    from hrp_core.ledger.journal import Journal
    from hrp_core.store import Store, migrate

    journal = Journal(settings.journal_path)
    try:
        journal.binding()
        store = Store(settings.database_path)
        migrate(store)
        done = rebuild(store, journal, settings.clock().now(), run_id=f"cli-{getpass.getuser()}")
    finally:
        journal.close()
    if as_json:
        print_json(
            asdict(done) | {"emptied": [{"table": name, "session": day} for name, day in done.emptied]}
        )
        return
    sessions = "no session yet" if done.first is None else f"sessions {done.first} to {done.last}"
    rows = [{"table": name, "rows": count} for name, count in done.rows.items()]
    print_table(
        f"Rebuilt from the journal: {done.mode} {done.account}, {sessions}",
        [("table", "Table"), ("rows", ">Rows")],
        rows,
    )
    for name, day in done.emptied:
        out.print(f"{name} of {day} was stored and is not in the journal; it is empty now.", markup=False)
