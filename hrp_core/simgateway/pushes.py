"""What a client gets of positions, account values and quotes: at once when it asks, later when they change.

What belongs here: the message sequences of these subscriptions.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from hrp_core.matching import Instrument, Position, official_quote
from hrp_core.money import from_units, to_units
from hrp_core.simgateway import messages
from hrp_core.simgateway.account_values import account_values, unrealized_units
from hrp_core.simgateway.faults import About
from hrp_core.simgateway.faults.lasting import Halted, PriorClose
from hrp_core.simgateway.wire import price

if TYPE_CHECKING:
    from hrp_core.simgateway.session import ClientSession

# Tick types of the protocol.
_LAST, _CLOSE, _OPEN, _HALTED = 4, 9, 14, 49


def send_positions(session: "ClientSession", symbols: Iterable[str]) -> None:
    """Send the position in each symbol; one that was sold out is sent with no shares."""
    brokerage = session.brokerage
    held = {position.symbol: position for position in brokerage.positions()}
    for symbol in symbols:
        position = held.get(symbol)
        shares, average = (position.shares, position.average_cost) if position else (0, Decimal(0))
        session.send(messages.position(brokerage.account, brokerage.instruments[symbol], shares, average))


def send_account(session: "ClientSession") -> None:
    """Send all account values and the portfolio."""
    brokerage = session.brokerage
    engine = brokerage.engine
    for value in account_values(engine, brokerage.account):
        session.send(messages.account_value(brokerage.account, value.key, value.value, value.currency))
    held = {position.symbol: position for position in brokerage.positions()}
    # A position that was sold out is sent once more, with no shares; clients drop it only then.
    for symbol in sorted(held.keys() | session.portfolio_symbols):
        position = held.get(symbol, Position(symbol, 0, 0, 0))
        session.send(
            messages.portfolio_value(
                brokerage.account,
                brokerage.instruments[symbol],
                position.shares,
                from_units(engine.mark_units(position)),
                position.average_cost,
                from_units(unrealized_units(engine, position)),
            )
        )
    session.portfolio_symbols = set(held)
    session.send(messages.account_update_time(brokerage.now))


def send_multi(session: "ClientSession", request_id: int) -> None:
    """Send all account values under a request id."""
    brokerage = session.brokerage
    for value in account_values(brokerage.engine, brokerage.account):
        session.send(
            messages.account_update_multi(
                request_id, brokerage.account, value.key, value.value, value.currency
            )
        )


def send_summary(session: "ClientSession", request_id: int, tags: frozenset[str]) -> None:
    """Send the account values that were asked for; `$LEDGER` in `tags` means all of them."""
    brokerage = session.brokerage
    everything = any(tag.startswith("$LEDGER") for tag in tags)
    for value in account_values(brokerage.engine, brokerage.account):
        if everything or value.key in tags:
            session.send(
                messages.account_summary(
                    request_id, brokerage.account, value.key, value.value, value.currency
                )
            )


def send_quote(session: "ClientSession", request_id: int, instrument: Instrument) -> None:
    """Send last, prior close and open, as far as they are known, and whether trading is halted."""
    brokerage = session.brokerage
    known = official_quote(brokerage.engine.tape, instrument.symbol, brokerage.now, brokerage.calendar)
    about = About(symbol=instrument.symbol)
    scripted = brokerage.faults.in_force(PriorClose, about)
    close = to_units(scripted.price) if isinstance(scripted, PriorClose) else known.close
    for tick_type, units in ((_LAST, known.last), (_CLOSE, close), (_OPEN, known.open)):
        if units is not None:
            session.send(messages.tick_price(request_id, tick_type, price(units)))
    session.send(
        messages.tick_generic(request_id, _HALTED, int(bool(brokerage.faults.in_force(Halted, about))))
    )


def push_positions(session: "ClientSession", traded: Iterable[str]) -> None:
    """Send changed positions to a subscriber."""
    if session.wants_positions:
        send_positions(session, traded)


def push_account(session: "ClientSession") -> None:
    """Send the account's figures to a subscriber."""
    if session.wants_account_updates:
        send_account(session)
    for request_id in sorted(session.multi_requests):
        send_multi(session, request_id)
    for request_id, tags in sorted(session.summary_requests.items()):
        send_summary(session, request_id, tags)


def push_quotes(session: "ClientSession") -> None:
    """Send quotes to a subscriber."""
    for request_id, instrument in sorted(session.tickers.items()):
        send_quote(session, request_id, instrument)
