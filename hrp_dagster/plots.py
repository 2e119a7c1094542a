"""Pictures embedded in the metadata of an asset, small enough for the event log.

What belongs here: drawing rows of asset tables. What does not: numbers. Figures are made without pyplot: no
display, no globals.
"""

import base64
from io import BytesIO
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST_BYTES = 60_000
SHOWN_NAMES = 25
_BLUE, _RED, _GREY = "#2d6cdf", "#c8402f", "#8a8f98"


def embedded(name: str, figure: "Figure | None") -> dict[str, dg.MetadataValue]:
    """Return the figure as a metadata entry ``<name>_plot`` with the picture inside; nothing without one."""
    if figure is None:
        return {}
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    picture = buffer.getvalue()
    if len(picture) > LARGEST_BYTES:
        raise ValueError(f"plot {name} has {len(picture)} bytes, more than {LARGEST_BYTES}: draw less")
    text = base64.b64encode(picture).decode()
    return {f"{name}_plot": dg.MetadataValue.md(f"![{name}](data:image/png;base64,{text})")}


def nav_plot(navs: pd.DataFrame) -> "Figure":
    """Return the NAV over its sessions.

    Args:
        navs: columns `valuation_session` and `nav`, USD, in order; at least one row.
    """
    figure, axes = _figure("Net asset value (USD)")
    axes.plot(
        _days(navs["valuation_session"]),
        navs["nav"].astype(float),
        color=_BLUE,
        marker="o" if len(navs) <= 60 else "",
        ms=3,
    )
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.tick_params(axis="x", rotation=30)
    return figure


def weights_plot(targets: pd.DataFrame) -> "Figure | None":
    """Return the account's weight by name before and after; of many names the largest. None without any.

    Args:
        targets: rows of `target_portfolio` of one session.
    """
    held = targets.groupby("symbol")[["weight_before", "weight_target"]].sum()
    largest = held.abs().max(axis=1)
    held = held.loc[largest[largest > 0].nlargest(SHOWN_NAMES).index]
    if held.empty:
        return None
    figure, axes = _figure("Weights of the account by name (%)")
    at = np.arange(len(held))
    axes.bar(at - 0.2, 100 * held["weight_before"], 0.4, color=_GREY, label="before")
    axes.bar(at + 0.2, 100 * held["weight_target"], 0.4, color=_BLUE, label="target")
    _names(axes, held.index)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def predictions_plot(predictions: pd.DataFrame) -> "Figure | None":
    """Return the distribution of the scores, a line a strategy; None without a score.

    Strategies score in units of their own, so each is shown in its own standard deviations.

    Args:
        predictions: rows of `predictions` of one session.
    """
    scored = predictions.loc[predictions["prediction"].notna()]
    if scored.empty:
        return None
    figure, axes = _figure("Scores, in standard deviations from their mean")
    for strategy_id, rows in scored.groupby("strategy_id"):
        scores = rows["prediction"].to_numpy(dtype=float)
        spread = scores.std()
        standard = (scores - scores.mean()) / (spread if spread > 0 else 1.0)
        axes.hist(standard, bins=np.linspace(-4, 4, 33).tolist(), histtype="step", label=str(strategy_id))
    axes.set_ylabel("names")
    axes.legend(frameon=False, fontsize=8)
    return figure


def drift_plot(drift: pd.DataFrame) -> "Figure | None":
    """Return each check's statistic in multiples of its threshold; beyond 1 is drift. None without any.

    The information coefficient is left out: it drifts by falling below its threshold.

    Args:
        drift: rows of `model_drift` of one session.
    """
    drift = drift.loc[drift["drift_type"] != "concept"]
    rows = drift.loc[drift["statistic"].notna() & drift["threshold"].notna() & (drift["threshold"] != 0)]
    if rows.empty:
        return None
    ratio = (rows["statistic"] / rows["threshold"]).abs().to_numpy(dtype=float)
    order = np.argsort(ratio)[-SHOWN_NAMES:]
    drifted = (rows["status"] == "drift").to_numpy()[order]
    figure, axes = _figure("Drift statistic / its threshold (red: drift)")
    axes.barh(rows["subject"].to_numpy()[order], ratio[order], color=np.where(drifted, _RED, _BLUE))
    axes.axvline(1, color=_GREY, linewidth=0.8)
    axes.tick_params(axis="y", labelsize=7)
    return figure


def shortfall_plot(quality: pd.DataFrame) -> "Figure | None":
    """Return the shortfall of each name against the decision close, USD; None without a fill.

    Args:
        quality: rows of `execution_quality` of one session.
    """
    rows = quality.loc[quality["shortfall_usd"].notna()]
    by_name = rows.assign(cost=rows["shortfall_usd"].astype(float)).groupby("symbol")["cost"].sum()
    if by_name.empty:
        return None
    by_name = by_name.loc[by_name.abs().nlargest(SHOWN_NAMES).index].sort_values()
    figure, axes = _figure("Implementation shortfall by name (USD; above 0 is a cost)")
    axes.bar(np.arange(len(by_name)), by_name, color=np.where(by_name > 0, _RED, _BLUE))
    axes.axhline(0, color=_GREY, linewidth=0.8)
    _names(axes, by_name.index)
    return figure


def _days(sessions: pd.Series) -> np.ndarray:
    return np.array(sessions.tolist(), dtype="datetime64[D]")


def _names(axes: "Axes", names: pd.Index) -> None:
    axes.set_xticks(np.arange(len(names)), [str(name) for name in names], rotation=60, fontsize=8)


def _figure(title: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes
