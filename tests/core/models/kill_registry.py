"""Kills promotions and rollbacks at given steps; run by test_model_registry.

Arguments: `action:step:home`. `prepare` makes a home from which the later ones of that action are copied.
Each runs in a forked child that kills itself with SIGKILL, so that MLflow is imported once.
"""

import os
import shutil
import signal
import sys
from importlib import import_module
from pathlib import Path

from models_support import NOW

from hrp_core.models import registry as module
from hrp_core.models.registry import PRODUCTION, ModelRegistry
from hrp_core.models.tracking import Tracking, import_mlflow
from hrp_core.store import Store, migrate


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingRegistry(ModelRegistry):
    """Does the real thing, then dies where it is told to."""

    def __init__(self, tracking: Tracking, step: str) -> None:
        super().__init__(tracking)
        self.step = step

    def _note(self, *args, **kwargs):
        if self.step == "before":
            die()
        super()._note(*args, **kwargs)
        if self.step == "noted":
            die()

    def _set_alias(self, name, alias, version):
        super()._set_alias(name, alias, version)
        if self.step == alias or (self.step == "production" and alias == PRODUCTION):
            die()

    def _record(self, *args, **kwargs):
        if self.step == "recording":
            real = module.record_deployment

            def record_and_die(*inner, **named):
                real(*inner, **named)
                die()

            module.record_deployment = record_and_die
        super()._record(*args, **kwargs)
        if self.step == "recorded":
            die()


def run(action: str, step: str, home: Path) -> None:
    who = {"actor": "ana", "reason": "killed on purpose", "now": NOW}
    store = Store(home / "hrp.duckdb")
    registry = DyingRegistry(Tracking(home), step)
    if step == "prepare":
        migrate(store)
        registry.promote("alpha", "1", store=store, **who)
        if action == "rollback":
            registry.promote("alpha", "2", store=store, **who)
    elif action == "promote":
        registry.promote("alpha", "2", store=store, **who)
    else:
        registry.rollback("alpha", store=store, **who)


def warm_up() -> None:
    """Import what the children need, without opening a database: a connection must not cross a fork."""
    import_mlflow()
    for name in (
        "mlflow.pyfunc",
        "mlflow.sklearn",
        "mlflow.store.model_registry.sqlalchemy_store",
        "mlflow.store.tracking.sqlalchemy_store",
        "skops.io",
        "sklearn.ensemble",
    ):
        import_module(name)


def main(jobs: list[str]) -> int:
    warm_up()
    starts: dict[str, Path] = {}
    for job in jobs:
        action, step, place = job.split(":", 2)
        home = Path(place)
        if step == "prepare":
            starts[action] = home
        else:
            shutil.copytree(starts[action], home)
        child = os.fork()
        if child == 0:
            run(action, step, home)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        expected = 0 if step == "prepare" else signal.SIGKILL
        if (os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)) != expected:
            print(f"{job} ended with status {status}", file=sys.stderr)  # noqa: T201
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
