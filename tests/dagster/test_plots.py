"""Pictures in metadata: well-formed, small, and of the rows they were given."""

import base64
from datetime import date
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from hrp_dagster.chart import Chart
from hrp_dagster.plots import (
    LARGEST_BYTES,
    drift_plot,
    embedded,
    nav_plot,
    predictions_plot,
    shortfall_plot,
    weights_plot,
)

NAMES = [f"S{index:03d}" for index in range(40)]
SVG = "{http://www.w3.org/2000/svg}"
NAVS = pd.DataFrame({"valuation_session": [date(2022, 12, 5), date(2022, 12, 6)], "nav": [100_000, 100_250]})
WEIGHTS = pd.DataFrame({"symbol": NAMES, "weight_before": 0.01, "weight_target": np.linspace(0, 0.05, 40)})
SCORES = pd.DataFrame({"strategy_id": ["A&B", "C"] * 20, "prediction": np.arange(40.0)})
DRIFT = pd.DataFrame(
    {
        "drift_type": "feature",
        "subject": NAMES,
        "statistic": 0.3,
        "threshold": 0.2,
        "status": ["drift"] * 20 + ["ok"] * 20,
    }
)
SHORTFALL = pd.DataFrame({"symbol": NAMES, "shortfall_usd": np.linspace(-5, 5, 40)})


def drawn(chart: Chart | None) -> tuple[ElementTree.Element, set[str]]:
    """Return the picture as it is embedded, and the texts in it."""
    [markdown] = embedded("some", chart).values()
    start, _, text = str(markdown.value).rstrip(")").partition("base64,")
    assert start == "![some](data:image/svg+xml;"
    picture = base64.b64decode(text)
    assert len(picture) < LARGEST_BYTES
    root = ElementTree.fromstring(picture)
    return root, {str(each.text) for each in root.iter(f"{SVG}text")}


@pytest.mark.parametrize(
    ("chart", "text"),
    [
        (nav_plot(NAVS), "2022-12-06"),
        (nav_plot(NAVS.head(1)), "2022-12-05"),
        (weights_plot(WEIGHTS), "S039"),
        (predictions_plot(SCORES), "A&B"),
        (drift_plot(DRIFT), "S015"),
        (shortfall_plot(SHORTFALL), "S039"),
    ],
)
def test_a_picture_is_well_formed_and_within_its_frame(chart: Chart | None, text: str) -> None:
    root, texts = drawn(chart)
    assert text in texts
    for shape in root.iter(f"{SVG}rect"):
        if shape.get("x") is not None:
            assert 0 <= float(shape.attrib["x"]) <= float(root.attrib["width"])
            assert 0 <= float(shape.attrib["y"]) <= float(root.attrib["height"])
            assert float(shape.attrib["height"]) >= 0


def test_nothing_to_draw_is_no_picture() -> None:
    assert predictions_plot(SCORES.assign(prediction=np.nan)) is None
    assert weights_plot(WEIGHTS.assign(weight_before=0.0, weight_target=0.0)) is None
    assert drift_plot(DRIFT.assign(statistic=np.nan)) is None
    assert shortfall_plot(SHORTFALL.assign(shortfall_usd=np.nan)) is None
    assert embedded("some", None) == {}
