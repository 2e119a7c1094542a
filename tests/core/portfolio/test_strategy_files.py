from decimal import Decimal
from pathlib import Path

import pytest

from hrp_core.errors import SettingsError
from hrp_core.features import FEATURES
from hrp_core.portfolio.strategies import (
    StrategyState,
    load_strategies,
    read_strategy_file,
    read_strategy_files,
)
from hrp_core.settings import PROJECT_ROOT

TEXT = """\
id = "HYP-2026-002"
name = "Test"
model = "momentum_12_1"
method = "rank"
capital_weight = 0.5
state = "deployed"

[parameters]
top_pct = 0.25
"""


def write(folder: Path, text: str = TEXT, name: str = "test.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_strategies_that_ship_are_a_factor_and_a_trained_model_with_half_the_capital_each():
    momentum, ranker = load_strategies(PROJECT_ROOT / "strategies")
    assert (momentum.strategy_id, ranker.strategy_id) == ("HYP-2026-001", "HYP-2026-002")
    assert momentum.model in FEATURES
    assert ranker.model not in FEATURES
    for strategy in (momentum, ranker):
        assert (strategy.method, dict(strategy.parameters)) == ("rank", {"top_pct": 0.25})
        assert strategy.capital_weight == Decimal("0.5")
        assert not strategy.paused


def test_a_file_is_read_exactly_and_hashed(tmp_path):
    file = read_strategy_file(write(tmp_path, TEXT.replace("0.5", "0.3")))
    assert file.strategy.capital_weight == Decimal("0.3")
    assert file.strategy.parameters == {"top_pct": 0.25}
    assert isinstance(file.strategy.parameters["top_pct"], float)
    again = read_strategy_file(write(tmp_path, TEXT.replace("0.5", "0.31")))
    assert len(file.strategy.content_hash) == 64
    assert again.strategy.content_hash != file.strategy.content_hash


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "Test"\n', "", "key 'name' is missing"),
        ('name = "Test"', 'title = "Test"', "key 'title' is not known"),
        ('name = "Test"', "name = 5", "key 'name' must be a text"),
        ('id = "HYP-2026-002"', 'id = "HYP 2"', "key 'id' is 'HYP 2'"),
        ('state = "deployed"', 'state = "live"', "key 'state' is 'live'; it must be one of draft, deployed"),
        ("capital_weight = 0.5", "capital_weight = 0", "key 'capital_weight' is 0"),
        ("capital_weight = 0.5", "capital_weight = 1.01", "key 'capital_weight' is 1.01"),
        ("capital_weight = 0.5", "capital_weight = nan", "key 'capital_weight'"),
        ("capital_weight = 0.5", 'capital_weight = "half"', "key 'capital_weight' is half"),
        ("capital_weight = 0.5", "capital_weight = true", "key 'capital_weight' is True"),
        ('method = "rank"', 'method = "ranks"', "Unknown method: 'ranks'"),
        ('method = "rank"', 'method = "topk_dropout"', "topk_dropout is not supported"),
        ("top_pct = 0.25", "top_pct = 2", "top_pct must be above 0"),
        ("top_pct = 0.25", "k = 5", "k is not a parameter of rank"),
        ("top_pct = 0.25", 'top_pct = "a lot"', "top_pct must be a number"),
        ("top_pct = 0.25", "short = true", "accounts are long-only"),
        ("[parameters]\ntop_pct = 0.25", "parameters = 3", "key 'parameters' must be a table"),
        ("[parameters]", "[parameters", "cannot be read as a TOML file"),
    ],
)
def test_a_wrong_file_is_refused_with_file_and_key(tmp_path, old, new, says):
    assert old in TEXT
    path = write(tmp_path, TEXT.replace(old, new))
    with pytest.raises(SettingsError) as caught:
        read_strategy_files(tmp_path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_drafts_are_not_loaded_and_paused_ones_are(tmp_path):
    write(tmp_path, TEXT.replace("deployed", "paused"), "b.toml")
    write(tmp_path, TEXT.replace("HYP-2026-002", "HYP-2026-001").replace("deployed", "draft"), "a.toml")
    (only,) = load_strategies(tmp_path)
    assert (only.strategy_id, only.paused) == ("HYP-2026-002", True)
    assert [file.state for file in read_strategy_files(tmp_path)] == [
        StrategyState.DRAFT,
        StrategyState.PAUSED,
    ]


def test_an_id_belongs_to_one_file(tmp_path):
    write(tmp_path, name="a.toml")
    write(tmp_path, name="b.toml")
    with pytest.raises(SettingsError, match=r"b\.toml: key 'id' is 'HYP-2026-002', as in .*a\.toml"):
        load_strategies(tmp_path)


def test_capital_weights_of_what_is_deployed_sum_to_at_most_one(tmp_path):
    for index, (weight, state) in enumerate([("0.7", "deployed"), ("0.3", "paused"), ("1", "draft")]):
        text = TEXT.replace("002", f"00{index}").replace("0.5", weight).replace("deployed", state)
        write(tmp_path, text, f"{index}.toml")
    assert len(load_strategies(tmp_path)) == 2
    write(tmp_path, TEXT.replace("002", "009").replace("0.5", "0.0001"), "more.toml")
    with pytest.raises(SettingsError, match=r"sum to 1\.0001, more than 1"):
        load_strategies(tmp_path)


def test_a_missing_folder_is_refused_and_an_empty_one_has_no_strategies(tmp_path):
    assert load_strategies(tmp_path) == ()
    with pytest.raises(SettingsError, match="HRP_STRATEGIES"):
        load_strategies(tmp_path / "nowhere")
