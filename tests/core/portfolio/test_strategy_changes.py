"""Changing strategy files: one line, nothing else, and the table that follows."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from hrp_core.errors import RefusedError, SettingsError
from hrp_core.portfolio.strategies import StrategyFile, StrategyState, load_strategies
from hrp_core.portfolio.strategy_files import add_strategy, change_state
from hrp_core.store import EventType, Store, read_lineage

NOW = datetime(2022, 12, 15, 23, tzinfo=UTC)
FIRST = """\
# Why it exists: state = "paused" was last year.
id = "HYP-1"
name = "One"   # short
model = "momentum_12_1"
method = "rank"
capital_weight = 0.6
  state = 'deployed'  # draft, deployed, paused or retired

[parameters]
top_pct = 0.25
"""
S = StrategyState


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "strategies"
    folder.mkdir()
    (folder / "one.toml").write_text(FIRST)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "hrp.duckdb")


def change(folder: Path, store: Store, state: StrategyState, name: str = "HYP-1") -> StrategyFile:
    return change_state(folder, store, name, state, by="ann", reason="drawdown", now=NOW)


def hypotheses(store: Store) -> dict[str, str]:
    with store.read() as connection:
        return dict(connection.execute("SELECT hypothesis_id, status FROM hypotheses").fetchall())


def test_pausing_changes_one_line_and_keeps_every_comment(folder: Path, store: Store) -> None:
    change(folder, store, S.PAUSED)
    text = (folder / "one.toml").read_text()
    assert text == FIRST.replace("'deployed'", '"paused"')
    (strategy,) = load_strategies(folder)
    assert (strategy.paused, strategy.retired) == (True, False)
    assert list(folder.iterdir()) == [folder / "one.toml"]


def test_a_retired_strategy_winds_down_and_gives_its_capital_back(folder: Path, store: Store) -> None:
    change(folder, store, S.RETIRED)
    (strategy,) = load_strategies(folder)
    assert strategy.retired
    add_strategy(folder, store, "HYP-2", source=folder / "one.toml", by="ann", now=NOW)
    change(folder, store, S.DEPLOYED, "HYP-2")
    assert hypotheses(store) == {"HYP-1": "retired", "HYP-2": "deployed"}
    with pytest.raises(SettingsError, match=r"sum to 1\.2"):
        change(folder, store, S.DEPLOYED)
    assert "retired" in (folder / "one.toml").read_text()


def test_a_new_strategy_is_a_valid_draft_that_nothing_trades(folder: Path, store: Store) -> None:
    file = add_strategy(folder, store, "HYP-3", name="Three", by="ann", now=NOW)
    assert (file.state, file.strategy.name, file.strategy.capital_weight) == (
        S.DRAFT,
        "Three",
        Decimal("0.5"),
    )
    assert [strategy.strategy_id for strategy in load_strategies(folder)] == ["HYP-1"]
    assert hypotheses(store) == {"HYP-1": "deployed", "HYP-3": "draft"}
    with pytest.raises(RefusedError, match="already"):
        add_strategy(folder, store, "HYP-3", by="ann", now=NOW)


def test_each_change_is_in_the_lineage(folder: Path, store: Store) -> None:
    change(folder, store, S.PAUSED)
    change(folder, store, S.DEPLOYED)
    events = read_lineage(store, event_type=EventType.STRATEGY_CHANGED)
    assert events["hypothesis_id"].tolist() == ["HYP-1", "HYP-1"]
    assert '"state": "paused"' in events["details"].tolist()[1]


@pytest.mark.parametrize("state", [S.DEPLOYED])
def test_a_state_that_does_not_follow_is_refused(folder: Path, store: Store, state: StrategyState) -> None:
    with pytest.raises(RefusedError, match="is deployed; only one that is"):
        change(folder, store, state)
    assert (folder / "one.toml").read_text() == FIRST


@pytest.mark.parametrize(
    "line",
    [
        "'state' = \"deployed\"",
        'state = "deploy\\u0065d"',
        'name2 = """\nstate = "deployed"\n"""\nstate = "deployed"',
    ],
)
def test_a_state_that_is_not_one_plain_line_is_left_to_a_person(
    folder: Path, store: Store, line: str
) -> None:
    text = FIRST.replace("  state = 'deployed'  # draft, deployed, paused or retired", line)
    (folder / "one.toml").write_text(text)
    with pytest.raises(SettingsError):
        change(folder, store, S.PAUSED)
    assert (folder / "one.toml").read_text() == text
