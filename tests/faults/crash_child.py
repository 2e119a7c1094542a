"""An order writer as a process of its own that is killed at one boundary of its work, as a schedule says."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from hrp_core.calendar import GatewayClock
from hrp_core.errors import HrpError
from hrp_core.execution.broker import BrokerSnapshot, OrderRequest
from hrp_core.execution.config import BrokerConfig
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.ibkr_loop import Pacer
from hrp_core.execution.order_manager import OrderManager, SubmitReport
from hrp_core.execution.writer_lock import WriterLock
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Attempt, Execution
from hrp_core.settings import Settings
from hrp_core.simgateway.files import GatewayInfo

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["crash_child", "ib_insync", "pandas", "hrp_core.execution.ibkr_session"])

BOUNDARIES = (
    "before snapshot",
    "before record",
    "after record",
    "after epoch",
    "before claim",
    "after claim",
    "before place",
    "after place",
    "before mark_sent",
    "after mark_sent",
)
"""Every journal, send and acknowledgement boundary of one sending, in order."""


@dataclass(frozen=True)
class Installation:
    """Where a writer finds everything, and how patient it is (seconds)."""

    gateway_file: Path
    journal: Path
    lock: Path
    timeout: float = 1.0
    ack_timeout: float = 0.5

    def broker(self) -> IBKRBroker:
        """Return the writer's connection, unpaced."""
        return IBKRBroker(self.config(), pacer=Pacer(float("inf")))

    def config(self) -> BrokerConfig:
        """Return the gateway's endpoint."""
        info = GatewayInfo.read(self.gateway_file)
        library = Settings().ib_library
        return BrokerConfig(
            info.host, info.port, 1, info.account, True, self.timeout, simulated=True, library=library
        )

    def clock(self) -> GatewayClock:
        """Return the gateway's clock."""
        return GatewayClock(self.gateway_file)

    def send(self, broker: IBKRBroker, journal: Journal, plan_id: str) -> SubmitReport:
        """Send the plan as the trading job does."""
        clock, patience = self.clock(), self.ack_timeout
        return OrderManager(broker, journal, clock=clock, mode="sim", ack_timeout=patience).submit_plan(
            plan_id
        )


@dataclass
class Kill:
    """Kills this process when a boundary is reached for the n-th time."""

    boundary: str = ""
    number: int = 1

    def reach(self, boundary: str) -> None:
        """Count down, and die at zero."""
        if boundary == self.boundary:
            self.number -= 1
            if self.number == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class KilledJournal(Journal):
    """A journal whose process dies before or after one of its transactions."""

    def __init__(self, path: Path, kill: Kill) -> None:
        super().__init__(path)
        self._kill = kill

    def acquire_epoch(self, owner: str, now: datetime) -> int:
        epoch = super().acquire_epoch(owner, now)
        self._kill.reach("after epoch")
        return epoch

    def claim(self, intent_id: str, order_ref: str, quantity: int, epoch: int, now: datetime) -> Attempt:
        self._kill.reach("before claim")
        attempt = super().claim(intent_id, order_ref, quantity, epoch, now)
        self._kill.reach("after claim")
        return attempt

    def record(self, evidence: Any, executions: Sequence[Execution] = (), **more: Any) -> int:
        self._kill.reach("before record")
        new = super().record(evidence, executions, **more)
        self._kill.reach("after record")
        return new

    def mark_sent(self, plan_id: str) -> None:
        self._kill.reach("before mark_sent")
        super().mark_sent(plan_id)
        self._kill.reach("after mark_sent")


class KilledBroker(IBKRBroker):
    """A connection whose process dies around a send, or before it asks what is known."""

    def __init__(self, config: BrokerConfig, kill: Kill) -> None:
        super().__init__(config, pacer=Pacer(float("inf")))
        self._kill = kill

    def place(self, request: OrderRequest) -> None:
        self._kill.reach("before place")
        super().place(request)
        self._kill.reach("after place")

    def snapshot(self) -> BrokerSnapshot:
        self._kill.reach("before snapshot")
        return super().snapshot()


def run_writer(installation: Installation, plan_id: str, kill: Kill) -> None:
    """Send the plan and end: with 0, with the exit code of an error, or killed."""
    journal = KilledJournal(installation.journal, kill)
    try:
        with WriterLock(installation.lock, timeout=5), KilledBroker(installation.config(), kill) as broker:
            installation.send(broker, journal, plan_id)
    except HrpError as error:
        raise SystemExit(error.exit_code) from error


def run_freeze(path: Path, freeze: Callable[[Journal], object], statement: int) -> None:
    """Freeze a plan and die at the n-th statement of its transaction."""
    journal = Journal(path)
    left = statement

    def trace(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with journal._database.read() as connection:
        pass
    connection.set_trace_callback(trace)
    freeze(journal)


def start(target: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """Start a process of its own."""
    process = CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process
