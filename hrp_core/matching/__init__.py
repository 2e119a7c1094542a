"""The matching engine: the market and the account that the simulated gateway, `SimBroker` and replay share.

What belongs here: prices on a tape, order types, commissions, one cash account. No wire, no files, no wall
clock, nothing of the system that trades with it.
"""

from hrp_core.matching.account import Account, Position
from hrp_core.matching.commission import fill_commission, order_commission
from hrp_core.matching.engine import Engine
from hrp_core.matching.instruments import Instrument, Instruments
from hrp_core.matching.orders import (
    Event,
    Fill,
    NewOrder,
    Order,
    OrderAccepted,
    OrderActivated,
    OrderCancelled,
    OrderEdited,
    OrderFilled,
    OrderRejected,
    OrderState,
    Refusal,
    Side,
)
from hrp_core.matching.preview import Preview, preview, previewed_order
from hrp_core.matching.quotes import OfficialQuote, official_quote
from hrp_core.matching.state import EngineState
from hrp_core.matching.tape import Tape

__all__ = [
    "Account",
    "Engine",
    "EngineState",
    "Event",
    "Fill",
    "Instrument",
    "Instruments",
    "NewOrder",
    "OfficialQuote",
    "Order",
    "OrderAccepted",
    "OrderActivated",
    "OrderCancelled",
    "OrderEdited",
    "OrderFilled",
    "OrderRejected",
    "OrderState",
    "Position",
    "Preview",
    "Refusal",
    "Side",
    "Tape",
    "fill_commission",
    "official_quote",
    "order_commission",
    "preview",
    "previewed_order",
]
