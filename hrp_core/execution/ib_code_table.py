"""The message codes of TWS and IB Gateway as data: what each one says, means for an order, and asks of us.

What belongs here: rows, grouped into families that ask for the same reaction. No logic; `ib_codes` reads it.
Past 400 lines because it is one list.
Sources: IB's public message code list, and what traders of open-source systems met beyond it.
"""

from dataclasses import dataclass
from enum import StrEnum

from hrp_core.ledger.types import OrderStatus


class CodeKind(StrEnum):
    """What sort of thing a code reports."""

    INFO = "info"  # nothing is wrong
    WARNING = "warning"  # worth a log line; changes nothing for orders
    ORDER_REJECT = "order_reject"  # the order was not accepted
    ORDER_HELD = "order_held"  # accepted, waiting for something; neither dead nor working
    ORDER_CANCELLED = "order_cancelled"  # the order ended with the fills it had
    ORDER_QUERY = "order_query"  # the order's state is in doubt until open and completed orders are asked for
    CONNECTION_LOST = "connection_lost"  # TWS cannot reach IB, or we cannot reach TWS
    CONNECTION_RESTORED = "connection_restored"  # ask for executions before anything else
    PACING = "pacing"  # we asked too much too fast
    MARKET_DATA = "market_data"  # a price is missing, delayed or not permitted; never price an order from it
    REQUEST = "request"  # the request it answers failed
    CONFIG = "config"  # a person must change a setting of TWS, of IB Gateway or of ours
    UNKNOWN = "unknown"  # not in the table


@dataclass(frozen=True, slots=True)
class Code:
    """One message code.

    Attributes:
        code: IB's number.
        name: ours, in snake case: the reason class that is journaled.
        kind: what sort of thing it reports.
        means_for_order: the state of the order whose id it carries, if it says anything about it.
        action: what the system or the operator does.
        text: what it says, in our words.
        when: lower-case fragments; the row applies to messages that contain one of them (empty: to all).
        halts: an order that it names stops its basket and halts trading until a person has looked.
    """

    code: int
    name: str
    kind: CodeKind
    means_for_order: OrderStatus | None
    action: str
    text: str
    when: tuple[str, ...] = ()
    halts: bool = False


@dataclass(frozen=True, slots=True)
class _Family:
    """Codes of one kind that ask for one reaction. Rows: code, name, text and, optionally, fragments."""

    kind: CodeKind
    means: OrderStatus | None
    action: str
    rows: tuple[tuple[int, str, str] | tuple[int, str, str, tuple[str, ...]], ...]
    halts: bool = False


_K = CodeKind
_REJECTED, _UNKNOWN = OrderStatus.REJECTED, OrderStatus.UNKNOWN

_FAMILIES = (
    _Family(
        _K.CONNECTION_LOST,
        None,
        "send nothing; accept executions all the same; wait for 1101 or 1102, then ask for executions first",
        (
            (1100, "ib_connection_lost", "TWS has lost its connection to IB"),
            (
                2110,
                "server_connection_broken",
                "TWS has lost its connection to IB and will restore it itself",
            ),
        ),
    ),
    _Family(
        _K.CONNECTION_LOST,
        None,
        "this connection is over: reconnect with the same client id, then ask for executions first",
        (
            (1300, "socket_port_reset", "the socket port of TWS was changed and this connection is dropped"),
            (
                502,
                "cannot_connect",
                "nothing accepts API connections there: start TWS or IB Gateway, check the port",
            ),
            (504, "not_connected", "a request was made without a connection"),
            (507, "bad_message_length", "the stream is broken; often a client id that is already in use"),
        ),
    ),
    _Family(
        _K.CONNECTION_RESTORED,
        None,
        "ask for executions before any order",
        (
            (1101, "ib_connection_restored_data_lost", "TWS is back at IB; subscriptions are lost"),
            (1102, "ib_connection_restored", "TWS is back at IB; subscriptions are kept"),
        ),
    ),
    _Family(
        _K.CONFIG,
        None,
        "a person changes the set-up; nothing is retried with other values by itself",
        (
            (
                326,
                "client_id_in_use",
                "another connection uses this client id; end it, or wait until it is freed",
            ),
            (503, "tws_out_of_date", "TWS or IB Gateway is too old"),
            (505, "unknown_message_id", "the server did not know a message"),
            (2101, "account_subscription_clash", "other clients are subscribed to another account"),
        ),
    ),
    _Family(
        _K.INFO,
        None,
        "none",
        (
            (2104, "market_data_farm_ok", "a market data farm is connected"),
            (2106, "historical_data_farm_ok", "a historical data farm is connected"),
            (2107, "historical_data_farm_idle", "a historical data farm is idle and wakes on demand"),
            (2108, "market_data_farm_idle", "a market data farm is idle and wakes on demand"),
            (2119, "market_data_farm_connecting", "a market data farm is being connected"),
            (2158, "definition_farm_ok", "the security definition farm is connected"),
            (2100, "account_data_unsubscribed", "another client took the account subscription"),
            (2109, "outside_rth_ignored", "outside regular hours was ignored; the order was processed"),
            (501, "already_connected", "this client is connected already"),
        ),
    ),
    _Family(
        _K.INFO,
        None,
        "none: the order is live; an order queued for the open carries its active time in the text",
        (
            (399, "order_message", "a message about an order, such as: held until the open"),
            (
                10349,
                "tif_set_by_preset",
                "the time in force was set to DAY by a preset of TWS; the order lives on",
            ),
        ),
    ),
    _Family(
        _K.WARNING,
        None,
        "log; no order depends on it",
        (
            (2103, "market_data_farm_lost", "a market data farm is disconnected"),
            (2105, "historical_data_farm_lost", "a historical data farm is disconnected"),
            (2157, "definition_farm_lost", "the security definition farm is disconnected"),
            (2137, "cross_side", "the order would close a position and open the opposite one"),
            (2168, "etrade_only_ignored", "the eTradeOnly attribute is not supported"),
            (2169, "firm_quote_only_ignored", "the firmQuoteOnly attribute is not supported"),
            (131, "sweep_to_fill_ignored", "sweep-to-fill and display size were ignored"),
            (434, "zero_size_notice", "the order size is zero"),
        ),
    ),
    _Family(
        _K.ORDER_REJECT,
        _REJECTED,
        "no retry; the reason is journaled",
        (
            (
                201,
                "rejected_funds",
                "the broker rejected the order: not enough margin or cash",
                ("margin", "insufficient", "available funds", "settled cash", "buying power"),
            ),
            (
                201,
                "rejected_closed",
                "the broker rejected the order: the exchange is closed, or past its cut-off",
                ("exchange is closed", "market is closed", "too late", "cut-off", "cutoff"),
            ),
            (201, "rejected", "the broker rejected the order; its text says why"),
            (133, "submit_failed", "the order could not be submitted"),
            (388, "below_minimum_size", "the order is smaller than the minimum"),
            (160, "zero_size", "the size cannot be zero"),
        ),
    ),
    _Family(
        _K.ORDER_REJECT,
        _REJECTED,
        "no retry; the symbol is locked, dated, until a person or the next qualification frees it",
        (
            (154, "halted", "orders for a halted security are not transmitted"),
            (203, "not_allowed_for_account", "the security is not available or not allowed for this account"),
            (460, "no_trading_permission", "the account lacks the permission to trade this"),
            (412, "contract_not_tradable", "the contract is not available for trading"),
            (392, "contract_expired", "the contract has expired"),
            (116, "dead_exchange", "the destination exchange is not available"),
            (10016, "contract_not_visible", "the contract is not visible"),
            (10017, "contracts_not_visible", "some contracts are not visible"),
        ),
    ),
    _Family(
        _K.ORDER_REJECT,
        _REJECTED,
        "our own limits are tighter, so our sizing or pricing is wrong: halt the basket; look in TWS whether "
        "the order waits there to be transmitted by hand, then resume trading",
        (
            (109, "price_outside_percentage", "the price is outside the percentage of the order defaults"),
            (
                163,
                "price_percentage_violated",
                "the price violates the percentage constraint of the order defaults",
            ),
            (382, "price_ticks_violated", "the price violates the number of ticks of the order defaults"),
            (383, "size_limit_violated", "the size violates the size limit of the order defaults"),
            (
                451,
                "value_limit_violated",
                "the order is worth more than the total value limit of the presets",
            ),
        ),
        halts=True,
    ),
    _Family(
        _K.ORDER_REJECT,
        _REJECTED,
        "no retry; the order was built wrongly: correct its price or size, or the contract's tick",
        (
            (110, "price_off_tick", "the price is no multiple of the minimum tick at that price"),
            (140, "size_not_integer", "the size must be a whole number"),
            (141, "price_not_a_number", "the price must be a number"),
            (355, "size_off_market_rule", "the size does not conform to the market rule"),
            (10250, "size_off_increment", "the size does not conform to the minimum size increment"),
        ),
    ),
    _Family(
        _K.ORDER_REJECT,
        _REJECTED,
        "no retry; whole shares only, the residual is carried",
        (
            (
                10241,
                "cash_quantity_not_modifiable",
                "an order in money terms cannot be modified through the API",
            ),
            (10243, "fraction_refused", "a fractional order cannot be placed through the API"),
            (10244, "cash_quantity_refused", "cash quantity cannot be used for this order"),
            (10245, "fraction_unsupported_instrument", "the instrument does not trade in fractions"),
            (10246, "fraction_unsupported_order", "the order does not support fractions"),
            (10247, "fraction_needs_smart", "only SMART routing supports fractions"),
            (10248, "fraction_not_permitted", "the account may not trade fractions"),
            (10249, "fraction_unsupported_type", "the order type does not support fractions"),
        ),
    ),
    _Family(
        _K.ORDER_REJECT,
        _REJECTED,
        "no retry; past its window the order is skipped, never turned into another type",
        (
            (111, "tif_incompatible", "time in force and order type do not go together"),
            (113, "auction_needs_day", "MOC and LOC orders need time in force DAY"),
            (334, "good_till_date_invalid", "the good-till-date is invalid"),
            (337, "date_invalid", "a date, time or zone of the order is invalid"),
            (343, "date_time_invalid", "a date, time or zone of the order is invalid"),
            (387, "type_unsupported", "the exchange does not support this order type for the security"),
        ),
    ),
    _Family(
        _K.ORDER_REJECT,
        _REJECTED,
        "no retry; the order's fields contradict each other: correct the code that built it",
        (
            (107, "incomplete_order", "an incomplete order cannot be transmitted"),
            (145, "entry_validation_failed", "the entry fields failed validation"),
            (303, "action_invalid", "the action is invalid"),
            (421, "route_invalid", "the route is invalid"),
            (
                422,
                "account_not_changeable",
                "account and clearing attributes of the order may not be changed",
            ),
            (435, "account_missing", "an account must be given"),
            (10268, "etrade_only_refused", "the eTradeOnly attribute is refused: set it to false"),
            (10269, "firm_quote_only_refused", "the firmQuoteOnly attribute is refused: set it to false"),
            (10270, "nbbo_cap_refused", "the nbboPriceCap attribute is refused: leave it unset"),
        ),
    ),
    _Family(
        _K.CONFIG,
        _REJECTED,
        "no order is accepted until a person changes the set-up of TWS or IB Gateway",
        (
            (
                321,
                "read_only_api",
                "the API is read-only: untick 'Read-Only API' in the API settings of TWS or IB Gateway",
                ("read-only", "read only"),
            ),
            (10015, "api_trading_not_allowed", "trading through the API is not allowed"),
            (438, "application_locked", "TWS is locked"),
        ),
    ),
    _Family(
        _K.REQUEST,
        _REJECTED,
        "only the request or the order that it answers is refused",
        (
            (200, "unknown_contract", "no such contract, or more than one: renamed, delisted, ambiguous"),
            (320, "request_unreadable", "the server could not read a request"),
            (321, "request_invalid", "the server found a request invalid; its text says what to correct"),
        ),
    ),
    _Family(
        _K.ORDER_HELD,
        OrderStatus.HELD,
        "held, not dead: time-boxed, then cancelled and queried",
        (
            (
                404,
                "held_for_locate",
                "no shares to borrow at the moment; the order waits while they are located",
            ),
        ),
    ),
    _Family(
        _K.ORDER_CANCELLED,
        OrderStatus.CANCELLED,
        "the order keeps its fills; the rest is the next session's drift, never chased",
        ((202, "cancelled", "the order was cancelled; its text says why"),),
    ),
    _Family(
        _K.ORDER_QUERY,
        _UNKNOWN,
        "the order may be live: ask for open orders, completed orders and executions; never send it again",
        (
            (103, "duplicate_order_id", "the order id was used before; the next ids are moved past it"),
            (104, "modify_of_filled_order", "a filled order cannot be modified"),
            (105, "modify_differs", "a modification does not match the original order"),
            (134, "modify_failed", "the modification failed"),
            (135, "order_id_not_found", "there is no order with this id"),
            (136, "not_cancellable", "this order cannot be cancelled"),
            (161, "cancel_not_possible", "the order was not in a state that can be cancelled"),
            (164, "no_price_to_check", "there is no market data to check the price limits with"),
            (322, "request_failed", "the server failed to process a request"),
            (323, "server_error", "the server failed"),
            (512, "order_not_sent_cleanly", "the order failed while it was being sent"),
            (2102, "still_processing", "the order cannot be modified while it is processed"),
            (10147, "cancel_unknown_order", "the order to cancel was not found"),
            (10148, "cancel_refused", "the order to cancel is in a state that cannot be cancelled"),
        ),
    ),
    _Family(
        _K.PACING,
        None,
        "slow down and ask again; IB ends connections that go on",
        (
            (100, "message_rate_exceeded", "more than 50 messages a second"),
            (101, "too_many_tickers", "too many market data lines"),
            (162, "history_pacing", "too many historical data requests", ("pacing",)),
        ),
    ),
    _Family(
        _K.REQUEST,
        None,
        "the request that it answers failed",
        (
            (
                162,
                "history_cancelled",
                "the historical data request was cancelled",
                ("cancelled", "canceled"),
            ),
            (162, "history_no_data", "there is no historical data for the request"),
            (165, "history_message", "a message of the historical data service"),
            (166, "history_expired_contract", "no historical data for an expired contract"),
        ),
    ),
    _Family(
        _K.MARKET_DATA,
        None,
        "no price from this answer is used; delayed data never prices an order",
        (
            (354, "market_data_not_subscribed", "the market data is not subscribed"),
            (492, "scanner_needs_permission", "precise scanner results need more permissions"),
            (10089, "market_data_needs_subscription", "the market data needs a further subscription"),
            (10090, "market_data_partly_subscribed", "part of the market data is not subscribed"),
            (10167, "delayed_market_data", "delayed market data is sent instead"),
            (10168, "no_market_data", "not subscribed, and delayed data is not enabled"),
            (10186, "no_delayed_market_data", "not subscribed, and delayed data is not enabled"),
            (10197, "competing_session", "no market data while another session uses the login: abort"),
            (10225, "bust_ended_subscription", "a bust ended the subscription: subscribe again"),
        ),
    ),
)

ROWS: tuple[Code, ...] = tuple(
    Code(
        *(row[0], row[1], family.kind, family.means, family.action, row[2]),
        when=row[3] if len(row) > 3 else (),
        halts=family.halts,
    )
    for family in _FAMILIES
    for row in family.rows
)
