"""The page of failure modes names tests that exist, and a test or a plan for every row."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from hrp_core.settings import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "faults.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> dict[str, str]:
    """The cell of tests, by row."""
    table = [line for line in PAGE.read_text().splitlines() if line.startswith("| F")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert all(len(row) == 4 for row in cells)
    return {row[0]: row[3] for row in cells}


@cache
def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_row_is_there_once_and_in_order() -> None:
    assert list(rows()) == [f"F{number}" for number in range(1, 41)]


@pytest.mark.parametrize(("row", "cell"), rows().items())
def test_every_row_names_tests_that_exist_or_says_planned(row: str, cell: str) -> None:
    named = TEST.findall(cell)
    assert (cell == "planned") != bool(named)
    assert "<br>".join(f"`{file}::{name}`" for file, name in named) in (cell, "")
    for file, name in named:
        assert (PROJECT_ROOT / file).is_file(), file
        assert name in functions_of(PROJECT_ROOT / file), f"{file} has no test {name}"
