"""Where MLflow keeps runs and models of one installation, and the run that a training is logged in.

What belongs here: paths, one-time set-up, the run's context manager. What does not: what is logged
(`training`) and the meaning of versions and aliases (`registry`). The only module that sets MLflow's globals.
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from hrp_core.errors import ModelError

EXPERIMENT = "hrp"
_POLL_SECONDS = 0.05


def import_mlflow() -> ModuleType:
    """Return MLflow, imported with its telemetry switched off (takes seconds the first time)."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    # It otherwise prints a dozen lines at set-up and one at each new version.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow


@dataclass(frozen=True, slots=True)
class Tracking:
    """The MLflow database and artifact folder under HRP_HOME.

    Attributes:
        home: HRP_HOME, absolute.
        lock_timeout: longest wait for another process that sets up or changes an alias, seconds.
    """

    home: Path
    lock_timeout: float = 60.0

    @property
    def uri(self) -> str:
        """MLflow's tracking and registry address."""
        return f"sqlite:///{self.home.resolve() / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """Folder of models, plots and drift references."""
        return self.home.resolve() / "artifacts"

    def set_up(self) -> str:
        """Create database, folder and experiment where they are missing; safe to call from many processes.

        Returns:
            The id of the experiment.

        Raises:
            ModelError: another process holds the lock for too long, or the experiment was deleted.
        """
        # Two processes that create the database at the same moment crash: one does, the other waits.
        with self.lock():
            self.artifacts.mkdir(parents=True, exist_ok=True)
            client = import_mlflow().MlflowClient(self.uri, self.uri)
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                return client.create_experiment(EXPERIMENT, artifact_location=self.artifacts.as_uri())
        if experiment.lifecycle_stage != "active":
            raise ModelError(
                f"the MLflow experiment {EXPERIMENT!r} was deleted; restore it with `mlflow experiments "
                f"restore --experiment-id {experiment.experiment_id}`, then run this again"
            )
        return experiment.experiment_id

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock on changes of database schema and aliases; the kernel frees it at a SIGKILL.

        Raises:
            ModelError: another process holds it for longer than `lock_timeout`.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        path = self.home / "mlflow.lock"
        deadline = time.monotonic() + self.lock_timeout
        with path.open("a+", encoding="utf-8") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise ModelError(
                            f"another process held {path} for more than {self.lock_timeout:g} s while it set "
                            "up MLflow or moved an alias; wait for it to end, then run this again"
                        ) from None
                    threading.Event().wait(_POLL_SECONDS)
            yield

    @contextmanager
    def run(self, name: str, dagster_run_id: str | None = None) -> Iterator[str]:
        """Log into the MLflow run that is already open, or into a new one that ends with the block.

        A block that raises leaves its own run FAILED, whatever the caller does with the exception.

        Args:
            name: name of the run, if it is opened here.
            dagster_run_id: tags the run with the Dagster run that it belongs to.

        Yields:
            The id of the MLflow run.

        Raises:
            ModelError: a run is open, but at another MLflow than this installation's.
        """
        experiment = self.set_up()
        mlflow = import_mlflow()
        tags = {"dagster_run_id": dagster_run_id} if dagster_run_id else {}
        if (active := mlflow.active_run()) is not None:
            if mlflow.get_tracking_uri() != self.uri:
                raise ModelError(
                    f"an MLflow run is open at {mlflow.get_tracking_uri()}, this installation keeps "
                    f"its models at {self.uri}; point the run there (mlflow.set_tracking_uri) or end it"
                )
            mlflow.set_tags(tags)
            yield active.info.run_id
            return
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        with mlflow.start_run(run_name=name, experiment_id=experiment, tags=tags) as opened:
            yield opened.info.run_id
