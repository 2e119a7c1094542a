"""The orderRef: the one name by which an attempt is known to us, to the broker and to a person in TWS.

What belongs here: building and parsing it. `S221215-265598-k3f9qa-1` is environment, decision session, conId,
first characters of the intent id, attempt.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime

from hrp_core.errors import DataError

MAX_LENGTH = 30
_ENVIRONMENTS = {"sim": "S", "paper": "P", "live": "L"}
_MODES = {letter: mode for mode, letter in _ENVIRONMENTS.items()}
_INTENT_CHARACTERS = 6
_PATTERN = re.compile(r"([SPL])(\d{6})-([1-9]\d*)-([a-z2-7]{6})-([1-9]\d*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class OrderRef:
    """The parts of an orderRef.

    Attributes:
        session: decision session of the plan.
        intent: first six characters of the intent id.
        attempt: 1 for the first sending of the intent.
    """

    mode: str
    session: date
    con_id: int
    intent: str
    attempt: int

    def __str__(self) -> str:
        return f"{_ENVIRONMENTS[self.mode]}{self.session:%y%m%d}-{self.con_id}-{self.intent}-{self.attempt}"


def build_order_ref(mode: str, session: date, con_id: int, intent_id: str, attempt: int) -> str:
    """Return the orderRef of an attempt: ASCII, at most 30 characters.

    Raises:
        DataError: a part is out of range.
    """
    if mode not in _ENVIRONMENTS:
        raise DataError(f"no orderRef for mode {mode!r}; modes are {', '.join(_ENVIRONMENTS)}")
    text = str(OrderRef(mode, session, con_id, intent_id[:_INTENT_CHARACTERS], attempt))
    if len(text) > MAX_LENGTH or parse_order_ref(text) is None:
        raise DataError(f"cannot name attempt {attempt} of intent {intent_id} for conId {con_id}: {text!r}")
    return text


def parse_order_ref(text: str) -> OrderRef | None:
    """Return the parts of an orderRef of this system, or None for any other text."""
    match = _PATTERN.fullmatch(text)
    if match is None or len(text) > MAX_LENGTH:
        return None
    letter, day, con_id, intent, attempt = match.groups()
    try:
        session = datetime.strptime(f"20{day}", "%Y%m%d").date()  # noqa: DTZ007 - a session has no time zone
    except ValueError:
        return None
    return OrderRef(_MODES[letter], session, int(con_id), intent, int(attempt))
