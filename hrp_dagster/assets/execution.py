"""The trade gate, and the one asset that sends orders.

What belongs here: the verdict on a plan, and sending it. What does not: deciding what to order
(`target_portfolio`) and what came of it (`fills`).
"""

import dagster as dg
import pandas as pd

from hrp_core.execution.config import ClientRole
from hrp_core.execution.gate_record import judge_session, verdict_frame
from hrp_core.execution.trading import trade_session
from hrp_core.platform.jobs import trading_result
from hrp_dagster.assets.session_asset import requested_session, session_asset
from hrp_dagster.resources.ibkr import IBKRResource
from hrp_dagster.resources.platform import Platform

GROUP = "execution"


@session_asset(group=GROUP, kinds={"python", "sqlite", "interactivebrokers"}, deps=["target_portfolio"])
def trade_gate(
    context: dg.AssetExecutionContext, platform: Platform, ibkr: IBKRResource
) -> dg.Output[pd.DataFrame]:
    """Judges data, checks, models, drift, reconciliation, broker, latch, window and approval; sends nothing.

    Checks, drift and reconciliation are read from the store: as dependencies they would make a circle. A no
    is a row like any other; `orders` then refuses.
    """
    clock, settings = platform.clock(), platform.settings()
    session = requested_session(context, clock)
    found = judge_session(
        settings,
        platform.store(),
        platform.journal(),
        lambda: ibkr.connect(settings, ClientRole.READER),
        session,
        clock.now(),
    )
    judgement = found.judgement
    return dg.Output(
        verdict_frame(found),
        metadata={
            "verdict": judgement.verdict.value,
            "reasons": [f"{reason.code.value}: {reason.message}" for reason in judgement.reasons],
            "expires_at": str(judgement.expires_at),
        },
    )


@session_asset(
    group=GROUP,
    kinds={"python", "sqlite", "interactivebrokers"},
    deps=["target_portfolio", "trade_gate"],
)
def orders(
    context: dg.AssetExecutionContext, platform: Platform, ibkr: IBKRResource
) -> dg.Output[pd.DataFrame]:
    """Sends the frozen plan of the session, at most once; materializing it again sends nothing twice.

    Refused for any session but the decision session, without the trade gate's go for exactly this plan,
    outside the send window, and while another process is the order writer.
    """
    clock, settings = platform.clock(), platform.settings()
    session = requested_session(context, clock)
    traded = trade_session(
        settings,
        platform.store(),
        platform.journal(),
        lambda: ibkr.connect(settings, ClientRole.WRITER),
        session,
        clock,
    )
    counts = {str(key): int(n) for key, n in traded.orders["status"].value_counts().items()}
    report = traded.report
    outcome = trading_result(
        counts,
        sent=len(report.placed),
        dry_run=report.dry_run,
        stopped=report.stopped,
        skipped=report.skipped,
    )
    return dg.Output(
        traded.orders,
        metadata={
            "status": outcome.status.value,
            "sent": len(report.placed),
            "dry_run": report.dry_run,
            "skipped": list(report.skipped),
            "by_status": counts,
            # Empty on all but a few days, and an empty line looks like a fault.
            **({"stopped_early": report.stopped} if report.stopped else {}),
        },
    )
