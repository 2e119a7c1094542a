"""`hrp dev`: the simulated gateway and the Dagster web UI, together, until Ctrl-C."""

import sys
from typing import Annotated

import typer

from hrp_core.errors import HrpError
from hrp_core.settings import PROJECT_ROOT, Mode
from hrp_dagster.cli.context import err, load_settings
from hrp_dagster.processes import ChildProcess, ending_on_signals, start_gateway, supervise


def dev(
    port: Annotated[int, typer.Option(help="Port of the web UI on 127.0.0.1.")] = 3000,
) -> None:
    """Start the simulated gateway and the Dagster UI on 127.0.0.1; Ctrl-C ends both."""
    settings = load_settings()
    from hrp_core.simgateway.control import gateway_is_running
    from hrp_core.store import Store, migrate

    migrate(Store(settings.database_path))
    _end_orphans()
    children: list[ChildProcess] = []
    with ending_on_signals() as request:
        try:
            if settings.mode is Mode.SIM and not gateway_is_running(settings.gateway_file):
                children.append(start_gateway())
            children.append(
                ChildProcess(
                    [
                        *(sys.executable, "-m", "dagster", "dev"),
                        *("--workspace", str(PROJECT_ROOT / "workspace.yaml")),
                        *("--host", "127.0.0.1", "--port", str(port)),
                    ],
                    name="dagster dev",
                    cwd=PROJECT_ROOT,
                )
            )
            err.print(f"Dagster UI: [link]http://127.0.0.1:{port}[/] (ready in about 15 s). Ctrl-C ends it.")
        except BaseException:
            for child in children:
                child.stop()
            raise
        ended = supervise(children, request)
    if ended is not None:
        raise HrpError(f"{ended} ended by itself; its last lines above say why. Nothing is left running")
    err.print("Stopped; nothing is left running.")


def _end_orphans() -> None:
    import dagster as dg

    from hrp_dagster.orphans import end_orphans

    with dg.DagsterInstance.get() as instance:
        for run in end_orphans(instance):
            err.print(f"{run} was killed when this ended last; it is recorded as failed.", markup=False)
