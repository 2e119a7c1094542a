"""What clients ask, parsed: every request but placeOrder (which has its own module).

What belongs here: message numbers and the meaning of fields on the way in. Answers are made elsewhere.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import HrpError
from hrp_core.simgateway.wire import NEW_LAYOUT, FieldReader, WireError


class RequestError(HrpError):
    """A request that the broker answers with an error message: its code and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class Request(IntEnum):
    """Message numbers, client to server, of everything that is answered."""

    MARKET_DATA = 1
    CANCEL_MARKET_DATA = 2
    PLACE_ORDER = 3
    CANCEL_ORDER = 4
    OPEN_ORDERS = 5
    ACCOUNT_UPDATES = 6
    EXECUTIONS = 7
    IDS = 8
    CONTRACT_DETAILS = 9
    SERVER_LOG_LEVEL = 14
    AUTO_OPEN_ORDERS = 15
    ALL_OPEN_ORDERS = 16
    MANAGED_ACCOUNTS = 17
    HISTORICAL_DATA = 20
    CANCEL_HISTORICAL_DATA = 25
    CURRENT_TIME = 49
    GLOBAL_CANCEL = 58
    MARKET_DATA_TYPE = 59
    POSITIONS = 61
    ACCOUNT_SUMMARY = 62
    CANCEL_ACCOUNT_SUMMARY = 63
    CANCEL_POSITIONS = 64
    START_API = 71
    ACCOUNT_UPDATES_MULTI = 76
    CANCEL_ACCOUNT_UPDATES_MULTI = 77
    MARKET_RULE = 91
    COMPLETED_ORDERS = 99


SERVED: dict[Request, int] = {
    Request.MARKET_DATA: 2,
    Request.CANCEL_MARKET_DATA: 2,
    Request.PLACE_ORDER: 1,
    Request.CANCEL_ORDER: 2,
    Request.OPEN_ORDERS: 0,
    Request.ACCOUNT_UPDATES: 0,
    Request.EXECUTIONS: 2,
    Request.IDS: 0,
    Request.CONTRACT_DETAILS: 2,
    Request.SERVER_LOG_LEVEL: 0,
    Request.AUTO_OPEN_ORDERS: 0,
    Request.ALL_OPEN_ORDERS: 0,
    Request.MANAGED_ACCOUNTS: 0,
    Request.HISTORICAL_DATA: 1,
    Request.CANCEL_HISTORICAL_DATA: 2,
    Request.CURRENT_TIME: 0,
    Request.GLOBAL_CANCEL: 0,
    Request.MARKET_DATA_TYPE: 0,
    Request.POSITIONS: 0,
    Request.ACCOUNT_SUMMARY: 2,
    Request.CANCEL_ACCOUNT_SUMMARY: 2,
    Request.CANCEL_POSITIONS: 0,
    Request.START_API: 0,
    Request.ACCOUNT_UPDATES_MULTI: 2,
    Request.CANCEL_ACCOUNT_UPDATES_MULTI: 2,
    Request.MARKET_RULE: 0,
    Request.COMPLETED_ORDERS: 0,
}
"""Where the request or order id stands in each served message, counted with the message number as 0; 0 where
it carries none. Errors are answered under that id."""

# Requests of the real protocol that this gateway does not serve, with the position of their request id (0:
# they carry none), so that the refusal reaches whoever waits for the answer.
UNSERVED: dict[int, tuple[str, int]] = {
    10: ("market depth", 2),
    11: ("cancel market depth", 2),
    12: ("news bulletins", 0),
    13: ("cancel news bulletins", 0),
    18: ("advisor configuration", 0),
    19: ("replace advisor configuration", 4),
    21: ("exercise options", 2),
    22: ("scanner", 1),
    23: ("cancel scanner", 2),
    24: ("scanner parameters", 0),
    50: ("real-time bars", 2),
    51: ("cancel real-time bars", 2),
    52: ("fundamental data", 2),
    53: ("cancel fundamental data", 2),
    54: ("implied volatility", 2),
    55: ("option price", 2),
    56: ("cancel implied volatility", 2),
    57: ("cancel option price", 2),
    65: ("verify", 0),
    66: ("verify message", 0),
    67: ("display groups", 2),
    68: ("group events", 2),
    69: ("update display group", 2),
    70: ("cancel group events", 2),
    72: ("verify and authenticate", 0),
    73: ("verify and authenticate message", 0),
    74: ("positions by model", 2),
    75: ("cancel positions by model", 2),
    78: ("option chain", 1),
    79: ("soft dollar tiers", 1),
    80: ("family codes", 0),
    81: ("matching symbols", 1),
    82: ("market depth exchanges", 0),
    83: ("smart components", 1),
    84: ("news article", 1),
    85: ("news providers", 0),
    86: ("historical news", 1),
    87: ("head time stamp", 1),
    88: ("histogram", 1),
    89: ("cancel histogram", 1),
    90: ("cancel head time stamp", 1),
    92: ("profit and loss", 1),
    93: ("cancel profit and loss", 1),
    94: ("profit and loss of a position", 1),
    95: ("cancel profit and loss of a position", 1),
    96: ("historical ticks", 1),
    97: ("tick by tick", 1),
    98: ("cancel tick by tick", 1),
    100: ("event calendar description", 1),
    101: ("cancel event calendar description", 1),
    102: ("event calendar", 1),
    103: ("cancel event calendar", 1),
    104: ("user information", 1),
}


@dataclass(frozen=True, slots=True)
class ContractQuery:
    """A contract as a client describes it; empty or 0 means not said."""

    con_id: int
    symbol: str
    sec_type: str
    exchange: str
    primary_exchange: str
    currency: str
    local_symbol: str

    @classmethod
    def read(cls, reader: FieldReader) -> "ContractQuery":
        """Read the twelve contract fields in the order of requests."""
        con_id, symbol, sec_type = reader.integer(), reader.text(), reader.text()
        reader.skip(4)  # expiry, strike, right, multiplier: derivatives only
        exchange, primary_exchange, currency = reader.text(), reader.text(), reader.text()
        local_symbol = reader.text()
        reader.skip()  # trading class
        return cls(con_id, symbol, sec_type, exchange, primary_exchange, currency, local_symbol)


@dataclass(frozen=True, slots=True)
class ContractDetailsRequest:
    """reqContractDetails."""

    request_id: int
    contract: ContractQuery

    @classmethod
    def read(cls, reader: FieldReader, version: int) -> "ContractDetailsRequest":
        """Read it after the message number."""
        reader.skip()  # message version
        request = cls(reader.integer(), ContractQuery.read(reader))
        reader.skip(3)  # includeExpired, secIdType, secId
        if version >= NEW_LAYOUT:
            reader.skip()  # issuerId
        return request


@dataclass(frozen=True, slots=True)
class ExecutionsRequest:
    """reqExecutions with its filter; empty or 0 filters nothing."""

    request_id: int
    client_id: int
    account: str
    since: datetime | None
    symbol: str
    sec_type: str
    exchange: str
    side: str

    @classmethod
    def read(cls, reader: FieldReader) -> "ExecutionsRequest":
        """Read it after the message number."""
        reader.skip()
        return cls(
            request_id=reader.integer(),
            client_id=reader.integer(),
            account=reader.text(),
            since=parse_moment(reader.text()),
            symbol=reader.text(),
            sec_type=reader.text(),
            exchange=reader.text(),
            side=reader.text(),
        )


@dataclass(frozen=True, slots=True)
class MarketDataRequest:
    """reqMktData."""

    request_id: int
    contract: ContractQuery
    snapshot: bool

    @classmethod
    def read(cls, reader: FieldReader) -> "MarketDataRequest":
        """Read it after the message number."""
        reader.skip()
        request_id, contract = reader.integer(), ContractQuery.read(reader)
        if contract.sec_type == "BAG":
            raise WireError("message 1: combinations are not listed here")
        if reader.flag():
            reader.skip(3)  # delta-neutral contract
        reader.skip()  # generic tick list
        return cls(request_id, contract, reader.flag())


@dataclass(frozen=True, slots=True)
class HistoricalDataRequest:
    """reqHistoricalData."""

    request_id: int
    contract: ContractQuery
    end: str
    bar_size: str
    duration: str
    what_to_show: str
    keep_up_to_date: bool

    @classmethod
    def read(cls, reader: FieldReader) -> "HistoricalDataRequest":
        """Read it after the message number."""
        request_id, contract = reader.integer(), ContractQuery.read(reader)
        if contract.sec_type == "BAG":
            raise WireError("message 20: combinations are not listed here")
        reader.skip()  # includeExpired
        end, bar_size, duration = reader.text(), reader.text(), reader.text()
        reader.skip()  # useRTH: the tape knows regular hours only
        what_to_show = reader.text()
        reader.skip()  # formatDate: a day is written the same way in both
        return cls(request_id, contract, end, bar_size, duration, what_to_show, reader.flag())


def parse_moment(text: str) -> datetime | None:
    """Return the moment a client wrote: ``yyyymmdd-hh:mm:ss`` in UTC, ``yyyymmdd hh:mm:ss [zone]`` local.

    Empty text is None; without a zone the time is New York's.

    Raises:
        WireError: it is written in another way.
    """
    text = text.strip()
    if not text:
        return None
    try:
        if "-" in text[:9]:
            return datetime.strptime(f"{text}+0000", "%Y%m%d-%H:%M:%S%z")
        day, clock, *zone = text.split(maxsplit=2)
        naive = datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007
        return naive.replace(tzinfo=ZoneInfo(zone[0]) if zone else NEW_YORK)
    except (ValueError, ZoneInfoNotFoundError):
        raise WireError(f"not a moment: {text!r}; write yyyymmdd-hh:mm:ss (UTC)") from None
