"""A wire between the adapter and the simulated gateway that a test can bend.

What the gateway says passes through a rule, frame by frame: a rule may drop, repeat, change or add frames,
and `say` pushes one out of turn. What the client says is recorded. Both ends are the real ones.
"""

import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

Fields = list[str]
Rule = Callable[[Fields], Iterable[Fields]]


def unchanged(fields: Fields) -> Iterable[Fields]:
    """Let a frame pass."""
    yield fields


def without(*numbers: int) -> Rule:
    """Return a rule that drops the messages with these numbers."""

    def rule(fields: Fields) -> Iterable[Fields]:
        if int(fields[0]) not in numbers:
            yield fields

    return rule


class WireProxy:
    """Listens on a free port and connects each client on to `port`. A context manager."""

    def __init__(self, port: int) -> None:
        self.rule: Rule = unchanged
        self.received: queue.SimpleQueue[Fields] = queue.SimpleQueue()
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._client: socket.socket | None = None
        self._writing = threading.Lock()
        self._handshaken = False

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self._listener.getsockname()[1]

    def __enter__(self) -> "WireProxy":
        self._start(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for each in self._sockets:
            each.close()

    def say(self, *fields: object) -> None:
        """Push one message to the client, as if the gateway had sent it."""
        self._write([str(field) for field in fields])

    def cut(self) -> None:
        """End all connections."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def heard(self, number: int, timeout: float = 5.0) -> Fields:
        """Return the next message `number` that the client sent, passing over others."""
        while True:
            fields = self.received.get(timeout=timeout)
            if fields[0] == str(number):
                return fields

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for each in (client, server):
                # Small frames one after the other would otherwise wait for each other's acknowledgement.
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, server]
            self._client, self._handshaken = client, False
            self._start(self._from_client, client, server)
            self._start(self._from_server, server, client)

    def _from_client(self, client: socket.socket, server: socket.socket) -> None:
        first = _read(client, 4)
        with suppress(OSError):
            server.sendall(first)
            while (frame := _read_frame(client)) is not None:
                fields = frame.decode().split("\0")
                if fields[0].isdigit():
                    self.received.put(fields[:-1])
                server.sendall(struct.pack(">I", len(frame)) + frame)
            server.shutdown(socket.SHUT_WR)

    def _from_server(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while (frame := _read_frame(server)) is not None:
                fields = frame.decode().split("\0")[:-1]
                if not self._handshaken:
                    self._handshaken = True
                    self._write(fields)
                    continue
                for changed in self.rule(fields):
                    self._write(changed)
            client.shutdown(socket.SHUT_RDWR)

    def _write(self, fields: Fields) -> None:
        frame = "".join(f"{field}\0" for field in fields).encode()
        assert self._client is not None
        with self._writing:
            self._client.sendall(struct.pack(">I", len(frame)) + frame)


def _read(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        with suppress(OSError):
            more = source.recv(count - len(data))
            if more:
                data += more
                continue
        return b""
    return data


def _read_frame(source: socket.socket) -> bytes | None:
    head = _read(source, 4)
    return _read(source, struct.unpack(">I", head)[0]) if head else None
