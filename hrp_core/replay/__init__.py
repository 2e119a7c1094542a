"""The daily loop over history, in process: backtest, and parity with what was traded."""

from hrp_core.replay.history import History
from hrp_core.replay.loop import Policy, ReplayedCross, ReplayedFill, ReplayedSession, replay
from hrp_core.replay.parity import Difference, Parity, check_parity
from hrp_core.replay.summary import summarize

__all__ = [
    "Difference",
    "History",
    "Parity",
    "Policy",
    "ReplayedCross",
    "ReplayedFill",
    "ReplayedSession",
    "check_parity",
    "replay",
    "summarize",
]
