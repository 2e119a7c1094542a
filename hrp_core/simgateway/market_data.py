"""Daily bars from the tape, as of the gateway's clock.

What belongs here: what of the tape may be seen at a moment. Nothing later than the clock ever is.
"""

import re
from datetime import date, datetime, timedelta

from hrp_core.calendar import Calendar
from hrp_core.matching import Tape
from hrp_core.simgateway.requests import HistoricalDataRequest, parse_moment
from hrp_core.simgateway.wire import Value, WireError, price

_DURATION = re.compile(r"(\d+) ([DWMY])\Z")
_CALENDAR_DAYS = {"W": 7, "M": 30, "Y": 365}
_UNKNOWN = -1  # the broker's value for an average price or count of trades it does not have


def daily_bars(
    tape: Tape, symbol: str, request: HistoricalDataRequest, now: datetime, calendar: Calendar
) -> list[list[Value]]:
    """Return the daily bars a client asked for, oldest first, of sessions closed at the clock.

    A session counts where open, high, low and close are all on the tape: a bar with made-up parts is none.

    Raises:
        WireError: the end or the duration cannot be read.
    """
    end = min(parse_moment(request.end) or now, now)
    found = _DURATION.match(request.duration)
    if found is None:
        raise WireError(f"not a duration: {request.duration!r}; write for example `30 D` or `1 Y`")
    count, unit = int(found[1]), found[2]
    last = calendar.decision_session(end)
    sessions = [session for session in tape.sessions if session <= last]
    if unit == "D":
        sessions = sessions[-count:] if count else []
    else:
        first = last - timedelta(days=count * _CALENDAR_DAYS[unit])
        sessions = [session for session in sessions if session > first]
    return [bar for session in sessions for bar in [_bar(tape, symbol, session)] if bar is not None]


def _bar(tape: Tape, symbol: str, session: date) -> list[Value] | None:
    prices = [tape.price_units(session, symbol, field) for field in ("open", "high", "low", "close")]
    known = [price(units) for units in prices if units is not None]
    if len(known) < len(prices):
        return None
    volume = tape.shares_traded(session, symbol)
    return [f"{session:%Y%m%d}", *known, _UNKNOWN if volume is None else volume, _UNKNOWN, _UNKNOWN]
