"""The desk's runs as processes of their own, each killed or frozen at one boundary of its work.

What belongs here: one evening (plan, send), one look before midnight, one freezing of a plan. What is done to
them, and in which order, is said by `crash_matrix`.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from hrp_core.calendar import nyse
from hrp_core.errors import HrpError
from hrp_core.execution.broker import BrokerSnapshot, OrderEvent, OrderRequest
from hrp_core.execution.config import BrokerConfig, ClientRole, sim_config
from hrp_core.execution.gate import Verdict
from hrp_core.execution.gate_record import Permission
from hrp_core.execution.ibkr import IBKRBroker
from hrp_core.execution.ibkr_loop import Pacer
from hrp_core.execution.looks import second_look
from hrp_core.execution.planning import PlannedSession, plan_session
from hrp_core.execution.trading import send_session
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Attempt, Execution, FrozenPlan
from hrp_core.portfolio.types import Strategy
from hrp_core.settings import Settings
from hrp_core.store import Store

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["crash_child", "ib_insync", "pandas", "hrp_core.execution.ibkr_session"])
nyse()  # built once here, inherited by every child

BOUNDARIES = (
    "before snapshot",
    "before record",
    "after record",
    "before epoch",
    "after epoch",
    "before claim",
    "after claim",
    "before place",
    "after place",
    "after answer",  # heard, and not in the journal: answers are committed in groups
    "before mark_sent",
    "after mark_sent",
)
"""Every journal, send and acknowledgement boundary of one sending, in order."""
LOOK_BOUNDARIES = ("before snapshot", "before record", "after record")

STRATEGY = Strategy("HYP-2026-001", "crash matrix", "momentum_12_1", "rank", Decimal(1), {"top_pct": 0.5})


@dataclass(frozen=True)
class Installation:
    """One desk: its settings, how patient its runs are, and which client id they write with.

    Attributes:
        timeout: for an answer of the broker, seconds.
        client_id: added to the writer's own; not 0 only for a writer on another machine.
    """

    settings: Settings
    timeout: float = 1.0
    client_id: int = 0

    @property
    def journal(self) -> Path:
        """The order journal."""
        return self.settings.journal_path

    def config(self, role: ClientRole) -> BrokerConfig:
        """Return the gateway's endpoint."""
        config = sim_config(self.settings, role)
        return replace(config, timeout=self.timeout, client_id=config.client_id + self.client_id)

    def broker(self, role: ClientRole = ClientRole.READER) -> IBKRBroker:
        """Return a connection, unpaced."""
        return IBKRBroker(self.config(role), pacer=Pacer(float("inf")))

    def plan(self, journal: Journal, session: date) -> PlannedSession:
        """Plan a session as predictions_job does."""
        with self.broker() as broker:
            return plan_session(
                self.settings,
                Store(self.settings.database_path),
                journal,
                broker,
                [STRATEGY],
                session,
                self.settings.clock().now(),
            )


@dataclass
class Kill:
    """Ends this process when a boundary is reached for the n-th time.

    Attributes:
        by: SIGSTOP freezes it instead.
        reached: an event to set before.
    """

    boundary: str = ""
    number: int = 1
    by: signal.Signals = signal.SIGKILL
    reached: Any = field(default=None, compare=False)

    def reach(self, boundary: str) -> None:
        """Count down, and end at zero."""
        if boundary == self.boundary:
            self.number -= 1
            if self.number == 0:
                if self.reached is not None:
                    self.reached.set()
                os.kill(os.getpid(), self.by)


class KilledJournal(Journal):
    """A journal whose process dies before or after one of its transactions."""

    def __init__(self, path: Path, kill: Kill) -> None:
        super().__init__(path)
        self._kill = kill

    def acquire_epoch(self, owner: str, now: datetime) -> int:
        self._kill.reach("before epoch")
        epoch = super().acquire_epoch(owner, now)
        self._kill.reach("after epoch")
        return epoch

    def claim(self, *arguments: Any, **more: Any) -> Attempt:
        self._kill.reach("before claim")
        attempt = super().claim(*arguments, **more)
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
    """A connection whose process dies around a send, at an answer, or before it asks what is known."""

    def __init__(self, config: BrokerConfig, kill: Kill) -> None:
        super().__init__(config, pacer=Pacer(float("inf")))
        self._kill = kill

    def place(self, request: OrderRequest) -> None:
        self._kill.reach("before place")
        super().place(request)
        self._kill.reach("after place")

    def next_event(self, timeout: float) -> OrderEvent | None:
        event = super().next_event(timeout)
        if event is not None:
            self._kill.reach("after answer")
        return event

    def snapshot(self) -> BrokerSnapshot:
        self._kill.reach("before snapshot")
        return super().snapshot()


def permitted(plan: FrozenPlan) -> Permission:
    """Let a plan go whole: what dies here is the sender, not the gate."""
    return Permission(Verdict.GO, "")


def run_evening(
    installation: Installation, session: date, kill: Kill, errors: Path, *, plan: bool = False
) -> None:
    """Send the plan of a session as live_trader_job does, with `plan` after planning it as predictions_job.

    Ends with 0, with the exit code of an error (its type and message are then in `errors`), or killed.
    """
    settings = installation.settings
    journal = KilledJournal(installation.journal, kill)
    try:
        if plan:
            installation.plan(journal, session)
        send_session(
            settings,
            journal,
            lambda: KilledBroker(installation.config(ClientRole.WRITER), kill),
            session,
            settings.clock(),
            permitted,
        )
    except HrpError as error:
        _end(error, errors)


def run_look(installation: Installation, kill: Kill, errors: Path) -> None:
    """Look again at what was sent, if a look is owed."""
    journal = KilledJournal(installation.journal, kill)
    try:
        with KilledBroker(installation.config(ClientRole.READER), kill) as broker:
            second_look(broker, journal, installation.settings.clock().now(), mode="sim")
    except HrpError as error:
        _end(error, errors)


def run_freeze(installation: Installation, session: date, statement: int) -> None:
    """Plan a session and die at the n-th statement of the transaction that freezes it."""
    journal = DyingJournal(installation.journal, statement)
    installation.plan(journal, session)


class DyingJournal(Journal):
    """A journal whose process dies at the n-th statement of the transaction that freezes a plan."""

    def __init__(self, path: Path, statement: int) -> None:
        super().__init__(path)
        self._left = statement

    def freeze_plan(self, *arguments: Any, **more: Any) -> Any:
        with self._database.read() as connection:
            pass
        connection.set_trace_callback(self._count)
        return super().freeze_plan(*arguments, **more)

    def _count(self, _: str) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def start(target: Callable[..., None], *arguments: object, **more: object) -> ForkServerProcess:
    """Start a process of its own."""
    process = CONTEXT.Process(target=target, args=arguments, kwargs=more, daemon=True)
    process.start()
    return process


def _end(error: HrpError, errors: Path) -> None:
    errors.write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
    raise SystemExit(error.exit_code) from error
