"""Every tick of every job, decided without Dagster: what runs, what is skipped, and what the reason says.

Past 400 lines: one list of jobs and what may hold each back.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.timetable import (
    SYNC_JOB,
    TIMETABLE,
    DeskState,
    PlanFacts,
    Run,
    Skip,
    catch_up,
    fills_wanted,
    newest_expected,
    should_run,
    stale_symbols,
)

THU, FRI, MON, TUE = date(2022, 12, 1), date(2022, 12, 2), date(2022, 12, 5), date(2022, 12, 6)


def at(day: date | str, clock: str) -> datetime:
    return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=NEW_YORK)


def written(session: date, *assets: str, when: datetime | None = None) -> dict[str, dict[date, datetime]]:
    return {asset: {session: when or at(session, "17:31")} for asset in assets}


def plan(status: str, working: int = 0) -> PlanFacts:
    return PlanFacts("sim-DU1-2022-12-02-daily-1", status, working)


DATA = DeskState(written=written(FRI, "features"))
PLANNED = DeskState(
    written=written(FRI, "features", "predictions", "target_portfolio"), plans={FRI: plan("approved")}
)
SENT = replace(PLANNED, plans={FRI: plan("sent", working=3)})
BOOKED = replace(
    SENT,
    written={
        **SENT.written,
        **written(MON, "features"),
        "features": {FRI: at(FRI, "17:31"), MON: at(MON, "17:31")},
    },
)
VALUED = replace(BOOKED, written={**BOOKED.written, **written(FRI, "nav", when=at(MON, "17:46"))})
EMPTY = DeskState()
KNOWN = DeskState(written=written(THU, "universe"))


def approved(when: datetime) -> DeskState:
    """A plan of Friday that a person approved at `when`."""
    return replace(PLANNED, plans={FRI: replace(plan("approved"), approved_at=when)})


def looked_at(clock: str) -> DeskState:
    """The book of Friday as a look at the broker's prices of Monday left it, the prices of Monday stored."""
    nav = written(FRI, "nav", when=at(MON, clock)) if clock else {}
    return replace(BOOKED, written={**BOOKED.written, **nav}, provisional=frozenset({FRI} if clock else ()))


@pytest.mark.parametrize(
    ("job", "now", "state", "expected"),
    [
        # market data: 17:30, every ten minutes, until it is stored or 20:00
        ("market_data_job", at(FRI, "17:30"), EMPTY, "market_data_job:2022-12-02:17:30:1"),
        ("market_data_job", at(FRI, "17:40"), EMPTY, "market_data_job:2022-12-02:17:30:2"),
        ("market_data_job", at(FRI, "20:00"), EMPTY, "market_data_job:2022-12-02:17:30:16"),
        ("market_data_job", at(FRI, "20:01"), EMPTY, "market_data_job is not started after 20:00"),
        ("market_data_job", at(FRI, "17:40"), DATA, "prices of 2022-12-02 are stored already"),
        ("market_data_job", at(FRI, "17:29"), EMPTY, "starts at 17:30; the clock stands at 2022-12-02 17:29"),
        (
            "market_data_job",
            at("2022-12-03", "17:30"),
            EMPTY,
            "2022-12-03 is a Saturday; next session 2022-12-05",
        ),
        (
            "market_data_job",
            at("2022-11-24", "17:30"),
            EMPTY,
            "2022-11-24 is a holiday; next session 2022-11-25",
        ),
        # a half day: its session is over at 13:00, its evening is at the usual time
        ("market_data_job", at("2022-11-25", "13:01"), EMPTY, "market_data_job starts at 17:30"),
        ("market_data_job", at("2022-11-25", "17:30"), EMPTY, "market_data_job:2022-11-25:17:30:1"),
        # the two days on which the clocks change are Sundays; the sessions around them are ordinary
        ("market_data_job", at("2022-11-04", "17:30"), EMPTY, "market_data_job:2022-11-04:17:30:1"),
        (
            "market_data_job",
            at("2022-11-06", "17:30"),
            EMPTY,
            "2022-11-06 is a Sunday; next session 2022-11-07",
        ),
        ("market_data_job", at("2022-11-07", "17:30"), EMPTY, "market_data_job:2022-11-07:17:30:1"),
        ("market_data_job", at("2022-03-14", "17:50"), EMPTY, "market_data_job:2022-03-14:17:30:3"),
        # predictions wait for the data
        ("predictions_job", at(FRI, "18:15"), EMPTY, "market_data_job of 2022-12-02 is not done yet"),
        (
            "predictions_job",
            at(FRI, "18:15"),
            replace(DATA, running=frozenset({"market_data_job"})),
            "market_data_job still running",
        ),
        ("predictions_job", at(FRI, "18:15"), DATA, "predictions_job:2022-12-02:18:15:1"),
        ("predictions_job", at(FRI, "18:25"), PLANNED, "target_portfolio of 2022-12-02 are stored already"),
        (
            "predictions_job",
            at(FRI, "18:25"),
            replace(DATA, running=frozenset({"predictions_job"})),
            "predictions_job still running",
        ),
        # once there is a book they wait for its official NAV as well: without it nothing would be bought
        ("predictions_job", at(MON, "18:15"), BOOKED, "book_job of 2022-12-02 is not done yet"),
        ("predictions_job", at(MON, "20:00"), BOOKED, "book_job of 2022-12-02 is not done yet"),
        (
            "predictions_job",
            at(MON, "18:35"),
            replace(BOOKED, written={**BOOKED.written, **written(FRI, "nav", when=at(MON, "16:16"))}),
            "book_job of 2022-12-02 is not done yet",
        ),
        (
            "predictions_job",
            at(MON, "18:35"),
            replace(VALUED, running=frozenset({"book_job"})),
            "book_job still running",
        ),
        ("predictions_job", at(MON, "18:35"), VALUED, "predictions_job:2022-12-05:18:15:3"),
        # the trader
        ("live_trader_job", at(FRI, "18:29"), PLANNED, "live_trader_job starts at 18:30"),
        ("live_trader_job", at(FRI, "18:30"), PLANNED, "live_trader_job:2022-12-02:18:30:1"),
        ("live_trader_job", at(FRI, "18:30"), DATA, "predictions_job of 2022-12-02 is not done yet"),
        (
            "live_trader_job",
            at(FRI, "18:30"),
            replace(PLANNED, running=frozenset({"predictions_job"})),
            "predictions_job still running",
        ),
        ("live_trader_job", at(FRI, "18:40"), SENT, "plan sim-DU1-2022-12-02-daily-1 is sent already"),
        ("live_trader_job", at(FRI, "18:30"), replace(PLANNED, plans={}), "session 2022-12-02 has no plan"),
        (
            "live_trader_job",
            at(FRI, "18:30"),
            replace(PLANNED, plans={FRI: plan("proposed")}),
            "waits for approval",
        ),
        (
            "live_trader_job",
            at(FRI, "18:30"),
            replace(PLANNED, plans={FRI: plan("rejected")}),
            "is rejected and is not sent",
        ),
        (
            "live_trader_job",
            at(FRI, "18:30"),
            replace(PLANNED, halted="drawdown"),
            "trading is halted: drawdown",
        ),
        (
            "live_trader_job",
            at(FRI, "18:40"),
            replace(PLANNED, dry_run=True, written={**PLANNED.written, **written(FRI, "orders")}),
            "dry run: nothing is sent",
        ),
        (
            "live_trader_job",
            at(FRI, "18:40"),
            replace(PLANNED, dry_run=True),
            "live_trader_job:2022-12-02:18:30:2",
        ),
        # let go on after the evening: tried for an hour, at night and in the morning before the open too
        ("live_trader_job", at(FRI, "20:10"), PLANNED, "is tried after 20:00 only once its plan is approved"),
        (
            "live_trader_job",
            at(FRI, "21:10"),
            replace(PLANNED, plans={FRI: plan("proposed")}),
            "waits for approval",
        ),
        (
            "live_trader_job",
            at(FRI, "21:10"),
            approved(at(FRI, "21:07")),
            "live_trader_job:2022-12-02:20:10:7",
        ),
        ("live_trader_job", at(FRI, "22:10"), approved(at(FRI, "21:07")), "run it by hand"),
        ("live_trader_job", at(FRI, "22:10"), approved(at(FRI, "19:07")), "tried after 20:00 only once"),
        ("live_trader_job", at(FRI, "23:50"), approved(at(FRI, "23:45")), "not started after 23:30"),
        (
            "live_trader_job",
            at(MON, "01:00"),
            approved(at(FRI, "23:45")),
            "live_trader_job:2022-12-02:01:00:1",
        ),
        ("live_trader_job", at("2022-12-03", "12:10"), approved(at("2022-12-03", "12:00")), "is a Saturday"),
        (
            "live_trader_job",
            at(MON, "01:30"),
            approved(at("2022-12-03", "12:00")),
            "live_trader_job:2022-12-02:01:00:4",
        ),
        (
            "live_trader_job",
            at(MON, "09:20"),
            approved(at(MON, "09:12")),
            "live_trader_job:2022-12-02:01:00:51",
        ),
        ("live_trader_job", at(MON, "09:21"), approved(at(MON, "09:12")), "live_trader_job starts at 18:30"),
        (
            "live_trader_job",
            at(MON, "08:10"),
            replace(approved(at(FRI, "18:20")), resumed=at(MON, "08:05")),
            "live_trader_job:2022-12-02:01:00:44",
        ),
        # sent before the open: the morning after the decision
        ("live_trader_job", at(FRI, "18:30"), replace(PLANNED, preopen=True), "not started after 09:20"),
        (
            "live_trader_job",
            at(MON, "09:00"),
            replace(PLANNED, preopen=True),
            "live_trader_job:2022-12-02:09:00:1",
        ),
        # before the open of E: 09:29 is before it, 09:31 after it; the decision session stays D
        ("preopen_job", at(MON, "08:45"), SENT, "preopen_job:2022-12-02:08:45:1"),
        ("preopen_job", at(MON, "08:45"), PLANNED, "no order of 2022-12-02 is at the broker"),
        # A flatten's orders, beside a daily plan of which nothing works, or without any.
        ("preopen_job", at(MON, "08:45"), replace(PLANNED, working=1), "preopen_job:2022-12-02:08:45:1"),
        ("open_monitor_job", at(MON, "09:29"), SENT, "open_monitor_job:2022-12-02:09:25:1"),
        ("open_monitor_job", at(MON, "09:31"), SENT, "open_monitor_job:2022-12-02:09:25:1"),
        (
            "open_monitor_job",
            at(MON, "09:35"),
            replace(SENT, finished=frozenset({("open_monitor_job", FRI)})),
            "open_monitor_job of 2022-12-02 has run already",
        ),
        # a watch that ended early is no finished one: asked again, past its end too, while orders wait
        (
            "open_monitor_job",
            at(MON, "09:46"),
            replace(SENT, asked=frozenset({"open_monitor_job:2022-12-02:09:25:1"})),
            "open_monitor_job:2022-12-02:09:25:3",
        ),
        ("open_monitor_job", at(MON, "12:45"), SENT, "open_monitor_job:2022-12-02:09:25:21"),
        ("open_monitor_job", at(MON, "09:46"), PLANNED, "no order of 2022-12-02 is at the broker"),
        # the book of D: provisional twice, official, and once more for late commissions
        ("book_job", at(MON, "09:29"), SENT, "book_job starts at 09:45"),
        ("book_job", at(MON, "09:45"), SENT, "book_job:2022-12-02:09:45:1"),
        ("book_job", at(MON, "15:59"), SENT, "book_job starts at 16:15"),
        ("book_job", at(MON, "16:15"), SENT, "book_job:2022-12-02:16:15:1"),
        ("book_job", at(MON, "17:45"), SENT, "market_data_job of 2022-12-05 is not done yet"),
        ("book_job", at(MON, "17:45"), BOOKED, "book_job:2022-12-02:17:45:1"),
        (
            "book_job",
            at(MON, "17:55"),
            replace(BOOKED, written={**BOOKED.written, **written(FRI, "nav", when=at(MON, "17:46"))}),
            "nav of 2022-12-02 are stored already since 2022-12-05 17:46",
        ),
        (
            "book_job",
            at(MON, "20:15"),
            replace(BOOKED, written={**BOOKED.written, **written(FRI, "nav", when=at(MON, "17:46"))}),
            "book_job:2022-12-02:20:15:1",
        ),
        # A valuation at the broker's prices is one for its own slot, and for nothing else.
        (
            "book_job",
            at(MON, "09:55"),
            looked_at("09:46"),
            "nav of 2022-12-02 are stored already since 2022-12-05 09:46",
        ),
        ("book_job", at(MON, "16:15"), looked_at("09:46"), "book_job:2022-12-02:16:15:1"),
        ("book_job", at(MON, "16:25"), looked_at(""), "book_job:2022-12-02:16:15:2"),
        ("book_job", at(MON, "17:45"), looked_at("16:16"), "book_job:2022-12-02:17:45:1"),
        ("book_job", at(MON, "17:55"), looked_at("17:46"), "book_job:2022-12-02:17:45:2"),
        ("predictions_job", at(MON, "18:15"), looked_at("17:46"), "book_job of 2022-12-02 is not done yet"),
        ("book_job", at(FRI, "17:45"), DATA, "nothing was planned by 2022-12-01: there is no book yet"),
        # drift needs scores, not a plan
        ("drift_monitor_job", at(FRI, "19:00"), DATA, "predictions_job of 2022-12-02 is not done yet"),
        (
            "drift_monitor_job",
            at(FRI, "19:00"),
            DeskState(written=written(FRI, "features", "predictions")),
            "drift_monitor_job:2022-12-02:19:00:1",
        ),
        # and looks again after the look for the trade gate
        (
            "drift_monitor_job",
            at(FRI, "19:00"),
            DeskState(written=written(FRI, "features", "predictions", "model_drift", when=at(FRI, "18:16"))),
            "drift_monitor_job:2022-12-02:19:00:1",
        ),
        (
            "drift_monitor_job",
            at(FRI, "19:10"),
            DeskState(written=written(FRI, "features", "predictions", "model_drift", when=at(FRI, "19:01"))),
            "model_drift of 2022-12-02 are stored already since 2022-12-02 19:01",
        ),
        # by the calendar day
        ("preflight_job", at(FRI, "14:00"), KNOWN, "preflight_job:2022-12-02:14:00:1"),
        ("preflight_job", at(FRI, "14:29"), KNOWN, "preflight_job:2022-12-02:14:00:1"),
        ("preflight_job", at(FRI, "14:00"), EMPTY, "no universe of the last weeks is stored"),
        ("training_job", at("2022-12-03", "10:00"), EMPTY, "training_job:2022-12-03:10:00:1"),
        (
            "training_job",
            at("2022-12-03", "10:01"),
            DeskState(asked=frozenset({"training_job:2022-12-03:10:00:1"})),
            "attempt 1 of training_job of 2022-12-03 was made; there is no other one",
        ),
        ("training_job", at(FRI, "10:00"), EMPTY, "runs on Saturdays; 2022-12-02 is a Friday"),
        ("cleanup_job", at("2022-12-04", "04:10"), EMPTY, "cleanup_job:2022-12-04:04:10:1"),
        # nothing is set up
        ("market_data_job", at(FRI, "17:30"), DeskState(unready="run `make demo`"), "run `make demo`"),
    ],
)
def test_a_tick_runs_or_says_why_not(job: str, now: datetime, state: DeskState, expected: str) -> None:
    decided = should_run(job, now, state)
    if isinstance(decided, Run):
        assert decided.key == expected
    else:
        assert expected in decided.reason


@pytest.mark.parametrize(
    "job", ["market_data_job", "predictions_job", "live_trader_job", "drift_monitor_job"]
)
def test_a_friday_tick_fired_late_on_monday_is_no_trade(job: str) -> None:
    decided = should_run(job, at(MON, "18:31"), DATA, scheduled=at(FRI, "19:00"))
    assert isinstance(decided, Skip)
    assert "the tick of 2022-12-02 19:00 fired late, at 2022-12-05 18:31" in decided.reason
    assert "the decision session is 2022-12-05 by now" in decided.reason


def test_a_tick_fired_late_on_its_own_evening_means_what_it_meant() -> None:
    decided = should_run("live_trader_job", at(FRI, "19:40"), PLANNED, scheduled=at(FRI, "18:30"))
    assert isinstance(decided, Run)
    assert (decided.session, decided.attempt) == (FRI, 1)


def test_over_a_weekend_the_decision_session_is_the_same_and_still_nothing_is_sent_late() -> None:
    decided = should_run("live_trader_job", at("2022-12-03", "10:00"), PLANNED, scheduled=at(FRI, "18:30"))
    assert isinstance(decided, Skip)
    assert "after 20:00 of its day" in decided.reason


def test_a_try_is_made_once_and_the_reason_names_the_next_one() -> None:
    state = replace(DATA, simulated=True, asked=frozenset({"predictions_job:2022-12-02:18:15:1"}))
    decided = should_run("predictions_job", at(FRI, "18:20"), state)
    assert isinstance(decided, Skip)
    assert "attempt 1 of predictions_job of 2022-12-02 was made; the next one is at 18:25" in decided.reason
    assert "simulated clock stands at 2022-12-02 18:20" in decided.reason
    assert isinstance(should_run("predictions_job", at(FRI, "18:25"), state), Run)


def test_in_sim_the_reason_says_how_the_clock_moves() -> None:
    decided = should_run("predictions_job", at(FRI, "17:30"), replace(DATA, simulated=True))
    assert decided == Skip(
        "predictions_job starts at 18:15; simulated clock stands at 2022-12-02 17:30; "
        "run `hrp gateway advance`"
    )


# --- a month, tick by tick ------------------------------------------------------------------------------


def every(minutes: int, start: datetime, end: datetime) -> Iterator[datetime]:
    moment = start
    while moment < end:
        yield moment.astimezone(NEW_YORK)
        moment = (moment.astimezone(UTC) + timedelta(minutes=minutes)).astimezone(NEW_YORK)


def apply(state: DeskState, run: Run, now: datetime) -> DeskState:
    """Return the facts after a run that succeeded."""
    makes = {
        "market_data_job": ("features",),
        "predictions_job": ("predictions", "model_drift", "target_portfolio"),
        "live_trader_job": ("orders",),
        "drift_monitor_job": ("model_drift",),
        "book_job": run.only or ("fills", "positions", "nav"),
    }.get(run.job, ())
    stored = {name: dict(sessions) for name, sessions in state.written.items()}
    for asset in makes:
        stored.setdefault(asset, {})[run.session] = now
    plans = dict(state.plans)
    if run.job == "predictions_job":
        plans[run.session] = plan("approved")
    if run.job == "live_trader_job":
        plans[run.session] = plan("sent", working=1)
    return replace(
        state,
        written=stored,
        plans=plans,
        asked=state.asked | {run.key},
        finished=state.finished | {(run.job, run.session)},
    )


@pytest.mark.parametrize("minutes", [1, 7, 10])
def test_november_is_asked_for_once_a_job_and_session_whatever_the_ticks(minutes: int) -> None:
    november = nyse().between(date(2022, 11, 1), date(2022, 11, 30))
    state, runs = DeskState(written=written(date(2022, 10, 31), "universe")), []
    for now in every(minutes, at("2022-11-01", "00:00"), at("2022-12-01", "00:00")):
        for job in TIMETABLE:
            decided = should_run(job, now, state)
            if isinstance(decided, Run):
                runs.append((now, decided))
                state = apply(state, decided, now)
    for job in (
        "market_data_job",
        "predictions_job",
        "live_trader_job",
        "drift_monitor_job",
        "preflight_job",
    ):
        assert [run.session for _, run in runs if run.job == job] == november, job
    booked = [(run.session, run.slot) for _, run in runs if run.job == "book_job"]
    assert booked == [
        (session, slot) for session in november[:-1] for slot in ("09:45", "16:15", "17:45", "20:15")
    ]
    for job in ("preopen_job", "open_monitor_job"):
        assert [run.session for _, run in runs if run.job == job] == november[:-1], job
    assert [run.session.day for _, run in runs if run.job == "training_job"] == [5, 12, 19, 26]
    assert [run.session.day for _, run in runs if run.job == "cleanup_job"] == list(range(1, 31))
    quiet = {now.date() for now, run in runs if run.job not in ("training_job", "cleanup_job")}
    assert quiet == set(november)


@given(
    moment=st.integers(0, 356 * 1440).map(
        lambda minute: at("2022-01-04", "00:00") + timedelta(minutes=minute)
    ),
    late=st.timedeltas(timedelta(), timedelta(days=4)),
)
def test_no_order_is_ever_asked_for_outside_its_evening(moment: datetime, late: timedelta) -> None:
    session = nyse().decision_session(moment)
    state = DeskState(
        written=written(session, "features", "predictions", "target_portfolio"),
        plans={session: plan("approved")},
    )
    now = (moment.astimezone(UTC) + late).astimezone(NEW_YORK)
    decided = should_run("live_trader_job", now, state, scheduled=moment)
    if isinstance(decided, Run):
        assert decided.session == moment.date() == now.date() == nyse().decision_session(now)
        assert (18, 30) <= (moment.hour, moment.minute) <= (now.hour, now.minute) <= (20, 0)


# --- after downtime, fills, staleness --------------------------------------------------------------------


def test_no_job_but_the_clean_up_is_due_while_the_broker_resets_its_servers() -> None:
    """From 23:30, when TWS and IB Gateway are set to restart, to 01:00."""
    for job, row in TIMETABLE.items():
        for slot in row.slots:
            if job != "cleanup_job":
                assert time(1) <= slot.at <= slot.until <= time(23, 30), (job, slot)


def test_after_downtime_what_may_be_done_is_asked_for_and_the_rest_is_named() -> None:
    # Away from Friday evening to Tuesday noon: Friday's data came, its plan was never sent.
    state = DeskState(written=written(FRI, "features", "target_portfolio"), plans={FRI: plan("approved")})
    now, asked = at(TUE, "12:00"), []
    while True:
        runs, untraded = catch_up(now, state)
        if not runs:
            break
        [run] = runs
        asked.append((run.job, run.session))
        state = apply(state, run, now)
    assert asked == [("market_data_job", MON), ("book_job", FRI)]
    assert untraded == (FRI, MON)


def test_after_downtime_a_run_that_fails_is_tried_again_in_an_hour() -> None:
    state = replace(SENT, written=written(FRI, "features"))
    [run], _ = catch_up(at(TUE, "12:00"), state)
    assert (run.job, run.session, run.slot) == ("market_data_job", MON, "late")
    asked = replace(state, asked=frozenset({run.key}))
    assert catch_up(at(TUE, "12:50"), asked)[0] == ()
    [again], _ = catch_up(at(TUE, "13:01"), asked)
    assert again.attempt == run.attempt + 1
    assert catch_up(at(TUE, "13:01"), replace(asked, running=frozenset({"market_data_job"})))[0] == ()


def test_a_book_that_stayed_provisional_is_asked_for_after_its_evening() -> None:
    [run], _ = catch_up(at(MON, "20:30"), looked_at("16:16"))
    assert (run.job, run.session, run.slot) == ("book_job", FRI, "late")


def test_an_ordinary_evening_has_nothing_to_catch_up() -> None:
    assert catch_up(at(FRI, "19:00"), SENT) == ((), ())
    assert catch_up(at(MON, "18:00"), SENT) == ((), ())
    assert catch_up(at(FRI, "20:30"), EMPTY) == ((), ())


@pytest.mark.parametrize(
    ("now", "state", "expected"),
    [
        (at(FRI, "18:39"), EMPTY, "no order of ours is working"),
        (at(FRI, "18:40"), replace(SENT, looks=(at(FRI, "18:40"),)), "sync_job:2022-12-02:18:40:00:1"),
        (at(FRI, "18:55"), replace(SENT, looks=(at(FRI, "18:40"),)), "sync_job:2022-12-02:18:40:00:2"),
        (
            at(FRI, "23:15"),
            replace(SENT, looks=(at(FRI, "18:40"), at(FRI, "23:15"))),
            "sync_job:2022-12-02:23:15:00:1",
        ),
        # a look that was missed over midnight cannot be made up
        (
            at(MON, "08:00"),
            replace(SENT, working=3, looks=(at(FRI, "23:15"),)),
            "3 orders of ours wait: the market opens at 09:30",
        ),
        (at(FRI, "19:00"), replace(SENT, working=3), "the market closed at 16:00"),
        (at("2022-12-03", "12:00"), replace(SENT, working=3), "the market opens on 2022-12-05"),
        (at(MON, "09:31"), replace(SENT, working=3), "sync_job:2022-12-05:09:30:1"),
        (
            at(MON, "09:50"),
            replace(SENT, working=3, looked=at(MON, "09:46")),
            "the broker was asked at 2022-12-05 09:46",
        ),
        (at(MON, "10:02"), replace(SENT, working=3, looked=at(MON, "09:46")), "sync_job:2022-12-05:10:00:1"),
        (
            at(MON, "10:02"),
            replace(SENT, working=3, running=frozenset({"book_job"})),
            "is being asked right now",
        ),
        # positions follow the fills of an open by minutes: a look in between would see a contradiction
        (
            at(MON, "09:31"),
            replace(SENT, working=3, running=frozenset({"open_monitor_job"})),
            "the open is being watched",
        ),
        (
            at(MON, "09:45"),
            replace(SENT, working=3, running=frozenset({"open_monitor_job"})),
            "sync_job:2022-12-05:09:45:1",
        ),
        (at("2022-11-25", "12:59"), replace(SENT, working=1), "sync_job:2022-11-25:12:45:1"),
        (at("2022-11-25", "13:16"), replace(SENT, working=1), "the market closed at 13:00"),
    ],
)
def test_the_broker_is_asked_for_fills_when_there_can_be_any(
    now: datetime, state: DeskState, expected: str
) -> None:
    decided = fills_wanted(now, state)
    if isinstance(decided, Run):
        assert (decided.job, decided.key) == (SYNC_JOB, expected)
    else:
        assert expected in decided.reason


def test_a_name_is_stale_when_the_evening_is_over_and_counted_in_sessions() -> None:
    assert newest_expected(at(MON, "20:00")) == FRI
    assert newest_expected(at(MON, "20:01")) == MON
    assert newest_expected(at("2022-11-25", "14:00")) == date(2022, 11, 23)
    assert stale_symbols({"A": MON, "B": FRI, "C": THU}, MON) == {"B": 1, "C": 2}
    assert stale_symbols({"A": MON, "B": FRI, "C": THU}, MON, allowed=1) == {"C": 2}
