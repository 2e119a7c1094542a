"""Replay with all risk rules and turnover control on, against replay with all of them off.

Claim: with the defaults it takes at most twice the processor time, on 20 names x 250 sessions and on 500
names x 250 sessions; and so it does without the no-trade band, which saves orders and with them time. Loss
limits are on and cannot be reached, so that both runs trade to the end; sectors are given and every name has
volume, so that every rule has work.
"""

import gc
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd

from benchmarks.report import Measurement, report
from hrp_core.calendar import nyse
from hrp_core.portfolio.types import PortfolioLimits, Strategy
from hrp_core.replay import History, Policy, ReplayedSession, replay

SESSIONS, BEFORE = 250, 270
ROUNDS = 3
CASH = Decimal(1_000_000)
LAST = date(2022, 11, 30)


def history(names: int) -> tuple[History, list[date]]:
    """Return random closes and volumes of `names`, and the sessions to replay."""
    generator = np.random.default_rng(11)
    sessions = nyse().between(nyse().offset(LAST, -(SESSIONS + BEFORE)), LAST)
    steps = generator.normal(0.0003, 0.02, (len(sessions), names))
    close = np.round(50 * np.exp(np.cumsum(steps, axis=0)), 2)
    frame = pd.DataFrame(
        {
            "session": np.repeat(np.array(sessions, dtype=object), names),
            "symbol": np.tile([f"S{number:04d}" for number in range(names)], len(sessions)),
            "open": np.nan,
            "high": np.nan,
            "low": np.nan,
            "close": close.ravel(),
            "volume": generator.integers(10_000, 10_000_000, close.size).astype(float),
            "split_factor": np.nan,
            "dividend": np.nan,
        }
    )
    return History.from_prices(frame), list(sessions[BEFORE:-1])


def timed(
    known: History, sessions: Sequence[date], limits: PortfolioLimits
) -> tuple[float, list[ReplayedSession]]:
    """Return the processor time of one replay, and its sessions."""
    strategy = Strategy("B-1", "momentum", "momentum_12_1", "rank", Decimal(1), {"top_pct": 0.25})
    policy = Policy((strategy,), limits)
    gc.collect()
    begin = time.process_time()
    done = replay(known, sessions, lambda _: policy, cash=CASH)
    return time.process_time() - begin, done


def measure(names: int, *, band: bool) -> Measurement:
    """Compare the shortest of some rounds of each, taken in turn."""
    known, sessions = history(names)
    on = PortfolioLimits(
        max_daily_loss_pct=0.9,
        max_drawdown_pct=0.99,
        sectors={f"S{number:04d}": f"sector {number % 11}" for number in range(names)},
        restricted=("S0001",),
    )
    if not band:
        on = replace(on, band_pct=None, band_nav_pct=None)
    off = replace(on.without_rules(), min_order_value=Decimal(0))
    timed(known, sessions, off)  # features are computed once
    with_rules, without = [], []
    done: list[ReplayedSession] = []
    for _ in range(ROUNDS):
        without.append(timed(known, sessions, off)[0])
        seconds, done = timed(known, sessions, on)
        with_rules.append(seconds)
    if not done or done[-1].halted or not any(each.plan.verdicts for each in done):
        raise SystemExit("the rules had nothing to do; the measurement says nothing")
    return Measurement(
        f"replay with all risk rules{'' if band else ', no band'}, {names} names x {len(sessions)} sessions",
        min(with_rules),
        "s",
        2 * min(without),
        "twice the replay without them, same run",
    )


def main() -> int:
    """Measure, print, and return 1 when a claim fails."""
    return report([measure(names, band=band) for names in (20, 500) for band in (True, False)])


if __name__ == "__main__":
    raise SystemExit(main())
