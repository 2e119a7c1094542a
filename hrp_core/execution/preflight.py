"""The preflight: hours before an evening's orders, whether the broker would take one.

What belongs here: asking, without placing anything. What does not: what `hrp doctor` says about the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hrp_core.errors import BrokerError
from hrp_core.execution.broker import Broker, OrderPreview, OrderRequest
from hrp_core.portfolio.types import OrderSide, OrderType

# A preview carries no reference to the broker; a request must have one all the same.
PREVIEW_REF = "preflight"
# Send windows are kept by our clock, cut-offs by the broker's.
MAX_CLOCK_DIFFERENCE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """What the broker answered.

    Attributes:
        broker_time: its clock, New York time.
        symbol: name whose purchase was previewed.
        preview: what one share would have cost.
    """

    account: str
    broker_time: datetime
    symbol: str
    preview: OrderPreview


def preflight(broker: Broker, symbols: Sequence[str], now: datetime) -> PreflightReport:
    """Take the broker's clock and ask what one share would cost; nothing is placed.

    An account that is read-only answers a preview with an error, where an order would look alive (F22).

    Args:
        broker: connected.
        symbols: names of the universe; the first that the broker knows is previewed.
        now: our clock, timezone-aware.

    Raises:
        BrokerConnectionError: the connection does not answer.
        BrokerError: the clocks differ, no name is known, or an order would be rejected; says why.
    """
    broker_time = broker.heartbeat()
    difference = broker_time - now
    if abs(difference) > MAX_CLOCK_DIFFERENCE:
        raise BrokerError(
            f"the broker's clock is {difference.total_seconds():+.0f} s from ours: orders would miss their "
            "windows. Set this machine's clock by NTP"
        )
    known = broker.qualify(symbols)
    symbol = next((name for name in symbols if name in known), None)
    if symbol is None:
        raise BrokerError(
            f"the broker knows none of {', '.join(symbols) or 'no symbols at all'} as a US stock: no order "
            "could be sent. Check the universe, and the market permissions of the account"
        )
    preview = broker.what_if(
        OrderRequest(
            order_ref=PREVIEW_REF,
            contract=known[symbol],
            side=OrderSide.BUY,
            quantity=1,
            order_type=OrderType.MARKET,
        )
    )
    return PreflightReport(broker.account, broker_time, symbol, preview)
