"""November 2022 through the real schedules, sensors and jobs, against the simulated gateway, tick by tick.

The clocks change on Sunday the 6th, the 24th is a holiday, the 25th a half day; nobody is there from Monday
the 14th at 17:00 to Wednesday the 16th at 17:00.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pytest
from ticks import Floor, floor

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.ledger.types import PlanStatus
from hrp_core.replay import History, check_parity
from hrp_core.store import migrate, read_table, table
from hrp_dagster.state import KEY_TAG, UNFINISHED_TAG

FIRST, LAST = date(2022, 11, 1), date(2022, 11, 30)
SESSIONS = nyse().between(FIRST, LAST)
DOWN = (datetime(2022, 11, 14, 17, tzinfo=NEW_YORK), datetime(2022, 11, 16, 17, tzinfo=NEW_YORK))
MISSED = [date(2022, 11, 14), date(2022, 11, 15)]
TRADED = [session for session in SESSIONS if session not in MISSED]
# Every minute that something is due, and some at which nothing is.
TICKS = (
    *("08:45", "09:31", "09:45", "14:00", "16:15", "17:30", "17:45", "18:15", "18:30", "18:41", "19:00"),
    *("20:15", "23:16"),
)
SHORT = ("17:30", "17:45", "18:15", "18:30")
# An ordinary day, the change of the clocks, around the downtime and the holiday; a whole day takes five times
# as long as the short list of the others.
FULL = {date(2022, 11, day) for day in (3, 6, 14, 16, 24, 25)}


def moments() -> list[datetime]:
    """Return the moments of the month at which somebody is there."""
    found = []
    for offset in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=offset)
        ticks = TICKS if day in FULL else SHORT
        if not nyse().is_session(day):
            # Training (Saturdays from 10:00) is tested elsewhere.
            ticks = ("08:45", "23:16")
        found += [datetime.combine(day, time.fromisoformat(text), NEW_YORK) for text in ticks]
    start = datetime.combine(FIRST, time(17, 30), NEW_YORK)
    return [moment for moment in found if moment >= start and not DOWN[0] <= moment < DOWN[1]]


@pytest.mark.slow
def test_november_every_session_is_traded_once_or_skipped_with_the_right_reason(
    tmp_path: Path, open_desk: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HRP_SIM_START", FIRST.isoformat())
    said: dict[datetime, dict[str, str]] = {}
    with open_desk(tmp_path / "home") as desk, floor(desk) as ticking:
        migrate(desk.store)
        desk.run("history_job")
        for moment in moments():
            if desk.gateway.state().now < moment:
                desk.gateway.advance(moment)
            ticking.reasons.clear()
            ticking.tick(moment, everything=moment.date() in FULL)
            said[moment] = dict(ticking.reasons)

        assert ticking.failed == []
        check_what_was_run(ticking)
        check_what_was_said(said)

        plans = {plan.session: plan for plan in desk.journal.plans()}
        assert {session for session, plan in plans.items() if plan.status is PlanStatus.SENT} == set(TRADED)
        sent = Counter(attempt.intent_id for attempt in desk.journal.attempts())
        assert set(sent.values()) == {1}
        assert desk.gateway.state().orders_received == len(sent) > 20
        assert check_parity(History.from_store(desk.store), desk.journal).differences == ()
        navs = read_table(desk.store, table("nav"))
        assert navs["session"].tolist() == SESSIONS[:-1]
        check_what_was_looked_at(ticking, set(navs["mark_source"]))
        watches = ticking.instance.get_runs(filters=dg.RunsFilter(job_name="open_monitor_job"))
        # At 09:31 the clock stands: the watch ends early, and counts as neither failed nor done.
        assert {UNFINISHED_TAG in run.tags for run in watches if run.tags[KEY_TAG].endswith(":1")} == {True}
        statuses = {run.status for run in ticking.instance.get_runs()}
        assert statuses == {dg.DagsterRunStatus.SUCCESS}

        size = sum(path.stat().st_size for path in (desk.settings.home / "dagster").rglob("*.db*"))
        runs = len(ticking.instance.get_runs())
        # Ten to fifteen runs a session: a week of them stays below 30 MB.
        assert size / runs < 400_000, (size, runs)

        with closing(sqlite3.connect(desk.settings.mode_dir / "alerts.sqlite")) as alerts:
            told = [row[0] for row in alerts.execute("SELECT key FROM alerts WHERE kind = 'missed session'")]
        assert sorted(told) == [f"missed:{session}" for session in MISSED]


def check_what_was_run(ticking: Floor) -> None:
    for job in ("predictions_job", "live_trader_job"):
        assert ticking.of(job) == TRADED, job
    assert sorted(ticking.of("market_data_job")) == SESSIONS
    assert set(ticking.of("book_job")) == set(SESSIONS[:-1])
    whole_evenings = [date(2022, 11, day) for day in (3, 16, 25)]
    assert ticking.of("drift_monitor_job") == whole_evenings
    assert ticking.of("preflight_job") == [date(2022, 11, day) for day in (3, 14, 25)]
    # After the last order, and late in the evening.
    assert Counter(ticking.of("sync_job"))[date(2022, 11, 3)] >= 2
    assert not [now for now, _, _ in ticking.launched if not nyse().is_session(now.date())]
    assert not [now for now, _, _ in ticking.launched if DOWN[0] <= now < DOWN[1]]


def check_what_was_looked_at(ticking: Floor, kept: set[str]) -> None:
    """Twice a day the account was valued at the broker's prices, and of that nothing stayed."""
    looks = [now for now, job, _ in ticking.launched if job == "book_job" and now.time() < time(17)]
    assert {(now.hour, now.minute) for now in looks} == {(9, 45), (16, 15)}
    events = ticking.instance.fetch_materializations(dg.AssetKey("nav"), limit=200).records
    seen = [event.asset_materialization for event in events]
    # Of the whole days, two begin in a market that is closed and one begins after the downtime.
    assert len(looks) == 6
    assert sum(each is not None and each.metadata["provisional"].value is True for each in seen) == len(looks)
    assert kept == {"official_close"}


def check_what_was_said(said: dict[datetime, dict[str, str]]) -> None:
    def at(day: date, clock: str) -> dict[str, str]:
        return said[datetime.combine(day, time.fromisoformat(clock), NEW_YORK)]

    thanksgiving = at(date(2022, 11, 24), "23:16")
    for schedule in ("market_data", "predictions", "live_trader", "book", "drift_monitor"):
        assert thanksgiving[f"{schedule}_schedule"] == ("2022-11-24 is a holiday; next session 2022-11-25")
    sunday = at(date(2022, 11, 6), "08:45")
    assert sunday["live_trader_schedule"] == "2022-11-06 is a Sunday; next session 2022-11-07"
    later = at(date(2022, 11, 25), "19:00")["live_trader_schedule"]
    assert "is sent already" in later
    back = at(date(2022, 11, 16), "19:00")["missed_sessions_sensor"]
    assert back.endswith("sessions not traded lately: 2022-11-14, 2022-11-15")
