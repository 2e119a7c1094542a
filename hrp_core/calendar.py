"""Sessions of the exchange and the one clock of the system.

What belongs here: which days the exchange trades, when it opens and closes, and which session a moment
belongs to. Nothing else in the system reads the wall clock; `now` is passed in, or a `Clock` is.

Sessions are plain `datetime.date`; moments are timezone-aware datetimes.
"""

import json
from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from hrp_core.errors import DataError, NotReadyError, RefusedError

NEW_YORK = ZoneInfo("America/New_York")
_CALENDAR_START = "1990-01-01"


class Calendar:
    """The sessions of the New York Stock Exchange from 1990 to about a year ahead.

    Source of the dates: `exchange_calendars`, calendar XNYS.
    """

    def __init__(self, name: str = "XNYS") -> None:
        import exchange_calendars

        schedule = exchange_calendars.get_calendar(name, start=_CALENDAR_START).schedule
        self._sessions: list[date] = [stamp.date() for stamp in schedule.index]
        self._opens: list[datetime] = [stamp.to_pydatetime() for stamp in schedule["open"]]
        self._closes: list[datetime] = [stamp.to_pydatetime() for stamp in schedule["close"]]
        self._position = {session: i for i, session in enumerate(self._sessions)}

    @property
    def first(self) -> date:
        """The first session the calendar knows."""
        return self._sessions[0]

    @property
    def last(self) -> date:
        """The last session the calendar knows (about a year ahead of the real date)."""
        return self._sessions[-1]

    def is_session(self, day: date) -> bool:
        """Return whether the exchange trades on `day`."""
        return day in self._position

    def open(self, session: date) -> datetime:
        """Return the moment `session` opens (New York time).

        Raises:
            DataError: `session` is not a trading day.
        """
        return self._opens[self._index(session)].astimezone(NEW_YORK)

    def close(self, session: date) -> datetime:
        """Return the moment `session` closes (New York time; 13:00 on half days).

        Raises:
            DataError: `session` is not a trading day.
        """
        return self._closes[self._index(session)].astimezone(NEW_YORK)

    def offset(self, session: date, count: int) -> date:
        """Return the session `count` sessions after `session` (before it when negative).

        Raises:
            DataError: `session` is not a trading day, or the calendar ends before the answer.
        """
        index = self._index(session) + count
        if not 0 <= index < len(self._sessions):
            raise DataError(
                f"{session} {count:+d} sessions lies outside the calendar ({self.first} to {self.last})"
            )
        return self._sessions[index]

    def next(self, session: date) -> date:
        """Return the session after `session`."""
        return self.offset(session, 1)

    def previous(self, session: date) -> date:
        """Return the session before `session`."""
        return self.offset(session, -1)

    def next_session_from(self, day: date) -> date:
        """Return the first session on or after any `day`.

        Raises:
            DataError: the calendar ends before the answer.
        """
        index = bisect_left(self._sessions, day)
        if index == len(self._sessions):
            raise DataError(f"no session known on or after {day}; the calendar ends on {self.last}")
        return self._sessions[index]

    def between(self, start: date, end: date) -> list[date]:
        """Return the sessions from `start` to `end`, both included, in order."""
        return self._sessions[bisect_left(self._sessions, start) : bisect_right(self._sessions, end)]

    def decision_session(self, now: datetime) -> date:
        """Return the latest session whose close is at or before `now` (timezone-aware).

        Raises:
            DataError: `now` is before the first close of the calendar.
        """
        index = bisect_right(self._closes, _aware(now)) - 1
        if index < 0:
            raise DataError(f"{now} is before the first session of the calendar ({self.first})")
        return self._sessions[index]

    def book_session(self, now: datetime) -> date:
        """Return the session before the latest session whose open is at or before `now` (timezone-aware).

        This is the session whose orders are executing, or have executed, at `now`.

        Raises:
            DataError: `now` is before the second open of the calendar.
        """
        index = bisect_right(self._opens, _aware(now)) - 2
        if index < 0:
            raise DataError(f"{now} is before the second session of the calendar")
        return self._sessions[index]

    def _index(self, session: date) -> int:
        if isinstance(session, datetime):
            raise TypeError("a session is a date, not a datetime")
        try:
            return self._position[session]
        except KeyError:
            raise DataError(f"{session} is not a trading session of the exchange") from None


@lru_cache(maxsize=1)
def nyse() -> Calendar:
    """Return the shared calendar (built once per process, about 0.2 s)."""
    return Calendar()


def _aware(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError(f"a moment needs a time zone: {now!r}")
    return now.astimezone(UTC)


class Clock(Protocol):
    """Tells the time. The only way for code of this system to learn what time it is."""

    def now(self) -> datetime:
        """Return the current moment, timezone-aware, in New York time."""
        ...


class WallClock:
    """The computer's clock: paper and live trading."""

    def now(self) -> datetime:
        """Return the wall-clock time in New York."""
        return datetime.now(NEW_YORK)


class FixedClock:
    """A clock that stands where it was put; `set` moves it (tests, replay)."""

    def __init__(self, now: datetime) -> None:
        self._now = _aware(now).astimezone(NEW_YORK)

    def now(self) -> datetime:
        """Return the moment the clock was set to."""
        return self._now

    def set(self, now: datetime) -> None:
        """Put the clock to `now` (timezone-aware)."""
        self._now = _aware(now).astimezone(NEW_YORK)


class GatewayClock:
    """The simulated gateway's clock, read from the clock file that the gateway writes.

    Args:
        path: JSON file with a `now` field (ISO 8601 with offset), written by the gateway alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> datetime:
        """Return the simulated time in New York.

        Raises:
            NotReadyError: no simulated gateway has been started under this HRP_HOME.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise NotReadyError(
                f"the simulated clock does not exist yet ({self._path}); start the gateway with "
                "`hrp gateway serve`, or run `hrp demo`"
            ) from None
        return datetime.fromisoformat(json.loads(text)["now"]).astimezone(NEW_YORK)


def start_of_next_day(now: datetime) -> datetime:
    """Return the midnight in New York that follows `now` (the broker's day boundary)."""
    local = now.astimezone(NEW_YORK)
    following = local.date() + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=NEW_YORK)


def require_completed(session: date, now: datetime) -> None:
    """Refuse a session whose close has not been reached: a partition key exists long before its data does.

    Raises:
        DataError: `session` is not a trading day.
        RefusedError: the close of `session` lies after `now`.
    """
    close = nyse().close(session)
    if now < close:
        raise RefusedError(
            f"session {session} closes at {close:%Y-%m-%d %H:%M} New York and the clock stands at "
            f"{now.astimezone(NEW_YORK):%Y-%m-%d %H:%M}: its data does not exist yet. In sim, move the clock "
            "with `hrp gateway advance`"
        )


def require_decision_session(session: date, now: datetime) -> None:
    """Refuse to plan or trade for any session but the one decided on at `now`.

    Raises:
        DataError: `session` is not a trading day.
        RefusedError: `session` is not the decision session; the message says what to run instead.
    """
    nyse().close(session)
    current = nyse().decision_session(now)
    if session == current:
        return
    advice = (
        f"for history run `hrp replay --start {session} --end {session} --strategy FILE`, with the file of a "
        "strategy that scores by a feature"
        if session < current
        else "wait for its close (in sim: `hrp gateway advance`)"
    )
    raise RefusedError(
        f"session {session} is not the decision session: the clock stands at "
        f"{now.astimezone(NEW_YORK):%Y-%m-%d %H:%M} New York, so only {current} may be planned and traded; "
        f"{advice}"
    )
