"""What replay reads: stored prices as arrays, and everything about a session that the decision is made from.

What belongs here: the inputs of the loop. What does not: deciding and trading (`loop`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import NotReadyError
from hrp_core.features import FEATURES, INPUT_FIELDS, compute
from hrp_core.ledger.splits import split_ratio
from hrp_core.ledger.types import BookedSplit
from hrp_core.market import Panel, to_panel
from hrp_core.market.load import KNOWN_SESSIONS
from hrp_core.matching import Tape
from hrp_core.portfolio.signals import strategy_signals
from hrp_core.portfolio.stored import holding_ages, sell_only, to_be_sold
from hrp_core.portfolio.types import Strategy, StrategySignals
from hrp_core.store import Store, newest_session, read_table, table


@dataclass(frozen=True, slots=True)
class History:
    """Prices of n symbols over T sessions, and what was stored about them.

    Attributes:
        panel: the fields that features are computed from.
        tape: the same prices for the matching engine.
        known: shape (T, n), whether a name had a price in the session or in the year before it.
        universe: by session that has one stored, whether each name was in the universe. Where none is stored,
            every name known is in it while it has a price.
        removed: by session, names that have left the universe and are to be sold.
        sell_only: by session, names that have left it and are scored all the same, to be sold by it or held.
        predictions: stored scores by session, strategy and symbol; of every session that has any.
    """

    panel: Panel
    tape: Tape
    known: NDArray[np.bool_]
    universe: Mapping[date, Mapping[str, bool]] = field(default_factory=dict)
    removed: Mapping[date, frozenset[str]] = field(default_factory=dict)
    predictions: Mapping[date, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    sell_only: Mapping[date, frozenset[str]] = field(default_factory=dict)
    _features: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def from_prices(cls, prices: pd.DataFrame) -> "History":
        """Return the history of a long price frame (columns of `PriceSource.load`)."""
        panel = to_panel(prices, *INPUT_FIELDS)
        count = np.cumsum(np.isfinite(panel.close), axis=0)
        before = np.zeros_like(count)
        before[KNOWN_SESSIONS + 1 :] = count[: -(KNOWN_SESSIONS + 1)]
        return cls(panel, Tape.from_frame(prices), count > before)

    @classmethod
    def from_store(cls, store: Store) -> "History":
        """Return the history of everything that is stored.

        Raises:
            NotReadyError: no prices are stored.
        """
        prices = read_table(store, table("prices"))
        if prices.empty:
            raise NotReadyError("no prices are stored; run `hrp data load`")
        history = cls.from_prices(prices)
        universe, removed, sell_only = _universe(store)
        return cls(
            history.panel, history.tape, history.known, universe, removed, _predictions(store), sell_only
        )

    @property
    def splits(self) -> tuple[BookedSplit, ...]:
        """The splits that the prices state, by session and symbol."""
        factors = self.panel.fields.get("split_factor")
        if factors is None:
            return ()
        rows, columns = np.nonzero(np.isfinite(factors) & (factors != 1))
        return tuple(
            BookedSplit(
                self.panel.symbols[column],
                (session := self.panel.sessions[row]),
                split_ratio(float(factors[row, column])),
                "replay",
                datetime.combine(session, time(), NEW_YORK),
            )
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        )

    def members(self, session: date) -> dict[str, bool]:
        """Return the names known on a session, and whether each is in the universe."""
        if session in self.universe:
            return dict(self.universe[session])
        row = self.panel.position(session)
        priced = np.isfinite(self.panel.close[row])
        return {
            symbol: bool(priced[column])
            for column, symbol in enumerate(self.panel.symbols)
            if self.known[row, column]
        }

    def signals(
        self, session: date, strategies: Sequence[Strategy], earlier: Mapping[str, Sequence[frozenset[str]]]
    ) -> list[StrategySignals]:
        """Return the signals of each strategy for a session.

        A feature is computed anew from the prices; the scores of a trained model are those that were stored,
        because a model may not score what it was trained on.

        Args:
            session: decision session D.
            strategies: deployed and paused ones.
            earlier: by strategy, the names with a positive signal on each earlier session, for rules that
                remember.

        Raises:
            NotReadyError: a strategy's model is no feature, and nothing at all was scored on the session.
        """
        members = self.members(session)
        names = sorted(members)
        asked = {name for name in names if members[name]} | self.sell_only.get(session, frozenset())
        result = []
        for strategy in strategies:
            scored = self._scores(session, strategy)
            if scored is None:
                continue
            scores = np.array([scored.get(name, np.nan) if name in asked else np.nan for name in names])
            held = holding_ages(earlier.get(strategy.strategy_id, ()))
            result.append(replace(strategy_signals(strategy, names, scores, held), session=session))
        return result

    def _scores(self, session: date, strategy: Strategy) -> Mapping[str, float] | None:
        """Return scores by symbol; None where the strategy could not be scored on the day itself."""
        if strategy.model in FEATURES:
            if strategy.model not in self._features:
                self._features.update(compute(self.panel, [strategy.model]))
            row = self._features[strategy.model][self.panel.position(session)]
            return dict(zip(self.panel.symbols, row.tolist(), strict=True))
        if session not in self.predictions:
            raise NotReadyError(
                f"{strategy.strategy_id} is scored by the model {strategy.model!r}, and no predictions of "
                f"{session} are stored: a trained model is replayed only where it was run, because it may "
                "not score what it learned from. A strategy on a feature is replayed anywhere: name its file "
                "with --strategy"
            )
        return self.predictions[session].get(strategy.strategy_id)


def _universe(
    store: Store,
) -> tuple[dict[date, dict[str, bool]], dict[date, frozenset[str]], dict[date, frozenset[str]]]:
    """Return, by session, the members, the names to be sold, and those that a score may only sell."""
    members: dict[date, dict[str, bool]] = {}
    removed: dict[date, frozenset[str]] = {}
    only: dict[date, frozenset[str]] = {}
    if newest_session(store, table("universe")) is None:
        return members, removed, only
    for key, rows in read_table(store, table("universe")).groupby("session"):
        session, symbols, reasons = cast(date, key), rows["symbol"].tolist(), rows["reason"].tolist()
        members[session] = dict(zip(symbols, rows["in_universe"].tolist(), strict=True))
        removed[session] = to_be_sold(symbols, reasons)
        only[session] = sell_only(symbols, reasons)
    return members, removed, only


def _predictions(store: Store) -> dict[date, dict[str, dict[str, float]]]:
    if newest_session(store, table("predictions")) is None:
        return {}
    columns = ["session", "strategy_id", "symbol", "prediction"]
    frame = read_table(store, table("predictions"), columns=columns)
    found: dict[date, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for session, strategy_id, symbol, prediction in zip(
        *(frame[name].tolist() for name in columns), strict=True
    ):
        found[session][strategy_id][symbol] = prediction
    return dict(found)
