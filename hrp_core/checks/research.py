"""Claims about predictions, signals and the target portfolio: nothing is made up on the way to a plan.

What belongs here: judgements of rows against the step before. What does not: the rules themselves
(`hrp_core.portfolio`).
"""

from collections.abc import Mapping
from datetime import date

import numpy as np
import pandas as pd

from hrp_core.checks.claims import Claim, Finding, Rows, Severity, each_session
from hrp_core.checks.expectations import import_expectations, matches_declaration

_NAME = ["strategy_id", "symbol"]


def predictions_are_complete(rows: Rows, session: date) -> Finding:
    """Judge that each strategy has scores for the universe, and not the same one for every name."""
    predictions, universe = rows.at("predictions", session), rows.at("universe", session)
    if predictions.empty or universe.empty:
        return Finding(False, f"no {'predictions' if predictions.empty else 'universe'} of {session}")
    members = set(universe.loc[universe["in_universe"], "symbol"])
    problems: list[dict[str, object]] = []
    least = 1.0
    for strategy_id, own in predictions.groupby("strategy_id"):
        scored = own.loc[own["prediction"].notna() & own["symbol"].isin(members)]
        share = len(scored) / len(members) if members else 0.0
        least = min(least, share)
        if share < rows.limits.min_coverage:
            problems.append({"strategy_id": strategy_id, "problem": f"{share:.1%} of the universe scored"})
        elif len(scored) > 1 and scored["prediction"].nunique() == 1:
            problems.append({"strategy_id": strategy_id, "problem": "one score for every name"})
    count = predictions["strategy_id"].nunique()
    observed = f"{count} strategies, at least {least:.1%} of {len(members)} names scored"
    return Finding(not problems, observed, least, pd.DataFrame(problems))


def signals_follow_the_predictions(rows: Rows, session: date) -> Finding:
    """Judge that each signal stands on the stored prediction, and that there is none without a score."""
    signals, predictions = rows.at("signals", session), rows.at("predictions", session)
    if signals.empty and predictions.empty:
        return Finding(True, "no strategy was scored", 0.0)
    if signals.empty or predictions.empty:
        return Finding(False, f"no {'signals' if signals.empty else 'predictions'} of {session} are stored")
    joined = signals.merge(
        predictions[[*_NAME, "prediction"]], on=_NAME, how="outer", suffixes=("", "_stored"), indicator=True
    )
    same = joined["prediction"].eq(joined["prediction_stored"]) | (
        joined["prediction"].isna() & joined["prediction_stored"].isna()
    )
    one_of = joined["signal"].isin([-1.0, 0.0, 1.0])
    scored = joined["prediction"].notna() | (joined["signal"] == 0)
    bad = joined.loc[
        ~((joined["_merge"] == "both") & same & one_of & scored),
        [*_NAME, "signal", "prediction", "prediction_stored"],
    ]
    observed = f"{len(signals)} signals, {len(bad)} that do not follow from a stored prediction"
    return Finding(bad.empty, observed, float(len(bad)), bad)


def weights_stay_within_limits(rows: Rows, session: date) -> Finding:
    """Judge that nothing is bought beyond the limits: weight of a name, number of names, the whole equity.

    A holding beyond a limit is drift, and only what makes it larger is wrong.
    """
    targets, limits = rows.at("target_portfolio", session), rows.limits
    if targets.empty:
        return Finding(True, "no targets", 0.0)
    by_name = targets.groupby("symbol")[
        ["weight_before", "weight_target", "shares_before", "shares_target"]
    ].sum()
    grows = by_name["shares_target"].abs() > by_name["shares_before"].abs()
    wide = by_name["weight_target"].abs() > limits.max_position_pct + limits.weight_tolerance
    gross = float(by_name["weight_target"].abs().sum())
    gross_before = float(by_name["weight_before"].abs().sum())
    held = int((by_name["shares_target"] != 0).sum())
    held_before = int((by_name["shares_before"] != 0).sum())
    within = gross <= max(1.0, gross_before) + limits.weight_tolerance
    few = held <= max(limits.max_positions, held_before)
    finite = bool(np.isfinite(by_name.to_numpy(dtype=float)).all())
    plans = targets["plan_id"].nunique()
    bad = by_name.loc[grows & wide].reset_index()
    largest = float(by_name["weight_target"].abs().max())
    observed = f"{held} names, gross {gross:.1%}, largest {largest:.1%}, of {plans} plan(s)"
    return Finding(
        bad.empty and within and few and finite and plans == 1,
        observed,
        largest,
        bad,
    )


CLAIMS: Mapping[str, tuple[Claim, ...]] = {
    "predictions": (
        Claim(
            "predictions",
            "predictions_match_their_schema",
            "Keys, ranges and required values of every row (Great Expectations).",
            lambda _: "no value outside its declaration",
            matches_declaration("predictions"),
            reads=(("predictions", 0),),
            blocking=True,
            imports=import_expectations,
        ),
        Claim(
            "predictions",
            "predictions_cover_the_universe",
            "Names with a score, by strategy. A strategy with too few keeps its holdings, the others trade.",
            lambda limits: f"at least {limits.min_coverage:.0%} of the universe, by strategy",
            each_session(predictions_are_complete),
            reads=(("predictions", 0), ("universe", 0)),
            severity=Severity.WARN,
        ),
    ),
    "signals": (
        Claim(
            "signals",
            "signals_follow_the_predictions",
            "Every signal against the stored prediction of the same strategy and name.",
            lambda _: "the same names and scores; +1, 0 or -1; no signal without a score",
            each_session(signals_follow_the_predictions),
            reads=(("signals", 0), ("predictions", 0)),
            blocking=True,
        ),
    ),
    "target_portfolio": (
        Claim(
            "target_portfolio",
            "weights_stay_within_limits",
            "Weights of the account by name, their sum, and the number of names; a holding that has grown "
            "beyond a limit by itself is no breach.",
            lambda limits: (
                f"{limits.max_position_pct:.0%} in a name, {limits.max_positions} names, 100% in all"
            ),
            each_session(weights_stay_within_limits),
            reads=(("target_portfolio", 0),),
            blocking=True,
        ),
    ),
}
