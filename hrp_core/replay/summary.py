"""Figures of a replay.

What belongs here: the arithmetic of performance. Sources: total and annual return, volatility with 252
sessions a year, Sharpe ratio without a risk-free rate (Sharpe 1994), maximum drawdown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import sqrt

import numpy as np

from hrp_core.portfolio.risk import RULES
from hrp_core.portfolio.types import RuleAction
from hrp_core.replay.loop import ReplayedSession

SESSIONS_A_YEAR = 252


@dataclass(frozen=True, slots=True)
class RuleChanges:
    """What one risk rule changed in a replay.

    Attributes:
        rule: its code.
        sessions: decision sessions in which it clipped, blocked or halted something.
        names: how many names that were, over all sessions together.
    """

    rule: str
    sessions: tuple[date, ...]
    names: int


def rule_changes(results: Sequence[ReplayedSession]) -> list[RuleChanges]:
    """Return what each risk rule changed, in the order of the rules, without those that changed nothing."""
    sessions: dict[str, dict[date, None]] = {rule.code: {} for rule in RULES}
    names: dict[str, set[str]] = {rule.code: set() for rule in RULES}
    for each in results:
        for verdict in each.plan.verdicts:
            if verdict.action is not RuleAction.ALLOW:
                sessions[verdict.rule][each.session] = None
                names[verdict.rule].update([verdict.symbol] if verdict.symbol else [])
    return [RuleChanges(code, tuple(found), len(names[code])) for code, found in sessions.items() if found]


def summarize(results: Sequence[ReplayedSession], opening: Decimal) -> dict[str, object]:
    """Return figures by name; returns and volatility are fractions, money is in USD.

    `annual_return`, `volatility` and `sharpe` are None for fewer than two sessions; `halted_from` is the
    session from which a loss limit let nothing be traded, None where none did.
    """
    navs = np.array([float(opening), *(float(each.nav) for each in results)])
    daily = navs[1:] / navs[:-1] - 1
    peak = np.maximum.accumulate(navs)
    years = len(results) / SESSIONS_A_YEAR
    enough = len(results) >= 2
    deviation = float(daily.std(ddof=1)) if enough else 0.0
    fills = [fill for each in results for fill in each.fills]
    return {
        "sessions": len(results),
        "opening": opening,
        "final_nav": results[-1].nav if results else opening,
        "total_return": float(navs[-1] / navs[0] - 1),
        "annual_return": float((navs[-1] / navs[0]) ** (1 / years) - 1) if enough else None,
        "volatility": deviation * sqrt(SESSIONS_A_YEAR) if enough else None,
        "sharpe": float(daily.mean()) / deviation * sqrt(SESSIONS_A_YEAR) if deviation else None,
        "max_drawdown": float((1 - navs / peak).max()),
        "fills": len(fills),
        "crosses": sum(len(each.crosses) for each in results),
        "traded_value": sum((fill.shares * fill.price for fill in fills), Decimal(0)),
        "commissions": sum((fill.commission for fill in fills), Decimal(0)),
        "halted_from": next((each.session for each in results if each.halted), None),
    }
