"""The wire codec: frames, fields, text escapes and the opening handshake.

What belongs here: bytes to fields and fields to bytes. What a message means is not known here. Source: the
TWS API socket protocol as the public client libraries speak it.
"""

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

from hrp_core.calendar import NEW_YORK
from hrp_core.errors import HrpError
from hrp_core.money import from_units

OLD_LAYOUT = 157
NEW_LAYOUT = 176
"""The two server versions whose message layouts are implemented, and so the only ones announced."""

TIME_ZONES_FROM = 174
"""From this server version on, times carry the name of their zone."""

UNSET_INTEGER = 2147483647
UNSET_LONG = 9223372036854775807
UNSET_DOUBLE = "1.7976931348623157E308"

MESSAGE_NAMES = {
    1: "tickPrice",
    3: "orderStatus",
    4: "error",
    5: "openOrder",
    6: "accountValue",
    7: "portfolioValue",
    8: "accountUpdateTime",
    9: "nextValidId",
    10: "contractDetails",
    11: "execDetails",
    15: "managedAccounts",
    17: "historicalData",
    45: "tickGeneric",
    49: "currentTime",
    52: "contractDetailsEnd",
    53: "openOrderEnd",
    54: "accountDownloadEnd",
    55: "execDetailsEnd",
    57: "tickSnapshotEnd",
    58: "marketDataType",
    59: "commissionReport",
    61: "position",
    62: "positionEnd",
    63: "accountSummary",
    64: "accountSummaryEnd",
    73: "accountUpdateMulti",
    74: "accountUpdateMultiEnd",
    93: "marketRule",
    101: "completedOrder",
    102: "completedOrdersEnd",
}
"""Names of the messages to clients, by number."""

_LENGTH = struct.Struct(">I")
_MAX_FRAME = 1 << 20
_HANDSHAKE_PREFIX = b"API\0"
_VERSIONS = re.compile(rb"v(\d+)(?:\.\.(\d+))?(?: .*)?\Z", re.DOTALL)

Value = str | int | bool | Decimal


class WireError(HrpError):
    """Bytes that are not the protocol, or a message whose fields do not make sense."""


def encode_message(values: Iterable[Value]) -> bytes:
    """Return one frame: a length, then every value followed by a zero byte."""
    body = "".join(f"{encode_value(value)}\0" for value in values).encode("ascii")
    return _LENGTH.pack(len(body)) + body


def encode_value(value: Value) -> str:
    """Return one field as text: flags as 1 and 0, decimals without exponent, text in escaped ASCII."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int):
        return str(value)
    return escape(value)


def escape(text: str) -> str:
    r"""Return `text` in ASCII, other characters as \uXXXX (UTF-16), which the clients unescape."""
    if "\0" in text:
        raise ValueError("a field cannot contain a zero byte")
    if text.isascii():
        return text
    units = struct.unpack(f">{len(text.encode('utf-16-be')) // 2}H", text.encode("utf-16-be"))
    return "".join(chr(unit) if unit < 128 else f"\\u{unit:04x}" for unit in units)


def decode_fields(body: bytes) -> list[str]:
    """Return the fields of a frame's body.

    Raises:
        WireError: the body is not text, or its last field does not end.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError(f"a message is not UTF-8 text: {error}") from None
    if not text.endswith("\0"):
        raise WireError("a message does not end with a zero byte")
    return text[:-1].split("\0")


class FrameBuffer:
    """Cuts a byte stream into the handshake and then into frames."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._greeted = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bodies of all frames that `data` completes; the first one ever is the handshake's.

        Raises:
            WireError: the stream does not begin as a client of this protocol begins, or a frame is too long.
        """
        self._data += data
        if not self._greeted:
            start = bytes(self._data[: len(_HANDSHAKE_PREFIX)])
            if not _HANDSHAKE_PREFIX.startswith(start):
                raise WireError("the first bytes are not those of an API client")
            if len(start) < len(_HANDSHAKE_PREFIX):
                return []
            del self._data[: len(_HANDSHAKE_PREFIX)]
            self._greeted = True
        bodies: list[bytes] = []
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            if length > _MAX_FRAME:
                raise WireError(f"a message of {length} bytes; the limit is {_MAX_FRAME}")
            end = _LENGTH.size + length
            if len(self._data) < end:
                break
            bodies.append(bytes(self._data[_LENGTH.size : end]))
            del self._data[:end]
        return bodies


@dataclass(frozen=True, slots=True)
class Handshake:
    """The range of server versions that a client can speak."""

    lowest: int
    highest: int

    @classmethod
    def parse(cls, body: bytes) -> "Handshake":
        """Return the range that a handshake such as ``v157..176`` offers.

        Raises:
            WireError: it is something else.
        """
        found = _VERSIONS.match(body)
        if found is None:
            raise WireError(f"not a handshake: {body[:40]!r}")
        lowest = int(found[1])
        return cls(lowest, int(found[2] or lowest))

    def version(self) -> int | None:
        """Return the server version to announce; None when there is none in common.

        Only the two implemented layouts are ever announced: in between, the layouts differ from message to
        message, and no client library in use needs them.
        """
        if self.highest >= NEW_LAYOUT and self.lowest <= NEW_LAYOUT:
            return NEW_LAYOUT
        if self.highest >= OLD_LAYOUT and self.lowest <= OLD_LAYOUT:
            return OLD_LAYOUT
        return None


class FieldReader:
    """Reads the fields of one message in order.

    A field that is missing or of the wrong type is a WireError that names message and position.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields
        self._next = 0

    @property
    def left(self) -> int:
        """Fields not read yet."""
        return len(self._fields) - self._next

    def text(self) -> str:
        """Return the next field."""
        if self._next >= len(self._fields):
            raise WireError(f"message {self._fields[0]}: field {self._next} is missing")
        self._next += 1
        return self._fields[self._next - 1]

    def skip(self, count: int = 1) -> None:
        """Pass over `count` fields."""
        for _ in range(count):
            self.text()

    def number(self) -> Decimal | None:
        """Return the next field as a number; None when it is empty or one of the values for `unset`."""
        text = self.text()
        if text == "":
            return None
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise self._wrong("a number", text) from None
        if value.is_nan():
            raise self._wrong("a number", text)
        unset = value in (UNSET_INTEGER, UNSET_LONG) or abs(value) >= Decimal("1e300")
        return None if unset else value

    def integer(self, default: int = 0) -> int:
        """Return the next field as a whole number; `default` when it is unset."""
        value = self.number()
        if value is None:
            return default
        if value != value.to_integral_value():
            raise self._wrong("a whole number", str(value))
        return int(value)

    def flag(self) -> bool:
        """Return the next field as a flag; unset is false."""
        text = self.text().lower()
        if text not in ("", "0", "1", "true", "false"):
            raise self._wrong("0 or 1", text)
        return text in ("1", "true")

    def _wrong(self, expected: str, text: str) -> WireError:
        return WireError(
            f"message {self._fields[0]}: field {self._next - 1} must be {expected}, got {text!r}"
        )


def price(units: int) -> str:
    """Return an amount in ten-thousandths of a dollar as the broker writes prices: 12.5, 80.0."""
    text = format(from_units(units), "f").rstrip("0")
    return f"{text}0" if text.endswith(".") else text


def moment(when: datetime, version: int) -> str:
    """Return a moment as execution and completion times are written, in New York time."""
    local = when.astimezone(NEW_YORK)
    if version >= TIME_ZONES_FROM:
        return f"{local:%Y%m%d %H:%M:%S} America/New_York"
    return f"{local:%Y%m%d  %H:%M:%S}"
