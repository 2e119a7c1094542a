"""`hrp dashboard`: serves this machine only, ends with its terminal, and says what to install."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hrp_core.errors import NotReadyError
from hrp_core.settings import PROJECT_ROOT
from hrp_dagster.cli import dashboard as command
from hrp_dagster.cli.app import app


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def listeners(port: int) -> set[str]:
    """Return the local addresses that listen on a port, as the kernel writes them (hexadecimal)."""
    found = set[str]()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, at = line.split()[1].split(":")
            if int(at, 16) == port and line.split()[3] == "0A":
                found.add(address)
    return found


def answers(port: int, tries: int = 200) -> bool:
    for _ in range(tries):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as response:
                return response.status == 200
        except (urllib.error.URLError, ConnectionError):
            threading.Event().wait(0.2)
    return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net")
def test_the_page_listens_on_this_machine_only_and_ends_with_a_signal(tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "HRP_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT_ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "hrp_dagster.cli", "dashboard", "--port", str(port)],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert answers(port)
        assert listeners(port) == {"0100007F"}
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert "nothing is left running" in said
    assert listeners(port) == set()


def test_without_streamlit_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HRP_HOME", str(tmp_path))
    monkeypatch.setattr(command, "find_spec", lambda _name: None)
    result = CliRunner().invoke(app, ["dashboard"])
    assert isinstance(result.exception, NotReadyError)
    assert "pip install 'streamlit" in str(result.exception)


def test_nothing_is_reported_to_anybody_and_no_other_machine_is_served() -> None:
    words = command.dashboard_command(8501)
    options = dict(zip(words[5::2], words[6::2], strict=True))
    assert options["--server.address"] == "127.0.0.1"
    assert options["--browser.gatherUsageStats"] == "false"
    assert options["--server.headless"] == "true"
    assert Path(words[4]).is_file()


def test_the_core_without_the_page_never_imports_streamlit() -> None:
    code = "import sys, json, hrp_dagster.cli.app; print(json.dumps('streamlit' in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
    )
    assert json.loads(done.stdout) is False
