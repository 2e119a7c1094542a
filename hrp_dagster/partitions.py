"""The one partition set: decision sessions of the exchange.

A key exists from midnight of its day (New York), Monday's from Saturday on, so that a key exists proves
nothing: every asset checks its key against the Clock (`hrp_core.execution.guards`).
"""

from datetime import date, datetime, timedelta

import dagster as dg

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.market import source_from_settings
from hrp_core.settings import Mode, Settings

KEY_FORMAT = "%Y-%m-%d"


def build_session_partitions(first: date, end: date | None = None) -> dg.TimeWindowPartitionsDefinition:
    """Return daily partitions on exchange sessions from `first` on.

    Args:
        first: first session.
        end: last session that is a key; None for an open end.
    """
    calendar = nyse()
    last_known = end or calendar.last
    holidays: list[str | datetime | dg.TimestampWithTimezone] = []
    day = first
    while day <= last_known:
        if day.weekday() < 5 and not calendar.is_session(day):
            holidays.append(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK))
        day += timedelta(days=1)
    closing = None if end is None else (end + timedelta(days=1)).strftime(KEY_FORMAT)
    return dg.TimeWindowPartitionsDefinition(
        start=first.strftime(KEY_FORMAT),
        end=closing,
        fmt=KEY_FORMAT,
        timezone="America/New_York",
        cron_schedule="0 0 * * 1-5",
        end_offset=1,
        exclusions=holidays,
    )


def partitions_from_settings(settings: Settings) -> dg.TimeWindowPartitionsDefinition:
    """Return the partitions of this installation.

    In sim on a finished price file the set ends with the file, so that the UI shows no years of missing
    partitions. A source on the network is not asked: loading the definitions needs no connection.
    """
    last = settings.last_session
    if last is None and settings.mode is Mode.SIM and settings.price_source in ("sample", "files"):
        last = source_from_settings(settings).last_session()
    return build_session_partitions(settings.first_session, last)


session_partitions = partitions_from_settings(Settings())
