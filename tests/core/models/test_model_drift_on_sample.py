"""Drift on the shipped prices: calibrated on 2005 to 2021, measured on 2022, which nothing was fitted to.

With the default learner of `hrp model train` and every feature that the sample can give.
"""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from hrp_core.features import FEATURES, features_frame
from hrp_core.market import Panel, SampleSource, to_panel
from hrp_core.models.dataset import build_training_set
from hrp_core.models.drift import calibrate
from hrp_core.models.drift_checks import DriftStatus, check_drift
from hrp_core.models.learners import GradientBoosting, fit, out_of_sample, predict
from hrp_core.models.splits import walk_forward

# The sample has no volume.
NAMES = tuple(name for name in FEATURES if not name.startswith("adv_"))
LAST = date(2021, 12, 31)


class Sample:
    def __init__(self):
        self.panel = to_panel(SampleSource().load(date(2003, 1, 2), date(2022, 12, 28)))
        self.sessions = np.array(self.panel.sessions)
        self.features = features_frame(self.panel, date(2005, 1, 3), self.panel.sessions[-1], NAMES)
        data = build_training_set(self.features, self.panel, NAMES, as_of=LAST)
        boosting, splits = GradientBoosting(), walk_forward(len(data.sessions) - data.reach, reach=data.reach)
        self.model = fit(data, boosting, range(len(data.sessions) - data.reach), data.target)
        scores = predict(data, boosting, self.model, range(len(data.sessions)))
        self.reference = calibrate(data, scores, out_of_sample(data, boosting, splits, data.target))
        self.held = self.sessions[self.sessions > LAST]

    def drifts(self, features, sessions, closes):
        known = features.loc[features["session"] >= date(2021, 8, 2)]
        scores = known[["session", "symbol"]].assign(prediction=self.model.predict(known[list(NAMES)]))
        reports = [
            check_drift(
                self.reference, features, scores, closes, session=day, model_name="m", model_version="1"
            )
            for day in sessions
        ]
        assert not any(report.status is DriftStatus.ERROR for report in reports)
        return [report.status is DriftStatus.DRIFT for report in reports]


@pytest.fixture(scope="module")
def sample():
    return Sample()


def doubled(panel, start, count=10):
    """The panel with the part of each return that the market does not explain doubled from row `start` on."""
    close = panel.close
    returns = close[1:] / close[:-1] - 1
    market = returns.mean(axis=1, keepdims=True)
    before, common = returns[: start - 1], market[: start - 1]
    beta = ((before - before.mean(axis=0)) * (common - common.mean())).mean(axis=0) / common.var()
    rows = slice(start - 1, start - 1 + count)
    changed = returns.copy()
    changed[rows] = beta * market[rows] + 2 * (returns - beta * market)[rows]
    path = np.vstack([close[:1], close[0] * np.cumprod(1 + changed, axis=0)])
    return Panel(panel.sessions[: start + count], panel.symbols, {"close": path[: start + count]})


def test_a_held_out_year_gives_at_most_three_alarms(sample):
    recent = sample.features.loc[sample.features["session"] >= date(2021, 6, 1)]
    drifts = sample.drifts(recent, sample.held, sample.panel)
    assert len(drifts) >= 249
    assert sum(drifts) <= 3


def test_doubled_idiosyncratic_volatility_is_flagged_within_ten_sessions(sample):
    """Not on every start: where the names had just calmed down, doubling only brings back what was normal."""
    starts, delays = range(20, 230, 30), []
    for start in starts:
        row = int(np.searchsorted(sample.sessions, sample.held[start]))
        panel = doubled(sample.panel, row)
        features = features_frame(panel, sample.sessions[row - 85], panel.sessions[-1], NAMES)
        days = sample.sessions[row : row + 10]
        drifts = sample.drifts(features, days, None)
        delays.append(drifts.index(True) + 1 if any(drifts) else None)
    assert pd.Series(delays).notna().mean() >= 0.8
