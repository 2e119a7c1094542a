"""Every command in the guides: run on a whole installation, or, where it needs a real account, parsed."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from desk import FIRST, Desk
from typer.testing import CliRunner

from hrp_core.settings import PROJECT_ROOT
from hrp_dagster.cli.app import app

GUIDES = sorted((PROJECT_ROOT / "docs" / "operations").glob("*.md"))
BLOCK = re.compile(r"(<!-- needs [^>]+ -->\n)?```bash\n(.*?)```", re.DOTALL)


def commands(guide: Path) -> list[tuple[str, bool]]:
    """Return each command line and whether it is run."""
    return [
        (line, not tag)
        for tag, block in BLOCK.findall(guide.read_text())
        for line in block.strip().splitlines()
    ]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_every_command_and_option_in_a_guide_exists(guide: Path) -> None:
    lines = [shlex.split(line) for line, _ in commands(guide) if line.startswith("hrp ")]
    assert lines
    for words in lines:
        command: Any = typer.main.get_command(app)  # typer brings its own click
        rest = words[1:]
        while rest and hasattr(command, "commands"):  # `hrp orders` is a command, and a group
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        # Parsing refuses unknown options, missing arguments and values that are no choices.
        command.make_context(" ".join(words), list(rest), resilient_parsing=False)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_every_command_of_a_guide_runs_on_a_desk_that_trades(
    guide: Path, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategies = tmp_path / "strategies"
    strategies.mkdir()
    shutil.copy(PROJECT_ROOT / "strategies" / "momentum.toml", strategies)
    monkeypatch.setenv("HRP_STRATEGIES", str(strategies))
    monkeypatch.setenv("HRP_MIN_FREE_DISK_GB", "0")
    traded = Desk(type(desk.settings)(), desk.server)
    traded.evening(FIRST)
    second = traded.next_day(FIRST)
    traded.evening(second, jobs=["predictions_job"])
    for line, is_run in commands(guide):
        if is_run:
            run(line)


def run(line: str) -> None:
    if line.startswith("hrp "):
        words = [
            word.replace("CODE", flatten_code()) if word == "CODE" else word for word in shlex.split(line)
        ]
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, f"{line}: {result.output} {result.exception}"
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", "-ec", line], env={**os.environ, "PATH": path}, check=True, timeout=60)


def flatten_code() -> str:
    result = CliRunner().invoke(app, ["flatten", "--reason", "out", "--json"])
    return json.loads(result.stdout)["code"]
