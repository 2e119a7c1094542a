"""Features: named, versioned numbers about each name and session, computed on a wide panel.

What belongs here: the registry and its arithmetic. What does not: models that use features.
"""

from hrp_core.features.compute import compute, compute_session, features_frame, lookback, window_start
from hrp_core.features.registry import (
    FEATURES,
    INPUT_FIELDS,
    Feature,
    feature_version,
    get_feature,
)

__all__ = [
    "FEATURES",
    "INPUT_FIELDS",
    "Feature",
    "compute",
    "compute_session",
    "feature_version",
    "features_frame",
    "get_feature",
    "lookback",
    "window_start",
]
