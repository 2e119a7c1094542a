"""What the graph depends on and does not make: the model registry and the account at the broker.

What belongs here: assets without a function, for lineage.
"""

import dagster as dg

from hrp_dagster.assets.session_asset import OWNERS

model_registry = dg.AssetSpec(
    "model_registry",
    deps=["trained_model"],
    description=(
        "The versions of each model in MLflow and their aliases: production, challenger, previous. Training "
        "adds a version; a person moves an alias (`hrp model promote`, `hrp model rollback`)."
    ),
    group_name="models",
    kinds={"mlflow", "sqlite"},
    owners=OWNERS,
)
broker_account = dg.AssetSpec(
    "broker_account",
    deps=["orders"],
    description=(
        "The account at Interactive Brokers (in sim: at the simulated gateway): its orders, executions, "
        "positions and cash. `orders` changes it, `fills` and `reconciliation` read it. See `hrp positions`."
    ),
    group_name="execution",
    kinds={"interactivebrokers"},
    owners=OWNERS,
)

EXTERNAL_ASSETS = (model_registry, broker_account)
