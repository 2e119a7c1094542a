"""What one Dagster run of decision_job costs beside a run of as many assets and checks that do nothing.

For 20, 500 and 3,000 symbols of made-up prices: a desk with a model in production that trades evening after
evening through the jobs, against a simulated gateway in its own process. Runs of both jobs alternate in one
process, on one instance, and the quickest of each is compared; the first run of a fresh process, with its
imports, is told beside them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.report import Measurement, report
from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from hrp_core.simgateway.control import GatewayClient

SIZES = (20, 500, 3_000)
SESSIONS = nyse().between(date(2022, 12, 2), date(2022, 12, 8))
HISTORY = nyse().between(date(2021, 8, 2), nyse().next(SESSIONS[-1]))
MODEL = "us_equity_ranker"
FEATURES = ("ret_1", "ret_5", "ret_21", "vol_21", "zscore_20", "ret_5_rank")
TRAINED_ON = 500
TIMES_BARE = 2.5
"""Most that a run may take for 20 symbols, in times of a run that does nothing."""
COLD_SECONDS = 60.0


def main() -> int:
    """Measure, print, and return 1 when a claim fails."""
    took = {size: _desk(size) for size in SIZES}
    lines = []
    for size in SIZES:
        what = f"decision_job for {size} symbols"
        lines += [
            Measurement(
                f"{what}, warm process",
                took[size]["decision"],
                "s",
                TIMES_BARE * took[size]["bare"],
                f"{TIMES_BARE} runs of as many no-op assets and checks",
                judged=size == SIZES[0],
            ),
            Measurement(f"{what}, of it processor", took[size]["processor"], "s", 60.0, "sanity limit"),
            # Hardly a claim: the imports of Dagster, MLflow and Great Expectations cost a process this once.
            Measurement(f"{what}, fresh process", took[size]["cold"], "s", COLD_SECONDS, "sanity limit"),
        ]
    lines += [
        Measurement(
            f"decision_job for {more} symbols",
            took[more]["decision"],
            "s",
            took[fewer]["decision"] * more / fewer,
            f"{more / fewer:g} times that for {fewer} symbols",
        )
        for fewer, more in pairwise(SIZES)
    ]
    return report(lines)


def _desk(size: int) -> dict[str, float]:
    """Return what runs take on a desk of `size` symbols, seconds: decision, bare, cold, processor."""
    with tempfile.TemporaryDirectory() as folder:
        prices = Path(folder) / "prices"
        prices.mkdir()
        _panel_frame(size).to_parquet(prices / "prices.parquet")
        os.environ |= {
            "HRP_ENV_FILE": os.devnull,
            "HRP_MODE": "sim",
            "HRP_HOME": str(Path(folder) / "home"),
            "HRP_PRICE_SOURCE": "files",
            "HRP_PRICE_FILES": str(prices),
            "HRP_SIM_START": SESSIONS[0].isoformat(),
            "HRP_FIRST_SESSION": SESSIONS[0].isoformat(),
            # Every evening trades something.
            "HRP_BAND_PCT": "0",
            "HRP_BAND_NAV_PCT": "0",
        }
        from hrp_dagster.environment import prepare_environment
        from hrp_dagster.processes import start_gateway

        prepare_environment(Settings())
        gateway = start_gateway()
        try:
            _in_fresh_process("prepare", size)
            return _in_fresh_process("measure", size)
        finally:
            gateway.stop()


def _in_fresh_process(step: str, size: int) -> dict[str, float]:
    code = f"from benchmarks.bench_decision import {step}; {step}({size}, {time.time()})"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def prepare(size: int, _started: float) -> None:
    """Load the history of the desk and put a model into production that was trained on a few names."""
    from hrp_core.features import features_frame
    from hrp_core.market import Panel
    from hrp_core.models.dataset import build_training_set
    from hrp_core.models.learners import RidgeRegression
    from hrp_core.models.registry import ModelRegistry
    from hrp_core.models.tracking import Tracking
    from hrp_core.models.training import TrainingConfig, train
    from hrp_core.store import Store, migrate
    from hrp_dagster.runs import run_job

    settings = Settings()
    migrate(Store(settings.database_path))
    run_job(settings, "history_job")
    sessions = tuple(nyse().between(date(2019, 1, 2), SESSIONS[0]))
    symbols, close = _closes(len(sessions), min(size, TRAINED_ON))
    panel = Panel(sessions, symbols, {"close": close})
    history = features_frame(panel, sessions[0], sessions[-1], FEATURES)
    data = build_training_set(history, panel, FEATURES, as_of=sessions[-1])
    tracking = Tracking(settings.home)
    trained = train(data, TrainingConfig(MODEL, RidgeRegression(), folds=2, min_train=252), tracking)
    ModelRegistry(tracking).promote(
        MODEL,
        trained.version,
        actor="benchmark",
        reason="the only version",
        store=Store(settings.database_path),
        now=settings.clock().now(),
    )
    print("{}")


def measure(_size: int, started: float) -> None:
    """Print what the runs take, as JSON.

    Args:
        started: when the process was started, seconds since 1970.
    """
    from hrp_core.simgateway.control import GatewayClient
    from hrp_dagster.runs import keeping_instance, run_job

    settings = Settings()
    gateway = GatewayClient(settings.gateway_file)
    run_job(settings, "decision_job", SESSIONS[0])
    cold = time.time() - started
    bare_definitions = no_op_definitions()
    decision, bare, processor = [], [], []
    with keeping_instance():
        run_job(settings, "live_trader_job", SESSIONS[0])
        for before, session in pairwise(SESSIONS):
            _to(gateway, session, "17:45")
            run_job(settings, "market_data_job", session)
            run_job(settings, "book_job", before)
            _to(gateway, session, "18:15")
            # The second decision of an evening finds the plan of the first and does all else again.
            for _ in range(2):
                with _timing() as took:
                    run_job(settings, "decision_job", session)
                decision.append(took[0])
                processor.append(took[1])
                with _timing() as took:
                    run_job(settings, "no_op_job", session, definitions=bare_definitions)
                bare.append(took[0])
            run_job(settings, "live_trader_job", session)
    print(
        json.dumps(
            {"decision": min(decision), "bare": min(bare), "processor": min(processor), "cold": cold},
        )
    )


def no_op_definitions() -> "dg.Definitions":
    """Return as many assets and checks as decision_job has, with its dependencies, that do nothing."""
    import dagster as dg

    from hrp_core.checks import CLAIMS
    from hrp_core.settings import Settings
    from hrp_dagster.definitions import build_defs
    from hrp_dagster.partitions import session_partitions
    from hrp_dagster.runs import job_assets

    names = job_assets(Settings(), "decision_job")
    graph = build_defs(Settings()).resolve_asset_graph()
    above = {name: sorted(key.path[-1] for key in graph.get(dg.AssetKey(name)).parent_keys) for name in names}

    def asset(name: str, above: list[str]) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=above, partitions_def=session_partitions)
        def nothing() -> None:
            pass

        return nothing

    def checks(name: str) -> dg.AssetChecksDefinition:
        specs = [
            dg.AssetCheckSpec(
                claim.name, asset=name, blocking=claim.blocking, partitions_def=session_partitions
            )
            for claim in CLAIMS[name]
        ]

        @dg.multi_asset_check(name=f"{name}_checks", specs=specs)
        def good() -> Iterator[dg.AssetCheckResult]:
            for spec in specs:
                yield dg.AssetCheckResult(passed=True, asset_key=name, check_name=spec.name)

        return good

    return dg.Definitions(
        assets=[asset(name, above[name]) for name in names],
        asset_checks=[checks(name) for name in names if name in CLAIMS],
        jobs=[dg.define_asset_job("no_op_job", selection=dg.AssetSelection.assets(*names))],
        executor=dg.in_process_executor,
    )


@contextmanager
def _timing() -> Iterator[list[float]]:
    """Yield a list that holds, after the block, its seconds on the wall and of the processor."""
    took: list[float] = []
    wall, processor = time.perf_counter(), time.process_time()
    yield took
    took += [time.perf_counter() - wall, time.process_time() - processor]


def _to(gateway: "GatewayClient", session: date, clock: str) -> None:
    moment = datetime.fromisoformat(f"{session}T{clock}").replace(tzinfo=NEW_YORK)
    if gateway.state().now < moment:
        gateway.advance(moment)


def _closes(sessions: int, size: int) -> tuple[tuple[str, ...], np.ndarray]:
    generator = np.random.default_rng(size)
    close = 50 * np.exp(np.cumsum(generator.normal(0, 0.01, (sessions, size)), axis=0))
    return tuple(f"S{index:04d}" for index in range(size)), np.round(close, 2)


def _panel_frame(size: int) -> pd.DataFrame:
    """Return made-up daily bars in the long format of the price source `files`."""
    symbols, close = _closes(len(HISTORY), size)
    bars = {
        "session": np.repeat(np.array(HISTORY, dtype=object), size),
        "symbol": np.tile(np.array(symbols, dtype=object), len(HISTORY)),
        "open": close.ravel(),
        "high": close.ravel(),
        "low": close.ravel(),
        "close": close.ravel(),
        "volume": np.full(close.size, 1e6),
    }
    return pd.DataFrame(bars)


if __name__ == "__main__":
    raise SystemExit(main())
