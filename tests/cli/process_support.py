"""Looking at processes from outside."""

import threading
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not collected yet does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def all_gone(pids: list[int], tries: int = 50) -> bool:
    """Return whether all processes are gone; the kernel needs a moment after the signal."""
    for _ in range(tries):
        if not any(is_alive(pid) for pid in pids):
            return True
        threading.Event().wait(0.1)
    return False


def descendants(leader: int) -> list[int]:
    """Return the processes that descend from `leader`."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(status.parent.name)] = int(fields[1])
    found = [leader]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]
