"""Settings: defaults that cannot send a real order, absolute paths, clear refusals."""

from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from hrp_core.calendar import GatewayClock, WallClock
from hrp_core.settings import PROJECT_ROOT, Mode, Settings


def test_the_default_mode_is_the_simulated_gateway() -> None:
    settings = Settings()
    assert settings.mode is Mode.SIM
    assert not settings.is_dry_run
    assert isinstance(settings.clock(), GatewayClock)


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_outside_sim_nothing_is_sent_by_default(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRP_MODE", mode)
    settings = Settings()
    assert settings.is_dry_run
    assert isinstance(settings.clock(), WallClock)


def test_a_relative_home_is_anchored_at_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HRP_HOME", "state")
    assert Settings().home == PROJECT_ROOT / "state"


def test_the_sample_is_traded_from_october_2022(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HRP_FIRST_SESSION")
    assert Settings().first_session == date(2022, 10, 3)


def test_each_mode_has_its_own_state(tmp_path: Path) -> None:
    homes = {Settings(home=tmp_path, mode=mode).journal_path for mode in Mode}
    assert len(homes) == len(Mode)


def test_a_file_source_needs_files(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="HRP_PRICE_FILES"):
        Settings(price_source="files")
    assert Settings(price_source="files", price_files=tmp_path).price_files == tmp_path


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRP_MODE", "real")
    with pytest.raises(ValidationError, match="mode"):
        Settings()
