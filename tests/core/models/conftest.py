"""One small market, and one model trained on it, shared by all tests of this folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from models_support import NAMES, SESSIONS, features_of, market

from hrp_core.market import Panel
from hrp_core.models.dataset import TrainingSet, build_training_set
from hrp_core.models.learners import GradientBoosting
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.tracking import Tracking, import_mlflow
from hrp_core.models.training import TrainedModel, TrainingConfig, train
from hrp_core.store import Store, migrate


@dataclass(frozen=True)
class Lab:
    """A trained model with what it was made of."""

    panel: Panel
    features: pd.DataFrame
    data: TrainingSet
    tracking: Tracking
    trained: TrainedModel
    mlflow_run_id: str


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Version 1 and an identical version 2 of `alpha`; neither is in production. Tests must not change it."""
    panel = market()
    features = features_of(panel)
    data = build_training_set(features, panel, NAMES, as_of=SESSIONS[-1], horizon=5)
    tracking = Tracking(tmp_path_factory.mktemp("home"))
    learner = GradientBoosting(iterations=15, leaves=4, min_leaf=50)
    config = TrainingConfig("alpha", learner, folds=3, min_train=250)
    with tracking.run("by the caller", dagster_run_id="dagster-7") as run_id:
        trained = train(data, config, tracking, code_version="abc123")
    client = import_mlflow().MlflowClient(tracking.uri, tracking.uri)
    source = client.get_model_version("alpha", "1").source
    client.create_model_version("alpha", source, run_id=run_id)
    return Lab(panel, features, data, tracking, trained, run_id)


@pytest.fixture
def home(lab: Lab, tmp_path: Path) -> Path:
    """A registry of one's own: the shared one's database, copied; its artifacts, shared."""
    shutil.copy(lab.tracking.home / "mlflow.db", tmp_path / "mlflow.db")
    (tmp_path / "artifacts").mkdir()
    return tmp_path


@pytest.fixture
def registry(home: Path) -> ModelRegistry:
    return ModelRegistry(Tracking(home))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "hrp.duckdb")
    migrate(made)
    return made
