"""The risk rules on a basket: each a small pure function of arrays, for all names at once.

What belongs here: how much of each order a rule allows, and why. A rule sees the account's basket as it
stands after the rules before it and may only make orders smaller. What does not: which rules there are and in
which order they run (`table`), who loses how many shares when one acts (`apply`).

Values are integer ten-thousandths of a dollar, so that a limit never hangs on the last bit of a float.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrp_core.money import to_units
from hrp_core.portfolio.construction import Flags, Shares, fraction
from hrp_core.portfolio.types import Performance, PortfolioLimits

_PARTS = 10**6
NO_SECTOR = -1


@dataclass(frozen=True, slots=True)
class Basket:
    """What a rule judges: the orders of one account (or one strategy) in n names.

    Attributes:
        held: shape (n,), shares before the basket.
        after: shape (n,), shares after it.
        price: shape (n,), close of D that sizes the orders, ten-thousandths of a dollar; 0 = none.
        value_price: shape (n,), what a holding is valued at: the close, or the last one before.
        order_price: shape (n,), what an order states: its limit where it has one, else `price`.
        reference: shape (n,), last adjusted close; 0 = none.
        traded_value: shape (n,), USD that trade in a session; NaN = no volume.
        sector: shape (n,), sector of a name as a number, `NO_SECTOR` where it is not known; None: no sectors
            are given.
        working: shape (n,), what orders that may still trade could cost, ten-thousandths of a dollar.
        working_elsewhere: likewise of names outside the n.
        base_units: the trading equity, ten-thousandths of a dollar.
        performance: what the account earned; None: not known.
        reducing: whether the latch lets only exits go.
    """

    held: Shares
    after: Shares
    price: Shares
    value_price: Shares
    order_price: Shares
    reference: Shares
    traded_value: NDArray[np.float64]
    sector: NDArray[np.int64] | None
    working: Shares
    base_units: int
    working_elsewhere: int = 0
    performance: Performance | None = None
    reducing: bool = False

    @property
    def order(self) -> Shares:
        """Shares ordered, whatever the direction, shape (n,)."""
        return np.abs(self.after - self.held)

    @property
    def purchase(self) -> Shares:
        """Shares bought beyond flat, shape (n,); what closes a short position is an exit."""
        return np.maximum(self.after - np.maximum(self.held, 0), 0)

    @property
    def kept_units(self) -> Shares:
        """Value of what is held after the basket without its purchases, shape (n,), signed."""
        return (self.after - self.purchase) * self.value_price

    @property
    def all_working(self) -> int:
        """What all orders that may still trade could cost, ten-thousandths of a dollar."""
        return int(self.working.sum()) + self.working_elsewhere

    def share(self, part: float) -> int:
        """Return `part` of the trading equity, ten-thousandths of a dollar, at least 0."""
        return max(int(self.base_units * fraction(part)), 0)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a rule says of a basket.

    Attributes:
        allowed: shape (n,), the most shares that may be ordered (of purchases, for an entry rule).
        reason: why, one sentence.
        missing: shape (n,), names whose input the rule lacks.
        missing_reason: what is missing, one sentence.
    """

    allowed: Shares
    reason: str
    missing: Flags | None = None
    missing_reason: str = ""


Judge = Callable[[Basket, PortfolioLimits], Ruling | None]
"""A rule: the ruling, or None where the rule is off or has nothing to say."""


# --- names that may not be bought at all -------------------------------------------------------------


def daily_loss(basket: Basket, limits: PortfolioLimits) -> Ruling | None:
    """Allow no purchase on a session in which the account lost more than its limit."""
    return _loss(limits.max_daily_loss_pct, basket, _lost_today, "lost {:.2%} in the session")


def drawdown(basket: Basket, limits: PortfolioLimits) -> Ruling | None:
    """Allow no purchase while the account is further below its highest value than its limit."""
    return _loss(limits.max_drawdown_pct, basket, _lost_since_peak, "is {:.2%} below its highest value")


def latch(basket: Basket, limits: PortfolioLimits) -> Ruling | None:  # noqa: ARG001
    """Allow no purchase while the latch is at REDUCING."""
    return _nothing(basket, "the latch is at REDUCING: only exits may go") if basket.reducing else None


def price_collar(basket: Basket, limits: PortfolioLimits) -> Ruling | None:
    """Allow no purchase at a price too far from the last adjusted close, or of a name without one."""
    if limits.price_collar_pct is None:
        return None
    missing = basket.reference <= 0
    distance = np.abs(basket.order_price - basket.reference)
    far = ~missing & outside_collar(distance, basket.reference, limits.price_collar_pct)
    return Ruling(
        np.where(far | missing, 0, basket.purchase),
        f"the price is more than {limits.price_collar_pct:.1%} from the last adjusted close",
        missing,
        "there is no adjusted close to compare the price with",
    )


# --- how much of one name ----------------------------------------------------------------------------


def position_weight(basket: Basket, limits: PortfolioLimits) -> Ruling | None:
    """Allow purchases of a name up to its largest share of the trading equity; sell nothing for it.

    All strategies count together: only a holding that stays can bring a name above it.
    """
    most = basket.share(limits.max_position_pct) // np.maximum(basket.price, 1)
    return Ruling(
        np.clip(most - np.maximum(basket.held, 0), 0, basket.purchase),
        f"a name may be at most {limits.max_position_pct:.1%} of the trading equity",
    )


def order_notional(basket: Basket, limits: PortfolioLimits) -> Ruling | None:
    """Allow no purchase larger than a share of the trading equity; none where that is not positive."""
    if limits.max_order_pct is None:
        return None
    unknown = basket.base_units <= 0
    most = basket.share(limits.max_order_pct) // np.maximum(basket.order_price, 1)
    return Ruling(
        np.minimum(most, basket.purchase),
        f"one order may be at most {limits.max_order_pct:.1%} of the trading equity",
        np.full(most.shape, unknown),
        "the account has no equity to measure the order by",
    )


def traded_volume(basket: Basket, limits: PortfolioLimits) -> Ruling | None:
    """Allow purchases up to a share of what trades in a session; without volume the rule does not apply."""
    if limits.max_volume_pct is None:
        return None
    known = np.isfinite(basket.traded_value)
    part = limits.max_volume_pct * np.where(known, basket.traded_value, 0.0)
    most = np.floor(part * 10_000).astype(np.int64) // np.maximum(basket.price, 1)
    return Ruling(
        np.where(known, np.minimum(most, basket.purchase), basket.purchase),
        f"an order may be at most {limits.max_volume_pct:.1%} of what trades in a session (mean of 20)",
        ~known,
        "the source has no volume: not applicable",
    )


# --- how much of all names ---------------------------------------------------------------------------


def sector_cap(basket: Basket, limits: PortfolioLimits) -> Ruling | None:
    """Scale the purchases of each sector so that it stays within its share of the trading equity.

    Names without a sector share one cap. Orders that may still trade count with what they may cost.
    """
    if basket.sector is None or limits.max_sector_pct is None:
        return None
    unknown = basket.sector == NO_SECTOR
    rest = limits.max_unknown_sector_pct
    place = np.where(unknown, 0, basket.sector + 1)
    kept = np.zeros(int(place.max(initial=0)) + 1, dtype=np.int64)
    bought = np.zeros_like(kept)
    np.add.at(kept, place, basket.kept_units + basket.working)
    np.add.at(bought, place, basket.purchase * basket.price)
    room = np.full(kept.shape, basket.share(limits.max_sector_pct)) - kept
    if rest is not None:
        room[0] = basket.share(min(rest, limits.max_sector_pct)) - kept[0]
    allowed = _scaled(basket.purchase, room[place], bought[place])
    return Ruling(
        allowed,
        f"a sector may be at most {limits.max_sector_pct:.1%} of the trading equity",
        unknown,
        "its sector is not given"
        + ("" if rest is None else f": such names together may be at most {rest:.1%} of the trading equity"),
    )


def exposure(basket: Basket, limits: PortfolioLimits) -> Ruling | None:
    """Scale all purchases so that gross and net exposure stay within their limits.

    Orders that may still trade count as if they did.
    """
    kept, working = basket.kept_units, basket.all_working
    room = [
        basket.share(limit) - int(used) - working
        for limit, used in (
            (limits.max_gross, np.abs(kept).sum()),
            (limits.max_net, kept.sum()),
        )
        if limit is not None
    ]
    if not room:
        return None
    said = " and ".join(
        f"{name} exposure at most {limit:g}"
        for name, limit in (("gross", limits.max_gross), ("net", limits.max_net))
        if limit is not None
    )
    return Ruling(
        _scaled_to(basket, min(room)),
        f"{said} of the trading equity",
        np.full(kept.shape, basket.base_units <= 0),
        "the account has no equity to measure the exposure by",
    )


def turnover(basket: Basket, limits: PortfolioLimits) -> Ruling | None:
    """Scale all purchases so that purchases and sales together stay within a share of the trading equity.

    Sales are never held back: where they alone exceed it, nothing is bought. A book that holds nothing and
    waits for nothing is being built and is not limited.
    """
    if limits.max_turnover_pct is None or not (basket.held.any() or basket.all_working):
        return None
    sold = int(((basket.order - basket.purchase) * basket.price).sum()) + basket.all_working
    return Ruling(
        _scaled_to(basket, basket.share(limits.max_turnover_pct) - sold),
        f"a session may trade at most {limits.max_turnover_pct:.0%} of the trading equity",
    )


# --- orders that are not worth it --------------------------------------------------------------------


def smallest_order(basket: Basket, limits: PortfolioLimits) -> Ruling | None:
    """Drop orders worth less than the smallest one."""
    small = basket.order * basket.price < to_units(limits.min_order_value)
    return Ruling(
        np.where(small, 0, basket.order), f"an order is worth at least ${limits.min_order_value:,.0f}"
    )


def commission(basket: Basket, limits: PortfolioLimits) -> Ruling | None:
    """Drop orders whose commission would be too large a part of them."""
    if limits.max_commission_pct is None:
        return None
    per_share, least = to_units(limits.commission_per_share), to_units(limits.commission_minimum)
    cost = np.maximum(per_share * basket.order, least)
    # cost / value > pct, in whole numbers.
    limit = fraction(limits.max_commission_pct)
    costly = cost * limit.denominator > basket.order * basket.price * limit.numerator
    return Ruling(
        np.where(costly, 0, basket.order),
        f"the commission would be more than {limits.max_commission_pct:.1%} of the order",
    )


# --- used before sending, too ------------------------------------------------------------------------


def outside_collar(distance: Shares, reference: Shares, part: float) -> Flags:
    """Return where `distance` is more than `part` of `reference`, in whole numbers, shape (n,)."""
    limit = fraction(part)
    # Divided, not multiplied: a quote of a billion dollars would wrap around and seem near.
    return distance > reference * limit.numerator // limit.denominator


def duplicates(keys: Sequence[tuple[Any, ...]]) -> Flags:
    """Return which of the (contract, leg) pairs of a basket occurred before in it, shape (n,)."""
    seen = {key: place for place, key in reversed(list(enumerate(keys)))}
    first = np.array([seen[key] for key in keys], dtype=np.int64)
    return first != np.arange(len(keys))


# --- helpers -----------------------------------------------------------------------------------------


def _lost_today(performance: Performance) -> float | None:
    return None if performance.daily_return is None else -performance.daily_return


def _lost_since_peak(performance: Performance) -> float | None:
    return performance.drawdown


def _loss(
    limit: float | None, basket: Basket, lost: Callable[[Performance], float | None], words: str
) -> Ruling | None:
    if limit is None or (basket.performance is not None and basket.performance.never_valued):
        return None
    found = None if basket.performance is None else lost(basket.performance)
    if found is None or not np.isfinite(found):
        return _nothing(basket, "", "what the account earned up to this session is not known")
    if found < limit:
        return None
    return _nothing(basket, f"the account {words.format(found)}, the limit is {limit:.2%}")


def _nothing(basket: Basket, reason: str, missing: str = "") -> Ruling:
    flags = np.full(basket.held.shape, bool(missing))
    return Ruling(np.zeros_like(basket.held), reason, flags, missing)


def _scaled_to(basket: Basket, room: int) -> Shares:
    wanted = int((basket.purchase * basket.price).sum())
    shape = basket.purchase.shape
    return _scaled(basket.purchase, np.full(shape, room), np.full(shape, wanted))


def _scaled(purchase: Shares, room: Shares, wanted: Shares) -> Shares:
    """Shrink purchases worth `wanted` together by one factor, a whole number of millionths, to fit `room`."""
    ratio = np.clip(room, 0, None) / np.maximum(wanted, 1)
    parts = np.floor(np.minimum(ratio, 1.0) * _PARTS).astype(np.int64)
    return np.where(room >= wanted, purchase, purchase * parts // _PARTS)
