"""The daily loop over history, in process: backtest, and parity with what was traded."""

from hrp_core.replay.history import History
from hrp_core.replay.loop import (
    Decided,
    Policy,
    ReplayedCross,
    ReplayedFill,
    ReplayedSession,
    replay,
)
from hrp_core.replay.parity import Difference, Parity, check_parity
from hrp_core.replay.summary import RuleChanges, rule_changes, summarize

__all__ = [
    "Decided",
    "Difference",
    "History",
    "Parity",
    "Policy",
    "ReplayedCross",
    "ReplayedFill",
    "ReplayedSession",
    "RuleChanges",
    "check_parity",
    "replay",
    "rule_changes",
    "summarize",
]
