"""A journal on a real sqlite file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hrp_core.ledger.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "sim" / "journal.sqlite")
    yield journal
    journal.close()
