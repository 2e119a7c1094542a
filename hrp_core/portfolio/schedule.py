"""When a strategy trades: its rebalance schedule, and how long it has held a name.

What belongs here: pure arithmetic on sessions of the exchange. What does not: what is then kept or traded
(`construction`).
"""

from datetime import date, timedelta

from hrp_core.calendar import nyse

DAILY, WEEKLY = "daily", "weekly"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
SCHEDULES = (DAILY, WEEKLY, *WEEKDAYS)


def rebalances(schedule: str, session: date) -> bool:
    """Return whether a strategy of this schedule trades on `session` (decision session D).

    Weekly is the first session of a week. A weekday is the first session of the week on or after it; where
    there is none (a holiday on Friday), the last session of the week.

    Args:
        schedule: one of `SCHEDULES`.
        session: decision session D.
    """
    if schedule == DAILY:
        return True
    monday = session - timedelta(days=session.weekday())
    week = nyse().between(monday, monday + timedelta(days=6))
    day = 0 if schedule == WEEKLY else WEEKDAYS.index(schedule)
    later = [each for each in week if each.weekday() >= day]
    return session == (later[0] if later else week[-1])


def sessions_held(since: date, session: date) -> int:
    """Return how many sessions a holding that began in `since` has seen by the close of `session`."""
    return len(nyse().between(since, session))
