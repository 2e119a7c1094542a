"""The crash matrix: the desk's runs killed at every boundary, crossed with what a broker does wrong, by seed.

What belongs here: playing a schedule on a desk with a gateway over a real socket, and judging the account
afterwards. `make faults` prints the summary of a thousand.
"""

import argparse
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from crash_child import (
    CONTEXT,
    LOOK_BOUNDARIES,
    Installation,
    Kill,
    run_evening,
    run_freeze,
    run_look,
    start,
)
from crash_desk import (
    FIRST_ORDER,
    ORDERS,
    PRICES,
    WANTED_LATER,
    BrokerTruth,
    D,
    Desk,
    E,
    F,
    G,
    at,
    copy_of,
    open_desk,
)
from crash_schedule import (
    KINDS,
    LATE,
    LOOK,
    MIDNIGHT,
    RESTORED,
    REWRITTEN,
    SUSPENDED,
    WHEN_FILLING,
    Fault,
    Schedule,
    schedule_of,
)

from hrp_core.errors import HrpError, RefusedError
from hrp_core.execution.reconcile import share_breaks
from hrp_core.ledger.book import read_book
from hrp_core.ledger.types import OrderStatus

WAIT = 120
RESUMES = 2


@dataclass
class Outcome:
    """What became of the account.

    Attributes:
        violations: what must never be: empty.
        same_evening: every order of the plan filled whole in its session.
        on_target: the account holds what the target says, within two resumes and without a person.
        stopped: why everything stops until a person has looked, where it has to; else empty.
        causes: why the account is not on target.
        seconds: it took.
    """

    schedule: Schedule
    violations: list[str] = field(default_factory=list)
    same_evening: bool = False
    on_target: bool = False
    stopped: str = ""
    causes: list[str] = field(default_factory=list)
    seconds: float = 0.0


def play(seed: int) -> Outcome:
    """Play the schedule of a seed."""
    return play_schedule(schedule_of(seed))


def play_schedule(schedule: Schedule) -> Outcome:
    """Play one schedule on a desk of its own and judge what it left behind."""
    outcome = Outcome(schedule)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crash-") as folder, open_desk(Path(folder)) as desk:
        try:
            _Player(desk, Path(folder), outcome).play()
        except HrpError as error:
            outcome.violations.append(f"the account could not be judged: {type(error).__name__}: {error}")
    outcome.seconds = time.monotonic() - begun
    return outcome


class _Player:
    """Plays one schedule."""

    def __init__(self, desk: Desk, folder: Path, outcome: Outcome) -> None:
        self._desk = desk
        self._folder = folder
        self._schedule = outcome.schedule
        self._outcome = outcome
        self._runs = 0
        self._errors: list[str] = []
        self._goal: Mapping[str, int] = {}

    def play(self) -> None:
        """Play the evening of D, those after it, and judge."""
        desk, schedule, plan_id = self._desk, self._schedule, self._plan()
        before = dict(read_book(desk.journal).state().shares)
        goals = [self._goal]
        backup = copy_of(desk.journal, self._folder / "backup.sqlite") if schedule.kind == RESTORED else None
        self._first_run()
        sent = bool(desk.journal.newest_attempts(plan_id))
        named = ()
        if backup is not None:
            named = tuple(ref for ref in desk.truth().taken if f"-{D:%y%m%d}-" in f"-{ref[1:]}")
            desk.put_journal_back(backup)
        if schedule.kind == LOOK:
            self._look()
        if schedule.kind in (MIDNIGHT, LOOK):
            desk.advance(at(E, "00:30"))
        if schedule.kind == REWRITTEN:
            plan_id = self._rewrite(plan_id, sent)
            goals.append(self._goal)
        evenings = [D, E] if schedule.kind != LATE else [E, F]
        if schedule.kind != LATE:
            self._resume(named)
        for session, following in ((D, E), (E, F), (F, G)):
            if session > evenings[-1]:
                break
            if session >= E:
                desk.advance(at(session, "18:30"))
                self._run(Kill(), session, plan=True)
            desk.advance(at(following, "17:45"))
            self._book(session)
            if session == D:
                done = {intent.status for intent in desk.journal.plan(plan_id).intents}
                self._outcome.same_evening = done == {OrderStatus.FILLED}
                desk.control.clear_faults()
        self._judge(before, goals, named)

    def _plan(self) -> str:
        if self._schedule.freeze_statement:
            self._join(start(run_freeze, self._desk.judge, D, self._schedule.freeze_statement))
            half = [plan for plan in self._desk.journal.plans(D) if len(plan.intents) != ORDERS]
            self._outcome.violations += [f"half of plan {plan.plan_id} was frozen" for plan in half]
        planned = self._desk.judge.plan(self._desk.journal, D)
        self._goal = {row.symbol: row.shares_target for row in planned.plan.targets if row.shares_target}
        return planned.frozen.plan_id

    def _first_run(self) -> None:
        desk, schedule = self._desk, self._schedule
        if schedule.kind in (MIDNIGHT, LOOK):
            desk.advance(at(D, "23:10"))
        self._fail(schedule.faults)
        boundary = schedule.kills[0]
        if schedule.kind == SUSPENDED and boundary is not None:
            self._suspend(boundary)
        else:
            self._run(Kill(*boundary) if boundary else Kill(), D, installation=desk.installation)
        self._recover(schedule.faults)

    def _fail(self, faults: Iterable[Fault]) -> None:
        for name, parameters in faults:
            self._desk.control.fault(name, **parameters)

    def _recover(self, faults: Iterable[Fault]) -> None:
        """End what a broker gets over by itself; what it does to an order stays until that has traded."""
        control = self._desk.control
        if any(name == "connectivity_lost" for name, _ in faults):
            control.fault("connectivity_restored")
        control.clear_faults()
        self._fail(fault for fault in self._schedule.faults if fault[0] in WHEN_FILLING)

    def _suspend(self, boundary: tuple[str, int]) -> None:
        """Freeze the writer, let another one in, and wake the first."""
        desk = self._desk
        reached = CONTEXT.Event()
        errors = self._folder / "error-suspended.txt"
        first = start(run_evening, desk.installation, D, Kill(*boundary, signal.SIGSTOP, reached), errors)
        deadline = time.monotonic() + WAIT
        while not reached.wait(0.02) and first.exitcode is None and time.monotonic() < deadline:
            pass
        if first.exitcode is None and first.pid is not None:
            self._take_over()
            os.kill(first.pid, signal.SIGCONT)
        self._join(first)

    def _take_over(self) -> None:
        desk = self._desk
        if self._schedule.takeover == "locked out":
            hasty = desk.settings.model_copy(update={"lock_timeout": 0.1})
            if self._run(Kill(), D, installation=Installation(hasty)) != RefusedError.exit_code:
                self._outcome.violations.append("a second writer came in beside the lock of the first")
            return
        # A lock on a file does not reach another machine; there the client id and the epoch are left.
        desk.settings.broker_lock_path.unlink(missing_ok=True)
        if self._schedule.takeover == "gateway restarted":
            desk.control.fault("restart", next_order_id=0)
            self._run(Kill(), D, installation=desk.installation)
        else:
            self._run(Kill(), D, installation=replace(desk.installation, client_id=20))

    def _look(self) -> None:
        self._desk.advance(at(D, "23:25"))
        boundary = LOOK_BOUNDARIES[self._schedule.seed % len(LOOK_BOUNDARIES)]
        self._join(start(run_look, self._desk.installation, Kill(boundary), self._folder / "error-look.txt"))

    def _rewrite(self, plan_id: str, sent: bool) -> str:
        """Plan again after upstream was made again; what is sent in part goes on as it is."""
        desk = self._desk
        desk.want(WANTED_LATER, D)
        try:
            planned = desk.judge.plan(desk.journal, D)
        except RefusedError as refusal:
            if not sent:
                self._outcome.violations.append(f"an unsent plan was not superseded: {refusal}")
            return plan_id
        if sent:
            self._outcome.violations.append(f"plan {plan_id}, sent in part, was replaced")
        desk.want(WANTED_LATER, E, F)
        self._goal = {row.symbol: row.shares_target for row in planned.plan.targets if row.shares_target}
        return planned.frozen.plan_id

    def _resume(self, named: Iterable[str]) -> None:
        """Run the evening again; once more when that was killed."""
        schedule = self._schedule
        boundary, faults = schedule.kills[1], schedule.resume_faults
        self._fail(faults)
        patient = self._desk.installation if faults else self._desk.judge
        code = self._run(Kill(*boundary) if boundary else Kill(), D, installation=patient)
        self._recover(faults)
        if code == -signal.SIGKILL or (faults and named):
            code = self._run(Kill(), D)
        if named:
            said = self._errors[-1] if self._errors else ""
            silent = [ref for ref in named if ref not in said]
            if code != RefusedError.exit_code or silent:
                self._outcome.violations.append(f"an older journal went on, or did not name {silent}: {said}")
            else:
                self._outcome.stopped = "an older journal was put back, and the broker has orders it lacks"

    def _run(
        self, kill: Kill, session: date, *, plan: bool = False, installation: Installation | None = None
    ) -> int | None:
        self._runs += 1
        errors = self._folder / f"error-{self._runs}.txt"
        # Without a fault nothing has to be waited for, however busy the machine is.
        target = installation or self._desk.judge
        code = self._join(start(run_evening, target, session, kill, errors, plan=plan))
        if errors.exists():
            self._errors.append(errors.read_text(encoding="utf-8"))
        elif code == 0:
            self._errors.clear()
        elif code != -signal.SIGKILL:
            self._outcome.violations.append(f"run {self._runs} ended with {code} and no error of ours")
        return code

    def _join(self, process: ForkServerProcess) -> int | None:
        process.join(WAIT)
        if process.exitcode is None:
            process.kill()
            self._outcome.violations.append(f"run {self._runs} hung")
        return process.exitcode

    def _book(self, session: date) -> None:
        try:
            self._desk.book(session)
        except HrpError as error:
            self._errors.append(f"{type(error).__name__}: {error}")
            if not self._outcome.stopped:
                self._outcome.violations.append(f"the account does not agree after the close: {error}")

    def _judge(
        self, before: Mapping[str, int], goals: Iterable[Mapping[str, int]], named: Iterable[str]
    ) -> None:
        outcome, journal, truth = self._outcome, self._desk.journal, self._desk.truth()
        goals = list(goals)
        outcome.violations += _doubles(truth)
        fills = {fill.exec_id: fill.side.sign * fill.shares for fill in journal.executions()}
        outcome.violations += [
            f"lost fill {exec_id}" for exec_id in sorted(truth.fills.keys() - fills.keys())
        ]
        outcome.violations += [
            f"invented fill {exec_id}" for exec_id in sorted(fills.keys() - truth.fills.keys())
        ]
        book = read_book(journal)
        held = dict(book.state().shares)
        outcome.violations += [item.message for item in share_breaks(held, truth.shares)]
        for symbol in PRICES:
            reach = [before.get(symbol, 0), *(goal.get(symbol, 0) for goal in goals)]
            if not min(reach) <= held.get(symbol, 0) <= max(reach):
                outcome.violations.append(f"{symbol}: {held.get(symbol, 0)} shares, never wanted ({reach})")
        for plan in journal.plans(D):
            outcome.violations += [
                f"{intent.contract.symbol} filled {intent.filled} of {intent.quantity}"
                for intent in plan.intents
                if intent.filled > intent.quantity
            ]
        if outcome.stopped and len(truth.taken) != len(set(named)) + FIRST_ORDER - 1:
            outcome.violations.append(f"sent on an older journal: {truth.taken}")
        outcome.on_target = held == self._goal
        if not outcome.on_target and not outcome.stopped:
            outcome.causes = self._causes(held)

    def _causes(self, held: Mapping[str, int]) -> list[str]:
        """Say for each name that is off target what its newest order came to, or why the run ended."""
        causes = []
        plans = self._desk.journal.plans(D)
        for symbol in sorted(PRICES):
            if held.get(symbol, 0) == self._goal.get(symbol, 0):
                continue
            intents = [item for plan in plans for item in plan.intents if item.contract.symbol == symbol]
            said = f"{intents[-1].status.value} {intents[-1].reason}" if intents else "no order"
            error = f"; the last run ended with {self._errors[-1]}" if self._errors else ""
            # Numbers and references differ from seed to seed; the cause does not.
            causes.append(
                re.sub(r"S\d{6}-\S+|[\d.:,-]*\d", "#", f"{self._schedule.kind}: {said}{error}")[:200]
            )
        return causes


def _doubles(truth: BrokerTruth) -> list[str]:
    """Return each orderRef, and each (session, name), for which the broker has taken more than one order."""
    taken = [order for order in truth.orders if order[4] != "rejected"]
    refs = Counter(ref for ref, *_ in taken)
    names = Counter((ref.split("-")[0], symbol) for ref, symbol, *_ in taken)
    return [
        *(f"{count} orders {ref}" for ref, count in refs.items() if count > 1),
        *(f"{count} orders in {name} for {session}" for (session, name), count in names.items() if count > 1),
    ]


def summary(outcomes: Iterable[Outcome]) -> str:
    """Return the result of many schedules as text."""
    done = list(outcomes)
    bad = [outcome for outcome in done if outcome.violations]
    free = [outcome for outcome in done if not outcome.stopped]
    stops = Counter(outcome.stopped for outcome in done if outcome.stopped)
    causes = Counter(cause for outcome in free for cause in outcome.causes)
    seconds = sum(outcome.seconds for outcome in done) / max(len(done), 1)
    same = sum(outcome.same_evening for outcome in free) / max(len(free), 1)
    later = sum(outcome.on_target for outcome in free) / max(len(free), 1)
    lines = [
        f"{len(done)} schedules, {seconds:.1f} s each: {len(bad)} with a violation",
    ]
    lines.append(
        f"of {len(free)} that need no person: {same:.1%} on target the same evening, {later:.1%} within "
        f"{RESUMES} resumes (the evening's run again, the next evening's run)"
    )
    lines += [f"  stopped and said why, {count} schedules: {why}" for why, count in stops.items()]
    for kind in sorted(set(KINDS)):
        of_kind = [outcome for outcome in free if outcome.schedule.kind == kind]
        lines.append(
            f"  {kind}: {len(of_kind)}, same evening {sum(outcome.same_evening for outcome in of_kind)}, "
            f"within {RESUMES} resumes {sum(outcome.on_target for outcome in of_kind)}"
        )
    lines += [f"  not on target, {count} names: {cause}" for cause, count in causes.most_common()]
    off = [outcome.schedule.seed for outcome in free if not outcome.on_target]
    lines += [f"  seeds not on target: {off}"] if off else []
    for outcome in bad:
        lines += [f"  VIOLATION {outcome.schedule}", *(f"    {text}" for text in outcome.violations)]
    return "\n".join(lines)


def main() -> int:
    """Play the schedules that the command line asks for; 1 when anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=3)
    chosen = parser.parse_args()
    with ProcessPoolExecutor(chosen.workers) as pool:
        outcomes: list[Outcome] = []
        for outcome in pool.map(play, range(chosen.first, chosen.first + chosen.schedules)):
            outcomes.append(outcome)
            if outcome.violations or len(outcomes) % 100 == 0:
                sys.stderr.write(f"{len(outcomes)} played, {outcome.violations or 'going on'}\n")
    sys.stdout.write(summary(outcomes) + "\n")
    return int(any(outcome.violations for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
