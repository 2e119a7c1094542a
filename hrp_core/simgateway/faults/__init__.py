"""Scripted faults: what the gateway does wrong on purpose, so that its clients can be tested.

What belongs here: the one registry of faults, by name. A new fault is a new class in `lasting` or `acts` and
a question to the book at the place where a real broker fails.
"""

import tomllib
from dataclasses import MISSING
from pathlib import Path

from hrp_core.errors import DataError
from hrp_core.simgateway.faults import acts, lasting
from hrp_core.simgateway.faults.base import About, Act, Fault, Parameters, order_number
from hrp_core.simgateway.faults.book import ActiveFault, FaultBook

__all__ = [
    "FAULTS",
    "About",
    "Act",
    "ActiveFault",
    "Fault",
    "FaultBook",
    "Parameters",
    "build_fault",
    "fault_table",
    "order_number",
    "read_script",
]

FAULTS: dict[str, type[Fault]] = {
    cls.name: cls
    for cls in (
        lasting.DropBeforeAck,
        lasting.DropAfterAck,
        lasting.DropMidFrame,
        lasting.LoseRequest,
        lasting.DropMessage,
        lasting.Silence,
        lasting.HalfOpen,
        lasting.Omit,
        lasting.Duplicate,
        lasting.Delay,
        lasting.Reorder,
        lasting.UnsetCommission,
        lasting.MissingEnd,
        lasting.LyingEnd,
        lasting.StaleOpenOrders,
        lasting.PositionLag,
        lasting.OmitExecution,
        lasting.PriorClose,
        lasting.Halted,
        lasting.Reject,
        lasting.RefuseAllOrders,
        lasting.ReadOnly,
        lasting.PartialFill,
        lasting.SplitFill,
        lasting.FillAfterCancel,
        lasting.ConnectivityLost,
        acts.ConnectivityRestored,
        acts.Notice,
        acts.Restart,
        acts.CorrectExecution,
        acts.BustExecution,
        acts.HumanOrder,
        acts.HumanEdit,
        acts.HumanCancel,
        acts.HumanDuplicate,
    )
}

_COMMON = ("count", "skip", "chance", "order", "symbol", "ref", "client")
"""Parameters that many faults share; docs/gateway.md explains them once."""


def build_fault(name: str, parameters: Parameters) -> Fault:
    """Return the fault `name` with `parameters`.

    Raises:
        DataError: no such fault, or parameters that it does not take.
    """
    try:
        cls = FAULTS[name]
    except KeyError:
        raise DataError(f"no fault is called {name!r}; there are {', '.join(sorted(FAULTS))}") from None
    return cls.build(parameters)


def read_script(path: Path) -> list[tuple[str, dict[str, int | str]]]:
    """Return the faults of a TOML file: tables `[[fault]]` with `name` and the fault's parameters.

    Raises:
        DataError: the file cannot be read, or a fault in it does not exist or does not take its parameters.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a script of faults: {error}") from None
    tables = content.pop("fault", None)
    if content or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise DataError(f"{path}: a script of faults holds tables [[fault]] and nothing else")
    script: list[tuple[str, dict[str, int | str]]] = []
    for place, table in enumerate(tables, 1):
        # TOML has floats, and prices are decimals.
        parameters = {key: value if isinstance(value, int) else str(value) for key, value in table.items()}
        name = str(parameters.pop("name", ""))
        try:
            build_fault(name, parameters)
        except DataError as error:
            raise DataError(f"{path}, fault {place}: {error}") from None
        script.append((name, parameters))
    return script


def fault_table() -> str:
    """Return the table of all faults, in Markdown, as docs/gateway.md shows it."""
    lines = ["| fault | what it does | own parameters | shared | rows |", "|---|---|---|---|---|"]
    for cls in FAULTS.values():
        own: list[str] = []
        shared: list[str] = []
        for parameter in cls.parameters():
            if parameter.name in _COMMON and not issubclass(cls, Act):
                shared.append(parameter.name)
                continue
            # 0 and the empty text are explained in the meaning.
            given = parameter.default is not MISSING and bool(parameter.default)
            default = f" (default {parameter.default})" if given else ""
            own.append(f"`{parameter.name}`{default}: {parameter.metadata['meaning']}")
        where = "at once" if issubclass(cls, Act) else ", ".join(shared)
        lines.append(f"| `{cls.name}` | {cls.summary} | {'; '.join(own)} | {where} | {cls.rows} |")
    return "\n".join(lines)
