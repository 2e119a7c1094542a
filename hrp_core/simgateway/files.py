"""The gateway's folder: who runs there, where it listens, and which files belong to it.

What belongs here: `gateway.json`, the lock that keeps a second gateway out, and removing it all.
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import BrokerConnectionError, RefusedError

STATE_FILE = "gateway.sqlite"
INFO_FILE = "gateway.json"
LOCK_FILE = "gateway.lock"

NOT_RUNNING = "the simulated gateway is not running; start it with `hrp gateway serve`"


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """What `gateway.json` says.

    Attributes:
        host: where both ports listen; always this machine.
        port: the broker's port, for the client library.
        control_port: the port that moves the clock.
        token: whoever may move the clock can read it here.
        pid: the process that wrote it; a dead one means that nobody listens.
        account: the simulated account.
        now: the gateway's clock.
    """

    host: str
    port: int
    control_port: int
    token: str
    pid: int
    account: str
    now: datetime

    @classmethod
    def read(cls, path: Path) -> "GatewayInfo":
        """Return what the file says.

        Raises:
            BrokerConnectionError: there is no such file: no gateway was ever started in that folder.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BrokerConnectionError(NOT_RUNNING) from None
        content["now"] = datetime.fromisoformat(content["now"]).astimezone(NEW_YORK)
        return cls(**content)

    def write(self, path: Path) -> None:
        """Replace the file in one step; only this user may read it, for it holds the token."""
        temporary = path.with_name(f"{path.name}.tmp")
        content = {**asdict(self), "now": self.now.isoformat()}
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
        temporary.replace(path)


class FolderLock:
    """Keeps a second gateway out of a folder. The kernel frees it when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / LOCK_FILE
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            RefusedError: a gateway runs in this folder; the message names its process.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
                os.close(descriptor)
                raise RefusedError(
                    f"a simulated gateway already runs on {self._folder} (process {holder}); use it, or end "
                    "that process first"
                ) from None
            # `reset` may have removed the file between opening and locking it: a lock on it would be no lock.
            if self._path.exists() and os.fstat(descriptor).st_ino == self._path.stat().st_ino:
                break
            os.close(descriptor)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; calling it again does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def reset(folder: Path) -> None:
    """Remove a gateway's files: account, orders, clock. The next start begins anew.

    Raises:
        RefusedError: a gateway runs in this folder.
    """
    if not folder.exists():
        return
    lock = FolderLock(folder)
    lock.acquire()
    try:
        for name in (INFO_FILE, STATE_FILE, f"{STATE_FILE}-wal", f"{STATE_FILE}-shm", LOCK_FILE):
            (folder / name).unlink(missing_ok=True)
    finally:
        lock.release()
