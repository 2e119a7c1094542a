"""What a plan keeps of the risk rules, read back: its limits, and the latch that its verdicts set.

What belongs here: from plain data to values. What does not: the latch itself (the order journal).
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any

from hrp_core.portfolio.risk.table import BY_CODE
from hrp_core.portfolio.types import OrderType, PortfolioLimits, RuleAction, Verdict

REDUCING, HALTED = "reducing", "halted"


def frozen_limits(stated: Mapping[str, Any]) -> PortfolioLimits:
    """Return the limits that were frozen with a plan. A rule that it does not state was not run for it."""
    known = {item.name for item in fields(PortfolioLimits)}
    values = {name: value for name, value in stated.items() if name in known}
    for item in fields(PortfolioLimits):
        if isinstance(item.default, Decimal) and item.name in values:
            values[item.name] = Decimal(values[item.name])
    if "order_type" in values:
        values["order_type"] = OrderType(values["order_type"])
    if "restricted" in values:
        values["restricted"] = tuple(values["restricted"])
    off = PortfolioLimits().without_rules()
    return PortfolioLimits(**{name: values.get(name, getattr(off, name)) for name in known})


def latch_of(verdicts: Iterable[Verdict]) -> str:
    """Return the latch that verdicts set: halted, reducing, or nothing."""
    found = {BY_CODE[each.rule].latch for each in verdicts if each.action is RuleAction.HALT}
    return HALTED if HALTED in found else REDUCING if REDUCING in found else ""
