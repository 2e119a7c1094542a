"""What every scripted fault is: a name, parameters with their meaning, and what it applies to.

What belongs here: the base classes and the reading of parameters. Each fault is a value; what the gateway
does wrong is done at the place that asks `FaultBook.take` for it.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Self

from hrp_core.errors import DataError
from hrp_core.matching.state import FIRST_PERM_ID
from hrp_core.simgateway.order_messages import BrokerOrder
from hrp_core.simgateway.requests import Request
from hrp_core.simgateway.wire import MESSAGE_NAMES

Parameters = Mapping[str, int | str]

REQUEST_NAMES: dict[Request, str] = {
    request: "".join(
        part.lower() if n == 0 else part.capitalize() for n, part in enumerate(request.name.split("_"))
    )
    for request in Request
}


def number(meaning: str, default: int | None = None, least: int = 0) -> Any:
    """Return a whole-number parameter; without a default it must be given."""
    extra: dict[str, Any] = {} if default is None else {"default": default}
    return field(metadata={"meaning": meaning, "kind": int, "least": least}, **extra)


def text(meaning: str, default: str | None = None, choices: tuple[str, ...] = ()) -> Any:
    """Return a text parameter; without a default it must be given."""
    extra: dict[str, Any] = {} if default is None else {"default": default}
    return field(metadata={"meaning": meaning, "kind": str, "choices": choices}, **extra)


def amount(meaning: str, default: Decimal | None = None) -> Any:
    """Return a parameter in USD a share; 0 means not said."""
    extra: dict[str, Any] = {} if default is None else {"default": default}
    return field(metadata={"meaning": meaning, "kind": Decimal}, **extra)


@dataclass(frozen=True, slots=True)
class About:
    """What the gateway is about to do, as far as faults can be told apart by it.

    Attributes:
        order: 1 for the first order the account ever took, then 2, and so on; 0 where there is none.
        client: the client's id; -1 where there is none.
        message: name of the outgoing message.
        request: name of the request being served.
    """

    order: int = 0
    symbol: str = ""
    ref: str = ""
    client: int = -1
    message: str = ""
    request: str = ""

    @classmethod
    def of(cls, order: BrokerOrder, message: str = "", client: int | None = None) -> "About":
        """Return what is known of an order's message."""
        return cls(
            order=order_number(order.order.perm_id),
            symbol=order.order.symbol,
            ref=order.order.order_ref,
            client=order.client_id if client is None else client,
            message=message,
        )


def order_number(perm_id: int) -> int:
    """Return 1 for the account's first order ever, then 2, and so on."""
    return perm_id - FIRST_PERM_ID + 1


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault in force, or one act done at once.

    Attributes:
        name: how it is asked for.
        summary: what it does.
        rows: rows of docs/faults.md that it plays.
        at_once: it acts when it is asked for and is never in force.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    rows: ClassVar[str]
    at_once: ClassVar[bool] = False

    @classmethod
    def parameters(cls) -> tuple["Field[Any]", ...]:
        """Return its parameters."""
        return fields(cls)

    @classmethod
    def build(cls, parameters: Parameters) -> Self:
        """Return the fault with these parameters.

        Raises:
            DataError: a parameter is unknown, missing or of the wrong kind.
        """
        known = {parameter.name: parameter for parameter in cls.parameters()}
        unknown = sorted(set(parameters) - set(known))
        if unknown:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise DataError(f"fault {cls.name} has no parameter {', '.join(unknown)}; {takes}")
        values: dict[str, Any] = {}
        for parameter in known.values():
            if parameter.name in parameters:
                values[parameter.name] = _value(cls.name, parameter, parameters[parameter.name])
            elif parameter.default is MISSING:
                raise DataError(f"fault {cls.name} needs {parameter.name}: {parameter.metadata['meaning']}")
        return cls(**values)

    def concerns(self, about: About) -> bool:  # noqa: ARG002
        """Return whether this is an occasion for the fault."""
        return True


@dataclass(frozen=True, kw_only=True)
class Lasting(Fault):
    """A fault that waits for its occasions."""

    count: int = number("occasions on which it acts; 0: until it is lifted", 1)
    skip: int = number("occasions that pass before it acts", 0)
    chance: int = number("percent of the occasions on which it acts, drawn from the gateway's seed", 100)


@dataclass(frozen=True, kw_only=True)
class OrderFault(Lasting):
    """A fault of orders; the occasions are those of the orders that match."""

    order: int = number("only the n-th order the account ever took; 0: any", 0)
    symbol: str = text("only orders in this symbol", "")
    ref: str = text("only orders whose orderRef contains this", "")
    client: int = number("only this client id; -1: any", -1, least=-1)

    def concerns(self, about: About) -> bool:
        """Match order, symbol, reference and client."""
        return (
            self.order in (0, about.order)
            and self.symbol in ("", about.symbol)
            and self.ref in about.ref
            and self.client in (-1, about.client)
        )


@dataclass(frozen=True, kw_only=True)
class MessageFault(OrderFault):
    """A fault of messages to clients."""

    message: str = text("name of the message", choices=tuple(sorted(MESSAGE_NAMES.values())))

    def concerns(self, about: About) -> bool:
        """Match the message's name, and what it is about."""
        return self.message == about.message and super().concerns(about)


@dataclass(frozen=True, kw_only=True)
class RequestFault(Lasting):
    """A fault of requests from clients."""

    request: str = text("name of the request; empty: any", "", ("", *sorted(REQUEST_NAMES.values())))
    client: int = number("only this client id; -1: any", -1, least=-1)

    def concerns(self, about: About) -> bool:
        """Match the request's name and the client."""
        return self.request in ("", about.request) and self.client in (-1, about.client)


@dataclass(frozen=True, kw_only=True)
class Act(Fault):
    """Something that happens at once."""

    at_once: ClassVar[bool] = True


def _value(fault: str, parameter: "Field[Any]", value: int | str) -> Any:
    meta = parameter.metadata
    wrong = DataError(f"fault {fault}: {parameter.name}={value!r} is wrong; {meta['meaning']}")
    if meta["kind"] is int:
        if not isinstance(value, int) or isinstance(value, bool) or value < meta["least"]:
            raise wrong
        return value
    if meta["kind"] is Decimal:
        try:
            price = Decimal(str(value))
        except InvalidOperation:
            raise wrong from None
        if not price.is_finite() or price < 0:
            raise wrong
        return price
    if meta["choices"] and str(value) not in meta["choices"]:
        raise DataError(
            f"fault {fault}: {parameter.name} is one of {', '.join(filter(None, meta['choices']))}; "
            f"got {value!r}"
        )
    return str(value)
