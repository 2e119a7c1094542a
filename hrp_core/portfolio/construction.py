"""From signals to target shares, before the limits of the whole basket.

What belongs here: which names, which weight, how many whole shares, which holdings stay because something is
missing, and what is not worth a trade. Arrays of strategies x symbols; money in integer ten-thousandths of a
dollar, so that a floor never hangs on the last bit of a float. What does not: netting and cash (`netting`),
limits of the whole basket (`risk`), reading the inputs (`decide`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hrp_core.money import UNITS_PER_DOLLAR, to_units
from hrp_core.portfolio.types import Reason

Shares = NDArray[np.int64]
Flags = NDArray[np.bool_]

REASONS = tuple(Reason)
NO_REASON = -1
_TIE = 1e-3  # ten-thousandths of a dollar; far wider than the error of one float multiplication


@dataclass(frozen=True, slots=True)
class Book:
    """What target shares are built from: S strategies, n symbols (both sorted).

    Attributes:
        price: shape (n,), tradable price in ten-thousandths of a dollar; 0 where there is none.
        in_universe: shape (n,), whether a name may be bought.
        removed: shape (n,), whether a holding is to be sold because it left the universe.
        before: shape (S, n), shares held.
        prediction: shape (S, n); NaN = no score.
        signal: shape (S, n); above 0 = wanted.
        capital: S shares of the base that each strategy may use.
        holds: S reasons why a strategy keeps all it has; None: it trades.
        locked: shape (n,), names in which nothing may be ordered; None: there are none.
        frozen: shape (n,), likewise because a person said so.
        restricted: shape (n,), names that may be sold and not bought.
        leaving: shape (n,), names that a person wants sold, whoever holds them.
        young: shape (S, n), holdings that may not be reduced for their score yet.
        turnover: by strategy, when a difference is worth a trade, and its own tighter limits; None: always,
            and there are none.
        overdrawn: whether cash is below zero; then the band holds back no sale.
    """

    price: Shares
    in_universe: Flags
    removed: Flags
    before: Shares
    prediction: NDArray[np.float64]
    signal: NDArray[np.float64]
    capital: Sequence[Fraction]
    holds: Sequence[Reason | None]
    locked: Flags | None = None
    frozen: Flags | None = None
    restricted: Flags | None = None
    leaving: Flags | None = None
    young: Flags | None = None
    turnover: "Sequence[Turnover] | None" = None
    overdrawn: bool = False

    @property
    def has_price(self) -> Flags:
        """Which names have a price, shape (n,)."""
        return self.price > 0


@dataclass(frozen=True, slots=True)
class Turnover:
    """When one strategy leaves a holding as it is, and its own limits where they are tighter.

    Attributes:
        band: share of a name's target.
        band_units: smallest difference whatever the target, ten-thousandths of a dollar.
        max_positions: most names of the strategy; None: as the account.
        max_position_pct: most of the strategy's capital in one name; None: as the account.
        retired: the strategy sells what it holds.
    """

    band: Fraction = Fraction(0)
    band_units: int = 0
    max_positions: int | None = None
    max_position_pct: Fraction | None = None
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Targets:
    """Target shares and why, both of shape (S, n); `reason` indexes `REASONS`, or is `NO_REASON`."""

    shares: Shares
    reason: NDArray[np.int8]


def code(reason: Reason) -> int:
    """Return the index of `reason` in `REASONS`."""
    return REASONS.index(reason)


def fraction(value: float | Decimal) -> Fraction:
    """Return `value` exactly, a float at its shortest decimal form (0.1 is one tenth)."""
    return Fraction(str(value))


def to_price_units(prices: NDArray[np.float64]) -> Shares:
    """Return prices (USD) in ten-thousandths of a dollar, 0 where there is no finite positive price.

    Equal to `money.to_units` of each price, rounding ties included, without a Python loop over all of them.
    """
    priced = np.isfinite(prices) & (prices > 0)
    scaled = np.where(priced, prices, 0.0) * UNITS_PER_DOLLAR
    units = np.rint(scaled).astype(np.int64)
    near_tie = np.abs(scaled - np.floor(scaled) - 0.5) < _TIE
    for index in np.flatnonzero(near_tie):
        units[index] = to_units(float(prices[index]))
    return units


def build_targets(book: Book, base_units: int, max_positions: int, max_position_pct: float) -> Targets:
    """Return what each strategy wants to hold, each for itself.

    A name's weight is min(max_position_pct, 1/n) of the strategy's share of the base, n being the names it is
    to hold; shares are whole, rounded down. What is missing sells nothing: a held name without a score or a
    price keeps its shares, and so does everything of a strategy that has a reason in `holds`. A holding near
    enough to its target stays as it is (`turnover`); an entry and an exit always pass.

    Args:
        book: the inputs.
        base_units: money to invest for all strategies together, ten-thousandths of a dollar.
        max_positions: most names of the account; the strongest go first.
        max_position_pct: most of the base in one name, 0 to 1.
    """
    nothing = np.zeros(book.price.shape, dtype=bool)
    frozen = nothing if book.frozen is None else book.frozen
    locked = frozen if book.locked is None else book.locked | frozen
    restricted = nothing if book.restricted is None else book.restricted
    ordered = nothing if book.leaving is None else book.leaving
    turnover = book.turnover or [Turnover()] * len(book.holds)
    trades = np.array([hold is None for hold in book.holds], dtype=bool)[:, None]
    waits = np.array([hold is Reason.HOLD_SCHEDULE for hold in book.holds], dtype=bool)[:, None]
    retired = np.array([each.retired for each in turnover], dtype=bool)[:, None]
    trades &= ~retired
    held = book.before != 0
    young = held & (np.zeros_like(held) if book.young is None else book.young)
    scored = np.isfinite(book.prediction)
    wanted = trades & scored & (book.signal > 0) & ~book.removed & ~ordered
    may_grow = book.in_universe & ~restricted
    tradable = book.has_price & (may_grow | held)

    reason = np.full(book.before.shape, NO_REASON, dtype=np.int8)
    for row, hold in enumerate(book.holds):
        if hold is not None:
            reason[row, held[row]] = code(hold)
    reason[trades & held & ~scored] = code(Reason.HOLD_NO_SCORE)
    unpriced = trades & scored & ~book.has_price
    reason[(unpriced | retired | ordered) & held & ~book.has_price] = code(Reason.HOLD_NO_PRICE)
    reason[unpriced & wanted & ~held] = code(Reason.SKIP_NO_PRICE)
    reason[wanted & book.has_price & ~tradable] = code(Reason.SKIP_NOT_IN_UNIVERSE)
    reason[wanted & book.has_price & ~tradable & restricted] = code(Reason.SKIP_RESTRICTED)

    shares = book.before.copy()
    free = held & book.has_price & ~locked
    gone = free & book.removed & (trades | waits)
    leaving = gone | (free & (ordered | retired))
    # Whether its order was filled is not known, so a locked name takes a place as if it was.
    shut = (held & (trades | ordered | retired)) | wanted
    reason[shut & locked] = code(Reason.HOLD_LOCKED)
    reason[shut & frozen] = code(Reason.HOLD_FROZEN)
    decided = (trades & scored & book.has_price & ~locked) | leaving
    stays = (held & ~decided).any(axis=0) | (young & ~leaving).any(axis=0) | locked
    too_young = young & decided & ~leaving & ~wanted
    decided &= ~too_young
    reason[too_young] = code(Reason.HOLD_MIN_HOLDING)
    shares[decided] = 0
    reason[decided & held & ~wanted] = code(Reason.EXIT)
    reason[gone] = code(Reason.EXIT_REMOVED)
    reason[free & retired] = code(Reason.EXIT_RETIRED)
    reason[free & ordered] = code(Reason.EXIT_ORDERED)

    candidate = wanted & tradable & ~locked
    chosen = choose_names(book.prediction, candidate, held.any(axis=0), stays, max_positions)
    selected = candidate & chosen
    for row, each in enumerate(turnover):
        if each.max_positions is not None:
            own, mine = slice(row, row + 1), held[row] & (shares[row] != 0) | young[row]
            selected[row] &= choose_names(
                book.prediction[own], selected[own], held[row], mine, each.max_positions
            )
    dropped = candidate & ~selected
    reason[dropped] = code(Reason.DROP_MAX_POSITIONS)
    shares[dropped & young] = book.before[dropped & young]

    # A wanted name that only lacks a price today keeps its place in n: the others must not grow into it.
    names = selected.sum(axis=1) + (wanted & ((held & ~book.has_price) | locked)).sum(axis=1)
    for row in np.flatnonzero(selected.any(axis=1)).tolist():
        each = turnover[row]
        own_cap = each.max_position_pct
        cap = fraction(max_position_pct) if own_cap is None else own_cap
        weight = min(cap, Fraction(1, int(names[row]))) * book.capital[row]
        budget = max(int(base_units * weight), 0)
        columns = np.flatnonzero(selected[row])
        price, before = book.price[columns], book.before[row, columns]
        sized = budget // price
        sized = np.where(may_grow[columns], sized, np.minimum(sized, before))
        sized = np.where(young[row, columns], np.maximum(sized, before), sized)
        width = max(int(each.band * budget), each.band_units)
        near = (before > 0) & (sized > 0) & (sized != before) & (np.abs(sized - before) * price < width)
        if book.overdrawn:
            near &= sized > before
        shares[row, columns] = np.where(near, before, sized)
        reason[row, columns] = np.where(near, code(Reason.HOLD_BAND), code(Reason.SIGNAL))
        barred = restricted[columns] & book.in_universe[columns] & (budget // price > before) & ~near
        reason[row, columns[barred]] = code(Reason.SKIP_RESTRICTED)
    return Targets(shares, reason)


def strength(prediction: NDArray[np.float64], candidate: Flags) -> Shares:
    """Return each symbol's best place among any strategy's candidates, shape (n,).

    0 is the strongest; n is no candidate of anyone. Places, because scores of two models cannot be compared;
    ties go by symbol.
    """
    n = candidate.shape[1]
    order = np.argsort(np.where(candidate, -prediction, np.inf), axis=1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(n), order.shape), axis=1)
    return np.where(candidate, place, n).min(axis=0, initial=n)


def choose_names(
    prediction: NDArray[np.float64], candidate: Flags, held: Flags, stays: Flags, max_positions: int
) -> Flags:
    """Return which symbols the account is to hold for a signal, shape (n,).

    The strongest `max_positions` candidates. Holdings that stay for another reason (`stays`) take places too,
    but only from new names: a missing score must not sell a name that is still wanted.
    """
    count = min(int(candidate.any(axis=0).sum()), max_positions)
    ranked = np.argsort(strength(prediction, candidate), kind="stable")[:count]
    chosen = np.zeros(candidate.shape[1], dtype=bool)
    chosen[ranked] = True
    room = max_positions - int((stays | (chosen & held)).sum())
    entries = ranked[~(held | stays)[ranked]]
    chosen[entries[max(room, 0) :]] = False
    return chosen
