"""A small market behind a real gateway, for the commands that ask a broker."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from ops_support import EVENING, Serve

from hrp_core.calendar import nyse
from hrp_core.matching import Tape
from hrp_core.simgateway import GatewayServer


@pytest.fixture(scope="session")
def small_tape() -> Tape:
    sessions = nyse().between(date(2022, 12, 1), date(2022, 12, 9))
    nothing = {"high": None, "low": None, "volume": None}
    rows = [
        {"session": session, "symbol": symbol, "open": base, "close": base + 1, **nothing}
        for session in sessions
        for symbol, base in (("AAPL", 100.0), ("MSFT", 200.0))
    ]
    return Tape.from_frame(pd.DataFrame(rows))


@pytest.fixture
def serve(small_tape: Tape) -> Serve:
    @contextmanager
    def started(folder: Path) -> Iterator[GatewayServer]:
        with GatewayServer(folder, small_tape, start=EVENING, cash=Decimal(100_000)) as server:
            yield server

    return started
