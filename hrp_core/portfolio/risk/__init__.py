"""The risk rules: what may make a basket smaller, or stop it (docs/risk-rules.md)."""

from hrp_core.portfolio.risk.apply import Facts, apply_rules
from hrp_core.portfolio.risk.frozen import HALTED, REDUCING, frozen_limits, latch_of
from hrp_core.portfolio.risk.rules import Basket, Ruling
from hrp_core.portfolio.risk.table import BY_CODE, RULES, Rule, Stage, docs_page

__all__ = [
    "BY_CODE",
    "HALTED",
    "REDUCING",
    "RULES",
    "Basket",
    "Facts",
    "Rule",
    "Ruling",
    "Stage",
    "apply_rules",
    "docs_page",
    "frozen_limits",
    "latch_of",
]
