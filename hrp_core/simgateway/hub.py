"""All connections of a gateway, and the rule that nothing is said before it is saved.

What belongs here: who is connected under which id, counting what arrives, pushing what happened to whom it
concerns, and flushing in groups: one commit for everything that arrived at once, then all answers.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from hrp_core.matching import Event, OrderFilled
from hrp_core.simgateway import pushes
from hrp_core.simgateway.brokerage import Brokerage
from hrp_core.simgateway.faults.lasting import ConnectivityLost
from hrp_core.simgateway.order_messages import open_order, order_status
from hrp_core.simgateway.publisher import order_messages

if TYPE_CHECKING:
    from hrp_core.simgateway.session import ClientSession

log = logging.getLogger(__name__)


class Hub:
    """The connections of one gateway.

    Args:
        brokerage: the account.
        clock_moved: told the clock after a commit that moved it, before any client is.
        failed: told when the gateway cannot go on.
    """

    def __init__(
        self,
        brokerage: Brokerage,
        clock_moved: Callable[[datetime], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.brokerage = brokerage
        self.bytes_received = 0
        self.messages_received = 0
        self.connections = 0
        self._clock_moved = clock_moved
        self._failed = failed
        self._published_now = brokerage.now
        self._sessions: set[ClientSession] = set()
        self._by_client: dict[int, ClientSession] = {}
        self._flush_scheduled = False
        self._has_failed = False

    @property
    def client_ids(self) -> list[int]:
        """The client ids in use."""
        return sorted(self._by_client)

    def add(self, session: "ClientSession") -> None:
        """Take in a new connection."""
        self.connections += 1
        self._sessions.add(session)

    def remove(self, session: "ClientSession") -> None:
        """Forget a connection that ended."""
        self._sessions.discard(session)
        if session.client_id is not None and self._by_client.get(session.client_id) is session:
            del self._by_client[session.client_id]

    def claim(self, client_id: int, session: "ClientSession") -> bool:
        """Give `client_id` to `session` unless another connection has it."""
        return self._by_client.setdefault(client_id, session) is session

    def count_bytes(self, count: int) -> None:
        """Count what a client sent."""
        self.bytes_received += count

    def count_message(self) -> None:
        """Count one message after the handshake."""
        self.messages_received += 1

    def guard(self, work: Callable[[], None]) -> None:
        """Do `work`; whatever it cannot handle ends the gateway."""
        if self._has_failed:
            return
        try:
            work()
        except Exception as error:
            # Any error: memory may now hold what the file does not, so that every later answer could be a
            # lie. The file still has the last commit; a restart goes on from there.
            self._has_failed = True
            log.exception("the gateway cannot go on; its file has everything it answered")
            self._failed(error)

    def publish(self, events: list[Event]) -> None:
        """Queue what happened: orders to their owners, changed positions to subscribers.

        While the broker's line is down (1100) nobody hears of it, then or later; whoever asks, does (F6).
        """
        if self.brokerage.faults.in_force(ConnectivityLost):
            return
        for event in events:
            order = self.brokerage.broker_order(event.order)
            owner = self._by_client.get(order.client_id)
            # An order that a person placed is pushed to client 0 alone, and only once it is bound.
            if owner is None or order.order_id == 0:
                continue
            hidden = isinstance(event, OrderFilled) and self.brokerage.faults.hides_execution(
                event.fill.number
            )
            for fields in order_messages(event, order, owner.version, hide_execution=hidden):
                owner.send(fields, order)
        traded = sorted({event.fill.symbol for event in events if isinstance(event, OrderFilled)})
        if traded:
            for session in self._by_client.values():
                pushes.push_positions(session, traded)

    def bind_manual_orders(self, session: "ClientSession") -> None:
        """Give every open order that a person placed an order id of client 0, and tell it of them."""
        for order in self.brokerage.bind_manual_orders():
            session.send(open_order(order, session.version), order)
            session.send(order_status(order), order)

    @property
    def binding_client(self) -> "ClientSession | None":
        """The connection of client 0 when it binds manual orders."""
        zero = self._by_client.get(0)
        return zero if zero is not None and zero.binds_manual_orders else None

    def announce(self, code: int, text: str) -> None:
        """Queue an error message without an id to every client."""
        for session in self._by_client.values():
            session.send_error(-1, code, text)

    def drop_all(self) -> None:
        """End every connection without sending what is queued."""
        for session in list(self._sessions):
            session.drop()

    def release_delayed(self) -> None:
        """Let go what faults held back until the clock moves; what this move brings may be held again."""
        for session in self._by_client.values():
            session.outgoing.clock_moved()

    def clock_advanced(self) -> None:
        """Queue what a moved clock changes for subscribers: account values and quotes."""
        if self.brokerage.faults.in_force(ConnectivityLost):
            return
        for session in self._by_client.values():
            pushes.push_account(session)
            pushes.push_quotes(session)

    def schedule_flush(self) -> None:
        """Flush once everything that arrived in this turn of the event loop has been served."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self.guard, self.flush)

    def flush(self) -> None:
        """Commit, publish the clock, then let every queued message go."""
        self._flush_scheduled = False
        self.brokerage.commit()
        if self.brokerage.now != self._published_now:
            self._clock_moved(self.brokerage.now)
            self._published_now = self.brokerage.now
        for session in list(self._sessions):
            session.flush()

    def close(self) -> None:
        """End all connections."""
        for session in list(self._sessions):
            session.abort()
