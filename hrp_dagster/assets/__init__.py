"""The software-defined assets, one module a step of the day, in the order in which they run.

An asset body reads its inputs, calls one function of `hrp_core`, attaches metadata and returns.
"""

import warnings

from dagster import BetaWarning

# Backfill policies are marked beta; the warning would greet the user once for every asset.
warnings.filterwarnings("ignore", category=BetaWarning)
