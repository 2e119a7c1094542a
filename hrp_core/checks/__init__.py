"""What must be true of the rows of each asset, and the record of whether it was.

What belongs here: claims as pure judgements of stored rows, and `check_results`. What does not: how Dagster
shows them (`hrp_dagster.checks`), and what follows from a failed one (`hrp_core.execution.gate`).
"""

from hrp_core.checks.claims import CheckLimits, Claim, Finding, Severity
from hrp_core.checks.results import (
    CLAIMS,
    Checked,
    CheckFailedError,
    blocking_claims,
    import_for_checks,
    judge_stored,
    refuse_blocking,
    run_checks,
)
from hrp_core.checks.standing import standing_verdicts

__all__ = [
    "CLAIMS",
    "CheckFailedError",
    "CheckLimits",
    "Checked",
    "Claim",
    "Finding",
    "Severity",
    "blocking_claims",
    "import_for_checks",
    "judge_stored",
    "refuse_blocking",
    "run_checks",
    "standing_verdicts",
]
