"""The order journal: what was decided, what was sent, and what the broker has said, durable before it counts.

What belongs here: the public face, one transaction a call. It is written before anything is sent, and
everything else (the book, the tables of the store) is a projection of it. It never talks to a broker.
Past 400 lines because it is one face, and most of it says what each call promises.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from hrp_core.errors import JournalError, RefusedError
from hrp_core.ledger import attempts as _attempts
from hrp_core.ledger import crosses as _crosses
from hrp_core.ledger import executions as _executions
from hrp_core.ledger import order_ids as _order_ids
from hrp_core.ledger import plans as _plans
from hrp_core.ledger.controls import ControlRecords
from hrp_core.ledger.database import moment_text, parse_moment
from hrp_core.ledger.types import (
    Approval,
    Attempt,
    Break,
    Contract,
    Evidence,
    Execution,
    FrozenPlan,
    Intent,
    OrderId,
    OrderStatus,
    PlanStatus,
    SnapshotRow,
    Source,
)
from hrp_core.money import to_units
from hrp_core.portfolio.types import OrderType, Plan, Purpose
from hrp_core.timetable import PlanFacts

_RESOLUTIONS = frozenset(
    {OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.EXPIRED, OrderStatus.EXPIRED_UNSEEN}
)


class Journal(ControlRecords):
    """The journal of one (mode, account), in one sqlite file: plans, attempts, and the account's records.

    Threads and processes may share the file; each works on its own connection and each call is one
    transaction. Every method may raise JournalError when the file cannot be used.

    Args:
        path: the file; made when missing.
        busy_timeout: longest wait for another writer, seconds.
    """

    # --- plans ---------------------------------------------------------------------------------------

    def freeze_plan(
        self,
        plan: Plan,
        *,
        mode: str,
        account: str,
        contracts: Mapping[str, Contract],
        inputs: Mapping[str, object],
        purpose: Purpose = Purpose.DAILY,
        now: datetime,
    ) -> FrozenPlan:
        """Write a plan and all its intents, PENDING, in one transaction.

        The same session decided again from the same inputs gives the plan that is there, unchanged. Other
        inputs supersede it as long as nothing of it was sent.

        Args:
            plan: the decision.
            mode: sim, paper or live.
            account: whose plan it is.
            contracts: by symbol; every symbol ordered needs one.
            inputs: what the decision was made from, as plain data; an immutable copy is stored and hashed.
            purpose: what the plan is for.
            now: timezone-aware.

        Raises:
            RefusedError: a symbol without contract, or a different plan of the session was sent already.
            DataError: an order contradicts itself, or an input is not plain data.
        """
        make = _plans.intents_of(plan, contracts)
        content = _plans.plan_content(plan, mode=mode, account=account, purpose=purpose, inputs=inputs)
        with self._database.write() as connection:
            return _plans.freeze(connection, content, make, now)

    def freeze_order(
        self,
        intent: Intent,
        *,
        mode: str,
        account: str,
        session: date,
        execution_session: date,
        inputs: Mapping[str, object],
        now: datetime,
        equity: Decimal = Decimal(0),
    ) -> FrozenPlan:
        """Write a manual plan of one order; `intent` gives its content, its ids are assigned here.

        `equity` (USD) is what its limits are shares of; 0 for an exit, which passes them all.
        """
        plan = Plan(session, execution_session, equity, Decimal(0), (), ())
        return self.freeze_intents(
            plan, [intent], mode=mode, account=account, purpose=Purpose.MANUAL, inputs=inputs, now=now
        )

    def freeze_intents(
        self,
        plan: Plan,
        intents: Sequence[Intent],
        *,
        mode: str,
        account: str,
        purpose: Purpose,
        inputs: Mapping[str, object],
        now: datetime,
    ) -> FrozenPlan:
        """Write a plan whose orders were not decided by a strategy; the intents' ids are assigned here."""
        content = _plans.plan_content(plan, mode=mode, account=account, purpose=purpose, inputs=inputs)
        with self._database.write() as connection:
            return _plans.freeze(
                connection,
                content,
                lambda plan_id: tuple(_plans.named(intent, plan_id) for intent in intents),
                now,
            )

    def approve(self, plan_id: str, *, by: str, plan_hash: str, now: datetime, reason: str = "") -> None:
        """Approve a PROPOSED plan; approving an approved one again does nothing.

        Args:
            plan_id: which plan.
            by: who approves.
            plan_hash: the `inputs_hash` of the plan as it was looked at.
            now: timezone-aware.
            reason: free text.

        Raises:
            RefusedError: it is another plan than the one looked at, or past approving.
        """
        with self._database.write() as connection:
            _plans.decide(connection, Approval(plan_id, True, by, plan_hash, now, reason))

    def reject(self, plan_id: str, *, by: str, plan_hash: str, now: datetime, reason: str) -> None:
        """Reject a plan of which nothing was sent; its intents become EXPIRED.

        Raises:
            RefusedError: it is another plan than the one looked at, or past rejecting.
        """
        with self._database.write() as connection:
            _plans.decide(connection, Approval(plan_id, False, by, plan_hash, now, reason))

    def mark_sent(self, plan_id: str) -> None:
        """Move a plan from APPROVED to SENT, once none of its intents is PENDING; a second call does nothing.

        Raises:
            RefusedError: the plan is in another state, or an intent is still PENDING.
        """
        with self._database.write() as connection:
            plan = _plans.load_plan(connection, plan_id)
            if plan.status is PlanStatus.SENT:
                return
            pending = [intent for intent in plan.intents if intent.status is OrderStatus.PENDING]
            if pending:
                raise RefusedError(f"plan {plan_id} has {len(pending)} orders not sent; it is not SENT yet")
            _plans.move(connection, plan_id, PlanStatus.APPROVED, PlanStatus.SENT)

    def expire_pending(self, plan_id: str, reason: str, order_type: OrderType | None = None) -> int:
        """Turn the intents that were never sent, or those of one type, into EXPIRED; return how many."""
        with self._database.write() as connection:
            return _plans.expire_intents(connection, plan_id, reason, order_type)

    def note_unsent(self, reasons: Mapping[str, str]) -> None:
        """Note why intents that are still PENDING were held back, by intent id; the newest reason counts."""
        with self._database.write() as connection:
            connection.executemany(
                "UPDATE intents SET reason = ? WHERE intent_id = ? AND state = 'pending'",
                [(reason, intent_id) for intent_id, reason in reasons.items()],
            )

    def open_plans(self) -> tuple[FrozenPlan, ...]:
        """Return the plans that wait for a decision or for their sending, of every purpose, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT plan_id FROM plans WHERE status IN (?, ?) ORDER BY session, created_at, sequence",
                (PlanStatus.PROPOSED, PlanStatus.APPROVED),
            ).fetchall()
            return tuple(_plans.load_plan(connection, row["plan_id"]) for row in rows)

    def close_plan(self, plan_id: str, reason: str) -> PlanStatus:
        """Give up what a plan has not sent; return the state it ends in: SENT, or EXPIRED when nothing was.

        Raises:
            RefusedError: somebody has decided about it meanwhile.
        """
        with self._database.write() as connection:
            return _plans.close(connection, plan_id, reason)

    def plan(self, plan_id: str) -> FrozenPlan:
        """Return a plan with the current state of its intents, checked against the hash it was frozen with.

        Raises:
            JournalError: there is no such plan, or its rows are not what was frozen.
        """
        with self._database.read() as connection:
            return _plans.load_plan(connection, plan_id)

    def latest_plan(self, session: date, purpose: Purpose = Purpose.DAILY) -> FrozenPlan | None:
        """Return the newest plan of a decision session, or None."""
        found = self.plans(session, session, purpose)
        return found[-1] if found else None

    def plans(
        self, start: date | None = None, end: date | None = None, purpose: Purpose | None = None
    ) -> tuple[FrozenPlan, ...]:
        """Return the plans of the decision sessions from `start` to `end`, both included, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT plan_id FROM plans WHERE session BETWEEN ? AND ? AND (? IS NULL OR purpose = ?) "
                "ORDER BY session, created_at, sequence",
                (str(start or date.min), str(end or date.max), purpose, purpose),
            ).fetchall()
            return tuple(_plans.load_plan(connection, row["plan_id"]) for row in rows)

    def plan_facts(self) -> dict[date, PlanFacts]:
        """Return the newest daily plan of each session, without its orders, oldest session first."""
        over = [status for status in OrderStatus if status.is_terminal]
        with self._database.read() as connection:
            return {
                date.fromisoformat(row["session"]): PlanFacts(
                    row["plan_id"],
                    row["status"],
                    row["working"],
                    None if row["approved_at"] is None else parse_moment(row["approved_at"]),
                )
                for row in connection.execute(
                    "SELECT p.session, p.plan_id, p.status, (SELECT count(*) FROM intents i JOIN attempts a "
                    f"USING (intent_id) WHERE i.plan_id = p.plan_id AND a.status NOT IN "
                    f"({', '.join('?' * len(over))})) AS working, approved_at FROM plans p LEFT JOIN "
                    "(SELECT plan_id, max(at) AS approved_at FROM approvals WHERE approved GROUP BY plan_id) "
                    "USING (plan_id) WHERE p.purpose = ? ORDER BY p.session, p.created_at, p.sequence",
                    (*over, Purpose.DAILY),
                )
            }

    def approvals(self, plan_id: str) -> tuple[Approval, ...]:
        """Return the decisions about a plan, oldest first."""
        with self._database.read() as connection:
            return tuple(
                Approval(
                    plan_id=row["plan_id"],
                    approved=bool(row["approved"]),
                    by=row["by"],
                    plan_hash=row["plan_hash"],
                    at=parse_moment(row["at"]),
                    reason=row["reason"],
                )
                for row in connection.execute(
                    "SELECT * FROM approvals WHERE plan_id = ? ORDER BY id", (plan_id,)
                )
            )

    def intent(self, intent_id: str) -> Intent | None:
        """Return an intent with its current state, or None."""
        with self._database.read() as connection:
            row = connection.execute("SELECT * FROM intents WHERE intent_id = ?", (intent_id,)).fetchone()
            return None if row is None else _plans.load_intent(connection, row)

    def sent_since(self, moment: datetime) -> tuple[datetime, ...]:
        """Return when orders left for the broker from `moment` on, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT sent_at FROM attempts WHERE status != ? AND sent_at >= ? ORDER BY sent_at",
                (OrderStatus.NOT_SENT, moment_text(moment)),
            ).fetchall()
        return tuple(parse_moment(row["sent_at"]) for row in rows)

    # --- sending -------------------------------------------------------------------------------------

    def acquire_epoch(self, owner: str, now: datetime) -> int:
        """Open a new fencing epoch; every earlier writer can claim nothing from now on."""
        with self._database.write() as connection:
            return _attempts.acquire_epoch(connection, owner, now)

    def claim(
        self,
        intent_id: str,
        order_ref: str,
        quantity: int,
        epoch: int,
        now: datetime,
        order_id: OrderId | None = None,
    ) -> Attempt:
        """Move an intent to SENT for exactly one sender; durable when this returns.

        `order_id` is the one it is to be sent under, for `check_order_ids`.

        Raises:
            StaleEpochError: a newer writer has taken over.
            AlreadyClaimedError: another sender has it, or its last attempt could still fill.
            ContractLockedError: another order in the same contract is UNKNOWN.
            TradingHaltedError: the latch does not let it pass.
            RefusedError: the plan is not approved, `quantity` is not what is left to send, or a live account
                is not armed for it.
        """
        with self._database.write() as connection:
            attempt = _attempts.claim(connection, intent_id, order_ref, quantity, epoch, now)
            if order_id is not None:
                _order_ids.add_sent(connection, order_id, order_ref, now)
            return attempt

    def check_order_ids(self, used: OrderId, now: datetime) -> str:
        """Return why the journal is older than the account, halting trading; empty when it is not.

        Args:
            used: the highest id that the broker has seen this client use.
            now: timezone-aware.
        """
        with self._database.write() as connection:
            return _order_ids.check(connection, used, now)

    def release_crosses(self, plan_id: str, epoch: int, executes_at: datetime, now: datetime) -> None:
        """Let the crosses of a plan take effect at `executes_at`, the open of E; durable when this returns.

        To a cross this is what a claim is to an order, but for the broker, who hears nothing of it. Doing it
        again changes nothing.

        Raises:
            StaleEpochError: a newer writer has taken over.
            RefusedError: the plan is not approved, or that open has passed.
        """
        with self._database.write() as connection:
            _crosses.release(connection, plan_id, epoch, executes_at, now)

    def attempt(self, order_ref: str) -> Attempt:
        """Return one attempt.

        Raises:
            JournalError: the journal does not know the reference.
        """
        with self._database.read() as connection:
            return _attempts.load_attempt(connection, order_ref)

    def attempts(self, intent_id: str | None = None) -> tuple[Attempt, ...]:
        """Return the attempts of an intent, or all of them, oldest first."""
        with self._database.read() as connection:
            if intent_id is None:
                return _attempts.load_attempts(connection, "1")
            return _attempts.load_attempts(connection, "intent_id = ?", (intent_id,))

    def sent(self, order_refs: Sequence[str]) -> dict[str, tuple[Attempt, Intent]]:
        """Return those of the orderRefs that were sent from here, each with its attempt and intent."""
        with self._database.read() as connection:
            marks = ", ".join("?" * len(order_refs))
            return _attempts.with_intents(connection, f"order_ref IN ({marks})", order_refs)

    def sent_with_status(self, status: OrderStatus) -> dict[str, tuple[Attempt, Intent]]:
        """Return the attempts that stand at `status`, by orderRef, each with its intent."""
        with self._database.read() as connection:
            return _attempts.with_intents(connection, "status = ?", (status,))

    def newest_attempts(self, plan_id: str) -> dict[str, Attempt]:
        """Return the newest attempt of each intent of a plan that was ever sent, by intent_id."""
        with self._database.read() as connection:
            found = _attempts.load_attempts(
                connection, "intent_id IN (SELECT intent_id FROM intents WHERE plan_id = ?)", (plan_id,)
            )
        return {attempt.intent_id: attempt for attempt in sorted(found, key=lambda item: item.number)}

    def live_attempts(self) -> tuple[Attempt, ...]:
        """Return the attempts that could still fill, UNKNOWN ones included, oldest first."""
        over = [status for status in OrderStatus if status.is_terminal]
        with self._database.read() as connection:
            marks = ", ".join("?" * len(over))
            return _attempts.load_attempts(connection, f"status NOT IN ({marks})", over)

    def locked_contracts(self) -> dict[int, str]:
        """Return conId -> orderRef of every UNKNOWN attempt: nothing is sent in these contracts."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT i.con_id, a.order_ref FROM attempts a JOIN intents i USING (intent_id) "
                "WHERE a.status = ?",
                (OrderStatus.UNKNOWN,),
            )
            return {row["con_id"]: row["order_ref"] for row in rows}

    # --- what the broker said ------------------------------------------------------------------------

    def sequence(self) -> int:
        """Return the number of the newest evidence; take it before asking for a snapshot."""
        with self._database.read() as connection:
            return _attempts.sequence(connection)

    def record(
        self,
        evidence: Iterable[Evidence],
        executions: Sequence[Execution] = (),
        *,
        now: datetime,
        as_of: int | None = None,
        snapshot: SnapshotRow | None = None,
    ) -> int:
        """Append evidence, executions and a snapshot in one transaction, and refold what they touch.

        Args:
            evidence: messages, list entries, waits that ended.
            executions: by execution id; known ones are skipped, their commission is taken when new.
            now: when we learned it, timezone-aware.
            as_of: `sequence()` from before the lists were asked for; None for messages as they come.
            snapshot: the complete snapshot that the lists are of.

        Returns:
            How many executions were new.

        Raises:
            JournalError: an execution came back with another content under the same id. All else, and
                what it was recorded as first, is kept.
        """
        with self._database.write() as connection:
            new, contradictions = _executions.add_executions(connection, executions, now)
            touched = {item.order_ref for item in new}
            touched |= _attempts.add_evidence(connection, evidence, now, as_of)
            if snapshot is not None:
                connection.execute(
                    "INSERT INTO snapshots (account, asked_at, position, shares, cash, net_liquidation, "
                    "recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        snapshot.account,
                        moment_text(snapshot.asked_at),
                        2 * (_attempts.sequence(connection) if as_of is None else as_of) + 1,
                        json.dumps(dict(snapshot.shares), sort_keys=True),
                        to_units(snapshot.cash),
                        to_units(snapshot.net_liquidation),
                        moment_text(now),
                    ),
                )
            _attempts.refold(connection, touched)
        if contradictions:
            raise JournalError(
                "the broker repeats an execution with another content and no new revision: "
                f"{'; '.join(contradictions)}. Compare with the broker's statement before trading on"
            )
        return len(new)

    def breaks(self) -> tuple[Break, ...]:
        """Return the contradictions within what was recorded: no snapshot is needed to see them."""
        with self._database.read() as connection:
            return _attempts.find_breaks(connection)

    def resolve(self, order_ref: str, status: OrderStatus, *, by: str, reason: str, now: datetime) -> Attempt:
        """Decide what became of an UNKNOWN attempt. A later sighting at the broker overrules it.

        Args:
            order_ref: the attempt.
            status: CANCELLED, REJECTED or EXPIRED, or EXPIRED_UNSEEN for the rule; fills come from executions
                alone.
            by: who decides: a person, or the rule for unseen orders.
            reason: why.
            now: timezone-aware.

        Raises:
            RefusedError: the attempt is not UNKNOWN, or `status` cannot be decided.
        """
        if status not in _RESOLUTIONS:
            raise RefusedError(
                f"{order_ref} cannot be resolved as {status.value}: fills come from executions; choose "
                f"one of {', '.join(sorted(_RESOLUTIONS))}"
            )
        with self._database.write() as connection:
            current = _attempts.load_attempt(connection, order_ref)
            if current.status is not OrderStatus.UNKNOWN:
                raise RefusedError(f"{order_ref} is {current.status.value}, not unknown; nothing to resolve")
            decision = Evidence(order_ref, Source.RESOLUTION, status, message=f"{by}: {reason}")
            _attempts.refold(connection, _attempts.add_evidence(connection, [decision], now))
            return _attempts.load_attempt(connection, order_ref)

    def evidence(self, order_ref: str) -> list[Evidence]:
        """Return all evidence about an attempt, in the order it was learned."""
        with self._database.read() as connection:
            return _attempts.load_evidence(connection, order_ref)
