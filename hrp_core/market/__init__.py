"""Market data: price sources behind one Protocol, the universe, corporate actions, and the wide panel.

What belongs here: facts about the market as a source has them. What does not: anything computed from them
(`hrp_core.features`).
"""

from hrp_core.market.adjust import AdjustedCloses, adjust, adjusted_close
from hrp_core.market.bars import Bar, BarsProvider, IbkrSource
from hrp_core.market.membership import Memberships, RemovalPolicy, removal_policy
from hrp_core.market.panel import Panel, to_panel
from hrp_core.market.schema import PRICE_COLUMNS
from hrp_core.market.sources import FilesSource, PriceSource, SampleSource, source_from_settings
from hrp_core.market.universe import corporate_actions, universe
from hrp_core.market.yahoo import YahooSource

__all__ = [
    "PRICE_COLUMNS",
    "AdjustedCloses",
    "Bar",
    "BarsProvider",
    "FilesSource",
    "IbkrSource",
    "Memberships",
    "Panel",
    "PriceSource",
    "RemovalPolicy",
    "SampleSource",
    "YahooSource",
    "adjust",
    "adjusted_close",
    "corporate_actions",
    "removal_policy",
    "source_from_settings",
    "to_panel",
    "universe",
]
