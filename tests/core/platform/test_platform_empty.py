"""The facade before anything happened: declared columns, no rows, no surprise."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import ModelError, NotReadyError
from hrp_core.execution.projection_tables import EXECUTED_TRADES, LIVE_POSITIONS
from hrp_core.platform import PlatformAPI
from hrp_core.platform.api import DEPLOYED_COLUMNS
from hrp_core.platform.preview import preview
from hrp_core.platform.status import read_status
from hrp_core.settings import Settings
from hrp_core.store import Store, Table, migrate, status, table

DAY = date(2022, 12, 2)
EVENING = datetime(2022, 12, 15, 18, 30, tzinfo=NEW_YORK)


@pytest.fixture(params=["no database", "an empty database"])
def fresh(tmp_path: Path, request: pytest.FixtureRequest) -> PlatformAPI:
    settings = Settings(home=tmp_path)
    if request.param == "an empty database":
        migrate(Store(settings.database_path))
    return PlatformAPI(settings=settings)


def test_every_frame_has_its_columns_and_no_rows(fresh: PlatformAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    declared: list[tuple[object, Table]] = [
        (fresh.get_live_positions(), LIVE_POSITIONS),
        (fresh.get_live_positions(DAY), LIVE_POSITIONS),
        (fresh.get_executed_trades(), EXECUTED_TRADES),
        (fresh.get_executed_trades("AAPL", DAY, DAY), EXECUTED_TRADES),
        (fresh.get_universe(DAY), table("universe")),
        (fresh.get_prices(), table("prices")),
        (fresh.get_features(["AAPL"], DAY, DAY), table("features")),
        (fresh.get_model_predictions("momentum_12_1", DAY), table("predictions")),
    ]
    for frame, expected in declared:
        assert (len(frame), list(frame.columns)) == (0, list(expected.column_names))  # type: ignore[arg-type, attr-defined]
    assert fresh.get_lineage().columns.tolist()[:3] == ["event_id", "event_type", "actor"]
    assert fresh.get_portfolio_value() == Decimal(0)
    assert list(fresh.get_deployed_strategies().columns) == list(DEPLOYED_COLUMNS)
    assert fresh.query_readonly("SELECT count(*) AS n FROM executed_trades")["n"].tolist() == [0]
    assert status(fresh.store).pending == ()


def test_a_desk_without_strategies_has_an_empty_frame_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").mkdir()
    frame = PlatformAPI(
        settings=Settings(home=tmp_path, strategies=tmp_path / "none")
    ).get_deployed_strategies()
    assert (len(frame), list(frame.columns)) == (0, list(DEPLOYED_COLUMNS))


def test_what_needs_something_says_what(fresh: PlatformAPI) -> None:
    with pytest.raises(NotReadyError, match="market_data_job"):
        fresh.predict_model("momentum_12_1", ["AAPL"], DAY)
    with pytest.raises(ValueError, match="symbols is empty"):
        fresh.predict_model("momentum_12_1", [], DAY)
    with pytest.raises(ValueError, match="limit must be positive"):
        fresh.get_executed_trades(limit=0)
    with pytest.raises(NotReadyError, match="simulated clock"):
        fresh.log_event("data_loaded", "me")
    with pytest.raises(ModelError, match="no model is called"):
        fresh.check_model_drift("alpha")


def test_status_and_previews_make_nothing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    found = read_status(settings)
    assert (found.mode, found.account, found.clock, found.plan, found.nav) == ("sim", None, None, None, None)
    assert set(found.newest.values()) == {None}
    assert "hrp demo" in found.next_step
    for job in ("predictions", "live-trader", "drift-monitor", "book", "market-data"):
        seen = preview(settings, job, date(2022, 12, 15), EVENING)
        assert seen.would_run is (job == "market-data"), (job, seen)
        assert job == "market-data" or seen.reasons
    assert not (tmp_path / "home").exists()


def test_settings_come_from_the_environment_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HRP_HOME", str(tmp_path))
    api = PlatformAPI()
    assert api.settings.home == tmp_path
    assert api.get_executed_trades().empty
