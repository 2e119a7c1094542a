"""Things that happen at once: a person at the broker's own screen, the exchange, the line to the broker.

What belongs here: what each act is. The brokerage does them.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from hrp_core.simgateway.faults.base import Act, amount, number, text


@dataclass(frozen=True, kw_only=True)
class ConnectivityRestored(Act):
    """F6, F18."""

    name: ClassVar[str] = "connectivity_restored"
    summary: ClassVar[str] = "ends connectivity_lost; 1102 (data kept) or 1101 (data lost) to every client"
    rows: ClassVar[str] = "F6, F18"
    code: str = text("1101 or 1102", "1102", ("1101", "1102"))


@dataclass(frozen=True, kw_only=True)
class Notice(Act):
    """F18, F31."""

    name: ClassVar[str] = "notice"
    summary: ClassVar[str] = "an error message with id -1 to every client"
    rows: ClassVar[str] = "F18, F31"
    code: int = number("its code", least=1)
    text: str = text("its text", "scripted")


@dataclass(frozen=True, kw_only=True)
class Restart(Act):
    """F3."""

    name: ClassVar[str] = "restart"
    summary: ClassVar[str] = "all connections end, as at a restart, and every client's order ids roll back"
    rows: ClassVar[str] = "F3, F4, F21"
    next_order_id: int = number("the next order id of every client; 0: ids go on where they were", 1)


@dataclass(frozen=True, kw_only=True)
class CorrectExecution(Act):
    """F16."""

    name: ClassVar[str] = "correct_execution"
    summary: ClassVar[str] = (
        "one of today's executions comes again with the next revision (…02) and another price"
    )
    rows: ClassVar[str] = "F16"
    n: int = number("the execution's number, 1 for the first ever", least=1)
    price: Decimal = amount("the right price, USD a share")  # noqa: RUF009


@dataclass(frozen=True, kw_only=True)
class BustExecution(Act):
    """F16."""

    name: ClassVar[str] = "bust_execution"
    summary: ClassVar[str] = (
        "one of today's executions is taken back: it comes again with the next revision and no shares"
    )
    rows: ClassVar[str] = "F16"
    n: int = number("the execution's number, 1 for the first ever", least=1)


@dataclass(frozen=True, kw_only=True)
class HumanOrder(Act):
    """F14."""

    name: ClassVar[str] = "human_order"
    summary: ClassVar[str] = (
        "a person places an order at the broker's screen: client 0, order id 0, no orderRef"
    )
    rows: ClassVar[str] = "F14"
    symbol: str = text("the symbol")
    side: str = text("BUY or SELL", "BUY", ("BUY", "SELL"))
    quantity: int = number("shares", 1, least=1)
    type: str = text("order type", "MKT", ("MKT", "LMT", "MOC", "LOC"))
    tif: str = text("time in force", "DAY", ("DAY", "OPG"))
    limit: Decimal = amount("limit price, USD a share; 0: none", Decimal(0))  # noqa: RUF009


@dataclass(frozen=True, kw_only=True)
class HumanEdit(Act):
    """F14."""

    name: ClassVar[str] = "human_edit"
    summary: ClassVar[str] = "a person changes quantity or limit of an open order, whoever placed it"
    rows: ClassVar[str] = "F14"
    order: int = number("the n-th order the account ever took", least=1)
    quantity: int = number("shares; 0: unchanged", 0)
    limit: Decimal = amount("limit price, USD a share; 0: unchanged", Decimal(0))  # noqa: RUF009


@dataclass(frozen=True, kw_only=True)
class HumanCancel(Act):
    """F14."""

    name: ClassVar[str] = "human_cancel"
    summary: ClassVar[str] = "a person cancels an open order, whoever placed it"
    rows: ClassVar[str] = "F14"
    order: int = number("the n-th order the account ever took", least=1)


@dataclass(frozen=True, kw_only=True)
class HumanDuplicate(Act):
    """F14, F7."""

    name: ClassVar[str] = "human_duplicate"
    summary: ClassVar[str] = (
        "a person places a copy of an open order, orderRef and all: one orderRef, two permIds"
    )
    rows: ClassVar[str] = "F7, F14"
    order: int = number("the n-th order the account ever took", least=1)
