"""What a registered model expects: the contract that travels inside the model's own metadata.

What belongs here: feature names, versions and look-backs, and the check of a frame against them. What does
not: how scores are made (`registered`) or where models live (`registry`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hrp_core.errors import DataError, ModelError
from hrp_core.features import FEATURES

METADATA_KEY = "hrp"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model must be given.

    Attributes:
        features: column names in the order the model was trained with.
        versions: feature version by name; empty for a model that was not trained here.
        lookbacks: sessions a feature reaches back to, by name; empty likewise.
        horizon: sessions of the forward return it was trained on; None when unknown.
        handles_missing: whether a row with missing features may be scored.
    """

    features: tuple[str, ...]
    versions: Mapping[str, int]
    lookbacks: Mapping[str, int]
    horizon: int | None
    handles_missing: bool

    def to_metadata(self) -> dict[str, Any]:
        """Return what is stored with the model (plain JSON)."""
        return {
            METADATA_KEY: {
                "features": list(self.features),
                "versions": dict(self.versions),
                "lookbacks": dict(self.lookbacks),
                "horizon": self.horizon,
                "handles_missing": self.handles_missing,
            }
        }

    def check(self, features: pd.DataFrame, name: str) -> None:
        """Refuse a frame that the model `name` was not made for.

        Raises:
            DataError: a feature is missing, repeated or not a number.
            ModelError: a feature has another version than the model was trained with.
        """
        columns = list(features.columns)
        missing = [feature for feature in self.features if feature not in columns]
        repeated = [feature for feature in self.features if columns.count(feature) > 1]
        if missing or repeated:
            raise DataError(
                f"model {name} needs the features {', '.join(self.features)}; "
                f"{'missing' if missing else 'given twice'}: {', '.join(missing or repeated)}. "
                "Run market_data_job again, or train the model anew"
            )
        text = [one for one in self.features if not pd.api.types.is_numeric_dtype(features[one])]
        if text:
            raise DataError(f"model {name} needs numbers; {', '.join(text)} are not. Correct the features")
        changed = [
            f"{one} (trained with version {version}, "
            f"now {FEATURES[one].version if one in FEATURES else 'no longer registered'})"
            for one, version in self.versions.items()
            if one not in FEATURES or FEATURES[one].version != version
        ]
        if changed:
            raise ModelError(
                f"model {name} was trained with other versions of {', '.join(changed)}; train it anew "
                "(`hrp model train`), or roll back to a release with those features"
            )


def registered_spec(names: Sequence[str], *, horizon: int, handles_missing: bool) -> ModelSpec:
    """Return the contract of a model on these features; the registry's versions where it knows them."""
    known = [name for name in names if name in FEATURES]
    return ModelSpec(
        features=tuple(names),
        versions={name: FEATURES[name].version for name in known},
        lookbacks={name: FEATURES[name].lookback for name in known},
        horizon=horizon,
        handles_missing=handles_missing,
    )


def spec_from_model(metadata: Any, name: str) -> ModelSpec:
    """Return the contract of a loaded model.

    A user's own pyfunc is taken as it is: its signature names the features, their versions are unknown, and
    only rows without a missing feature are scored.

    Args:
        metadata: `mlflow.models.Model` of the loaded model.
        name: for messages.

    Raises:
        ModelError: the model has neither our metadata nor a signature with named columns.
    """
    stored = (metadata.metadata or {}).get(METADATA_KEY)
    if stored is not None:
        return ModelSpec(
            tuple(stored["features"]),
            dict(stored["versions"]),
            dict(stored["lookbacks"]),
            stored["horizon"],
            bool(stored["handles_missing"]),
        )
    inputs = metadata.get_input_schema()
    names = inputs.input_names() if inputs is not None and inputs.has_input_names() else []
    if not names:
        raise ModelError(
            f"model {name} does not say which features it takes; log it with a signature of named columns "
            "(mlflow.models.infer_signature) and register it again"
        )
    return ModelSpec(tuple(names), {}, {}, None, handles_missing=False)
