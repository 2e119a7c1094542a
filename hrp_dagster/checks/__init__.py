"""Asset checks: the claims of `hrp_core.checks` as Dagster shows and runs them.

What belongs here: one op an asset for all its claims, and their results as metadata. What does not: any
judgement. An op judges what is stored, unless its run has judged it while writing it (`verdicts`).
"""

import warnings
from collections.abc import Iterator
from datetime import date

import dagster as dg
import pandas as pd

from hrp_core.checks import CLAIMS, Checked, CheckLimits, Claim, Severity, refuse_blocking, run_checks
from hrp_core.store import Store
from hrp_dagster.checks.verdicts import checks_op, take_verdicts
from hrp_dagster.metadata import numbers, preview
from hrp_dagster.partitions import session_partitions
from hrp_dagster.resources.platform import Platform

SHOWN_ROWS = 10
_SEVERITY = {Severity.ERROR: dg.AssetCheckSeverity.ERROR, Severity.WARN: dg.AssetCheckSeverity.WARN}


def build_checks(asset: str) -> dg.AssetChecksDefinition:
    """Return the checks of one asset: one op for all of them, because each op costs events.

    Where one run covers several sessions, each check speaks for all of them: it names those that fail.
    """
    claims = CLAIMS[asset]

    @dg.multi_asset_check(
        name=checks_op(asset), specs=[_spec(claim) for claim in claims], description=f"Claims about {asset}."
    )
    def checks(context: dg.AssetCheckExecutionContext, platform: Platform) -> Iterator[dg.AssetCheckResult]:
        sessions = [date.fromisoformat(key) for key in context.op_execution_context.partition_keys]
        # Reading the settings takes 10 ms: once, not for each thing made of them.
        settings = platform.settings()
        limits, run_id = CheckLimits.from_settings(settings), context.run.run_id
        checked = take_verdicts(run_id, asset, sessions)
        if checked is None:
            store, now = Store(settings.database_path), settings.clock().now()
            checked = run_checks(store, asset, sessions, limits, run_id=run_id, now=now)
        for item in checked:
            yield _result(item, limits)
        # Our own error names what was observed; Dagster's would only name the check.
        refuse_blocking(checked)

    return checks


def build_all_checks() -> list[dg.AssetChecksDefinition]:
    """Return the checks of every asset that has claims."""
    return [build_checks(asset) for asset in CLAIMS]


def _spec(claim: Claim) -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        # Partitioned checks are a preview in Dagster 1.13, and say so once for each check and process.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            claim.name,
            asset=claim.asset,
            description=claim.description,
            blocking=claim.blocking,
            partitions_def=session_partitions,
        )


def _result(item: Checked, limits: CheckLimits) -> dg.AssetCheckResult:
    claim, failed = item.claim, item.failed
    shown = failed or item.findings
    day, finding = max(shown.items(), key=lambda each: each[0])
    metadata: dict[str, dg.MetadataValue] = {
        **numbers(value=finding.value),
        "threshold": dg.MetadataValue.text(claim.threshold(limits)),
        "observed": dg.MetadataValue.text(finding.observed),
        "session": dg.MetadataValue.text(str(day)),
    }
    if len(item.findings) > 1:
        metadata["sessions"] = dg.MetadataValue.int(len(item.findings))
        metadata["sessions_failed"] = dg.MetadataValue.int(len(failed))
    offending = [
        found.offending.assign(session=str(at)) for at, found in failed.items() if len(found.offending)
    ]
    if offending:
        rows = pd.concat(offending, ignore_index=True)
        metadata["offending_rows"] = preview(rows, rows=SHOWN_ROWS)
    return dg.AssetCheckResult(
        passed=not failed,
        asset_key=claim.asset,
        check_name=claim.name,
        severity=_SEVERITY[claim.severity],
        description=finding.observed if failed else None,
        metadata=metadata,
    )
