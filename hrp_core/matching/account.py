"""The simulated cash account: cash, positions with their cost, realized profit.

What belongs here: the arithmetic of one fill, in integer ten-thousandths of a dollar. Whether a fill may
happen is the engine's decision.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from hrp_core.matching.commission import half_even
from hrp_core.matching.orders import Fill, Side
from hrp_core.money import from_units, to_average


@dataclass(frozen=True, slots=True)
class Position:
    """Shares of one symbol.

    Attributes:
        cost_units: what the shares cost, commissions included (as the broker counts average cost).
        last_price_units: price of the latest execution, a share.
    """

    symbol: str
    shares: int
    cost_units: int
    last_price_units: int

    @property
    def average_cost(self) -> Decimal:
        """USD a share, commissions included, six places; 0 without shares."""
        return to_average(from_units(self.cost_units) / self.shares) if self.shares else Decimal(0)


class Account:
    """A cash account: never below zero cash, never short.

    At every moment, cash + cost of all positions = opening cash + realized profit.
    """

    def __init__(
        self,
        cash_units: int,
        opening_cash_units: int | None = None,
        realized_units: int = 0,
        positions: tuple[Position, ...] = (),
    ) -> None:
        self.cash_units = cash_units
        self.opening_cash_units = cash_units if opening_cash_units is None else opening_cash_units
        self.realized_units = realized_units
        self._positions = {position.symbol: position for position in positions}

    @property
    def positions(self) -> tuple[Position, ...]:
        """Positions with shares, sorted by symbol."""
        return tuple(self._positions[symbol] for symbol in sorted(self._positions))

    def position(self, symbol: str) -> Position | None:
        """Return the position in `symbol`; None without shares."""
        return self._positions.get(symbol)

    def shares(self, symbol: str) -> int:
        """Return the shares held of `symbol`."""
        position = self._positions.get(symbol)
        return position.shares if position else 0

    def apply(
        self, symbol: str, side: Side, shares: int, price_units: int, commission_units: int
    ) -> int | None:
        """Book one fill and return the profit it realized after commissions; None when it opens or adds.

        A sale takes its share of the position's cost, rounded half to even; the last sale takes the rest.

        Raises:
            ValueError: the fill would make cash negative or the position short.
        """
        value = shares * price_units
        held = self._positions.get(symbol, Position(symbol, 0, 0, price_units))
        if side is Side.BUY:
            spent = value + commission_units
            if spent > self.cash_units:
                raise ValueError(
                    f"a cash account cannot pay {from_units(spent)} out of {from_units(self.cash_units)}"
                )
            self.cash_units -= spent
            self._positions[symbol] = Position(
                symbol, held.shares + shares, held.cost_units + spent, price_units
            )
            return None
        if shares > held.shares:
            raise ValueError(f"a cash account cannot sell {shares} of {held.shares} shares of {symbol}")
        left = held.shares - shares
        cost = held.cost_units if left == 0 else half_even(held.cost_units * shares, held.shares)
        received = value - commission_units
        self.cash_units += received
        self.realized_units += received - cost
        if left:
            self._positions[symbol] = Position(symbol, left, held.cost_units - cost, price_units)
        else:
            del self._positions[symbol]
        return received - cost

    def split(self, symbol: str, shares: int, paid_units: int) -> None:
        """Turn the shares of a name into `shares`, and receive money for the fraction that is left.

        Their cost stays; where no whole share is left, it is realized against the money.
        """
        held = self._positions[symbol]
        self.cash_units += paid_units
        self.realized_units += paid_units
        if shares:
            price = half_even(held.last_price_units * held.shares, shares)
            self._positions[symbol] = replace(held, shares=shares, last_price_units=price)
        else:
            self.realized_units -= held.cost_units
            del self._positions[symbol]

    def take_back(self, fill: Fill) -> None:
        """Undo one fill: its shares, its money and what it realized.

        The cash may be below zero afterwards, until the fill is applied anew as corrected.

        Raises:
            ValueError: it bought shares that are no longer there.
        """
        value = fill.quantity * fill.price_units
        held = self._positions.get(fill.symbol, Position(fill.symbol, 0, 0, fill.price_units))
        if fill.side is Side.BUY:
            spent = value + fill.commission_units
            shares, cost = held.shares - fill.quantity, held.cost_units - spent
            if shares < 0:
                raise ValueError(f"{fill.quantity} of {held.shares} shares of {fill.symbol} cannot go back")
            self.cash_units += spent
        else:
            received, realized = value - fill.commission_units, fill.realized_units or 0
            shares, cost = held.shares + fill.quantity, held.cost_units + received - realized
            self.cash_units -= received
            self.realized_units -= realized
        if shares:
            self._positions[fill.symbol] = replace(held, shares=shares, cost_units=cost)
        else:
            # Shares sold in between took their part of an average cost that is different now.
            self.realized_units -= cost
            self._positions.pop(fill.symbol, None)

    def market_value_units(self, mark: Callable[[Position], int]) -> int:
        """Return the value of all positions, each at the price a share that `mark` gives for it."""
        return sum(position.shares * mark(position) for position in self._positions.values())
