"""From signals to the frozen plan of a session.

What belongs here: the target portfolio. What does not: sending anything.
"""

import dagster as dg
import pandas as pd

from hrp_core.execution.config import ClientRole
from hrp_core.execution.planning import plan_session, require_book
from hrp_core.portfolio.stored import targets_frame
from hrp_dagster.assets.session_asset import requested_session, session_asset
from hrp_dagster.metadata import numbers
from hrp_dagster.plots import embedded, weights_plot
from hrp_dagster.resources.ibkr import IBKRResource
from hrp_dagster.resources.platform import Platform


@session_asset(group="portfolio", kinds={"python", "sqlite"}, deps=["signals", "prices"])
def target_portfolio(
    context: dg.AssetExecutionContext, platform: Platform, ibkr: IBKRResource
) -> dg.Output[pd.DataFrame]:
    """What each strategy holds and wants, with the reason; freezes the plan of the session in the journal.

    Only the decision session can be planned, once the book of the session before is closed, and only while
    ledger and broker agree to the share.
    """
    clock, settings = platform.clock(), platform.settings()
    session = requested_session(context, clock)
    require_book(platform.store(), platform.journal(), session, clock.now())
    with ibkr.connect(settings, ClientRole.READER) as broker:
        planned = plan_session(
            settings,
            platform.store(),
            platform.journal(),
            broker,
            platform.strategies(),
            session,
            clock.now(),
        )
    plan, frozen = planned.plan, planned.frozen
    targets = targets_frame(plan, frozen.plan_id)
    by_name = targets.groupby("symbol")[["weight_before", "weight_target"]].sum()
    return dg.Output(
        targets,
        metadata={
            "plan_id": frozen.plan_id,
            "plan_status": frozen.status.value,
            "orders": len(frozen.intents),
            "crosses": len(frozen.crosses),
            **numbers(
                equity=float(plan.equity),
                cash=float(plan.cash),
                gross_weight=by_name["weight_target"].abs().sum(),
                net_weight=by_name["weight_target"].sum(),
                planned_turnover=(by_name["weight_target"] - by_name["weight_before"]).abs().sum(),
            ),
            "notes": list(plan.notes),
            **embedded("weights", weights_plot(targets)),
        },
    )
