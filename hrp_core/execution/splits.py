"""Taking a split into the ledger: what it would do, and when a person may record it.

What belongs here: which known splits the ledger lacks, and the proof that the broker's shares are what they
leave. What does not: the arithmetic (`hrp_core.ledger.splits`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import NotReadyError, RefusedError
from hrp_core.execution.marks import official_marks
from hrp_core.execution.projections import project_book
from hrp_core.ledger.book import Book, fold_book, read_carve_out, session_of
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.splits import split_ratio
from hrp_core.ledger.types import BookedCross, BookedSplit, CashFlow, Execution, OrderAllocation
from hrp_core.money import to_money
from hrp_core.store import EventType, Store, log_event, read_table, table


@dataclass(frozen=True, slots=True)
class SplitEffect:
    """What one split does to the ledger.

    Attributes:
        before: signed shares by strategy at the close before; those of the account under "".
        after: the same at the open of its session.
        average_before: average price of the account's shares, USD a share.
        average_after: likewise; None where no whole share is left.
        fraction: shares of the account that are no whole one, and are paid in cash.
        cash_in_lieu: USD about, at the official close of the session; None without a fraction or a price.
    """

    split: BookedSplit
    before: Mapping[str, int]
    after: Mapping[str, int]
    average_before: Decimal
    average_after: Decimal | None
    fraction: Fraction
    cash_in_lieu: Decimal | None


def known_splits(store: Store, since: date, through: date) -> dict[str, Fraction]:
    """Return new shares for one old one by symbol, of the splits after `since` up to `through`."""
    ratios: dict[str, Fraction] = {}
    for symbol, effective, ratio in _stated(store, through):
        if effective > since:
            ratios[symbol] = ratios.get(symbol, Fraction(1)) * ratio
    return ratios


def untaken_splits(store: Store, journal: Journal, now: datetime, by: str = "") -> tuple[BookedSplit, ...]:
    """Return the splits of names held that have taken effect and are not in the ledger, oldest first.

    Args:
        store: its corporate actions say which splits there are; without any there is none.
        journal: holdings, and the splits taken.
        now: from the clock; a split has taken effect from midnight of its session on.
        by: who would take them.
    """
    ledger = _Ledger.of(journal)
    found: list[BookedSplit] = []
    for symbol, effective, ratio in _stated(store, now.astimezone(NEW_YORK).date()):
        split = BookedSplit(symbol, effective, ratio, by, now)
        lacking = ratio != 1 and ledger.lacks(split)
        if lacking and symbol in ledger.book(found, before=effective).holdings:
            found.append(split)
    return tuple(found)


def split_effects(
    store: Store, journal: Journal, symbol: str, *, by: str, now: datetime
) -> tuple[SplitEffect, ...]:
    """Return what the splits of a name that the ledger lacks would do to it; nothing is recorded.

    Args:
        store: corporate actions and prices.
        journal: bound to the account; its newest snapshot says what the broker holds.
        symbol: of the name.
        by: who would take them.
        now: from the clock.

    Returns:
        One effect a split, oldest first; none where all of them are in the ledger already.

    Raises:
        RefusedError: no split of the name is known, or the broker's shares are not what the splits leave, to
            the share.
        NotReadyError: the journal was never bound to an account.
    """
    journal.binding()
    splits = [split for split in untaken_splits(store, journal, now, by) if split.symbol == symbol]
    if not splits:
        if any(split.symbol == symbol for split in journal.splits()):
            return ()
        raise RefusedError(
            f"no split of {symbol} is known that has taken effect while it was held; nothing was recorded. "
            "Splits come with the prices (market_data_job, `hrp data load`)"
        )
    _require_explained(journal, splits)
    ledger = _Ledger.of(journal)
    return tuple(_effect(store, ledger, splits[: number + 1]) for number in range(len(splits)))


def take_splits(
    store: Store, journal: Journal, symbol: str, *, by: str, now: datetime
) -> tuple[SplitEffect, ...]:
    """Record the splits of a name, after the same proof as `split_effects`; return what they do.

    Doing it again, also after it ended in the middle, changes nothing but what is still missing.

    Args:
        store: what follows from the journal is written again in it.
        journal: bound to the account.
        symbol: of the name.
        by: who takes them.
        now: from the clock.

    Raises:
        RefusedError, NotReadyError: as `split_effects`; nothing was recorded.
    """
    effects = split_effects(store, journal, symbol, by=by, now=now)
    for effect in effects:
        split = effect.split
        if journal.record_split(split):
            details = {
                "symbol": symbol,
                "session": split.session,
                "new_shares": split.ratio.numerator,
                "old_shares": split.ratio.denominator,
                "before": effect.before.get("", 0),
                "after": effect.after.get("", 0),
            }
            log_event(store, EventType.SPLIT_TAKEN, by, details=details, now=now)
    project_book(store, journal)
    return effects


def _stated(store: Store, through: date) -> list[tuple[str, date, Fraction]]:
    """Return the stored splits that take effect up to `through`, oldest first, one a name and session.

    What a source said last of an action counts; of two kinds in one session both do.
    """
    try:
        rows = read_table(store, table("corporate_actions"), end=through)
    except NotReadyError:
        return []  # a source without corporate actions
    stated = rows.sort_values("session").drop_duplicates(["symbol", "kind", "effective_session"], keep="last")
    known = stated.loc[stated["factor"].notna(), ["effective_session", "symbol", "factor"]]
    ratios: dict[tuple[date, str], Fraction] = {}
    for effective, symbol, factor in known.itertuples(index=False):
        if effective <= through:
            key = (effective, str(symbol))
            ratios[key] = ratios.get(key, Fraction(1)) * split_ratio(factor)
    return [(symbol, effective, ratio) for (effective, symbol), ratio in sorted(ratios.items())]


@dataclass(frozen=True, slots=True)
class _Ledger:
    """What the book is folded from, read once, to fold it with more splits in it."""

    flows: tuple[CashFlow, ...]
    executions: tuple[Execution, ...]
    others: tuple[BookedCross | BookedSplit, ...]
    allocations: Mapping[str, OrderAllocation]

    @classmethod
    def of(cls, journal: Journal) -> "_Ledger":
        others = (*journal.book_crosses(), *journal.splits())
        return cls(journal.cash_flows(), journal.book_executions(), others, journal.order_allocations())

    def lacks(self, split: BookedSplit) -> bool:
        """Whether a split of a name that was traded before it is not in the ledger."""
        taken = {(item.symbol, item.session) for item in self.others if isinstance(item, BookedSplit)}
        return (split.symbol, split.session) not in taken and any(
            item.contract.symbol == split.symbol and session_of(item) < split.session
            for item in self.executions
        )

    def book(self, more: Sequence[BookedSplit] = (), before: date | None = None) -> Book:
        """Return the book with more splits, of what took effect before the session `before`."""
        executions = [item for item in self.executions if before is None or session_of(item) < before]
        others = [item for item in self.others if before is None or item.session < before]
        return fold_book(self.flows, executions, self.allocations, crosses=[*others, *more])


def _require_explained(journal: Journal, splits: Sequence[BookedSplit]) -> None:
    """Refuse splits after which ledger and broker would not agree to the share.

    Raises:
        RefusedError: with the shares of both sides.
    """
    symbol, told = splits[0].symbol, "; ".join(map(str, splits))
    snapshot = journal.newest_snapshot()
    if snapshot is None or snapshot.asked_at < splits[-1].executes_at:
        raise RefusedError(
            f"nothing was asked of the broker since {told}, so nothing shows that its shares have changed; "
            "run `hrp reconcile`, then this again"
        )
    intents = journal.sent([attempt.order_ref for attempt in journal.live_attempts()])
    own = [ref for ref, (_, intent) in intents.items() if intent.contract.symbol == symbol]
    if own:
        raise RefusedError(
            f"our own order {own[0]} in {symbol} may still trade; nothing was recorded. Let it end, cancel "
            "it, or decide its fate with `hrp orders resolve`"
        )
    aside = read_carve_out(journal).holdings.get(symbol)
    if aside is not None:
        raise RefusedError(
            f"{aside.shares} shares of {symbol} were carved out of the book, and nothing says how the split "
            f"divides between them and the book ({told}); nothing was recorded. Sell those in TWS first"
        )
    ledger = _Ledger.of(journal)
    before, after = (_shares(ledger.book(more)).get(symbol, {}).get("", 0) for more in ([], splits))
    broker = snapshot.shares.get(symbol, 0)
    if broker != after:
        raise RefusedError(
            f"the ledger has {before} shares of {symbol}, which {told} makes {after}, and the broker held "
            f"{broker} at {snapshot.asked_at:%Y-%m-%d %H:%M}; nothing was recorded. Run `hrp reconcile`; if "
            "it stays, compare with the broker's statement and the source of the split"
        )


def _effect(store: Store, ledger: _Ledger, splits: Sequence[BookedSplit]) -> SplitEffect:
    """Return the effect of the last one of `splits` on top of those before it."""
    split = splits[-1]
    old, new = (ledger.book(more, before=split.session) for more in (splits[:-1], splits))
    held, kept = old.holdings[split.symbol], new.holdings.get(split.symbol)
    fraction = held.shares * split.ratio - (0 if kept is None else kept.shares)
    price = official_marks(store, split.session).get(split.symbol) if fraction else None
    return SplitEffect(
        split=split,
        before=_shares(old).get(split.symbol, {}),
        after=_shares(new).get(split.symbol, {}),
        average_before=held.average_price,
        average_after=None if kept is None else kept.average_price,
        fraction=fraction,
        cash_in_lieu=None if price is None else to_money(price * fraction.numerator / fraction.denominator),
    )


def _shares(book: Book) -> dict[str, dict[str, int]]:
    """Return signed shares by symbol and strategy; those of the account under no name."""
    found: dict[str, dict[str, int]] = {}
    for owner, held in (("", book.holdings), *sorted(book.strategies.items())):
        for symbol, holding in held.items():
            found.setdefault(symbol, {})[owner] = holding.shares
    return found
