"""Pictures embedded in the metadata of an asset, small enough for the event log.

What belongs here: which rows of asset tables are drawn, and how. What does not: the drawing (`chart`), and
numbers.
"""

import base64

import dagster as dg
import numpy as np
import pandas as pd

from hrp_dagster.chart import BLUE, GREY, RED, Chart

LARGEST_BYTES = 60_000
SHOWN_NAMES = 25
_SHOWN_DATES = 6
_MANY_POINTS = 60
_COLORS = (BLUE, "#e08a1e", "#2f9e63", "#8e5bd0", "#1a9fb3", RED)


def embedded(name: str, chart: Chart | None) -> dict[str, dg.MetadataValue]:
    """Return the chart as a metadata entry ``<name>_plot`` with the picture inside; nothing without one."""
    if chart is None:
        return {}
    picture = chart.svg().encode()
    if len(picture) > LARGEST_BYTES:
        raise ValueError(f"plot {name} has {len(picture)} bytes, more than {LARGEST_BYTES}: draw less")
    text = base64.b64encode(picture).decode()
    return {f"{name}_plot": dg.MetadataValue.md(f"![{name}](data:image/svg+xml;base64,{text})")}


def nav_plot(navs: pd.DataFrame, *, provisional: bool = False) -> Chart:
    """Return the NAV over its sessions.

    Args:
        navs: columns `valuation_session` and `nav`, USD, in order; at least one row.
        provisional: whether the last row is at the broker's prices; the title says so.
    """
    values = navs["nav"].astype(float).tolist()
    days = [str(day) for day in navs["valuation_session"]]
    title = f"Net asset value (USD){'; the last point is provisional' if provisional else ''}"
    chart = Chart(title, (0, max(1, len(values) - 1)), (min(values), max(values)), left=66)
    chart.y_scale()
    chart.line(enumerate(values), BLUE, dots=len(values) <= _MANY_POINTS)
    chart.x_labels((at, days[at]) for at in _spaced(len(days)))
    return chart


def weights_plot(targets: pd.DataFrame) -> Chart | None:
    """Return the account's weight by name before and after; of many names the largest. None without any.

    Args:
        targets: rows of `target_portfolio` of one session.
    """
    held = targets.groupby("symbol")[["weight_before", "weight_target"]].sum()
    largest = held.abs().max(axis=1)
    held = held.loc[largest[largest > 0].nlargest(SHOWN_NAMES).index]
    if held.empty:
        return None
    before, target = (100 * held[name].to_numpy() for name in ("weight_before", "weight_target"))
    lowest, highest = _around_zero(before, target)
    chart = Chart("Weights of the account by name (%)", (-0.6, len(held) - 0.4), (lowest, highest))
    chart.y_scale()
    for at in range(len(held)):
        chart.bar((at - 0.4, at), (0, before[at]), GREY)
        chart.bar((at, at + 0.4), (0, target[at]), BLUE)
    chart.x_labels(enumerate(map(str, held.index)), slanted=True)
    chart.legend([("before", GREY), ("target", BLUE)])
    return chart


def predictions_plot(predictions: pd.DataFrame) -> Chart | None:
    """Return the distribution of the scores, a line a strategy; None without a score.

    Strategies score in units of their own, so each is shown in its own standard deviations.

    Args:
        predictions: rows of `predictions` of one session.
    """
    scored = predictions.loc[predictions["prediction"].notna()]
    if scored.empty:
        return None
    edges = np.linspace(-4, 4, 33)
    shapes: list[tuple[str, np.ndarray]] = []
    for strategy_id, rows in scored.groupby("strategy_id"):
        scores = rows["prediction"].to_numpy(dtype=float)
        spread = scores.std()
        standard = (scores - scores.mean()) / (spread if spread > 0 else 1.0)
        shapes.append((str(strategy_id), np.histogram(standard, bins=edges)[0]))
    most = max(int(counts.max()) for _, counts in shapes)
    title = "Names by score, in standard deviations from the mean"
    chart = Chart(title, (-4, 4), (0, max(1, most)))
    chart.y_scale()
    chart.x_scale()
    colors = [_COLORS[at % len(_COLORS)] for at in range(len(shapes))]
    for (_, counts), color in zip(shapes, colors, strict=True):
        heights = [0, *np.repeat(counts, 2).tolist(), 0]
        chart.line(zip(np.repeat(edges, 2).tolist(), heights, strict=True), color)
    chart.legend([(name, color) for (name, _), color in zip(shapes, colors, strict=True)])
    return chart


def drift_plot(drift: pd.DataFrame) -> Chart | None:
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
    subjects, shown = rows["subject"].to_numpy()[order], ratio[order]
    farthest = max(1.1, float(shown.max()))
    title = "Drift statistic / its threshold (red: drift)"
    chart = Chart(title, (0, farthest), (-0.6, len(shown) - 0.4), left=150, bottom=22)
    for at, value in enumerate(shown):
        chart.bar((0, value), (at - 0.35, at + 0.35), RED if drifted[at] else BLUE)
    chart.rule(x=1)
    chart.x_scale()
    chart.y_labels(enumerate(map(str, subjects)))
    return chart


def shortfall_plot(quality: pd.DataFrame) -> Chart | None:
    """Return the shortfall of each name against the decision close, USD; None without a fill.

    Args:
        quality: rows of `execution_quality` of one session.
    """
    rows = quality.loc[quality["shortfall_usd"].notna()]
    by_name = rows.assign(cost=rows["shortfall_usd"].astype(float)).groupby("symbol")["cost"].sum()
    if by_name.empty:
        return None
    by_name = by_name.loc[by_name.abs().nlargest(SHOWN_NAMES).index].sort_values()
    values = by_name.to_numpy()
    lowest, highest = _around_zero(values)
    title = "Implementation shortfall by name (USD; above 0 is a cost)"
    chart = Chart(title, (-0.6, len(values) - 0.4), (lowest, highest))
    chart.y_scale()
    for at, value in enumerate(values):
        chart.bar((at - 0.4, at + 0.4), (0, value), RED if value > 0 else BLUE)
    chart.rule(y=0)
    chart.x_labels(enumerate(map(str, by_name.index)), slanted=True)
    return chart


def _around_zero(*values: np.ndarray) -> tuple[float, float]:
    together = np.concatenate(values)
    return min(0.0, float(together.min())), max(0.0, float(together.max()))


def _spaced(count: int) -> list[int]:
    """Return a few places from the first to the last of `count`."""
    return sorted({round(at) for at in np.linspace(0, count - 1, min(count, _SHOWN_DATES))})
