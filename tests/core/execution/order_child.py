"""An order writer as a process of its own, which can be told where to die or to freeze."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from hrp_core.calendar import GatewayClock
from hrp_core.errors import HrpError
from hrp_core.execution.broker import OrderRequest
from hrp_core.execution.config import BrokerConfig
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.ibkr_loop import Pacer
from hrp_core.execution.order_manager import OrderManager
from hrp_core.execution.writer_lock import WriterLock
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Attempt, Evidence, Execution
from hrp_core.settings import Settings
from hrp_core.simgateway.files import GatewayInfo

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["order_child", "ib_insync", "pandas", "hrp_core.execution.ibkr_session"])


@dataclass(frozen=True)
class Installation:
    """Where a writer finds everything."""

    gateway_file: Path
    journal: Path
    lock: Path

    def config(self) -> BrokerConfig:
        info = GatewayInfo.read(self.gateway_file)
        return BrokerConfig(
            info.host, info.port, 1, info.account, simulated=True, library=Settings().ib_library
        )

    def broker(self) -> IBKRBroker:
        return IBKRBroker(self.config(), pacer=Pacer(float("inf")))

    def clock(self) -> GatewayClock:
        return GatewayClock(self.gateway_file)


@dataclass(frozen=True)
class End:
    """Where the process ends: at which step of which order, and by which signal (STOP freezes it)."""

    step: str = ""
    order: int = 0
    by: signal.Signals = signal.SIGKILL


class EndingJournal(Journal):
    """A journal whose process ends around a claim or after an acknowledgement was stored."""

    def __init__(self, path: Path, end: End, reached: Any) -> None:
        super().__init__(path)
        self._end = end
        self._reached = reached
        self._claims = 0
        self._acknowledged: set[str] = set()

    def claim(self, *arguments: Any, **more: Any) -> Attempt:
        self._claims += 1
        self._reach("claim", self._claims)
        attempt = super().claim(*arguments, **more)
        self._reach("claimed", self._claims)
        return attempt

    def record(self, evidence: Any, executions: Sequence[Execution] = (), **more: Any) -> int:
        told: list[Evidence] = list(evidence)
        new = super().record(told, executions, **more)
        for item in told:
            if self._claims and item.perm_id and item.order_ref not in self._acknowledged:
                self._acknowledged.add(item.order_ref)
                self._reach("acknowledged", len(self._acknowledged))
        return new

    def _reach(self, step: str, order: int) -> None:
        if (step, order) == (self._end.step, self._end.order):
            if self._reached is not None:
                self._reached.set()
            os.kill(os.getpid(), self._end.by)


class EndingBroker(IBKRBroker):
    """A connection whose process ends when the broker has the order and we have not heard of it."""

    def __init__(self, config: BrokerConfig, end: End) -> None:
        super().__init__(config, pacer=Pacer(float("inf")))
        self._end = end
        self._placed = 0

    def place(self, request: OrderRequest) -> None:
        super().place(request)
        self._placed += 1
        if (self._end.step, self._end.order) == ("placed", self._placed):
            self.heartbeat()
            os.kill(os.getpid(), self._end.by)


def run_writer(
    installation: Installation,
    plan_id: str,
    end: End,
    lock_timeout: float,
    go: Any = None,
    reached: Any = None,
) -> None:
    """Send the plan as the trading job does. Exit code: 0, or that of the error.

    Args:
        go: an event to wait for before starting.
        reached: an event to set before ending as `end` says.
    """
    if go is not None:
        go.wait(60)
    journal = EndingJournal(installation.journal, end, reached)
    try:
        with (
            WriterLock(installation.lock, timeout=lock_timeout),
            EndingBroker(installation.config(), end) as broker,
        ):
            clock = installation.clock()
            OrderManager(broker, journal, clock=clock, mode="sim", ack_timeout=5).submit_plan(plan_id)
    except HrpError as error:
        raise SystemExit(error.exit_code) from error


def run_freeze(path: Path, freeze: Callable[[Journal], object], statement: str) -> None:
    """Freeze a plan and die when sqlite is given a statement for the second time."""
    journal = Journal(path)
    seen = 0

    def trace(sql: str) -> None:
        nonlocal seen
        seen += statement in sql
        if seen == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    with journal._database.read() as connection:
        pass
    connection.set_trace_callback(trace)
    freeze(journal)


def start(target: Callable[..., None], *arguments: object) -> ForkServerProcess:
    process = CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process
