"""The control channel: reading the gateway's state, moving its clock, scripting faults, stopping it.

What belongs here: the client that the command line, jobs and tests use. The gateway's end of the channel is
in `control_server`. Nothing here goes through the broker's protocol.
"""

import json
import socket
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import BrokerConnectionError, BrokerError, HrpError, RefusedError
from hrp_core.simgateway.faults import read_script
from hrp_core.simgateway.files import NOT_RUNNING, GatewayInfo


@dataclass(frozen=True, slots=True)
class StatePosition:
    """Shares of one symbol: average cost with commissions and mark, USD a share."""

    symbol: str
    shares: int
    average_cost: Decimal
    mark: Decimal


@dataclass(frozen=True, slots=True)
class StateOrder:
    """An open order.

    Attributes:
        number: 1 for the first order the account ever took; what faults call `order`.
        limit: limit price, USD a share; None without one.
    """

    number: int
    perm_id: int
    order_ref: str
    client_id: int
    order_id: int
    symbol: str
    side: str
    quantity: int
    filled: int
    order_type: str
    tif: str
    limit: Decimal | None
    status: str
    active_from: datetime


@dataclass(frozen=True, slots=True)
class GatewayState:
    """The gateway as it stands. Amounts in USD.

    Attributes:
        now: the gateway's clock.
        first_session: first session with prices.
        last_session: last session with prices; the clock stops on its evening.
        net_liquidation: cash plus positions at the last official closes.
        realized: profit realized since the account was opened.
        orders_received: orders that ever came in through placeOrder, rejected ones included.
        orders_by_state: orders of all time by state (held, working, filled, cancelled, rejected).
        executions: executions of all time.
        bytes_received: bytes that clients sent since the gateway was started; messages likewise.
        connections: connections accepted since the gateway was started.
        clients: client ids connected now.
        faults: scripted faults in force.
        participation: the limit on the account's share of a name's volume, in words.
    """

    now: datetime
    account: str
    first_session: date
    last_session: date
    cash: Decimal
    net_liquidation: Decimal
    realized: Decimal
    positions: tuple[StatePosition, ...]
    orders_received: int
    orders_by_state: dict[str, int]
    open_orders: tuple[StateOrder, ...]
    executions: int
    bytes_received: int
    messages_received: int
    connections: int
    clients: tuple[int, ...]
    faults: tuple[str, ...]
    participation: str

    def to_json(self) -> dict[str, Any]:
        """Return it as values that JSON can hold; decimals as text, moments in ISO 8601."""
        return json.loads(json.dumps(asdict(self), default=_plain))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "GatewayState":
        """Return the state that `to_json` gave."""
        content = dict(content)
        for name in ("cash", "net_liquidation", "realized"):
            content[name] = Decimal(content[name])
        for name in ("first_session", "last_session"):
            content[name] = date.fromisoformat(content[name])
        content["now"] = _moment(content["now"])
        content["positions"] = tuple(
            StatePosition(
                **{**row, "average_cost": Decimal(row["average_cost"]), "mark": Decimal(row["mark"])}
            )
            for row in content["positions"]
        )
        content["open_orders"] = tuple(
            StateOrder(
                **{
                    **row,
                    "active_from": _moment(row["active_from"]),
                    "limit": None if row["limit"] is None else Decimal(row["limit"]),
                }
            )
            for row in content["open_orders"]
        )
        for name in ("clients", "faults"):
            content[name] = tuple(content[name])
        return cls(**content)


class GatewayClient:
    """Talks to the gateway that wrote `gateway_file`. One short connection per call.

    Args:
        gateway_file: the gateway's `gateway.json`.
        timeout: seconds to wait for an answer; a clock moved over years of sessions takes a few.
    """

    def __init__(self, gateway_file: Path, timeout: float = 60.0) -> None:
        self._gateway_file = gateway_file
        self._timeout = timeout

    def info(self) -> GatewayInfo:
        """Return endpoint, account and clock as the gateway wrote them, running or not.

        Raises:
            BrokerConnectionError: no gateway was ever started there.
        """
        return GatewayInfo.read(self._gateway_file)

    def state(self) -> GatewayState:
        """Return clock, account, positions and counts.

        Raises:
            BrokerConnectionError: the gateway is not running.
        """
        return GatewayState.from_json(self._ask("state"))

    def advance(self, to: datetime) -> GatewayState:
        """Move the clock to `to` (timezone-aware), with everything that happens on the way.

        Raises:
            RefusedError: `to` is in the past, or beyond the last priced session.
            BrokerConnectionError: the gateway is not running.
        """
        if to.tzinfo is None:
            raise ValueError(f"a moment needs a time zone: {to!r}")
        return GatewayState.from_json(self._ask("advance", to=to.isoformat()))

    def fault(self, name: str, **parameters: int | str) -> None:
        """Put a scripted fault in force.

        Raises:
            BrokerError: no such fault, or parameters that it does not take.
            BrokerConnectionError: the gateway is not running.
        """
        self._ask("fault", name=name, parameters=parameters)

    def script(self, path: Path) -> int:
        """Put every fault of a TOML file in force, in its order; return how many.

        Raises:
            DataError: the file cannot be read, or holds a fault that does not exist; nothing has changed.
            BrokerError: the gateway refused one; those before it are in force.
            BrokerConnectionError: the gateway is not running.
        """
        faults = read_script(path)
        for name, parameters in faults:
            self.fault(name, **parameters)
        return len(faults)

    def clear_faults(self) -> None:
        """Lift all scripted faults.

        Raises:
            BrokerConnectionError: the gateway is not running.
        """
        self._ask("clear_faults")

    def stop(self) -> None:
        """Ask the gateway to end. It answers first, so its process may live a moment longer.

        Raises:
            BrokerConnectionError: the gateway is not running.
        """
        self._ask("stop")

    def _ask(self, command: str, **arguments: object) -> dict[str, Any]:
        info = self.info()
        line = json.dumps({"token": info.token, "command": command, **arguments})
        try:
            with socket.create_connection((info.host, info.control_port), self._timeout) as connection:
                connection.sendall(f"{line}\n".encode())
                with connection.makefile("r", encoding="utf-8") as answers:
                    answer = answers.readline()
        except TimeoutError:
            raise BrokerConnectionError(
                f"the simulated gateway (process {info.pid}) did not answer within {self._timeout:g} s; "
                "end it and start it again with `hrp gateway serve`"
            ) from None
        except OSError:
            raise BrokerConnectionError(NOT_RUNNING) from None
        if not answer:
            raise BrokerConnectionError(NOT_RUNNING)
        return _result(answer)


def gateway_is_running(gateway_file: Path) -> bool:
    """Return whether the gateway that wrote `gateway_file` answers."""
    try:
        GatewayClient(gateway_file, timeout=5.0).state()
    except BrokerConnectionError:
        return False
    return True


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(NEW_YORK)


def _result(answer: str) -> dict[str, Any]:
    try:
        content = json.loads(answer)
        if content["ok"]:
            return content["result"]
        error: type[HrpError] = RefusedError if content["refused"] else BrokerError
        message = content["error"]
    except (ValueError, KeyError, TypeError):
        # Another program got the port of a gateway that is gone.
        raise BrokerConnectionError(NOT_RUNNING) from None
    raise error(message)


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"not a value of the gateway's state: {value!r}")
