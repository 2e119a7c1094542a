"""What was paid in commissions for the shares still held.

What belongs here: one pure fold over executions and splits, for the cost basis of a position. What does not:
cash, which counts every commission once (`book`).
"""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from hrp_core.ledger.book import in_order
from hrp_core.ledger.splits import split_shares
from hrp_core.ledger.types import BookedSplit, Execution
from hrp_core.money import to_money


def held_commissions(
    executions: Iterable[Execution], splits: Iterable[BookedSplit] = ()
) -> dict[str, Decimal]:
    """Return the commissions of the shares still held, USD by symbol, as average cost carries prices.

    A purchase adds its commission, a reduction takes its share of what was paid with it, a position that
    crosses zero keeps the new side's share of the commission. One that was not reported yet counts as zero.

    Args:
        executions: the effective executions of the account, in any order.
        splits: those in the ledger; the fraction of a share that one leaves takes its share of what was paid.
    """
    shares: dict[str, int] = {}
    paid: dict[str, Fraction] = {}
    for item in in_order(executions, splits):
        if isinstance(item, BookedSplit):
            if before := shares.get(item.symbol, 0):
                after = split_shares(before, item.ratio)
                shares[item.symbol] = after
                paid[item.symbol] *= after / (before * item.ratio)
            continue
        assert isinstance(item, Execution)
        symbol, signed = item.contract.symbol, item.side.sign * item.shares
        before = shares.get(symbol, 0)
        after = before + signed
        commission = Fraction(item.commission or 0)
        if before * signed >= 0:
            kept = paid.get(symbol, Fraction(0)) + commission
        elif before * after > 0:
            kept = paid.get(symbol, Fraction(0)) * Fraction(after, before)
        else:
            kept = commission * Fraction(abs(after), abs(signed))
        shares[symbol], paid[symbol] = after, kept
    return {
        symbol: to_money(Decimal(kept.numerator) / Decimal(kept.denominator))
        for symbol, kept in paid.items()
        if shares[symbol]
    }
