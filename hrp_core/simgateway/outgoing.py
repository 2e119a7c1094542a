"""What leaves on one connection, in which order, and what scripted faults do to it.

What belongs here: the queue between what is said to a client and its socket. Nothing in it has left before
the hub has committed.
"""

from dataclasses import dataclass
from typing import Literal

from hrp_core.simgateway.faults import About
from hrp_core.simgateway.faults.book import FaultBook
from hrp_core.simgateway.faults.lasting import Delay, DropMessage, Duplicate, Omit, Reorder, UnsetCommission
from hrp_core.simgateway.messages import Fields
from hrp_core.simgateway.order_messages import BrokerOrder
from hrp_core.simgateway.wire import MESSAGE_NAMES, UNSET_DOUBLE, encode_message

END_MARKERS = frozenset(name for name in MESSAGE_NAMES.values() if name.endswith("End"))
_COMMISSION_FIELD = 3

Mute = Literal["", "everything", "data", "ends"]


@dataclass(frozen=True, slots=True)
class _Held:
    until: str  # name of a message, "advance", or "" for the next message whatever it is
    fields: Fields


class Outgoing:
    """The queue of one connection.

    Attributes:
        mute: what is dropped instead of queued while a request is served.
        ended: the connection ends when the queue has left; nothing is queued any more.
    """

    def __init__(self, faults: FaultBook) -> None:
        self.mute: Mute = ""
        self.ended = False
        self._faults = faults
        self._queue: list[bytes] = []
        self._held: list[_Held] = []

    def add(self, fields: Fields, order: BrokerOrder | None, client: int | None) -> None:
        """Queue a message, or do to it what a fault does.

        Args:
            fields: the message.
            order: the order it is about.
            client: the receiver.
        """
        name = MESSAGE_NAMES.get(int(fields[0]), "")
        is_end = name in END_MARKERS
        muted = self.mute == "everything" or (self.mute == "ends" and is_end)
        # An error is an answer of its own; an end marker that follows it would be no lie.
        if self.ended or muted or (self.mute == "data" and not is_end and name != "error"):
            return
        if not self._faults.active:
            self._queue.append(encode_message(fields))
            self._release(name)
            return
        known = -1 if client is None else client
        about = About(client=known, message=name) if order is None else About.of(order, name, known)
        if self._faults.take(Omit, about):
            return
        if name == "commissionReport" and self._faults.take(UnsetCommission, about):
            fields = [*fields[:_COMMISSION_FIELD], UNSET_DOUBLE, *fields[_COMMISSION_FIELD + 1 :]]
        delayed = self._faults.take(Delay, about)
        if delayed or self._faults.take(Reorder, about):
            self._held.append(_Held(delayed.until if delayed else "", fields))
            return
        self._send(fields, about)
        self._release(name)

    def clock_moved(self) -> None:
        """Release what waited for the clock."""
        self._release("advance")

    def cut(self, queued_before: int) -> None:
        """End the connection in the middle of the first message queued since the mark of `queued`."""
        if len(self._queue) > queued_before:
            self._queue[queued_before:] = [_half(self._queue[queued_before])]
        self.ended = True

    @property
    def queued(self) -> int:
        """Messages in the queue."""
        return len(self._queue)

    def take(self) -> bytes:
        """Return everything queued, and empty the queue."""
        data = b"".join(self._queue)
        self._queue.clear()
        return data

    def _send(self, fields: Fields, about: About) -> None:
        frame = encode_message(fields)
        drop = self._faults.take(DropMessage, about)
        if drop is not None:
            self._queue += {"before": [], "middle": [_half(frame)], "after": [frame]}[drop.at]
            self.ended = True
            return
        self._queue += [frame, frame] if self._faults.take(Duplicate, about) else [frame]

    def _release(self, name: str) -> None:
        due = [held for held in self._held if held.until == name or (held.until == "" and name != "advance")]
        self._held = [held for held in self._held if held not in due]
        self._queue += [encode_message(held.fields) for held in due if not self.ended]


def _half(frame: bytes) -> bytes:
    return frame[: len(frame) // 2]
