"""The gateway's end of the control channel: one JSON object a line, answered by one.

What belongs here: checking the token, doing the command, answering after the commit.
"""

import asyncio
import hmac
import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from hrp_core.errors import DataError, HrpError, RefusedError
from hrp_core.matching import Engine
from hrp_core.matching.tape import ADV_SESSIONS
from hrp_core.money import from_units
from hrp_core.simgateway.acting import act
from hrp_core.simgateway.control import GatewayState, StateOrder, StatePosition
from hrp_core.simgateway.faults import order_number
from hrp_core.simgateway.hub import Hub

_MAX_LINE = 1 << 16


class ControlSession(asyncio.Protocol):
    """One connection to the control port.

    Args:
        hub: the gateway.
        token: what every line must carry.
        stop: ends the gateway.
        open_sessions: the server's set of connections, kept up to date here.
    """

    def __init__(
        self, hub: Hub, token: str, stop: Callable[[], None], open_sessions: "set[ControlSession]"
    ) -> None:
        self._hub = hub
        self._token = token
        self._stop = stop
        self._open_sessions = open_sessions
        self._transport: asyncio.Transport | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)
        self._open_sessions.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """End; called by the event loop."""
        self._transport = None
        self._open_sessions.discard(self)

    def data_received(self, data: bytes) -> None:
        """Do every command whose line is complete; called by the event loop."""
        self._data += data
        *lines, self._data = self._data.split(b"\n")
        for line in lines:
            self._hub.guard(lambda line=line: self._answer(line))
        if len(self._data) > _MAX_LINE:
            self.close()

    def close(self) -> None:
        """End the connection once its answers have left."""
        if self._transport is not None:
            self._transport.close()

    def _answer(self, line: bytes) -> None:
        try:
            answer = {"ok": True, "result": self._do(line)}
        except HrpError as error:
            answer = {"ok": False, "error": str(error), "refused": isinstance(error, RefusedError)}
        # Also when it failed: whatever the command did must be saved before it is spoken of.
        self._hub.flush()
        if self._transport is not None:
            self._transport.write(f"{json.dumps(answer)}\n".encode())

    def _do(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            token, command = str(request["token"]), str(request["command"])
        except (ValueError, KeyError, TypeError):
            raise DataError("a control line is a JSON object with `token` and `command`") from None
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            raise RefusedError("wrong token; read it from the gateway's gateway.json")
        match command:
            case "state":
                return gateway_state(self._hub).to_json()
            case "advance":
                self._advance(request)
                return gateway_state(self._hub).to_json()
            case "fault":
                self._fault(request)
                return {}
            case "clear_faults":
                self._hub.brokerage.faults.clear()
                return {}
            case "stop":
                # The loop ends after this turn, when the answer has been written.
                self._stop()
                return {}
        raise DataError(f"no such command: {command!r}")

    def _advance(self, request: dict[str, Any]) -> None:
        try:
            to = datetime.fromisoformat(request["to"])
        except (KeyError, TypeError, ValueError):
            raise DataError("`advance` needs `to`, a moment in ISO 8601") from None
        if to.tzinfo is None:
            raise DataError(f"`advance` needs a time zone: {request['to']}")
        events = self._hub.brokerage.advance(to)
        self._hub.release_delayed()
        self._hub.publish(events)
        self._hub.clock_advanced()

    def _fault(self, request: dict[str, Any]) -> None:
        parameters = request.get("parameters", {})
        if not isinstance(parameters, dict):
            raise DataError("`parameters` of a fault must be an object")
        act(self._hub, self._hub.brokerage.add_fault(str(request.get("name")), parameters))


def gateway_state(hub: Hub) -> GatewayState:
    """Return the gateway as it stands."""
    brokerage = hub.brokerage
    engine = brokerage.engine
    return GatewayState(
        now=brokerage.now,
        account=brokerage.account,
        first_session=engine.tape.first_session,
        last_session=engine.tape.last_session,
        cash=from_units(engine.account.cash_units),
        net_liquidation=from_units(engine.net_liquidation_units()),
        realized=from_units(engine.account.realized_units),
        positions=tuple(
            StatePosition(
                position.symbol,
                position.shares,
                position.average_cost,
                from_units(engine.mark_units(position)),
            )
            for position in engine.account.positions
        ),
        orders_received=brokerage.orders_received,
        orders_by_state=dict(brokerage.orders_by_state()),
        open_orders=tuple(
            StateOrder(
                order_number(order.order.perm_id),
                order.order.perm_id,
                order.order.order_ref,
                order.client_id,
                order.order_id,
                order.order.symbol,
                order.order.side.value,
                order.order.quantity,
                order.order.filled,
                order.order.order_type,
                order.order.tif,
                None if order.order.limit_units is None else from_units(order.order.limit_units),
                order.status,
                order.order.active_from,
            )
            for order in brokerage.open_orders()
        ),
        executions=engine.fill_count,
        bytes_received=hub.bytes_received,
        messages_received=hub.messages_received,
        connections=hub.connections,
        clients=tuple(hub.client_ids),
        faults=tuple(active.fault.name for active in brokerage.faults.active),
        participation=_participation(engine),
    )


def _participation(engine: Engine) -> str:
    share = engine.state().participation_bps
    if not share:
        return "off"
    limit = f"{Decimal(share) / 100:f} % of the average volume of {ADV_SESSIONS} sessions"
    missing = [symbol for symbol in engine.tape.symbols if not engine.tape.has_volume(symbol)]
    if not missing:
        return limit
    names = "any name" if len(missing) == len(engine.tape.symbols) else ", ".join(missing)
    return f"{limit}; not applicable to {names}: the tape has no volume for it"
