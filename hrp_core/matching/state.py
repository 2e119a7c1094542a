"""The engine's state as a value, and orders, fills, positions and that state as plain records, and back.

What belongs here: the one conversion to values that JSON and sqlite can hold. Who stores them is not said.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import DataError
from hrp_core.matching.account import Position
from hrp_core.matching.orders import Fill, Order, OrderState, Side
from hrp_core.money import to_units

Scalar = str | int | None

FIRST_PERM_ID = 1_200_000_001


@dataclass(frozen=True, slots=True)
class EngineState:
    """All that an engine needs to go on exactly where another one stopped.

    Attributes:
        fill_count: executions ever, corrections counted.
        fill_moment: the moment of the newest execution; `fill_sequence` counts those of that moment.
        participation_bps: hundredths of a percent of a name's average daily volume that the account may trade
            in a session; 0 is no limit.
        open_orders: orders that can still trade.
        completed: orders filled, cancelled or rejected on the clock's day in New York.
        fills: executions of that day, in order.
    """

    now: datetime
    seed: int
    cash_units: int
    opening_cash_units: int
    realized_units: int
    next_perm_id: int = FIRST_PERM_ID
    fill_count: int = 0
    fill_moment: datetime | None = None
    fill_sequence: int = 0
    participation_bps: int = 0
    positions: tuple[Position, ...] = ()
    open_orders: tuple[Order, ...] = ()
    completed: tuple[Order, ...] = ()
    fills: tuple[Fill, ...] = ()

    @classmethod
    def opening(
        cls, *, now: datetime, cash: Decimal, seed: int = 0, participation_bps: int = 0
    ) -> "EngineState":
        """Return the state of a new account.

        Args:
            now: where the clock starts, timezone-aware.
            cash: opening cash, USD.
            seed: names the run; it is part of every execution id.
            participation_bps: limit on the account's share of a name's volume, 1 to 10,000; 0 for none.

        Raises:
            DataError: the cash is negative, or the share is none.
        """
        units = to_units(cash)
        if units < 0:
            raise DataError(f"opening cash of the simulated account must not be negative, got {cash}")
        if not 0 <= participation_bps <= 10_000:
            raise DataError(
                f"participation must be 0 to 10,000 hundredths of a percent, got {participation_bps}"
            )
        return cls(
            now,
            seed,
            cash_units=units,
            opening_cash_units=units,
            realized_units=0,
            participation_bps=participation_bps,
        )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(NEW_YORK)


_PARSERS: dict[str, Callable[[Any], object]] = {
    "side": Side,
    "state": OrderState,
    "session": date.fromisoformat,
    "now": _moment,
    "time": _moment,
    "accepted_at": _moment,
    "active_from": _moment,
    "closed_at": _moment,
    "fill_moment": _moment,
    "cancel_too_late": bool,
}
_LISTS = {"positions": Position, "open_orders": Order, "completed": Order, "fills": Fill}


def record(value: Order | Fill | Position) -> dict[str, Scalar]:
    """Return `value` field by field; moments and sessions in ISO 8601, enums by value."""
    return {field.name: _scalar(getattr(value, field.name)) for field in fields(value)}


def order_from(row: Mapping[str, Scalar]) -> Order:
    """Return the order that `record` gave `row` for; keys that an order does not have are left out."""
    return Order(**_parsed(Order, row))


def fill_from(row: Mapping[str, Scalar]) -> Fill:
    """Return the fill that `record` gave `row` for; keys that a fill does not have are left out."""
    return Fill(**_parsed(Fill, row))


def position_from(row: Mapping[str, Scalar]) -> Position:
    """Return the position that `record` gave `row` for; keys that it does not have are left out."""
    return Position(**_parsed(Position, row))


def scalars_of(state: EngineState) -> dict[str, Scalar]:
    """Return the fields of an engine's state that are not lists."""
    return {
        field.name: _scalar(getattr(state, field.name)) for field in fields(state) if field.name not in _LISTS
    }


def scalars_from(row: Mapping[str, Scalar]) -> dict[str, Any]:
    """Return the fields that `scalars_of` gave `row` for, parsed; numbers may have become texts."""
    parsed = _parsed(EngineState, {name: None if value == "" else value for name, value in row.items()})
    return {name: int(value) if isinstance(value, str) else value for name, value in parsed.items()}


def state_to_json(state: EngineState) -> str:
    """Return the engine's state as JSON text."""
    return json.dumps(asdict(state), default=_scalar)


def state_from_json(text: str) -> EngineState:
    """Return the state that `state_to_json` wrote."""
    content = json.loads(text)
    for name, cls in _LISTS.items():
        content[name] = tuple(cls(**_parsed(cls, row)) for row in content[name])
    return EngineState(**_parsed(EngineState, content))


def _scalar(value: object) -> Scalar:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):  # a datetime is a date, too
        return value.isoformat()
    if isinstance(value, bool):
        return int(value)
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"not a value of the engine's state: {value!r}")


def _parsed(cls: type, row: Mapping[str, Scalar]) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for field in fields(cls):
        if field.name in row:
            value, parse = row[field.name], _PARSERS.get(field.name)
            parsed[field.name] = value if value is None or parse is None else parse(value)
    return parsed
