"""The MLflow run of a Dagster run, through dagster-mlflow's resource.

What belongs here: what that resource leaves open. It is imported late (MLflow takes seconds); database and
experiment exist before it starts, because two processes that create them crash; and a run that the step has
not ended itself is FAILED, where the resource alone would leave it FINISHED.
"""

from collections.abc import Iterator
from types import ModuleType

import dagster as dg

from hrp_core.models.tracking import EXPERIMENT, Tracking, import_mlflow
from hrp_core.settings import Settings


@dg.resource(description="An open MLflow run, tagged with the Dagster run; the step ends it when it is done.")
def mlflow_run(context: dg.InitResourceContext) -> Iterator[ModuleType]:
    """Open the run that carries this Dagster run's id, and end it as FAILED unless the step ended it."""
    tracking = Tracking(Settings().home)
    tracking.set_up()
    mlflow = import_mlflow()
    from dagster_mlflow.resources import MlFlow

    config = {
        "experiment_name": EXPERIMENT,
        "mlflow_tracking_uri": tracking.uri,
        "env": {},
        "extra_tags": {},
    }
    MlFlow(context.replace_config(config))
    mlflow.set_registry_uri(tracking.uri)
    try:
        yield mlflow
    finally:
        if mlflow.active_run() is not None:
            mlflow.end_run("FAILED")
