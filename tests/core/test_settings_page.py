"""docs/settings.md is what the code says, and names every variable that is read."""

import runpy
from pathlib import Path

import pytest

from hrp_core.execution.config import BrokerConfig
from hrp_core.settings import PROJECT_ROOT, Settings

PAGE = runpy.run_path(str(PROJECT_ROOT / "scripts" / "settings_page.py"))


def test_the_page_is_up_to_date() -> None:
    fresh: str = PAGE["settings_page"]()
    assert (PROJECT_ROOT / "docs" / "settings.md").read_text() == fresh, "run scripts/settings_page.py"


def test_every_setting_has_a_meaning() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_brokers_defaults_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBKR_ACCOUNT", "DU1234567")
    config = BrokerConfig.from_env()
    real = {
        "IBKR_HOST": config.host,
        "IBKR_PORT": str(config.port),
        "IBKR_CLIENT_ID": str(config.client_id),
        "IBKR_ACCOUNT": "none",
        "IBKR_PAPER_TRADING": str(config.paper_trading).lower(),
    }
    assert {name: default for name, (default, _) in PAGE["BROKER"].items()} == real


def test_the_template_of_the_settings_file_names_only_settings_that_exist() -> None:
    page = Path(PROJECT_ROOT / "docs" / "settings.md").read_text()
    template = (PROJECT_ROOT / ".env.example").read_text().splitlines()
    names = [line.removeprefix("# ").partition("=")[0] for line in template if "=" in line]
    assert names
    assert [name for name in names if f"`{name}`" not in page] == []
