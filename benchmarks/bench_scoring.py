"""How long the daily scoring of 3,000 symbols takes, model load included.

What belongs here: the measurement of `score_model`, in this process and in a fresh one that has imported
nothing. The features are computed before: they have a benchmark of their own.
"""

import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.report import Measurement, report
from hrp_core.calendar import nyse
from hrp_core.features import features_frame
from hrp_core.market import Panel
from hrp_core.models.dataset import build_training_set
from hrp_core.models.learners import GradientBoosting
from hrp_core.models.registered import score_model
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.tracking import Tracking, import_mlflow
from hrp_core.models.training import TrainingConfig, train

SYMBOLS = 3_000
LIMIT_SECONDS = 3.0
NAMES = ("ret_1", "ret_5", "ret_21", "vol_21", "zscore_20", "ret_5_rank")
SESSION = date(2022, 12, 15)


def main() -> int:
    """Measure, print, and return 1 when a claim fails."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        rows = _prepare(home)
        rows.drop(columns="session").to_parquet(home / "rows.parquet")
        warm = _score(home, rows)
        code = f"from benchmarks.bench_scoring import fresh; fresh({str(home)!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imports, cold = (float(word) for word in done.stdout.split()[-2:])
    what = f"scoring of {SYMBOLS} symbols, model load included"
    return report(
        [
            Measurement(f"{what}, model not seen before", warm, "s", LIMIT_SECONDS, "limit"),
            Measurement(f"{what}, in a fresh process after its imports", cold, "s", LIMIT_SECONDS, "limit"),
            # Hardly a claim: what any use of MLflow and scikit-learn costs a process once.
            Measurement("imports of a fresh process", imports, "s", 60.0, "sanity limit"),
        ]
    )


def fresh(home: str) -> None:
    """Print the seconds that the imports take here, and then finding, loading and scoring."""
    rows = pd.read_parquet(Path(home) / "rows.parquet")
    started = time.perf_counter()
    import_mlflow()
    for name in ("mlflow.sklearn", "mlflow.store.model_registry.sqlalchemy_store", "skops.io"):
        import_module(name)
    imports = time.perf_counter() - started
    print(imports, _score(Path(home), rows))


def _score(home: Path, rows: pd.DataFrame) -> float:
    started = time.perf_counter()
    scored = score_model("HYP-2026-002", "bench", rows, SESSION, ModelRegistry(Tracking(home)), version="1")
    seconds = time.perf_counter() - started
    if scored["prediction"].notna().sum() != SYMBOLS:
        raise RuntimeError(f"{scored['prediction'].notna().sum()} of {SYMBOLS} symbols were scored")
    return seconds


def _prepare(home: Path) -> pd.DataFrame:
    """Train on 30 names, and return the features of 3,000 names on one session."""
    sessions = tuple(nyse().between(date(2020, 1, 2), SESSION))
    generator = np.random.default_rng(0)
    close = 50 * np.exp(np.cumsum(generator.normal(0, 0.02, (len(sessions), SYMBOLS)), axis=0))
    panel = Panel(sessions, tuple(f"S{index:04d}" for index in range(SYMBOLS)), {"close": close})
    few = Panel(sessions, panel.symbols[:30], {"close": close[:, :30]})
    history = features_frame(few, sessions[0], SESSION, NAMES)
    data = build_training_set(history, few, NAMES, as_of=SESSION)
    train(data, TrainingConfig("bench", GradientBoosting(), folds=2, min_train=252), Tracking(home))
    return features_frame(panel, SESSION, SESSION, NAMES)


if __name__ == "__main__":
    raise SystemExit(main())
