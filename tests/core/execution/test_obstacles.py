"""What a due job would run into: no broker on its port, an account not armed, late prices."""

import socket
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pytest

from hrp_core.calendar import NEW_YORK
from hrp_core.execution.obstacles import Obstacle, obstacle
from hrp_core.ledger.journal import Journal
from hrp_core.settings import Mode, Settings
from hrp_core.timetable import TIMETABLE, Run

FRI, MON = date(2022, 12, 2), date(2022, 12, 5)
EVENING = datetime(2022, 12, 5, 18, 30, tzinfo=NEW_YORK)
PRICES = "date,symbol,close\n2022-12-02,AAPL,100\n"


@pytest.fixture
def port() -> Iterator[socket.socket]:
    """A port at which somebody listens, until it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def paper(tmp_path: Path, port: socket.socket, monkeypatch: pytest.MonkeyPatch) -> Settings:
    values = {"ACCOUNT": "DU1234567", "HOST": "127.0.0.1", "PORT": str(port.getsockname()[1])}
    for name, value in {**values, "PAPER_TRADING": "true"}.items():
        monkeypatch.setenv(f"IBKR_{name}", value)
    return Settings(mode=Mode.PAPER, home=tmp_path, price_source="files", price_files=tmp_path / "prices")


def found(settings: Settings, job: str, session: date = MON) -> Obstacle | None:
    return obstacle(settings, Run(job, session, "18:30"), EVENING)


def reason(settings: Settings, job: str, session: date = MON) -> str:
    seen = found(settings, job, session)
    assert seen is not None
    return seen.reason


@pytest.mark.filterwarnings("ignore:port")
def test_without_a_broker_only_those_jobs_wait_that_ask_it(paper: Settings, port: socket.socket) -> None:
    trading = [job for job in TIMETABLE if job != "market_data_job"]
    sessions = {job: FRI if job == "book_job" else MON for job in trading}
    assert [job for job in trading if found(paper, job, sessions[job])] == []
    port.close()
    waiting = [job for job in trading if found(paper, job, sessions[job])]
    assert sorted(waiting) == sorted(
        ["preopen_job", "open_monitor_job", "preflight_job", "book_job", "predictions_job", "live_trader_job"]
    )
    assert reason(paper, "sync_job").startswith("nothing listens on 127.0.0.1:")
    assert "start TWS or IB Gateway" in reason(paper, "sync_job")
    # Of an earlier session the journal answers.
    assert found(paper, "book_job", date(2022, 12, 1)) is None


def test_a_simulated_gateway_that_has_ended_is_started_by_a_command_that_the_reason_names(
    tmp_path: Path,
) -> None:
    assert "`hrp gateway serve`" in reason(Settings(home=tmp_path), "predictions_job")


def test_an_account_that_cannot_be_traded_with_these_settings_is_said_before_the_run(
    paper: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IBKR_ACCOUNT", "U1234567")
    assert "U1234567" in reason(paper, "predictions_job")


def test_a_live_account_that_is_not_armed_holds_back_the_sender_alone(
    paper: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Settings(mode=Mode.LIVE, home=paper.home, dry_run=False)
    for name, value in {"ACCOUNT": "U1234567", "PORT": "4001", "PAPER_TRADING": "false"}.items():
        monkeypatch.setenv(f"IBKR_{name}", value)
    Journal(live.journal_path).close()
    assert "hrp arm" in reason(live, "live_trader_job")
    assert "nothing listens" in reason(live, "predictions_job")


def test_prices_that_are_late_are_waited_for_and_wrong_ones_are_not(paper: Settings) -> None:
    folder = paper.price_files
    assert folder is not None
    folder.mkdir()
    assert "no price files at" in reason(paper, "market_data_job")
    file = folder / "prices.csv"
    file.write_text(PRICES)
    assert reason(paper, "market_data_job") == (
        "the prices of the source files end on 2022-12-02, those of 2022-12-05 are not there; "
        "add them to HRP_PRICE_FILES"
    )
    seen = found(paper, "market_data_job")
    assert seen is not None
    assert not seen.broker
    file.write_text(PRICES + "2022-12-05,AAPL,101\n")
    assert found(paper, "market_data_job") is None
    # The run itself says where, and fails where everybody sees it.
    file.write_text(PRICES + "2022-12-05,AAPL,-1\n")
    assert found(paper, "market_data_job") is None
