"""One client's connection: handshake, start, then requests; and what it has subscribed to.

What belongs here: the life of a connection and its outgoing queue. Nothing queued leaves before the hub has
committed the changes it speaks of.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from hrp_core.matching import Instrument
from hrp_core.simgateway import messages
from hrp_core.simgateway.brokerage import Brokerage
from hrp_core.simgateway.faults import About
from hrp_core.simgateway.faults.base import REQUEST_NAMES
from hrp_core.simgateway.faults.lasting import HalfOpen, LoseRequest, LyingEnd, MissingEnd, Silence
from hrp_core.simgateway.handlers import dispatch
from hrp_core.simgateway.messages import Fields
from hrp_core.simgateway.order_messages import BrokerOrder
from hrp_core.simgateway.outgoing import Outgoing
from hrp_core.simgateway.wire import FrameBuffer, Handshake, WireError, decode_fields

if TYPE_CHECKING:
    from hrp_core.simgateway.hub import Hub

log = logging.getLogger(__name__)

# What a healthy broker says of its data farms when a client has started.
_FARMS = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefnj"),
)


class ClientSession(asyncio.Protocol):
    """A connected client.

    Attributes:
        version: the server version agreed on; 0 before the handshake.
        client_id: None before the client has started the API.
        binds_manual_orders: orders placed by a person are pushed to it, with an order id to cancel them by.
    """

    def __init__(self, hub: "Hub") -> None:
        self.hub = hub
        self.version = 0
        self.client_id: int | None = None
        self.binds_manual_orders = False
        self.wants_positions = False
        self.wants_account_updates = False
        self.portfolio_symbols: set[str] = set()
        self.multi_requests: set[int] = set()
        self.summary_requests: dict[int, frozenset[str]] = {}
        self.tickers: dict[int, Instrument] = {}
        self._transport: asyncio.Transport | None = None
        self._frames = FrameBuffer()
        self.outgoing = Outgoing(hub.brokerage.faults)
        self._closing = False
        self._dropped = False
        self._frozen = False

    @property
    def brokerage(self) -> Brokerage:
        """The account behind the connection."""
        return self.hub.brokerage

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)
        self.hub.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Free the client id at once: a client that reconnects must not meet itself."""
        self._transport = None
        self.hub.remove(self)

    def data_received(self, data: bytes) -> None:
        """Serve every request that `data` completes; called by the event loop."""
        self.hub.count_bytes(len(data))
        if not self._frozen:
            self.hub.guard(lambda: self._serve(data))

    def send(self, fields: Fields, order: BrokerOrder | None = None) -> None:
        """Queue a message; it leaves after the next commit. `order` is the one it is about."""
        if not self._frozen:
            self.outgoing.add(fields, order, self.client_id)
        self.hub.schedule_flush()

    def send_error(self, id_: int, code: int, text: str, order: BrokerOrder | None = None) -> None:
        """Queue an error message; `id_` is a request or order id, or -1."""
        self.send(messages.error(id_, code, text, self.version), order)

    def close_after_flush(self) -> None:
        """End the connection once what is queued has left; read no more from it."""
        self._closing = True
        self.hub.schedule_flush()

    def drop(self) -> None:
        """End the connection at the next flush without sending what is queued."""
        self._dropped = True
        self.hub.schedule_flush()

    def flush(self) -> None:
        """Write what is queued; called by the hub after a commit."""
        if self._transport is None:
            return
        if self._dropped:
            self._transport.abort()
            return
        if self._frozen:
            return
        data = self.outgoing.take()
        if data:
            self._transport.write(data)
        if self._closing or self.outgoing.ended:
            self._transport.close()

    def abort(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def start(self, client_id: int) -> None:
        """Bind the connection to a client id and say what the client waits for, or refuse the id (F20)."""
        if self.client_id is not None:
            raise WireError("message 71: the API is started already")
        if not self.hub.claim(client_id, self):
            self.send_error(
                -1,
                326,
                "Unable to connect as the client id is already in use. Retry with a unique client id.",
            )
            self.close_after_flush()
            return
        self.client_id = client_id
        self.send(messages.managed_accounts(self.brokerage.account))
        self.send(messages.next_valid_id(self.brokerage.next_order_id(client_id)))
        for code, text in _FARMS:
            self.send_error(-1, code, text)

    def _serve(self, data: bytes) -> None:
        try:
            bodies = self._frames.feed(data)
            for body in bodies:
                if self._closing or self._dropped or self._frozen or self.outgoing.ended:
                    return
                if not self.version:
                    self._greet(body)
                    continue
                self.hub.count_message()
                self._request(decode_fields(body))
        except WireError as error:
            # After bytes that are no message, nothing that follows can be trusted to begin where it should.
            log.warning("client %s: %s; closing its connection", self.client_id, error)
            self.close_after_flush()

    def _request(self, fields: list[str]) -> None:
        """Serve a request, or do to it what a fault does."""
        faults = self.brokerage.faults
        if not faults.active:
            dispatch(self, fields)
            return
        names = {str(number.value): name for number, name in REQUEST_NAMES.items()}
        client = -1 if self.client_id is None else self.client_id
        about = About(client=client, request=names.get(fields[0], ""))
        if faults.take(HalfOpen, about):
            # Nothing queued leaves either; the client's own end of the connection still frees its id.
            self._frozen = True
            self.hub.schedule_flush()
            return
        if faults.take(LoseRequest, about):
            self.close_after_flush()
            return
        if faults.take(Silence, about):
            self.outgoing.mute = "everything"
        elif faults.take(MissingEnd, about):
            self.outgoing.mute = "ends"
        elif faults.take(LyingEnd, about):
            self.outgoing.mute = "data"
        try:
            dispatch(self, fields)
        finally:
            self.outgoing.mute = ""

    def _greet(self, body: bytes) -> None:
        offered = Handshake.parse(body)
        version = offered.version()
        if version is None:
            raise WireError(f"the client speaks versions {offered.lowest} to {offered.highest}, none of ours")
        self.version = version
        self.send(messages.handshake(version, self.brokerage.now))
