"""What the simulated exchange lists: one stock per symbol of the tape, with the broker's identifiers.

What belongs here: contract identifiers and tick sizes. Prices are on the tape.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2s

from hrp_core.errors import DataError

# Contract ids of real US stocks lie between about 4,000 and 700 million.
_CON_ID_LOWEST = 4_000
_CON_ID_HIGHEST = 700_000_000
MIN_TICK = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Instrument:
    """A stock as the simulated broker knows it."""

    symbol: str
    con_id: int
    primary_exchange: str
    min_tick: Decimal = MIN_TICK

    @property
    def ib_symbol(self) -> str:
        """The broker's spelling: a blank before the class of shares (`BRK B`, not `BRK.B`; F24)."""
        return self.symbol.replace(".", " ")


class Instruments:
    """All listed stocks, by symbol and by contract id.

    A contract id is a hash of the symbol, so that the gateway, the in-process broker and replay agree on it
    without talking to each other. Of two symbols with the same hash the later in the alphabet is hashed
    again; `known` keeps ids given out earlier, so that a listing never changes the id of an older one.
    """

    def __init__(self, symbols: Iterable[str], known: Mapping[str, int] | None = None) -> None:
        con_ids = dict(known or {})
        if len(set(con_ids.values())) != len(con_ids):
            raise DataError("two instruments carry the same contract id; the gateway's state is damaged")
        taken = set(con_ids.values())
        for symbol in sorted(set(symbols) - con_ids.keys()):
            round_ = 0
            while (con_id := _hashed(symbol, round_)) in taken:
                round_ += 1
            taken.add(con_id)
            con_ids[symbol] = con_id
        self._by_symbol = {
            symbol: Instrument(symbol, con_id, _primary_exchange(symbol))
            for symbol, con_id in con_ids.items()
        }
        self._by_con_id = {instrument.con_id: instrument for instrument in self._by_symbol.values()}

    def get(self, symbol: str) -> Instrument | None:
        """Return the instrument called `symbol`, or None."""
        return self._by_symbol.get(symbol)

    def by_ib_symbol(self, symbol: str) -> Instrument | None:
        """Return the instrument that the broker spells `symbol`, or None; `BRK.B` is nothing to it."""
        return None if "." in symbol else self._by_symbol.get(symbol.replace(" ", "."))

    def by_con_id(self, con_id: int) -> Instrument | None:
        """Return the instrument with that contract id, or None."""
        return self._by_con_id.get(con_id)

    def con_ids(self) -> dict[str, int]:
        """Return every contract id by symbol."""
        return {symbol: instrument.con_id for symbol, instrument in self._by_symbol.items()}

    def __getitem__(self, symbol: str) -> Instrument:
        return self._by_symbol[symbol]


def _hashed(symbol: str, round_: int) -> int:
    text = symbol if round_ == 0 else f"{symbol}#{round_}"
    number = int.from_bytes(blake2s(text.encode(), digest_size=8).digest(), "big")
    return _CON_ID_LOWEST + number % (_CON_ID_HIGHEST - _CON_ID_LOWEST)


def _primary_exchange(symbol: str) -> str:
    """Return the listing exchange by the old convention: up to three letters NYSE, longer ones NASDAQ."""
    return "NYSE" if len(symbol) <= 3 else "NASDAQ"
