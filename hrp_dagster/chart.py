"""Small SVG charts, written as text: a drawing library takes a tenth of a second for each.

What belongs here: a frame with a scale, and bars, lines and labels in it. What does not: what is drawn
(`plots`).
"""

import math
from collections.abc import Iterable, Sequence
from html import escape

WIDTH, HEIGHT = 560, 270
BLUE, RED, GREY = "#2d6cdf", "#c8402f", "#8a8f98"
# Half of a date, which stands under the last point, fits on the right.
_TOP, _RIGHT, _STEPS = 34, 30, 5
_STYLE = "font-family:sans-serif;font-size:9px"


class Chart:
    """One picture with a title; x and y are data, scaled into the frame.

    Args:
        title: above the frame.
        x: lowest and highest x.
        y: lowest and highest y; equal ones are spread.
        left: pixels for the labels of y.
        bottom: pixels for the labels of x.
    """

    def __init__(
        self, title: str, x: tuple[float, float], y: tuple[float, float], *, left: int = 56, bottom: int = 48
    ) -> None:
        self._left, self._floor = left, HEIGHT - bottom
        self._x, self._y = _spread(x), _spread(y)
        self._parts: list[str] = []
        self._text(left, 18, title, size=12)
        self._stroke(left, _TOP, left, self._floor, "#444444")
        self._stroke(left, self._floor, WIDTH - _RIGHT, self._floor, "#444444")

    def line(self, points: Iterable[tuple[float, float]], color: str, *, dots: bool = False) -> None:
        """Draw a line through points of data."""
        placed = [(self._across(x), self._up(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.4"/>')
        if dots:
            self._parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{color}"/>' for x, y in placed]

    def bar(self, x: tuple[float, float], y: tuple[float, float], color: str) -> None:
        """Fill the rectangle between two values of x and two of y."""
        left, right = sorted(map(self._across, x))
        top, bottom = sorted(map(self._up, y))
        self._parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
            f'fill="{color}"/>'
        )

    def x_labels(self, labels: Iterable[tuple[float, str]], *, slanted: bool = False) -> None:
        """Write labels below the frame."""
        for at, text in labels:
            self._text(self._across(at), self._floor + 12, text, anchor="middle", turned=slanted)

    def y_labels(self, labels: Iterable[tuple[float, str]]) -> None:
        """Write labels left of the frame."""
        for at, text in labels:
            self._text(self._left - 5, self._up(at) + 3, text, anchor="end")

    def x_scale(self) -> None:
        """Label round values of x."""
        self.x_labels(_ticks(*self._x))

    def y_scale(self) -> None:
        """Label round values of y, with faint lines across."""
        ticks = _ticks(*self._y)
        self.y_labels(ticks)
        for at, _ in ticks:
            self._stroke(self._left, self._up(at), WIDTH - _RIGHT, self._up(at), "#e4e6ea")

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        """Name the colours (name, colour) at the upper right."""
        for row, (name, color) in enumerate(entries):
            y = _TOP + 6 + 12 * row
            self._parts.append(f'<rect x="{WIDTH - 108}" y="{y - 7}" width="8" height="8" fill="{color}"/>')
            self._text(WIDTH - 96, y, name)

    def rule(self, *, x: float | None = None, y: float | None = None) -> None:
        """Draw a thin line across the frame at a value of x or y."""
        if x is not None:
            self._stroke(self._across(x), _TOP, self._across(x), self._floor, GREY)
        if y is not None:
            self._stroke(self._left, self._up(y), WIDTH - _RIGHT, self._up(y), GREY)

    def svg(self) -> str:
        """Return the picture."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" style="{_STYLE}">'
            f'<rect width="100%" height="100%" fill="white"/>{"".join(self._parts)}</svg>'
        )

    def _across(self, x: float) -> float:
        low, high = self._x
        return self._left + (x - low) / (high - low) * (WIDTH - _RIGHT - self._left)

    def _up(self, y: float) -> float:
        low, high = self._y
        return self._floor - (y - low) / (high - low) * (self._floor - _TOP)

    def _stroke(self, x1: float, y1: float, x2: float, y2: float, color: str) -> None:
        self._parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
            'stroke-width="0.8"/>'
        )

    def _text(
        self, x: float, y: float, text: str, *, size: int = 9, anchor: str = "start", turned: bool = False
    ) -> None:
        turn = f' transform="rotate(-45 {x:.1f} {y:.1f})"' if turned else ""
        side = "end" if turned else anchor
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{side}" fill="#333333"{turn}>'
            f"{escape(text)}</text>"
        )


def _spread(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    room = abs(low) * 0.01 or 1.0
    return (low, high) if high > low else (low - room, high + room)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return round values between two others with their text."""
    rough = (high - low) / _STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    decimals = max(0, -math.floor(math.log10(step)))
    first = math.ceil(low / step)
    return [
        (at * step, f"{at * step:,.{decimals}f}") for at in range(first, math.floor(high / step + 1e-9) + 1)
    ]
