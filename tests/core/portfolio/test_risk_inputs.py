"""What the risk rules and turnover control are given: schedules, sectors, traded values, settings."""

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hrp_core.calendar import nyse
from hrp_core.errors import SettingsError
from hrp_core.ledger.database import canonical_json
from hrp_core.market import to_panel
from hrp_core.portfolio import PortfolioLimits, limits_from_settings
from hrp_core.portfolio.risk import frozen_limits
from hrp_core.portfolio.schedule import rebalances, sessions_held
from hrp_core.portfolio.sectors import read_sectors
from hrp_core.portfolio.stored import panel_at
from hrp_core.settings import Settings

D = date(2022, 12, 15)
MONDAY_HOLIDAY = date(2022, 12, 26)  # Christmas is observed
FRIDAY_HOLIDAY = date(2022, 4, 15)  # Good Friday


def traded(schedule: str, monday: date) -> list[str]:
    week = nyse().between(monday, date.fromordinal(monday.toordinal() + 6))
    return [f"{day:%a}" for day in week if rebalances(schedule, day)]


@pytest.mark.parametrize(
    ("schedule", "plain", "holiday_monday", "holiday_friday"),
    [
        (
            "daily",
            ["Mon", "Tue", "Wed", "Thu", "Fri"],
            ["Tue", "Wed", "Thu", "Fri"],
            ["Mon", "Tue", "Wed", "Thu"],
        ),
        ("weekly", ["Mon"], ["Tue"], ["Mon"]),
        ("monday", ["Mon"], ["Tue"], ["Mon"]),
        ("wednesday", ["Wed"], ["Wed"], ["Wed"]),
        ("friday", ["Fri"], ["Fri"], ["Thu"]),
    ],
)
def test_a_schedule_names_one_session_a_week_holidays_included(
    schedule: str, plain: list[str], holiday_monday: list[str], holiday_friday: list[str]
) -> None:
    assert traded(schedule, date(2022, 12, 12)) == plain
    assert traded(schedule, MONDAY_HOLIDAY) == holiday_monday
    assert traded(schedule, date(2022, 4, 11)) == holiday_friday


def test_sessions_held_count_the_first_and_the_last() -> None:
    assert sessions_held(D, D) == 1
    assert sessions_held(date(2022, 12, 9), D) == 5


def test_sectors_are_read_from_csv_and_parquet(tmp_path: Path) -> None:
    csv = tmp_path / "sectors.csv"
    csv.write_text("symbol,sector\nnvda,Technology\nNA,Food\nXOM,\n")
    expected = {"NA": "Food", "NVDA": "Technology"}
    assert read_sectors(csv) == expected
    parquet = tmp_path / "sectors.parquet"
    pd.DataFrame({"symbol": ["NVDA", "NA", "XOM"], "sector": ["Technology", "Food", None]}).to_parquet(
        parquet
    )
    assert read_sectors(parquet) == expected
    assert limits_from_settings(Settings(sectors_file=csv)).sectors == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("symbol,group\nA,X\n", "column 'sector' is missing"),
        ("symbol,sector\nA,X\nA,Y\n", "A has the sectors 'X'"),
    ],
)
def test_a_wrong_file_of_sectors_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "sectors.csv").write_text(text)
    with pytest.raises(SettingsError, match=says):
        read_sectors(tmp_path / "sectors.csv")
    with pytest.raises(SettingsError, match="cannot be read as a file of sectors"):
        read_sectors(tmp_path / "none.csv")


def prices(volume: list[float]) -> pd.DataFrame:
    sessions = [nyse().offset(D, -age) for age in range(len(volume))][::-1]
    return pd.DataFrame(
        [
            {"session": session, "symbol": symbol, "close": 10.0, "volume": each if symbol == "A" else np.nan}
            for session, each in zip(sessions, volume, strict=True)
            for symbol in ("A", "B")
        ]
    )


@pytest.mark.parametrize(
    ("volume", "value"),
    [([9e9] * 3 + [100.0] * 20, 1000.0), ([100.0] * 10, 500.0), ([np.nan] * 10 + [100.0] * 10, 500.0)],
)
def test_the_traded_value_is_the_mean_of_20_sessions_missing_ones_count_as_0(
    volume: list[float], value: float
) -> None:
    panel = panel_at(to_panel(prices(volume), "close", "volume"), D, {"A": True, "B": True}, ["C"])
    assert panel.traded_value is not None
    np.testing.assert_array_equal(panel.traded_value, [value, np.nan, np.nan])


def test_a_source_without_volume_has_no_traded_values() -> None:
    panel = to_panel(prices([np.nan] * 20), "close", "volume")
    assert panel_at(panel, D, {"A": True}, []).traded_value is None


def test_zero_switches_a_rule_off() -> None:
    limits = limits_from_settings(Settings(max_order_pct=0, max_drawdown_pct=0))
    assert (limits.max_order_pct, limits.max_drawdown_pct, limits.max_volume_pct) == (None, None, 0.05)


def test_limits_come_back_from_a_frozen_plan_as_they_were() -> None:
    limits = limits_from_settings(Settings(restricted=("A", "B"), max_net=0))
    stated = json.loads(canonical_json(asdict(limits)))
    assert frozen_limits(stated) == limits


def test_a_plan_frozen_before_a_rule_existed_was_not_judged_by_it() -> None:
    old = {"max_positions": 5, "min_order_value": "50"}
    limits = frozen_limits(old)
    assert (limits.max_positions, str(limits.min_order_value)) == (5, "50")
    assert limits == PortfolioLimits(max_positions=5, min_order_value=limits.min_order_value).without_rules()
