"""The commands about orders and the book: exit codes, messages, JSON."""

import json
from pathlib import Path

from test_hrp_command import hrp


def test_orders_lists_by_default_and_takes_json_before_any_subcommand(tmp_path: Path) -> None:
    assert json.loads(hrp(tmp_path, "orders", "--json").stdout) == []


def test_resolving_what_is_not_unknown_is_refused_with_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "gateway.json").write_text(
        json.dumps(
            {"host": "127.0.0.1", "port": 1, "pid": 0, "account": "DU1", "now": "2022-12-15T18:30-05:00"}
        )
    )
    result = hrp(tmp_path, "orders", "resolve", "k3f9qa", "--as", "expired", "--reason", "TWS")
    assert (result.returncode, "no order of unknown fate" in " ".join(result.stderr.split())) == (3, True), (
        result.stderr
    )


def test_a_fate_that_a_person_cannot_decide_is_a_usage_error(tmp_path: Path) -> None:
    assert hrp(tmp_path, "orders", "resolve", "k3f9qa", "--as", "filled", "--reason", "x").returncode == 2


def test_explaining_nothing_known_is_refused(tmp_path: Path) -> None:
    result = hrp(tmp_path, "explain", "0000e0d5.64a1b2c3.01.01")
    assert result.returncode == 3
    assert "Traceback" not in result.stderr


def test_what_needs_a_broker_names_the_next_step(tmp_path: Path) -> None:
    for command in ("sync", "reconcile"):
        result = hrp(tmp_path, command)
        assert result.returncode == 1
        assert "hrp gateway serve" in " ".join(result.stderr.split())
