"""What the browser script says on a machine where it cannot work."""

import runpy
from pathlib import Path

import pytest

from hrp_core.settings import PROJECT_ROOT

DEVTOOLS = runpy.run_path(str(PROJECT_ROOT / "scripts" / "devtools.py"))


def test_without_a_browser_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        DEVTOOLS["BrowserError"], match=r"no Chromium was found .*apt install chromium.*CHROMIUM"
    ):
        DEVTOOLS["find_chromium"]()


def test_a_browser_that_was_named_is_the_only_one_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = tmp_path / "my-chromium"
    monkeypatch.setenv("CHROMIUM", str(named))
    with pytest.raises(DEVTOOLS["BrowserError"], match=str(named)):
        DEVTOOLS["find_chromium"]()
    named.touch(mode=0o755)
    assert DEVTOOLS["find_chromium"]() == str(named)
