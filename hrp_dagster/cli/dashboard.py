"""`hrp dashboard`: the Trading page on this machine, until Ctrl-C."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from hrp_core.errors import HrpError, NotReadyError
from hrp_core.settings import PROJECT_ROOT
from hrp_dagster.cli.context import err, load_settings
from hrp_dagster.processes import ChildProcess, ending_on_signals, supervise

HOST = "127.0.0.1"


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page on 127.0.0.1.")] = 8501,
) -> None:
    """Show portfolio, positions, trades and strategies in a browser, on 127.0.0.1; Ctrl-C ends it."""
    load_settings()
    if find_spec("streamlit") is None:
        raise NotReadyError(
            "the Trading page needs Streamlit, which is not installed; run "
            "`pip install 'streamlit>=1.67,<2'` in this environment (it is the extra `dashboard`)"
        )
    with ending_on_signals() as request:
        child = ChildProcess(dashboard_command(port), name="the Trading page", cwd=PROJECT_ROOT)
        err.print(f"Trading page: [link]http://{HOST}:{port}[/] (ready in about 5 s). Ctrl-C ends it.")
        ended = supervise([child], request)
    if ended is not None:
        raise HrpError(
            f"{ended} ended by itself; its last lines above say why. If port {port} is taken, give another "
            "one with --port"
        )
    err.print("Stopped; nothing is left running.")


def dashboard_command(port: int) -> list[str]:
    """Return the command line that serves the page to this machine only, and reports nothing to anybody."""
    spec = find_spec("hrp_core.dashboard")
    assert spec is not None
    assert spec.origin is not None
    options = {
        "server.address": HOST,
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "theme.base": "light",
        "theme.primaryColor": "#1f4e79",
        "theme.baseRadius": "none",
    }
    chosen = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [sys.executable, "-m", "streamlit", "run", str(Path(spec.origin).with_name("app.py")), *chosen]
