"""The `hrp` command as a person meets it: exit codes, messages, JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def hrp(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hrp_dagster.cli", *arguments],
        env={**os.environ, "HRP_HOME": str(home), "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=home,
    )


def test_help_fits_into_80_columns_and_names_every_command(tmp_path: Path) -> None:
    result = hrp(tmp_path, "--help")
    assert result.returncode == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    for command in ("demo", "dev", "replay", "status", "gateway", "job", "data", "db"):
        assert command in result.stdout


def test_nothing_there_yet_is_said_with_the_next_step(tmp_path: Path) -> None:
    for arguments in (["gateway", "state"], ["job", "run", "live-trader"]):
        result = hrp(tmp_path, *arguments)
        assert result.returncode == 1
        assert "hrp gateway serve" in " ".join(result.stderr.split())
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["positions", "trades", "orders", "nav"])
def test_views_work_on_an_empty_database(tmp_path: Path, command: str) -> None:
    assert json.loads(hrp(tmp_path, command, "--json").stdout) == []


def test_status_works_on_an_empty_installation(tmp_path: Path) -> None:
    result = hrp(tmp_path, "status", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["mode"] == "sim"


def test_a_wrong_setting_is_a_usage_error_that_names_it(tmp_path: Path) -> None:
    result = hrp(tmp_path, "status", HRP_MODE="real")
    assert result.returncode == 2
    assert "HRP_MODE" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_date_is_a_usage_error(tmp_path: Path) -> None:
    assert hrp(tmp_path, "replay", "--start", "yesterday", "--end", "2022-12-01").returncode == 2


def test_migrating_twice_is_harmless(tmp_path: Path) -> None:
    assert "Applied" in hrp(tmp_path, "db", "migrate").stdout
    assert "up to date" in hrp(tmp_path, "db", "migrate").stdout
