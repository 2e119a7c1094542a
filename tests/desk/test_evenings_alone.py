"""Days without a broker, through the real schedules and sensors: ticks wait with their reason, none fails.

What belongs here: a gateway that has ended, and a paper account whose TWS was never started.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path

import pandas as pd
import pytest
from desk import FIRST, Desk
from ticks import Floor, floor

from hrp_core.calendar import NEW_YORK, WallClock, nyse
from hrp_core.market.sources import SAMPLE_FILE
from hrp_core.settings import Settings
from hrp_core.simgateway.files import GatewayInfo

MONDAY = nyse().next(FIRST)
TICKS = (
    *("08:50", "09:30", "09:45", "10:00", "14:00", "16:15", "17:30", "17:45", "18:15", "18:30", "19:00"),
    *("20:00", "20:20", "23:15"),
)


def day_of(session: date) -> Iterator[datetime]:
    for text in TICKS:
        yield datetime.combine(session, time.fromisoformat(text), NEW_YORK)


def told(settings: Settings) -> Counter[str]:
    with closing(sqlite3.connect(settings.mode_dir / "alerts.sqlite")) as alerts:
        return Counter(row[0] for row in alerts.execute("SELECT kind FROM alerts"))


def waiting(ticking: Floor) -> list[str]:
    return sorted(name for name, reason in ticking.reasons.items() if " waits: " in reason)


@pytest.mark.desk("sent")
def test_a_gateway_that_has_ended_costs_a_reason_a_tick_one_alert_and_one_missed_session(desk: Desk) -> None:
    desk.server.stop()
    info = GatewayInfo.read(desk.settings.gateway_file)
    said: Counter[str] = Counter()
    with floor(desk) as ticking:
        for now in day_of(MONDAY):
            # The clock goes on as if the gateway had been moved before it ended.
            replace(info, now=now).write(desk.settings.gateway_file)
            ticking.tick(now)
            said.update(waiting(ticking))
            if "book_schedule" in waiting(ticking):
                assert "nothing listens" in ticking.reasons["book_schedule"]
                assert "`hrp gateway serve`" in ticking.reasons["book_schedule"]
    assert ticking.failed == []
    # The prices need no broker; what they feed waits for the book, which does.
    assert [job for _, job, _ in ticking.launched if job != "cleanup_job"] == ["market_data_job"]
    assert {"book_schedule", "preopen_schedule", "open_monitor_schedule", "fills_sensor"} <= set(said)
    assert told(desk.settings) == Counter({"job failure": 1, "missed session": 1})


@pytest.mark.filterwarnings("ignore:port")
def test_a_paper_day_without_tws_and_without_new_prices_starts_nothing_and_fails_nothing(
    tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = pd.read_parquet(SAMPLE_FILE)
    prices[(prices["session"] > date(2022, 1, 1)) & (prices["session"] <= FIRST)].to_parquet(
        tmp_path / "prices.parquet"
    )
    for name, value in {
        **{"HRP_MODE": "paper", "HRP_PRICE_SOURCE": "files", "HRP_PRICE_FILES": f"{tmp_path}/prices.parquet"},
        # Nobody listens on port 1.
        **{"IBKR_ACCOUNT": "DU1234567", "IBKR_HOST": "127.0.0.1", "IBKR_PORT": "1"},
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    settings.mode_dir.mkdir()
    desk.settings.database_path.rename(settings.database_path)
    said: set[str] = set()
    with floor(Desk(settings, desk.server)) as ticking:
        for now in day_of(MONDAY):
            monkeypatch.setattr(WallClock, "now", lambda _, moment=now: moment)
            ticking.tick(now)
            said |= {ticking.reasons[name] for name in waiting(ticking)}
    assert ticking.failed == []
    assert {job for _, job, _ in ticking.launched} <= {"cleanup_job"}
    assert (
        f"market_data_job of {MONDAY} waits: the prices of the source files end on {FIRST}, those of "
        f"{MONDAY} are not there; add them to HRP_PRICE_FILES"
    ) in said
    # Of the broker once a day, of the prices once the evening is over.
    assert told(settings) == Counter({"job failure": 1, "stale data": 1})
