import gzip
import runpy
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest

from hrp_core.market import FilesSource

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "build_sample.py"


def wheel(folder: Path, csv: str) -> Path:
    path = folder / "skfolio-1.12.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("skfolio/datasets/data/sp500_dataset.csv.gz", gzip.compress(csv.encode()))
        archive.writestr("skfolio-1.12.2.dist-info/licenses/LICENSE", "BSD 3-Clause License")
    return path


def build(monkeypatch: pytest.MonkeyPatch, path: Path, target: Path) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--wheel", str(path), "--target", str(target)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_the_script_turns_a_wheel_into_the_files_that_ship(tmp_path, monkeypatch):
    csv = "Date,BBB,AAA\n2022-01-03,1.23456,2.0\n2022-01-04,1.5,2.5\n"
    build(monkeypatch, wheel(tmp_path, csv), tmp_path / "sample")
    frame = FilesSource(tmp_path / "sample" / "sp500_20.parquet").load(date(2022, 1, 3), date(2022, 1, 4))
    assert frame["symbol"].tolist() == ["AAA", "BBB", "AAA", "BBB"]
    assert frame["close"].tolist() == [2.0, 1.2346, 2.5, 1.5]
    assert (tmp_path / "sample" / "LICENSE").read_text() == "BSD 3-Clause License"
    assert "skfolio 1.12.2" in (tmp_path / "sample" / "ATTRIBUTION").read_text()


def test_the_script_builds_nothing_from_prices_with_a_hole(tmp_path, monkeypatch):
    path = wheel(tmp_path, "Date,AAA\n2022-01-03,1.0\n2022-01-04,\n")
    with pytest.raises(SystemExit, match="missing or non-positive"):
        build(monkeypatch, path, tmp_path / "sample")
    assert not (tmp_path / "sample" / "sp500_20.parquet").exists()
