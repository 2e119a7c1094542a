"""What an account at the exchange may know of prices at a moment.

What belongs here: the official prices known by the engine's clock. Nothing later than the clock ever is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hrp_core.calendar import NEW_YORK, Calendar
from hrp_core.matching.tape import Tape


@dataclass(frozen=True, slots=True)
class OfficialQuote:
    """Official prices known at a moment, ten-thousandths of a dollar; None where there is none.

    Attributes:
        last: the newest official price: today's close, else today's open, else `close`.
        close: the official close of the last session before today (the broker's "prior close").
        open: today's official open.
    """

    last: int | None
    close: int | None
    open: int | None


def official_quote(tape: Tape, symbol: str, now: datetime, calendar: Calendar) -> OfficialQuote:
    """Return what is known of `symbol` at `now` (timezone-aware)."""
    today = now.astimezone(NEW_YORK).date()
    prior = tape.last_close_units(symbol, today - timedelta(days=1))
    opened = closed = None
    if calendar.is_session(today):
        if now >= calendar.open(today):
            opened = tape.price_units(today, symbol, "open")
        if now >= calendar.close(today):
            closed = tape.price_units(today, symbol, "close")
    return OfficialQuote(last=closed or opened or prior, close=prior, open=opened)
