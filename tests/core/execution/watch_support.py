"""One trading floor for what happens around the open: in-process, or the gateway over a socket."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
from order_child import Installation
from order_support import ACCOUNT, SYMBOLS, D, E, engine, tape

from hrp_core.calendar import Clock, nyse
from hrp_core.execution.broker import Broker
from hrp_core.execution.open_monitor import OpenReport, monitor_open
from hrp_core.execution.order_manager import OrderManager
from hrp_core.execution.preopen import PreopenReport, preopen_check
from hrp_core.execution.preopen_judgement import SymbolLock
from hrp_core.execution.sim_broker import SimBroker
from hrp_core.execution.submit_report import SubmitReport
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FrozenPlan, Intent, OrderStatus
from hrp_core.portfolio.types import Plan, PlannedOrder
from hrp_core.settings import Settings
from hrp_core.simgateway.control import GatewayClient
from hrp_core.store import Sessions, Store, replace_slice, table


class AdvancingClock:
    """A clock that somebody moves while it is read: each reading first makes the next move.

    Attributes:
        moves: what happens, one at a reading.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.moves: list[Callable[[], object]] = []

    def now(self) -> datetime:
        if self.moves:
            self.moves.pop(0)()
        return self._clock.now()


@dataclass
class Floor:
    """An installation on the evening of D, its broker, and what a test does with both."""

    settings: Settings
    store: Store
    journal: Journal
    clock: AdvancingClock
    connect: Callable[[], Any]
    advance: Callable[[datetime], object]
    gateway: GatewayClient | None = None
    locks: list[SymbolLock] = field(default_factory=list)

    def send(self, *orders: PlannedOrder, session=D, **inputs: object) -> SubmitReport:
        """Freeze, approve and send a plan."""
        with self.connect() as broker:
            frozen = self.freeze(broker, *orders, session=session, **inputs)
            manager = OrderManager(broker, self.journal, clock=self.clock, mode="sim", ack_timeout=5)
            return manager.submit_plan(frozen.plan_id)

    def freeze(self, broker: Broker, *orders: PlannedOrder, session=D, **inputs: object) -> FrozenPlan:
        now = self.clock.now()
        frozen = self.journal.freeze_plan(
            Plan(session, nyse().next(session), Decimal(100_000), Decimal(100_000), (), orders),
            mode="sim",
            account=broker.account,
            contracts=broker.qualify([order.symbol for order in orders]),
            inputs=inputs,
            now=now,
        )
        self.journal.approve(frozen.plan_id, by="test", plan_hash=frozen.inputs_hash, now=now)
        return frozen

    def check(self, **settings: object) -> PreopenReport:
        return preopen_check(
            self.changed(settings),
            self.store,
            self.journal,
            self.connect,
            self.clock,
            lock=self.locks.append,
        )

    def watch(self, patience: float = 20.0, **settings: object) -> OpenReport:
        return monitor_open(
            self.changed(settings), self.store, self.journal, self.connect, self.clock, patience=patience
        )

    def changed(self, settings: Mapping[str, object]) -> Settings:
        return self.settings.model_copy(update=dict(settings))

    def intents(self, session=D) -> dict[str, Intent]:
        return {
            intent.contract.symbol: intent
            for plan in self.journal.plans(session, session)
            for intent in plan.intents
        }

    def states(self, session=D) -> dict[str, OrderStatus]:
        return {symbol: intent.status for symbol, intent in self.intents(session).items()}

    def store_closes(self, session=D, **closes: float) -> None:
        """Store the closes of a session; names not given close as at the broker."""
        market = tape()
        frame = pd.DataFrame(
            [
                {
                    "session": session,
                    "symbol": symbol,
                    "open": None,
                    "high": None,
                    "low": None,
                    "close": closes.get(symbol, (market.price_units(session, symbol, "close") or 0) / 10_000),
                    "volume": None,
                    "split_factor": None,
                    "dividend": None,
                    "source": "test",
                }
                for symbol in SYMBOLS
            ]
        )
        with self.store.write() as connection:
            replace_slice(
                connection, table("prices"), frame, Sessions((session,)), "test", None, self.clock.now()
            )

    def store_split(self, symbol: str, factor: float, session=E) -> None:
        """Store a split that takes effect on a session."""
        frame = pd.DataFrame(
            [
                {
                    "session": session,
                    "symbol": symbol,
                    "kind": "split",
                    "factor": factor,
                    "amount": None,
                    "effective_session": session,
                }
            ]
        )
        with self.store.write() as connection:
            replace_slice(
                connection,
                table("corporate_actions"),
                frame,
                Sessions((session,)),
                "test",
                None,
                self.clock.now(),
            )


def floor_settings(home: Path) -> Settings:
    return Settings.model_validate({"home": home, "send_ack_timeout": 5.0, "lock_timeout": 0.3})


def in_process_floor(home: Path, store: Store, journal: Journal, broker: SimBroker | None = None) -> Floor:
    """A floor on an in-process broker that connects again where it was disconnected."""
    broker = broker or SimBroker(engine(), ACCOUNT)

    @contextmanager
    def connect() -> Iterator[Broker]:
        with broker:
            yield broker

    return Floor(floor_settings(home), store, journal, AdvancingClock(broker), connect, broker.advance)


def gateway_floor(
    home: Path, store: Store, journal: Journal, installation: Installation, control: GatewayClient
) -> Floor:
    return Floor(
        floor_settings(home),
        store,
        journal,
        AdvancingClock(installation.clock()),
        installation.broker,
        control.advance,
        control,
    )
