"""What the broker says of the names that are about to be bought: fresh prices for the collar before sending.

What belongs here: which quotes are asked for, and which of their prices is comparable with the close of D, or
stands for it where no plan knows it.
What does not: the rule (`send_checks.over_limits`).
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import BrokerConnectionError, BrokerError, RefusedError
from hrp_core.execution.broker import Broker, Quote
from hrp_core.ledger.types import Contract, FrozenPlan, Intent
from hrp_core.money import to_money
from hrp_core.portfolio.netting import INCREASE
from hrp_core.portfolio.types import Purpose

_log = logging.getLogger(__name__)

MOST_QUOTED = 20
"""Names quoted of one basket, the largest orders first. Each quote is a message of the fifty a second that IB
takes, orders included: four percent of a basket of 500, and as many names as are held by default."""

_SECONDS = 2.0
# The broker's "prior close" is that of D from the early trading of E on.
_PRIOR_CLOSE_FROM = time(4)


def entry_quotes(
    broker: Broker, plan: FrozenPlan, intents: Sequence[Intent], now: datetime, timeout: float = _SECONDS
) -> Mapping[str, Decimal]:
    """Return prices to compare the closes of D with, USD a share by symbol, from one request for all.

    A name without an answer in time, and all of them where the account has no market data now, are absent:
    nothing is known against their price. A delayed price counts: it is compared, and prices no order.

    Args:
        broker: connected.
        plan: one that states no limits (a flatten, an exit by hand) is not judged by prices, and a single
            order was priced by the broker when it was frozen (`reference_price`).
        intents: about to be sent; only entries are held back by a price.
        now: from the clock.
        timeout: longest wait for all answers together, seconds.

    Raises:
        BrokerConnectionError: the connection ended.
    """
    if plan.inputs.get("limits") is None or plan.purpose is Purpose.MANUAL:
        return {}
    entries = sorted((intent for intent in intents if intent.leg == INCREASE), key=_value, reverse=True)
    if not entries:
        return {}
    try:
        quotes = broker.quotes([intent.contract for intent in entries[:MOST_QUOTED]], timeout)
    except BrokerConnectionError:
        raise
    except BrokerError as error:
        _log.warning("no price is compared before sending %s: %s", plan.plan_id, error)
        return {}
    prices = {symbol: comparable_price(quote, plan.session, now) for symbol, quote in quotes.items()}
    return {symbol: price for symbol, price in prices.items() if price is not None}


def reference_price(
    broker: Broker, contract: Contract, session: date, now: datetime, timeout: float = _SECONDS
) -> Decimal:
    """Return the broker's price that stands for the close of `session`, USD a share, for a single order.

    Args:
        broker: connected.
        contract: what is ordered.
        session: decision session D.
        now: from the clock.
        timeout: longest wait for the answer, seconds.

    Raises:
        RefusedError: the broker gives no price.
        BrokerConnectionError: the connection ended.
    """
    why = ""
    price: Decimal | None = None
    try:
        price = comparable_price(broker.quotes([contract], timeout)[contract.symbol], session, now)
    except BrokerConnectionError:
        raise
    except BrokerError as error:
        why = f" ({error})"
    if price is None:
        raise RefusedError(
            f"the broker gives no price of {contract.symbol} now{why}, so nothing says whether the order is "
            "within its limits; nothing was sent. Submit it again when the login has market data for it, or "
            "leave the name to a plan, whose prices are the stored closes"
        )
    return to_money(price)


def comparable_price(quote: Quote, session: date, now: datetime) -> Decimal | None:
    """Return the price of a quote that stands for the close of `session`; None where it has none.

    In the evening, and at night, that is the newest trade: the broker's prior close still is the one before.
    From the early trading of the next morning on it is the prior close, which knows of a split overnight.
    """
    local = now.astimezone(NEW_YORK)
    if local.date() == session or local.time() < _PRIOR_CLOSE_FROM:
        return quote.last
    return quote.close if quote.close is not None else quote.last


def _value(intent: Intent) -> Decimal:
    return intent.quantity * (intent.limit_price or intent.reference_price or Decimal(0))
