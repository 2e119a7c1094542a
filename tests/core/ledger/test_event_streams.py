"""The whole stream of a broker's messages into a real journal: its order and repetition change nothing."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import CONTRACTS, NOW, fill, freeze, order, send

from hrp_core.ledger.book import Book, read_book
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import BreakKind, Evidence, Execution, OrderStatus, SnapshotRow, Source

S = OrderStatus
SHARES = 100
SYMBOLS = tuple(sorted(CONTRACTS))
ENDS = {
    "working": S.SUBMITTED,
    "filled": S.FILLED,
    "cancelled": S.CANCELLED,
    "rejected": S.REJECTED,
    "never seen": S.UNKNOWN,
}
Step = Callable[[Journal], object]


@dataclass(frozen=True)
class Known:
    """What a journal amounts to: everything that may not depend on how it was told."""

    attempts: tuple[tuple[str, OrderStatus, int, int | None], ...]
    intents: tuple[tuple[OrderStatus, int], ...]
    fills: tuple[Execution, ...]
    book: Book

    @classmethod
    def of(cls, journal: Journal) -> "Known":
        (plan,) = journal.plans()
        return cls(
            tuple((a.order_ref, a.status, a.filled, a.perm_id) for a in journal.attempts()),
            tuple((intent.status, intent.filled) for intent in plan.intents),
            journal.executions(),
            read_book(journal),
        )


@dataclass(frozen=True)
class Life:
    """What the broker has to say of one order, and what is true of it in the end."""

    end: str
    messages: tuple[Evidence, ...]
    fills: tuple[Execution, ...]
    """Reported ones, corrected and busted ones included."""
    bust: str

    @property
    def lists(self) -> tuple[Evidence, ...]:
        """What looks at the broker may have shown while the order lived, and when it was out of sight."""
        ref, perm_id = self.messages[0].order_ref, 0 if self.end == "never seen" else self.perm_id
        unseen = Evidence(ref, Source.UNSEEN, message="nowhere")
        opened = Evidence(ref, Source.OPEN, S.SUBMITTED, perm_id=perm_id)
        return (unseen,) if self.end == "never seen" else (unseen, opened, self.listed)

    @property
    def perm_id(self) -> int:
        return max(item.perm_id for item in self.messages)

    @property
    def listed(self) -> Evidence:
        """What the last look shows."""
        ref, end = self.messages[0].order_ref, ENDS[self.end]
        if self.end == "never seen":
            return Evidence(ref, Source.UNSEEN, message="in no list")
        source = Source.OPEN if self.end == "working" else Source.COMPLETED
        return Evidence(ref, source, end, perm_id=self.perm_id)


def life(end: str, ref: str, symbol: str, perm_id: int) -> Life:
    def said(status: OrderStatus | None, code: int | None = None, perm: int = perm_id) -> Evidence:
        return Evidence(ref, Source.EVENT, status, perm, code=code, message="said")

    def traded(number: int, shares: int, revision: int = 1, price: str = "50") -> Execution:
        exec_id = f"0000{perm_id}.{number:02}.{revision:02}"
        return fill(ref, shares, exec_id=exec_id, symbol=symbol, price=price, perm_id=perm_id)

    sent, taken, doubt = said(S.SENT, perm=0), said(S.SUBMITTED), said(S.UNKNOWN, 10349)
    held_until_open = said(None, 399)
    if end == "never seen":
        return Life(end, (sent,), (), "")
    if end == "working":
        return Life(end, (sent, taken, held_until_open, doubt), (), "")
    if end == "rejected":
        return Life(end, (sent, said(S.HELD), said(S.REJECTED, 201), said(S.CANCELLED)), (), "")
    # One execution is corrected, one taken back by a bust, one by a correction to no shares.
    odd = (traded(1, 20), traded(1, 30, 2, "49"), traded(7, 5), traded(8, 4), traded(8, 0, 2))
    bust = odd[2].exec_id
    partly = said(S.PARTIALLY_FILLED)
    if end == "cancelled":
        return Life(end, (sent, taken, partly, said(S.PENDING_CANCEL), said(S.CANCELLED)), odd, bust)
    rest = traded(2, SHARES - 30, price="51")
    return Life(end, (sent, taken, partly, said(S.FILLED), doubt), (*odd, rest), bust)


@lru_cache(maxsize=1)
def template() -> tuple[Path, tuple[str, ...]]:
    """A journal with one order sent in each name, and nothing heard of any."""
    path = Path(tempfile.mkdtemp(prefix="streams-")) / "journal.sqlite"
    journal = Journal(path)
    frozen = freeze(journal, [order(symbol, SHARES) for symbol in SYMBOLS])
    epoch = journal.acquire_epoch("test", NOW)
    refs = tuple(send(journal, frozen, index, epoch) for index in range(len(SYMBOLS)))
    journal.close()
    return path, refs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("streams")
    shutil.rmtree(template()[0].parent)
    template.cache_clear()


def told(folder: Path, stream: Sequence[Step]) -> Known:
    path = folder / "journal.sqlite"
    shutil.copyfile(template()[0], path)
    journal = Journal(path)
    try:
        for step in stream:
            step(journal)
        return Known.of(journal)
    finally:
        journal.close()
        for item in folder.iterdir():
            item.unlink()


def message(item: Evidence) -> Step:
    return lambda journal: journal.record([item], now=NOW)


def traded(item: Execution) -> Step:
    return lambda journal: journal.record([], [item], now=NOW)


def pushed(each: Life) -> list[Step]:
    """Every message, every fill without and with its commission, the commission alone, the bust."""
    steps = [message(item) for item in each.messages]
    for item in each.fills:
        steps += [traded(item), traded(replace(item, commission=None))]
        commission = item.commission
        assert commission is not None
        steps.append(lambda journal, item=item, c=commission: journal.record_commission(item.exec_id, c, NOW))
    if each.bust:
        steps.append(lambda journal: journal.record_bust(each.bust, "erroneous", NOW))
    return steps


def reconnect(journal: Journal) -> None:
    journal.close()


def look(each: Evidence) -> Step:
    """One list entry, or its absence, as the answer to a question asked now."""
    return lambda journal: journal.record([each], now=NOW, as_of=journal.sequence())


def last_look(lives: Sequence[Life]) -> Step:
    """The complete snapshot after everything: lists, and the executions that count."""

    def step(journal: Journal) -> None:
        row = SnapshotRow("DU1234567", NOW, {}, Decimal(0), Decimal(0))
        fills = [item for each in lives for item in each.fills]
        lists = [each.listed for each in lives]
        journal.record(lists, fills, now=NOW, as_of=journal.sequence(), snapshot=row)

    return step


LIVES = st.tuples(*[st.sampled_from(sorted(ENDS))] * len(SYMBOLS)).map(
    lambda ends: tuple(
        life(end, ref, symbol, 70 + number)
        for number, (end, ref, symbol) in enumerate(zip(ends, template()[1], SYMBOLS, strict=True))
    )
)


@settings(max_examples=25)
@given(lives=LIVES, data=st.data())
def test_what_is_pushed_amounts_to_the_same_in_any_order_and_however_often(
    folder: Path, lives: tuple[Life, ...], data: st.DataObject
) -> None:
    stream = [step for each in lives for step in pushed(each)]
    again = data.draw(st.lists(st.sampled_from([*stream, reconnect]), max_size=10))
    shuffled = data.draw(st.permutations([*stream, *again]))
    assert told(folder, shuffled) == told(folder, stream)


@settings(max_examples=25)
@given(lives=LIVES, data=st.data())
def test_after_a_complete_look_the_journal_says_what_is_true_whatever_came_before(
    folder: Path, lives: tuple[Life, ...], data: st.DataObject
) -> None:
    stream = [step for each in lives for step in pushed(each)]
    looks = [look(item) for each in lives for item in each.lists]
    some = data.draw(st.lists(st.sampled_from([*stream, *looks, reconnect]), max_size=25))
    busts = [step for each in lives if each.bust for step in pushed(each)[-1:]]
    known = told(folder, [*some, *data.draw(st.permutations(busts)), last_look(lives)])
    assert [status for _, status, _, _ in known.attempts] == [ENDS[each.end] for each in lives]
    shares = {"filled": SHARES, "cancelled": 30}
    assert [count for _, _, count, _ in known.attempts] == [shares.get(each.end, 0) for each in lives]
    assert known == told(folder, [*busts, last_look(lives)])
    for each, symbol in zip(lives, SYMBOLS, strict=True):
        holding = known.book.holdings.get(symbol)
        assert (0 if holding is None else holding.shares) == shares.get(each.end, 0)


@settings(max_examples=25)
@given(pieces=st.lists(st.integers(1, 60), min_size=1, max_size=5), data=st.data())
def test_fills_beyond_the_quantity_are_a_break_in_any_order_and_none_below_it(
    folder: Path, pieces: list[int], data: st.DataObject
) -> None:
    ref = template()[1][0]
    fills = [
        traded(fill(ref, shares, exec_id=f"00007.{number:02}.01", symbol=SYMBOLS[0]))
        for number, shares in enumerate(pieces)
    ]
    found: list[bool] = []

    def judge(journal: Journal) -> None:
        kinds = {item.kind for item in journal.breaks()}
        found.append(BreakKind.OVERFILLED in kinds)

    known = told(folder, [*data.draw(st.permutations([*fills, *fills])), judge])
    assert found == [sum(pieces) > SHARES]
    assert known.attempts[0][2] == sum(pieces)
    assert (known.attempts[0][1] is S.FILLED) is (sum(pieces) >= SHARES)
