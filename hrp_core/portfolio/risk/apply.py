"""Runs the risk rules on the targets of all strategies and writes down what they changed.

What belongs here: the order of the rules, who loses the shares that a rule takes away, and the verdicts.
Exits are let through here, in one place, whatever a rule says. What does not: the rules (`rules`), their list
(`table`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrp_core.portfolio.construction import REASONS, Book, Flags, Shares, Targets, code
from hrp_core.portfolio.netting import clip_to_cash, cut_changes
from hrp_core.portfolio.risk.rules import NO_SECTOR, Basket, Ruling
from hrp_core.portfolio.risk.table import BY_CODE, BY_REASON, RULES, Rule, Stage
from hrp_core.portfolio.types import Performance, PortfolioLimits, Reason, RuleAction, Verdict


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules know beside the book, for n symbols.

    Attributes:
        symbols: the n symbols.
        strategy_ids: the S strategies.
        value_price: shape (n,), what a holding is valued at, ten-thousandths of a dollar.
        order_price: shape (n,), what an order states: its limit where it has one, else the close.
        reference: shape (n,), last adjusted close, likewise; 0 = none.
        traded_value: shape (n,), USD that trade in a session; NaN = no volume.
        working: shape (n,), what orders that may still trade could cost, ten-thousandths of a dollar.
        working_elsewhere: likewise of names outside the n.
        base_units: the trading equity, ten-thousandths of a dollar.
        cash_units: cash before the basket; `reserve_units` of it must remain.
        performance: what the account earned; None: not known.
        reducing: whether the latch lets only exits go.
        own: by strategy, its own tighter limits.
    """

    symbols: Sequence[str]
    strategy_ids: Sequence[str]
    value_price: Shares
    order_price: Shares
    reference: Shares
    traded_value: NDArray[np.float64]
    working: Shares
    working_elsewhere: int
    base_units: int
    cash_units: int
    reserve_units: int
    performance: Performance | None
    reducing: bool
    own: Sequence[Mapping[str, float]]


def apply_rules(
    book: Book, wanted: Targets, facts: Facts, limits: PortfolioLimits
) -> tuple[Targets, tuple[Verdict, ...]]:
    """Return the targets inside all limits, and what was changed for which rule.

    No strategy's change becomes larger or turns round, and a sale that ends a holding stays as it is.

    Args:
        book: the inputs of the targets.
        wanted: what all strategies want.
        facts: what the rules judge by.
        limits: the account's.
    """
    verdicts = _construction_verdicts(wanted, facts)
    sector = _sectors(facts.symbols, limits)
    targets = wanted
    for rule in (each for each in RULES if each.stage is Stage.WORTH):
        targets = _judge(rule, book, targets, facts, limits, sector, verdicts)
    for rule in (each for each in RULES if each.stage is Stage.ENTRIES):
        if rule.own:
            for row, own in enumerate(facts.own):
                if own:
                    targets = _judge_own(rule, row, own, book, targets, facts, limits, verdicts)
        if rule.code == "cash":
            targets = _judge_cash(book, targets, facts, limits, verdicts)
        else:
            targets = _judge(rule, book, targets, facts, limits, sector, verdicts)
    for rule in (each for each in RULES if each.stage is Stage.WORTH):
        targets = _judge(rule, book, targets, facts, limits, sector, verdicts)
    return targets, tuple(verdicts)


def _judge(
    rule: Rule,
    book: Book,
    targets: Targets,
    facts: Facts,
    limits: PortfolioLimits,
    sector: NDArray[np.int64] | None,
    verdicts: list[Verdict],
) -> Targets:
    assert rule.judge is not None
    basket = _basket(
        book, facts, book.before.sum(axis=0), targets.shares.sum(axis=0), facts.base_units, sector
    )
    ruling = rule.judge(basket, limits)
    if ruling is None:
        return targets
    if rule.stage is Stage.WORTH:
        # An exit is let through: the account's, and a strategy's beside another one's purchase.
        left = ((book.before != 0) & (targets.shares == 0)).any(axis=0)
        sale = basket.after < basket.held
        asked = np.where((basket.after == 0) | (sale & left), 0, basket.order)
        excess = np.maximum(asked - ruling.allowed, 0)
        _record(rule, "", facts, asked, asked - excess, ruling, verdicts)
        # What the strategies take from one another needs no order and stays.
        excess = np.where(sale, -excess, np.minimum(excess, basket.purchase))
        return cut_changes(book, targets, excess, rule.reasons[0]) if excess.any() else targets
    asked = basket.purchase
    excess = np.maximum(asked - ruling.allowed, 0)
    _record(rule, "", facts, asked, asked - excess, ruling, verdicts)
    return cut_changes(book, targets, excess, rule.reasons[0]) if excess.any() else targets


def _judge_own(
    rule: Rule,
    row: int,
    own: Mapping[str, float],
    book: Book,
    targets: Targets,
    facts: Facts,
    limits: PortfolioLimits,
    verdicts: list[Verdict],
) -> Targets:
    """Apply a strategy's own tighter limit to its own orders, as shares of its own capital."""
    mine: dict[str, Any] = {name: own[name] for name in rule.limits if name in own}
    if not mine:
        return targets
    assert rule.judge is not None
    base = int(facts.base_units * book.capital[row])
    # What other orders may still cost is the account's matter.
    quiet = replace(facts, working=np.zeros_like(facts.working), working_elsewhere=0)
    basket = _basket(book, quiet, book.before[row], targets.shares[row], base, None)
    ruling = rule.judge(basket, replace(limits, **mine))
    if ruling is None:
        return targets
    excess = np.maximum(basket.purchase - ruling.allowed, 0)
    asked = basket.purchase
    _record(rule, facts.strategy_ids[row], facts, asked, asked - excess, ruling, verdicts)
    shares, reason = targets.shares.copy(), targets.reason.copy()
    shares[row] -= excess
    reason[row, excess > 0] = code(rule.reasons[0])
    return Targets(shares, reason)


def _judge_cash(
    book: Book, targets: Targets, facts: Facts, limits: PortfolioLimits, verdicts: list[Verdict]
) -> Targets:
    clipped = clip_to_cash(book, targets, facts.cash_units, facts.reserve_units, limits)
    held = book.before.sum(axis=0)
    asked = np.maximum(targets.shares.sum(axis=0) - np.maximum(held, 0), 0)
    left = np.maximum(clipped.shares.sum(axis=0) - np.maximum(held, 0), 0)
    ruling = Ruling(left, "there is not enough cash after the buffer and commissions")
    _record(BY_CODE["cash"], "", facts, asked, left, ruling, verdicts)
    return clipped


def _basket(
    book: Book,
    facts: Facts,
    held: Shares,
    after: Shares,
    base_units: int,
    sector: NDArray[np.int64] | None,
) -> Basket:
    return Basket(
        held=held,
        after=after,
        price=book.price,
        value_price=facts.value_price,
        order_price=facts.order_price,
        reference=facts.reference,
        traded_value=facts.traded_value,
        sector=sector,
        working=facts.working,
        working_elsewhere=facts.working_elsewhere,
        base_units=base_units,
        performance=facts.performance,
        reducing=facts.reducing,
    )


def _record(
    rule: Rule,
    strategy_id: str,
    facts: Facts,
    asked: Shares,
    left: Shares,
    ruling: Ruling,
    verdicts: list[Verdict],
) -> None:
    """Write down what a ruling changed, that it sets the latch, and where it did not apply."""
    missing: Flags = np.zeros(asked.shape, dtype=bool) if ruling.missing is None else ruling.missing
    if rule.latch and ruling.reason:
        verdicts.append(Verdict(rule.code, "", "", RuleAction.HALT, None, None, ruling.reason))
    for place in np.flatnonzero(left < asked).tolist():
        rest = int(left[place])
        verdicts.append(
            Verdict(
                rule.code,
                facts.symbols[place],
                strategy_id,
                RuleAction.CLIP if rest else RuleAction.BLOCK,
                int(asked[place]),
                rest,
                ruling.missing_reason if missing[place] else ruling.reason,
            )
        )
    passed = missing & (left == asked) & (asked > 0)
    if not passed.any() or strategy_id:
        return
    # One row where no order has the input: a source without volume is one fact, not one a name.
    everywhere = bool(passed[asked > 0].all())
    names = [""] if everywhere else [facts.symbols[place] for place in np.flatnonzero(passed).tolist()]
    verdicts += [
        Verdict(rule.code, name, "", RuleAction.ALLOW, None, None, ruling.missing_reason) for name in names
    ]


_TARGET_REASONS = {code(reason): rule for reason, rule in BY_REASON.items()}
_WORDS = {
    Reason.DROP_MAX_POSITIONS: "the account or the strategy holds its largest number of names",
    Reason.SKIP_RESTRICTED: "restricted or no-buy: it may be sold, not bought",
    Reason.HOLD_FROZEN: "a person froze the name",
    Reason.HOLD_LOCKED: "an order in it may still trade, or the broker does not know it",
    Reason.SKIP_NO_PRICE: "it has no close of this session",
    Reason.HOLD_NO_PRICE: "it has no close of this session",
}


def _construction_verdicts(wanted: Targets, facts: Facts) -> list[Verdict]:
    """Return the verdicts of the rules that acted while the targets were built."""
    found = []
    for row, column in np.argwhere(np.isin(wanted.reason, list(_TARGET_REASONS))).tolist():
        index = int(wanted.reason[row, column])
        found.append(
            Verdict(
                _TARGET_REASONS[index].code,
                facts.symbols[column],
                facts.strategy_ids[row],
                RuleAction.BLOCK,
                None,
                None,
                _WORDS[REASONS[index]],
            )
        )
    return found


def _sectors(symbols: Sequence[str], limits: PortfolioLimits) -> NDArray[np.int64] | None:
    """Return the sector of each symbol as a number, -1 where it is not given; None without any sectors."""
    if limits.sectors is None or limits.max_sector_pct is None:
        return None
    numbers = {name: place for place, name in enumerate(sorted(set(limits.sectors.values())))}
    return np.array(
        [numbers.get(limits.sectors.get(each, ""), NO_SECTOR) for each in symbols], dtype=np.int64
    )
