"""From predictions to a plan: strategies, signals, construction, netting, `decide`.

What belongs here: pure functions of arrays and frozen values. What does not: broker, journal, store, clock.
"""

from hrp_core.portfolio.conversion import Conversion, ConversionConfig, SignalConverter
from hrp_core.portfolio.decide import decide, limits_from_settings
from hrp_core.portfolio.signals import predictions_to_signals, strategy_signals
from hrp_core.portfolio.strategies import load_strategies, read_strategy_files
from hrp_core.portfolio.types import (
    LedgerState,
    Plan,
    PortfolioLimits,
    SessionPanel,
    Strategy,
    StrategySignals,
)

__all__ = [
    "Conversion",
    "ConversionConfig",
    "LedgerState",
    "Plan",
    "PortfolioLimits",
    "SessionPanel",
    "SignalConverter",
    "Strategy",
    "StrategySignals",
    "decide",
    "limits_from_settings",
    "load_strategies",
    "predictions_to_signals",
    "read_strategy_files",
    "strategy_signals",
]
