"""`hrp db rebuild` as a person meets it; what it writes is tested with a traded desk."""

from pathlib import Path

from test_hrp_command import hrp


def test_without_an_account_there_is_nothing_to_rebuild_from(tmp_path: Path) -> None:
    result = hrp(tmp_path, "db", "rebuild")
    assert result.returncode == 1
    assert "not bound to an account" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("*.duckdb"))
