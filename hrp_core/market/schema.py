"""The columns of files of market data, by name, and of prices as every source hands them out.

What belongs here: names. What does not: reading and judging what stands below them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

PRICE_FIELDS = ("open", "high", "low", "close")
NUMBER_FIELDS = (*PRICE_FIELDS, "volume", "split_factor", "dividend")
PRICE_COLUMNS = ("session", "symbol", *NUMBER_FIELDS, "source")

NO_DAY = int(np.iinfo(np.int64).min)  # stands for a date that could not be read, in days since 1970-01-01


@dataclass(frozen=True, slots=True)
class FileSchema:
    """The columns of one kind of file.

    Attributes:
        what: what a row is, in the plural, for messages.
        columns: all columns there may be.
        required: columns there must be.
        aliases: other names of columns.
    """

    what: str
    columns: tuple[str, ...]
    required: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)


PRICE_FILE = FileSchema("prices", PRICE_COLUMNS, ("session", "symbol", "close"), {"date": "session"})
ACTIONS_FILE = FileSchema(
    "corporate actions",
    ("symbol", "kind", "effective_date", "factor", "amount"),
    ("symbol", "kind", "effective_date"),
    {"date": "effective_date", "effective date": "effective_date", "effective_session": "effective_date"},
)
UNIVERSE_FILE = FileSchema(
    "the universe",
    ("symbol", "from", "to", "policy"),
    ("symbol", "from"),
    {"removal policy": "policy", "removal_policy": "policy"},
)
