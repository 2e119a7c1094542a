"""A small synthetic market for the tests of this folder."""

from datetime import date, datetime

import numpy as np
import pandas as pd

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.features import features_frame
from hrp_core.market import Panel

NAMES = ("ret_1", "ret_5", "ret_21", "vol_21")
SESSIONS = tuple(nyse().between(date(2017, 1, 3), date(2020, 12, 31)))[:700]
NOW = datetime(2022, 3, 1, 18, 0, tzinfo=NEW_YORK)


def market(seed: int = 0, names: int = 20) -> Panel:
    generator = np.random.default_rng(seed)
    common = generator.normal(0, 0.01, (len(SESSIONS), 1))
    close = 50 * np.exp(np.cumsum(common + generator.normal(0, 0.015, (len(SESSIONS), names)), axis=0))
    return Panel(SESSIONS, tuple(f"N{index:02d}" for index in range(names)), {"close": close})


def features_of(panel: Panel) -> pd.DataFrame:
    return features_frame(panel, panel.sessions[0], panel.sessions[-1], NAMES)
