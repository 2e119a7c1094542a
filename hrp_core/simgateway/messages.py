"""Messages to clients, except those about orders: each function returns the fields of one message.

What belongs here: message numbers, versions and field order on the way out, at both implemented layouts.
Which message is sent when is decided elsewhere.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from hrp_core.calendar import NEW_YORK
from hrp_core.matching import Instrument
from hrp_core.matching.instruments import MIN_TICK
from hrp_core.matching.rules import ORDER_TYPES
from hrp_core.simgateway.wire import NEW_LAYOUT, Value

Fields = list[Value]

STOCK = "STK"
CURRENCY = "USD"
MARKET_RULE_ID = 26
_TICK_PRICE = 1
_VALID_EXCHANGES = ("SMART", "NYSE", "NASDAQ")
_TIME_ZONE = "US/Eastern"


def handshake(version: int, now: datetime) -> Fields:
    """Return the answer to the opening handshake: exactly two fields."""
    return [version, f"{now.astimezone(NEW_YORK):%Y%m%d %H:%M:%S %Z}"]


def managed_accounts(account: str) -> Fields:
    """Return message 15."""
    return [15, 1, account]


def next_valid_id(order_id: int) -> Fields:
    """Return message 9."""
    return [9, 1, order_id]


def error(id_: int, code: int, text: str, version: int) -> Fields:
    """Return message 4. `id_` is a request or order id, or -1."""
    fields: Fields = [4, 2, id_, code, text]
    # Server version 166 added the structured reject, empty unless there is one.
    return [*fields, ""] if version >= NEW_LAYOUT else fields


def current_time(now: datetime) -> Fields:
    """Return message 49: seconds since 1970."""
    return [49, 1, int(now.timestamp())]


def contract_details(request_id: int, instrument: Instrument, version: int) -> Fields:
    """Return message 10 for a stock: 40 fields at the new layout."""
    new = version >= NEW_LAYOUT
    head: Fields = [10, request_id] if new else [10, 8, request_id]
    body: Fields = [
        *(instrument.ib_symbol, STOCK, "", "0", "", "SMART", CURRENCY, instrument.ib_symbol),
        *("NMS", "NMS", instrument.con_id, instrument.min_tick),
    ]
    if not new:
        body.append("")  # mdSizeMultiplier
    body += [
        *("", ",".join(ORDER_TYPES), ",".join(_VALID_EXCHANGES), 1, 0, instrument.ib_symbol),
        *(instrument.primary_exchange,),
        *("", "", "", "", _TIME_ZONE, "", "", "", 0),  # contractMonth ... evMultiplier
        *(0, 1, "", "", ",".join([str(MARKET_RULE_ID)] * len(_VALID_EXCHANGES)), "", "COMMON"),
    ]
    if new:
        body += [1, 1, 100]  # minSize, sizeIncrement, suggestedSizeIncrement
    return head + body


def contract_details_end(request_id: int) -> Fields:
    """Return message 52."""
    return [52, 1, request_id]


def market_rule(rule_id: int) -> Fields:
    """Return message 93: one price increment from zero upwards."""
    return [93, rule_id, 1, 0, MIN_TICK]


def position(account: str, instrument: Instrument, shares: int, average_cost: Decimal) -> Fields:
    """Return message 61."""
    return [
        *(61, 3, account, instrument.con_id, instrument.ib_symbol, STOCK, "", "0.0", "", "", ""),
        *(CURRENCY, instrument.ib_symbol, "NMS", shares, average_cost),
    ]


def position_end() -> Fields:
    """Return message 62."""
    return [62, 1]


def account_value(account: str, key: str, value: str, currency: str) -> Fields:
    """Return message 6."""
    return [6, 2, key, value, currency, account]


def portfolio_value(
    account: str,
    instrument: Instrument,
    shares: int,
    mark: Decimal,
    average_cost: Decimal,
    unrealized: Decimal,
) -> Fields:
    """Return message 7. Realized profit is reported with each commission and for the account as a whole."""
    return [
        *(
            7,
            8,
            instrument.con_id,
            instrument.ib_symbol,
            STOCK,
            "",
            "0",
            "0",
            "",
            instrument.primary_exchange,
        ),
        *(CURRENCY, instrument.ib_symbol, "NMS", shares, mark, mark * shares, average_cost),
        *(unrealized, 0, account),
    ]


def account_update_time(now: datetime) -> Fields:
    """Return message 8: hours and minutes in New York."""
    return [8, 1, f"{now.astimezone(NEW_YORK):%H:%M}"]


def account_download_end(account: str) -> Fields:
    """Return message 54."""
    return [54, 1, account]


def account_summary(request_id: int, account: str, tag: str, value: str, currency: str) -> Fields:
    """Return message 63."""
    return [63, 1, request_id, account, tag, value, currency]


def account_summary_end(request_id: int) -> Fields:
    """Return message 64."""
    return [64, 1, request_id]


def account_update_multi(request_id: int, account: str, key: str, value: str, currency: str) -> Fields:
    """Return message 73."""
    return [73, 1, request_id, account, "", key, value, currency]


def account_update_multi_end(request_id: int) -> Fields:
    """Return message 74."""
    return [74, 1, request_id]


def open_order_end() -> Fields:
    """Return message 53."""
    return [53, 1]


def completed_orders_end() -> Fields:
    """Return message 102."""
    return [102]


def executions_end(request_id: int) -> Fields:
    """Return message 55."""
    return [55, 1, request_id]


def market_data_type(request_id: int, kind: int) -> Fields:
    """Return message 58."""
    return [58, 1, request_id, kind]


def tick_price(request_id: int, tick_type: int, price: str) -> Fields:
    """Return message 1. Exactly seven fields: ib_insync unpacks it strictly."""
    return [_TICK_PRICE, 6, request_id, tick_type, price, 0, 0]


def tick_generic(request_id: int, tick_type: int, value: int) -> Fields:
    """Return message 45."""
    return [45, 6, request_id, tick_type, value]


def tick_snapshot_end(request_id: int) -> Fields:
    """Return message 57."""
    return [57, 1, request_id]


def historical_data(request_id: int, start: str, end: str, bars: Sequence[Sequence[Value]]) -> Fields:
    """Return message 17. Each bar: date, open, high, low, close, volume, average price, count of trades."""
    return [17, request_id, start, end, len(bars), *(value for bar in bars for value in bar)]
