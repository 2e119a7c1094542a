"""How well we trade.

What belongs here: what the fills cost against the decision and the open. What does not: the arithmetic
(`hrp_core.execution.quality`), and the drift of models (`models`).
"""

import dagster as dg
import pandas as pd

from hrp_core.execution.quality import session_quality, summarise_quality
from hrp_dagster.assets.session_asset import requested_session, session_asset
from hrp_dagster.metadata import numbers
from hrp_dagster.plots import embedded, shortfall_plot
from hrp_dagster.resources.platform import Platform


@session_asset(group="monitoring", kinds={"python"}, deps=["fills", "prices"])
def execution_quality(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[pd.DataFrame]:
    """Implementation shortfall of each fill (Perold 1988): positive is a cost; commissions stand beside it.

    Next to each fill is what replay assumes for the same order: the matching engine's price and commission.
    """
    session = requested_session(context, platform.clock())
    frame = session_quality(platform.store(), platform.journal(), session)
    summary = summarise_quality(frame)
    return dg.Output(
        frame,
        metadata={
            "fills": int((~frame["is_cross"].astype(bool)).sum()),
            **numbers(
                value=summary.value,
                shortfall_usd=summary.shortfall_usd,
                shortfall_bps=summary.shortfall_bps,
                slippage_bps=summary.slippage_bps,
                commission_bps=summary.commission_bps,
                assumed_bps=summary.assumed_bps,
            ),
            **embedded("shortfall", shortfall_plot(frame)),
        },
    )
