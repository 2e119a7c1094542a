"""Rows of the order journal as frozen values, and the typed refusals of a claim.

What belongs here: what the journal stores and hands out. Moments are timezone-aware; prices and cash are
Decimals in USD; sessions are dates. Past 400 lines because the rows refer to one another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import RefusedError
from hrp_core.portfolio.types import Cross, OrderSide, OrderType, Purpose


class AlreadyClaimedError(RefusedError):
    """Another sender has claimed this intent, or its last attempt is not proven terminal."""


class StaleEpochError(RefusedError):
    """A newer writer has taken over the journal; this one may not send any more."""


class ContractLockedError(RefusedError):
    """An order in the same contract is UNKNOWN; nothing may be sent in it until that is resolved."""


class TradingHaltedError(RefusedError):
    """The latch does not let this order pass."""


class PlanStatus(StrEnum):
    """Life of a frozen plan."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    SENT = "sent"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"  # its send window passed before anything of it was sent


class OrderStatus(StrEnum):
    """State of an attempt, of an intent, and of the public `Order`.

    NOT_SENT is for attempts alone: the intent of an attempt that never left is PENDING, or EXPIRED.
    """

    PENDING = "pending"
    SENT = "sent"
    SUBMITTED = "submitted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    PENDING_CANCEL = "pending_cancel"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    HELD = "held"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    EXPIRED_UNSEEN = "expired_unseen"
    NOT_SENT = "not_sent"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more is expected of the order (a late fill may still change it)."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
        OrderStatus.REJECTED,
        OrderStatus.EXPIRED,
        OrderStatus.EXPIRED_UNSEEN,
        OrderStatus.NOT_SENT,
    }
)


@dataclass(frozen=True, slots=True)
class Contract:
    """A stock as the broker knows it."""

    symbol: str
    con_id: int
    primary_exchange: str = ""
    currency: str = "USD"
    min_tick: Decimal = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Intent:
    """One decided order of a frozen plan. Its content never changes; `status` and `filled` are journal state.

    Attributes:
        intent_id: short hash of (plan_id, con_id, leg).
        reference_price: close of D, USD; None for a manual order without one.
        allocations: signed shares by strategy; sum to ``side.sign * quantity``.
    """

    intent_id: str
    plan_id: str
    contract: Contract
    side: OrderSide
    quantity: int
    leg: str
    order_type: OrderType
    limit_price: Decimal | None
    reference_price: Decimal | None
    allocations: tuple[tuple[str, int], ...]
    status: OrderStatus = OrderStatus.PENDING
    filled: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FrozenPlan:
    """A plan as it stands in the journal.

    Attributes:
        plan_id: (mode, account, session, purpose, sequence) joined into one readable string.
        inputs: immutable copy of what the decision was made from (JSON-able).
        inputs_hash: SHA-256 of the canonical JSON of `inputs`, the targets and the orders.
        targets: the rows of target_portfolio as plain data (money and dates as text).
        crosses: what its strategies take from one another; it counts once the plan is sent.
        verdicts: what the risk rules said, as plain data (the fields of `portfolio.types.Verdict`).
    """

    plan_id: str
    mode: str
    account: str
    session: date
    execution_session: date
    purpose: Purpose
    sequence: int
    status: PlanStatus
    equity: Decimal
    cash: Decimal
    inputs: Mapping[str, object]
    inputs_hash: str
    created_at: datetime
    intents: tuple[Intent, ...]
    targets: tuple[Mapping[str, object], ...] = ()
    notes: tuple[str, ...] = ()
    crosses: tuple[Cross, ...] = ()
    verdicts: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending of an intent."""

    intent_id: str
    number: int
    order_ref: str
    quantity: int
    epoch: int
    sent_at: datetime
    perm_id: int | None = None
    status: OrderStatus = OrderStatus.SENT
    reason: str = ""
    filled: int = 0


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill as the broker reports it (execDetails).

    Attributes:
        exec_id: broker's id; a correction shares everything before the last dot and supersedes.
        order_ref: ours, or empty for an order placed elsewhere.
        shares: positive.
        price: USD a share.
        commission: USD; None until the broker has reported it.
    """

    exec_id: str
    account: str
    order_ref: str
    perm_id: int
    contract: Contract
    side: OrderSide
    shares: int
    price: Decimal
    executed_at: datetime
    commission: Decimal | None = None


class Source(StrEnum):
    """Where a piece of evidence about an attempt comes from, weakest claim to truth first."""

    NOT_SENT = "not_sent"  # we know that nothing left this process; any word of the broker overrules it
    UNSEEN = "unseen"  # we looked, or waited, and the broker did not mention it
    EVENT = "event"  # a message pushed by the broker: a hint
    OPEN = "open"  # listed in an answer to "all open orders"
    COMPLETED = "completed"  # listed in an answer to "completed orders"
    EXECUTION = "execution"  # a fill report carried its orderRef
    RESOLUTION = "resolution"  # a person, or the rule for unseen orders after their session, decided


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing learned about one attempt. Only ever added, never changed.

    Attributes:
        order_ref: ours, or empty for an order placed elsewhere.
        status: what the source says; None where it says nothing about the state (an error text).
        filled: cumulative shares the source reports; None where it reports none.
        position: place in the journal's order of knowledge; the journal assigns it.
    """

    order_ref: str
    source: Source
    status: OrderStatus | None = None
    perm_id: int = 0
    filled: int | None = None
    code: int | None = None
    message: str = ""
    position: int = 0


@dataclass(frozen=True, slots=True)
class OrderId:
    """The number under which a client names an order to the broker.

    Attributes:
        client_id: numbers of different clients have nothing to do with one another.
        number: rises from order to order; a gateway that was restarted may begin anew (F3).
    """

    client_id: int
    number: int


@dataclass(frozen=True, slots=True)
class OrderAllocation:
    """How one order's fills are shared among strategies.

    Attributes:
        quantity: shares of the whole intent; fills of all its attempts count towards it.
        shares: signed shares by strategy; they sum to ``side.sign * quantity``.
    """

    intent_id: str
    side: OrderSide
    quantity: int
    shares: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class BookedCross:
    """What strategies took from one another at one open: of a plan that was sent.

    Attributes:
        cross_id: readable, such as ``X221215-KO-3fa91c``.
        session: execution session E.
        shares: signed shares by strategy; they sum to 0.
        reference_price: close of D, USD.
        executes_at: the open of E; the cross counts from then on.
        price: official open of E (its close where there is no open), USD; None until that bar is stored.
    """

    cross_id: str
    plan_id: str
    symbol: str
    session: date
    shares: tuple[tuple[str, int], ...]
    reference_price: Decimal
    executes_at: datetime
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BookedSplit:
    """A split that a person has taken into the ledger. The journal has one of a name and session at most.

    Attributes:
        session: first session that trades at the new number of shares.
        ratio: new shares for one old one.
        by: who took it.
        at: when.
    """

    symbol: str
    session: date
    ratio: Fraction
    by: str
    at: datetime

    @property
    def executes_at(self) -> datetime:
        """Midnight in New York: before anything that trades in its session."""
        return datetime.combine(self.session, time(), NEW_YORK)

    def __str__(self) -> str:
        """Return it as a person says it."""
        new, old = self.ratio.numerator, self.ratio.denominator
        return f"{self.symbol} {new} new for {old} old of {self.session}"


class FlowKind(StrEnum):
    """Why cash moved other than by an execution or its commission."""

    OPENING = "opening"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    DIVIDEND = "dividend"
    INTEREST = "interest"
    FEE = "fee"
    TAX = "tax"
    CASH_IN_LIEU = "cash-in-lieu"  # of the fraction of a share that a split left
    SUSPENSE = "suspense"  # a small difference that nobody has explained yet

    @property
    def is_external(self) -> bool:
        """Whether the owner moved it: such a flow is no part of the return."""
        return self in {FlowKind.OPENING, FlowKind.DEPOSIT, FlowKind.WITHDRAWAL}


@dataclass(frozen=True, slots=True)
class CashFlow:
    """Cash that moved without an execution.

    Attributes:
        reference: unique name; recording the same reference again does nothing.
        amount: USD, signed from the account's side.
        session: valuation session that first contains it.
    """

    reference: str
    kind: FlowKind
    amount: Decimal
    session: date
    at: datetime
    by: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """A decision about a plan: who, what, and the hash of what they saw."""

    plan_id: str
    approved: bool
    by: str
    plan_hash: str
    at: datetime
    reason: str = ""


class LatchState(StrEnum):
    """The trading latch. It closes by itself and opens only by a person."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class Latch:
    """The latch as last set.

    Attributes:
        number: of its entry in the journal; 0 when it was never set.
    """

    state: LatchState
    by: str = ""
    reason: str = ""
    evidence: str = ""
    at: datetime | None = None
    number: int = field(default=0, compare=False)


class BreakClass(StrEnum):
    """What a difference between ledger and broker most likely is."""

    MISSED_FILL = "missed_fill"  # an order of ours traded and its executions are not all here
    RECENT_FILL = "recent_fill"  # positions and cash follow the fills of the last minutes (F13)
    EXTERNAL_ORDER = "external_order"  # somebody else traded in the account
    CORPORATE_ACTION = "corporate_action"  # a known split explains the shares
    FEE_OR_DIVIDEND = "fee_or_dividend"  # cash that moved without an execution
    DIVIDEND = "dividend"  # a known dividend explains the cash to the cent
    UNKNOWN = "unknown"


class BreakKind(StrEnum):
    """How the ledger and the broker, or two things the broker said, can contradict each other."""

    SHARES = "shares"  # shares of a name differ
    CASH = "cash"  # cash differs
    EXTERNAL = "external"  # an order or execution that this journal has not sent
    DIFFERENT_ORDER = "different_order"  # an order of ours that is not what was sent
    TWO_PERM_IDS = "two_perm_ids"  # one orderRef, two orders at the broker
    OVERFILLED = "overfilled"  # more shares filled than were sent
    OLDER_JOURNAL = "older_journal"  # the broker has seen order ids of ours that the journal has not


@dataclass(frozen=True, slots=True)
class Break:
    """One contradiction. While any but CASH stands, nothing is sent.

    Attributes:
        message: what differs, with the figures of both sides.
    """

    kind: BreakKind
    message: str
    symbol: str = ""
    order_ref: str = ""


class ExternalPolicy(StrEnum):
    """What to do about orders that were placed by hand or by another program (F14).

    A decision is made once an order and kept: changing the setting later does not rewrite the book.
    """

    HALT = "halt"  # a break: nothing is sent until a person has decided
    ADOPT = "adopt"  # what it traded belongs to the book, as the holdings of nobody's strategy
    CARVE_OUT = "carve-out"  # what it traded stays out of the book and is set aside when comparing


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """What one complete broker snapshot said of the account (orders and executions are stored as evidence).

    Attributes:
        asked_at: broker time of the request; its executions cover [midnight New York, asked_at].
        shares: account shares by symbol.
    """

    account: str
    asked_at: datetime
    shares: Mapping[str, int]
    cash: Decimal
    net_liquidation: Decimal
