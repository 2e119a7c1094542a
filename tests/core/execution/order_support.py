"""A small real market, the in-process broker on it, and plans for it."""

from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from decimal import Decimal

import pandas as pd

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.execution.broker import BrokerSnapshot, OrderEvent, OrderRequest
from hrp_core.execution.order_manager import OrderManager
from hrp_core.execution.sim_broker import SimBroker
from hrp_core.execution.sync import SyncReport, sync_broker
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FrozenPlan
from hrp_core.matching import Engine, EngineState, Tape
from hrp_core.portfolio.types import OrderSide, OrderType, Plan, PlannedOrder

ACCOUNT = "DU1234567"
D, E, F = date(2022, 12, 15), date(2022, 12, 16), date(2022, 12, 19)
SYMBOLS = {"AAPL": 100.0, "KO": 50.0, "MSFT": 200.0}


def at(day: date, clock: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(clock), NEW_YORK)


EVENING = at(D, "18:30")


def tape() -> Tape:
    """2022-11-21 to 2022-12-21; each name opens at its base plus the session's number, closes 0.50 higher."""
    sessions = nyse().between(date(2022, 11, 21), date(2022, 12, 21))
    return Tape.from_frame(
        pd.DataFrame(
            [
                {
                    "session": session,
                    "symbol": symbol,
                    "open": base + number,
                    "high": None,
                    "low": None,
                    "close": base + number + 0.5,
                    "volume": None,
                }
                for number, session in enumerate(sessions)
                for symbol, base in SYMBOLS.items()
            ]
        )
    )


def engine(now: datetime = EVENING, cash: int = 100_000) -> Engine:
    return Engine(tape(), EngineState.opening(now=now, cash=Decimal(cash)))


def planned(symbol: str, shares: int, leg: str = "") -> PlannedOrder:
    """A market order for `shares` (negative: a sale, which decreases)."""
    return PlannedOrder(
        symbol=symbol,
        side=OrderSide.BUY if shares > 0 else OrderSide.SELL,
        quantity=abs(shares),
        leg=leg or ("increase" if shares > 0 else "decrease"),
        reference_price=Decimal("100"),
        order_type=OrderType.MARKET,
        allocations=(("HYP-2026-001", shares),),
    )


def freeze(
    journal: Journal, broker: SimBroker, *orders: PlannedOrder, session: date = D, approve: bool = True
) -> FrozenPlan:
    """Freeze and approve a plan for what the broker's contracts are."""
    frozen = journal.freeze_plan(
        Plan(session, nyse().next(session), Decimal(100_000), Decimal(100_000), (), orders),
        mode="sim",
        account=broker.account,
        contracts=broker.qualify([order.symbol for order in orders]),
        inputs={"orders": [(order.symbol, order.quantity) for order in orders]},
        now=broker.now(),
    )
    if approve:
        journal.approve(frozen.plan_id, by="test", plan_hash=frozen.inputs_hash, now=broker.now())
    return frozen


def manager(broker: SimBroker, journal: Journal, **more: object) -> OrderManager:
    arguments: dict[str, object] = {"clock": broker, "mode": "sim", "ack_timeout": 0.05, **more}
    return OrderManager(broker, journal, **arguments)  # type: ignore[arg-type]


def sync(broker: SimBroker, journal: Journal, *, writer: bool = False) -> SyncReport:
    return sync_broker(broker, journal, broker.now(), mode="sim", writer=writer)


class BentBroker(SimBroker):
    """The in-process broker on a line that fails as scripted; the account behind it is the real one.

    Attributes:
        on_place: called before an order reaches the engine; may raise or disconnect.
        after_place: called after it has.
        deaf: orderRefs whose messages never arrive.
        bend: changes each snapshot before it is handed out.
        hints: messages put in front of the broker's own.
    """

    def __init__(self, engine: Engine, account: str = ACCOUNT) -> None:
        super().__init__(engine, account)
        self.on_place: Callable[[OrderRequest], None] = lambda _: None
        self.after_place: Callable[[OrderRequest], None] = lambda _: None
        self.deaf: Callable[[str], bool] = lambda _: False
        self.bend: Callable[[BrokerSnapshot], BrokerSnapshot] = lambda snapshot: snapshot
        self.hints: list[OrderEvent] = []
        self.refs: list[str] = []

    def place(self, request: OrderRequest) -> None:
        self.refs.append(request.order_ref)
        self.on_place(request)
        super().place(request)
        self.after_place(request)

    def next_event(self, timeout: float) -> OrderEvent | None:
        if self.hints:
            return self.hints.pop(0)
        event = super().next_event(timeout)
        while event is not None and self.deaf(event.order_ref):
            event = super().next_event(timeout)
        return event

    def snapshot(self) -> BrokerSnapshot:
        return self.bend(super().snapshot())


def connected(broker: BentBroker) -> BentBroker:
    broker.connect()
    return broker


def refs(orders: Iterable[object]) -> list[str]:
    return [order.order_ref for order in orders]  # type: ignore[attr-defined]
