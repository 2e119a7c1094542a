"""When orders of a decision session may be sent.

What belongs here: the cut-off table by order type, as a pure function of the calendar. A market order is
never sent after the open; an order in the minutes after a close would be cancelled by the broker (F29).
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from hrp_core.calendar import NEW_YORK, Calendar
from hrp_core.portfolio.types import OrderType

OPENS_AFTER_CLOSE = timedelta(minutes=10)
PREOPEN_AT = time(9)
# The broker takes orders for the opening auction until 09:28 and for the closing one until ten minutes before
# the close; five minutes of margin are for a basket that is sent slowly.
_BEFORE_OPEN = timedelta(minutes=5)
_BEFORE_CLOSE = timedelta(minutes=15)
_FOR_THE_CLOSE = frozenset({OrderType.MARKET_ON_CLOSE, OrderType.LIMIT_ON_CLOSE})


class SendAt(StrEnum):
    """When an approved plan is sent (`HRP_SEND_AT`)."""

    EVENING = "evening"  # from ten minutes after the close of D
    PREOPEN = "preopen"  # from 09:00 of E


@dataclass(frozen=True, slots=True)
class SendWindow:
    """From `opens` (included) to `closes` (excluded), New York time."""

    opens: datetime
    closes: datetime

    def contains(self, now: datetime) -> bool:
        """Return whether orders may be sent at `now`."""
        return self.opens <= now < self.closes

    def __str__(self) -> str:
        return f"{self.opens:%a %Y-%m-%d %H:%M} to {self.closes:%a %Y-%m-%d %H:%M} New York"


def send_window(
    calendar: Calendar,
    session: date,
    order_type: OrderType = OrderType.MARKET,
    send_at: SendAt = SendAt.EVENING,
) -> SendWindow:
    """Return the window for orders decided on `session` and executed in the session after it.

    It opens ten minutes after the close of `session`, half days too, or at 09:00 of the execution session. It
    closes five minutes before the open, for orders of the closing auction fifteen minutes before the close
    (15:45, on half days 12:45). Past it nothing is sent, and no other type is sent instead.

    Raises:
        DataError: `session` is not a trading day.
    """
    execution = calendar.next(session)
    opens = calendar.close(session) + OPENS_AFTER_CLOSE
    if send_at is SendAt.PREOPEN:
        opens = datetime.combine(execution, PREOPEN_AT, NEW_YORK)
    if order_type in _FOR_THE_CLOSE:
        return SendWindow(opens, calendar.close(execution) - _BEFORE_CLOSE)
    return SendWindow(opens, calendar.open(execution) - _BEFORE_OPEN)
