"""Features of a large universe against a bare bottleneck implementation of the same numbers.

Claims: 3,000 names x 2,520 sessions, all features and ranks, take no more processor time than bottleneck on
bare arrays and less than 2 GiB, closes, actions and results included; the newest session alone takes less
than 0.1 s.
"""

import gc
import resource
import sys
import time
from collections.abc import Callable

import bottleneck as bn
import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Measurement, report
from hrp_core.calendar import nyse
from hrp_core.features import FEATURES, compute, compute_session, window_start
from hrp_core.market import Panel

NAMES, SESSIONS = 3_000, 2_520
ROUNDS = 5

Array = NDArray[np.float64]


def random_panel() -> Panel:
    """Return closes in cents, volumes, and as many splits and dividends as the US market has."""
    generator = np.random.default_rng(7)
    close = generator.normal(0.0003, 0.02, (SESSIONS, NAMES))
    for row in range(1, SESSIONS):
        close[row] += close[row - 1]
    np.exp(close, out=close)
    close *= generator.uniform(5, 200, NAMES)
    np.round(close, 2, out=close)
    np.maximum(close, 0.01, out=close)
    close[: SESSIONS // 2, : NAMES // 10] = np.nan
    volume = generator.uniform(1e4, 1e7, (SESSIONS, NAMES))
    split, dividend = np.ones_like(close), np.zeros_like(close)
    split[generator.integers(1, SESSIONS, 300), generator.integers(0, NAMES, 300)] = 2.0
    dividend[generator.integers(1, SESSIONS, 60_000), generator.integers(0, NAMES, 60_000)] = 0.3
    symbols = tuple(f"S{number:04d}" for number in range(NAMES))
    sessions = tuple(nyse().between(nyse().first, nyse().last)[-SESSIONS - 300 : -300])
    fields = {"close": close, "volume": volume, "split_factor": split, "dividend": dividend}
    return Panel(sessions, symbols, fields)


def bare_bottleneck(close: Array, volume: Array) -> dict[str, Array]:
    """Return the same features of closes that need no adjusting, by bottleneck's moving windows and ranks."""
    # Moving windows are twice as fast along contiguous memory; ranks go across.
    price = np.ascontiguousarray(close.T)
    traded = np.ascontiguousarray((close * volume).T)

    def back(sessions: int, by: int = 0) -> Array:
        result = np.full_like(price, np.nan)
        result[:, sessions:] = price[:, sessions - by : price.shape[1] - by] / price[:, :-sessions] - 1
        return result

    change = np.diff(price, axis=1, prepend=np.nan)
    gain = bn.move_sum(np.maximum(change, 0), 14, axis=1)
    loss = bn.move_sum(np.maximum(-change, 0), 14, axis=1)
    mean = bn.move_mean(price, 20, axis=1)
    returns = back(1)
    features = {
        **{f"ret_{sessions}": back(sessions) for sessions in (1, 5, 21, 63, 252)},
        "momentum_12_1": back(252, 21),
        "vol_21": bn.move_std(returns, 21, axis=1, ddof=1),
        "vol_63": bn.move_std(returns, 63, axis=1, ddof=1),
        "rsi_14": 100 * gain / (gain + loss),
        "price_to_sma_20": price / mean - 1,
        "sma_50_200": bn.move_mean(price, 50, axis=1) / bn.move_mean(price, 200, axis=1) - 1,
        "zscore_20": (price - mean) / bn.move_std(price, 20, axis=1, ddof=1),
        "adv_20": bn.move_mean(traded, 20, axis=1),
    }
    across = {name: np.ascontiguousarray(values.T) for name, values in features.items()}
    for name in features:
        rank = bn.nanrankdata(across[name], axis=1)
        count = np.isfinite(across[name]).sum(axis=1, keepdims=True)
        across[f"{name}_rank"] = (rank - 1) / np.maximum(count - 1, 1)
    return across


def processor_seconds(run: Callable[[], object]) -> float:
    """Return the processor time of one run: others may be using the machine."""
    gc.collect()
    begin = time.process_time()
    run()
    return time.process_time() - begin


def peak_bytes() -> int:
    """Return the most memory that this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def agreement(panel: Panel) -> float:
    """Return the largest relative difference between ours and the reference where nothing needs adjusting."""
    plain = Panel(
        panel.sessions[-600:],
        panel.symbols,
        {name: panel.fields[name][-600:] for name in ("close", "volume")},
    )
    ours, bare = compute(plain), bare_bottleneck(plain.close, plain.field("volume"))
    worst = 0.0
    for name in FEATURES:
        if name.endswith("_rank"):
            # Bottleneck's rounding parts names that are tied; ranks of equal input are compared in the tests.
            continue
        both = np.isfinite(ours[name]) & np.isfinite(bare[name])
        difference = np.abs(ours[name] - bare[name])[both] / np.maximum(np.abs(bare[name][both]), 1)
        worst = max(worst, float(difference.max()))
    return worst


def main() -> int:
    """Measure, print, and return 1 when a claim fails."""
    panel = random_panel()
    ours = [processor_seconds(lambda: compute(panel))]
    peak = peak_bytes()
    bare = []
    for _ in range(ROUNDS):
        bare.append(processor_seconds(lambda: bare_bottleneck(panel.close, panel.field("volume"))))
        ours.append(processor_seconds(lambda: compute(panel)))
    newest = panel.sessions[-1]
    start = panel.position(window_start(newest))
    window = panel.window(start, SESSIONS)
    compute_session(window, newest)
    day = min(processor_seconds(lambda: compute_session(window, newest)) for _ in range(ROUNDS))
    size = f"{NAMES} names x {SESSIONS} sessions"
    return report(
        [
            Measurement(f"all features, {size}", min(ours), "s", min(bare), "bare bottleneck, same run"),
            Measurement(f"peak memory of all features, {size}", peak, "bytes", 2 * 1024**3, "limit"),
            Measurement(f"all features, newest session of {NAMES} names", day, "s", 0.1, "limit"),
            Measurement("difference from bottleneck, relative above 1", agreement(panel), "", 1e-6, "limit"),
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
