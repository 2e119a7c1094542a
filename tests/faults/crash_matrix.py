"""The crash matrix: the sender killed at every boundary, crossed with what a broker does wrong, by seed.

What belongs here: making a schedule from a seed, playing it against a gateway over a real socket, and judging
the account afterwards. `python tests/faults/crash_matrix.py --schedules 1000` prints the summary.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from pathlib import Path

import pandas as pd
from crash_child import BOUNDARIES, Installation, Kill, run_freeze, run_writer, start

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.errors import HrpError, IncompleteSnapshotError
from hrp_core.execution.broker import BrokerSnapshot
from hrp_core.execution.reconcile import share_breaks
from hrp_core.execution.sync import observe, sync_broker
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Contract, OrderStatus
from hrp_core.matching import Tape
from hrp_core.portfolio.types import OrderSide, OrderType, Plan, PlannedOrder
from hrp_core.simgateway import GatewayServer
from hrp_core.simgateway.control import GatewayClient

D, E = date(2022, 12, 15), date(2022, 12, 16)
SYMBOLS = {"AAPL": 100.0, "KO": 50.0, "MSFT": 200.0}
EVENING = datetime.combine(D, time(18, 30), NEW_YORK)
AFTER_CLOSE = datetime.combine(E, time(17, 45), NEW_YORK)
RESUMES = 2
WAIT = 120

Fault = tuple[str, dict[str, int | str]]

ORDER_FAULTS = (
    "drop_before_ack",
    "drop_after_ack",
    "drop_mid_frame",
    "reject",
    "partial_fill",
    "split_fill",
    "unset_commission",
)
WHEN_FILLING = ("partial_fill", "split_fill", "unset_commission")
MESSAGE_FAULTS = ("omit", "duplicate", "reorder", "delay", "drop_message")
MESSAGES = ("openOrder", "orderStatus", "execDetails", "commissionReport")
REQUEST_FAULTS = ("missing_end", "lying_end", "silence", "half_open")
REQUESTS = ("allOpenOrders", "completedOrders", "executions", "positions")


@dataclass(frozen=True)
class Schedule:
    """What goes wrong: where each run of the sender dies, and what the gateway does.

    Attributes:
        kills: (boundary, n-th time) of the first run and of the first resume; None: it lives.
        freeze_statement: the plan's first transaction dies at this statement; 0: it does not.
        faults: scripted ones, in force from the first run until it has ended.
    """

    seed: int
    kills: tuple[tuple[str, int] | None, ...]
    freeze_statement: int
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return f"seed {self.seed}: kills {self.kills}, freeze {self.freeze_statement}, faults {self.faults}"


@dataclass
class Outcome:
    """What became of the account.

    Attributes:
        violations: what must never be: empty.
        on_target: every order filled whole, within two resumes and without a person.
        causes: why orders are not on target.
    """

    schedule: Schedule
    violations: list[str] = field(default_factory=list)
    on_target: bool = False
    causes: list[str] = field(default_factory=list)


def schedule_of(seed: int) -> Schedule:
    """Return the schedule of a seed; the first seeds go through the boundaries one by one."""
    draw = random.Random(seed)
    boundary = BOUNDARIES[seed % len(BOUNDARIES)]
    first: tuple[str, int] | None = (boundary, draw.randint(1, 3))
    if draw.random() < 0.15:
        first = None
    second = (draw.choice(BOUNDARIES), draw.randint(1, 3)) if draw.random() < 0.3 else None
    faults = [_fault(draw) for _ in range(draw.choice((0, 1, 1, 1, 2)))]
    statement = draw.randint(2, 7) if draw.random() < 0.1 else 0
    return Schedule(seed, (first, second), statement, tuple(faults))


def _fault(draw: random.Random) -> Fault:
    family = draw.choice(("order", "message", "request", "line"))
    if family == "order":
        return draw.choice(ORDER_FAULTS), {"order": draw.randint(1, len(SYMBOLS))}
    if family == "message":
        name = draw.choice(MESSAGE_FAULTS)
        return name, {"message": draw.choice(MESSAGES), "order": draw.randint(1, len(SYMBOLS))}
    if family == "request":
        return draw.choice(REQUEST_FAULTS), {"request": draw.choice(REQUESTS), "skip": draw.randint(0, 2)}
    return draw.choice(
        (
            ("lose_request", {"skip": draw.randint(0, 2)}),
            ("silence", {"request": "placeOrder", "skip": draw.randint(0, 2)}),
            ("half_open", {"request": "placeOrder", "skip": draw.randint(0, 2)}),
            ("connectivity_lost", {}),
            ("restart", {}),
        )
    )


def play(seed: int) -> Outcome:
    """Play one schedule in a directory of its own and judge what it left behind."""
    schedule = schedule_of(seed)
    outcome = Outcome(schedule)
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        home = Path(folder)
        with GatewayServer(home / "sim", _tape(), start=EVENING, cash=Decimal(100_000)) as gateway:
            place = Installation(gateway.gateway_file, home / "journal.sqlite", home / "broker.lock")
            journal = Journal(place.journal)
            try:
                _run(schedule, place, journal, GatewayClient(gateway.gateway_file), outcome)
            except HrpError as error:
                outcome.violations.append(f"the account could not be judged: {error}")
            finally:
                journal.close()
    return outcome


def _run(
    schedule: Schedule, place: Installation, journal: Journal, control: GatewayClient, outcome: Outcome
) -> None:
    judge = replace(place, timeout=30.0)  # it is no part of what is tested, and the machine may be busy
    with judge.broker() as broker:
        sync_broker(broker, journal, place.clock().now(), mode="sim")
        contracts = broker.qualify(sorted(SYMBOLS))
        freeze = partial(_freeze, account=broker.account, contracts=contracts)
    if schedule.freeze_statement:
        start(run_freeze, place.journal, freeze, schedule.freeze_statement).join(WAIT)
        half = [plan for plan in journal.plans() if len(plan.intents) != len(SYMBOLS)]
        outcome.violations += [f"half of plan {plan.plan_id} was frozen" for plan in half]
    plan_id = freeze(journal)
    journal.approve(plan_id, by="matrix", plan_hash=journal.plan(plan_id).inputs_hash, now=EVENING)
    for name, parameters in schedule.faults:
        control.fault(name, **parameters)
    for run in range(1 + RESUMES):
        kill = schedule.kills[run] if run < len(schedule.kills) else None
        child = start(run_writer, place, plan_id, Kill(*kill) if kill else Kill())
        child.join(WAIT)
        if child.exitcode is None:
            child.kill()
            outcome.violations.append(f"run {run} hung")
            return
        if run == 0:
            _end_of_the_line_faults(schedule, control)
    evening = _snapshot(judge)
    control.advance(AFTER_CLOSE)
    control.clear_faults()
    for _ in range(3):
        try:
            with judge.broker() as broker:
                final = observe(broker, journal, place.clock().now(), mode="sim", writer=True)
                break
        except IncompleteSnapshotError:
            continue
    else:
        outcome.violations.append("the broker could not be asked after the close")
        return
    with judge.broker() as broker:
        try:
            sync_broker(broker, journal, place.clock().now(), mode="sim", writer=True)
        except HrpError as error:
            outcome.violations.append(f"the account does not agree after the close: {error}")
    _judge(journal, plan_id, evening, final.snapshot, outcome)


def _end_of_the_line_faults(schedule: Schedule, control: GatewayClient) -> None:
    """End what a broker gets over by itself; what it does to single orders stays until they have traded."""
    if any(name == "connectivity_lost" for name, _ in schedule.faults):
        control.fault("connectivity_restored")
    kept = [
        fault for fault in schedule.faults if fault[0] in ("partial_fill", "split_fill", "unset_commission")
    ]
    control.clear_faults()
    for name, parameters in kept:
        control.fault(name, **parameters)


def _judge(
    journal: Journal, plan_id: str, evening: BrokerSnapshot, final: BrokerSnapshot, outcome: Outcome
) -> None:
    plan = journal.plan(plan_id)
    taken: dict[int, set[int]] = {}
    for order in (*evening.open_orders, *evening.completed_orders, *final.completed_orders):
        taken.setdefault(order.contract.con_id, set()).add(order.perm_id)
    for con_id, perm_ids in taken.items():
        if len(perm_ids) > 1:
            outcome.violations.append(f"{len(perm_ids)} orders for conId {con_id}: {sorted(perm_ids)}")
    lost = {fill.exec_id for fill in final.executions} - {fill.exec_id for fill in journal.executions()}
    outcome.violations += [f"lost fill {exec_id}" for exec_id in sorted(lost)]
    ledger: dict[str, int] = {}
    for fill in journal.executions():
        symbol = fill.contract.symbol
        ledger[symbol] = ledger.get(symbol, 0) + fill.side.sign * fill.shares
    broker = {position.contract.symbol: position.shares for position in final.positions}
    outcome.violations += [item.message for item in share_breaks(ledger, broker)]
    for intent in plan.intents:
        if intent.filled > intent.quantity:
            outcome.violations.append(f"{intent.contract.symbol} filled {intent.filled} of {intent.quantity}")
        if intent.status is not OrderStatus.FILLED:
            outcome.causes.append(_cause(journal, intent.intent_id, intent.status))
    outcome.on_target = not outcome.causes


def _cause(journal: Journal, intent_id: str, status: OrderStatus) -> str:
    attempts = journal.attempts(intent_id)
    if status is OrderStatus.EXPIRED_UNSEEN:
        return "claimed, and never seen at the broker: at most once, so it was not sent again"
    if status in (OrderStatus.REJECTED, OrderStatus.CANCELLED):
        return f"{status.value}: {attempts[-1].reason[:40] if attempts else ''}"
    return status.value


def _snapshot(place: Installation) -> BrokerSnapshot:
    with place.broker() as broker:
        return broker.snapshot()


def _freeze(journal: Journal, *, account: str, contracts: dict[str, Contract]) -> str:
    orders = tuple(
        PlannedOrder(
            symbol, OrderSide.BUY, 10, "increase", Decimal(100), OrderType.MARKET, (("HYP-2026-001", 10),)
        )
        for symbol in sorted(SYMBOLS)
    )
    plan = Plan(D, E, Decimal(100_000), Decimal(100_000), (), orders)
    return journal.freeze_plan(
        plan, mode="sim", account=account, contracts=contracts, inputs={}, now=EVENING
    ).plan_id


def _tape() -> Tape:
    rows = [
        {"session": day, "symbol": name, "open": base + n, "close": base + n + 0.5}
        for n, day in enumerate(nyse().between(date(2022, 12, 12), date(2022, 12, 20)))
        for name, base in SYMBOLS.items()
    ]
    return Tape.from_frame(pd.DataFrame(rows).assign(high=None, low=None, volume=None))


def summary(outcomes: Iterable[Outcome]) -> str:
    """Return the result of many schedules as text."""
    done = list(outcomes)
    bad = [outcome for outcome in done if outcome.violations]
    causes = Counter(cause for outcome in done for cause in outcome.causes)
    share = sum(outcome.on_target for outcome in done) / max(len(done), 1)
    lines = [
        f"{len(done)} schedules: {len(bad)} with a violation; {share:.1%} on target within {RESUMES} resumes"
    ]
    lines += [f"  not on target, {count} orders: {cause}" for cause, count in causes.most_common()]
    for outcome in bad:
        lines += [f"  VIOLATION {outcome.schedule}", *(f"    {text}" for text in outcome.violations)]
    return "\n".join(lines)


def main() -> int:
    """Play the schedules that the command line asks for; 1 when anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    with ProcessPoolExecutor(chosen.workers) as pool:
        outcomes = list(pool.map(play, range(chosen.first, chosen.first + chosen.schedules)))
    sys.stdout.write(summary(outcomes) + "\n")
    return int(any(outcome.violations for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
