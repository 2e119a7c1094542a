"""Arithmetic on whole arrays: moving windows down the sessions, ranks across the names.

What belongs here: pure functions of arrays, without a loop over symbols. What does not: what a feature is
(`registry`), which sessions are computed together (`compute`).

A moving window is cut at every w-th session of the calendar (w: its width) and put together from the running
sums on both sides of the cut (van Herk 1992, Gil and Werman 1993). Its value depends on the rows of the
window and on nothing else, to the last bit, and a missing value leaves with its window. One running sum over
the whole array, as in bottleneck, keeps the rounding of all that ever passed through it: a session computed
alone would then differ from the bulk, by 1e-9 behind a single outlier, and equal names would stop being tied.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_RANKED_ROWS = 16  # rows ranked together, so that all that is in hand stays in the cache


@dataclass(frozen=True, slots=True)
class Moments:
    """First two moments of moving windows of w rows; NaN where a row of the window is missing.

    Attributes:
        offset: shape (rows, n), the newest value of the window less its mean, in units of the values.
        mean: shape (rows, n).
        std: shape (rows, n), standard deviation with w - 1 in the denominator; exactly 0 when all are equal.
    """

    offset: Array
    mean: Array
    std: Array


def moving_mean(values: Array, width: int, first: int, origin: int) -> Array:
    """Return the mean of `width` rows that ends at each row from `first` on.

    Args:
        values: shape (T, n).
        width: rows of a window.
        first: first row of the result.
        origin: number of row 0 in the calendar of sessions, by which windows are cut.

    Returns:
        Shape (T - first, n); NaN where the window has a missing value or begins before row 0.
    """
    result = np.full((len(values) - first, values.shape[1]), np.nan)
    for cut, start, stop in _cuts(len(values), width, first, origin):
        _add_across(
            values[start - width + 1 : stop], cut - (start - width + 1), result[start - first : stop - first]
        )
    result /= width
    return result


def moving_moments(values: Array, width: int, first: int, origin: int) -> Moments:
    """Return mean and standard deviation of `width` rows that end at each row from `first` on.

    Values are taken relative to the one at the cut, which each window holds, so that nothing cancels when
    they vary little around a large mean.

    Args:
        values: shape (T, n).
        width: rows of a window, at least 2.
        first: first row of the result.
        origin: number of row 0 in the calendar of sessions, by which windows are cut.

    Returns:
        Arrays of shape (T - first, n).
    """
    shape = (len(values) - first, values.shape[1])
    offset, mean, std = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    for cut, start, stop in _cuts(len(values), width, first, origin):
        begin, rows = start - width + 1, slice(start - first, stop - first)
        relative = values[begin:stop] - values[cut]
        total, squares = np.empty((stop - start, shape[1])), np.empty((stop - start, shape[1]))
        _add_across(relative, cut - begin, total)
        _add_across(relative * relative, cut - begin, squares)
        total /= width
        offset[rows] = relative[width - 1 :] - total
        mean[rows] = values[cut] + total
        variance = (squares - width * total * total) / (width - 1)
        # Rounding may leave a variance of nearly 0 below it. NaN stays NaN.
        std[rows] = np.sqrt(np.maximum(variance, 0))
    return Moments(offset, mean, std)


def rank_across(values: Array) -> Array:
    """Return the rank of each value within its row: 0 the lowest, 1 the highest, ties averaged.

    Args:
        values: shape (T, n); NaN = not ranked.

    Returns:
        Shape (T, n): (rank - 1) / (count - 1) among the values of the row, 0.5 where it has only one; NaN
        where `values` is.
    """
    result = np.empty(values.shape)
    for row in range(0, len(values), _RANKED_ROWS):
        rows = slice(row, row + _RANKED_ROWS)
        _rank_rows(values[rows], result[rows])
    return result


def _rank_rows(values: Array, out: Array) -> None:
    """Write `rank_across` of a few rows into `out`."""
    names = values.shape[1]
    # numpy sorts with vector instructions, which makes this twice as fast as bottleneck's nanrankdata.
    order = np.argsort(values, axis=1)
    order += np.arange(len(values))[:, None] * names
    ordered = values.ravel()[order]
    place = np.tile(np.arange(names, dtype=np.float64), (len(values), 1))
    tied = np.flatnonzero(ordered[:, 1:] == ordered[:, :-1])
    if len(tied):
        # A run of equal values is a run of places that equal the one before them; none crosses a row.
        row, column = np.divmod(tied, names - 1)
        later = row * names + column + 1
        begins = np.flatnonzero(np.diff(later, prepend=-1) != 1)
        first = later[begins] - 1
        length = np.diff(begins, append=len(later)) + 1
        starts = np.repeat(first - np.cumsum(length) + length, length) + np.arange(length.sum())
        place.ravel()[starts] = np.repeat(first % names + (length - 1) / 2, length)
    # NaN is sorted to the end of its row.
    count = names - np.isnan(ordered).sum(axis=1, keepdims=True)
    place /= np.maximum(count - 1, 1)
    place[:, :1][count == 1] = 0.5
    place[np.isnan(ordered)] = np.nan
    out.ravel()[order] = place


def _cuts(length: int, width: int, first: int, origin: int) -> list[tuple[int, int, int]]:
    """Return (cut, start, stop): windows that end in rows `start` to `stop` (excluded) all hold row `cut`."""
    lowest = max(first, width - 1)
    cuts = range(-(-(origin + lowest - width + 1) // width) * width - origin, length, width)
    spans = ((cut, max(cut, lowest), min(cut + width, length)) for cut in cuts)
    return [(cut, start, stop) for cut, start, stop in spans if start < stop]


def _add_across(values: Array, cut: int, out: Array) -> None:
    """Write into `out` the sums of the windows of `values` that contain row `cut`.

    Args:
        values: shape (m + w - 1, n): the rows of m windows of w rows.
        cut: row that all windows contain.
        out: shape (m, n); overwritten.
    """
    count = len(out)
    width = len(values) - count + 1
    running = values[cut].copy()
    for row in range(cut + 1, width):
        running += values[row]
    out[0] = running
    for row in range(1, count):
        np.add(out[row - 1], values[width - 1 + row], out=out[row])
    behind = np.zeros(values.shape[1])
    for row in range(cut - 1, -1, -1):
        behind += values[row]
        if row < count:
            out[row] += behind
