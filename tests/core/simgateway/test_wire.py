"""Frames, fields, escapes and the handshake."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.simgateway.wire import (
    FieldReader,
    FrameBuffer,
    Handshake,
    WireError,
    decode_fields,
    encode_message,
    encode_value,
    escape,
    moment,
    price,
)

TEXT = st.text(st.characters(exclude_characters="\0\\", exclude_categories=["Cs"]), max_size=20)


def greeting(versions: bytes = b"v157..176") -> bytes:
    return b"API\0" + len(versions).to_bytes(4, "big") + versions


@given(st.lists(st.lists(TEXT, min_size=1, max_size=5), max_size=5), st.lists(st.integers(1, 9), max_size=30))
def test_messages_survive_any_cutting_of_the_byte_stream(messages, cuts):
    stream = greeting() + b"".join(encode_message(fields) for fields in messages)
    buffer, bodies = FrameBuffer(), []
    for cut in cuts:
        bodies += buffer.feed(stream[:cut])
        stream = stream[cut:]
    bodies += buffer.feed(stream)
    assert bodies[0] == b"v157..176"
    decoded = [
        [
            field.encode().decode("unicode-escape").encode("utf-16", "surrogatepass").decode("utf-16")
            for field in fields
        ]
        for fields in map(decode_fields, bodies[1:])
    ]
    assert decoded == messages


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "1"),
        (False, "0"),
        (0, "0"),
        (-1, "-1"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.000001"), "0.000001"),
        ("", ""),
        ("Nestlé €", r"Nestl\u00e9 \u20ac"),
        ("😀", r"\ud83d\ude00"),
    ],
)
def test_values_are_written_as_the_clients_read_them(value, text):
    assert encode_value(value) == text


def test_a_zero_byte_cannot_be_part_of_a_field():
    with pytest.raises(ValueError, match="zero byte"):
        escape("a\0b")


@pytest.mark.parametrize(
    ("units", "text"), [(123_450, "12.345"), (120_000, "12.0"), (1, "0.0001"), (0, "0.0"), (-15_000, "-1.5")]
)
def test_prices_are_plain_decimals(units, text):
    assert price(units) == text


def test_moments_are_new_york_time_with_the_zone_where_the_layout_has_it():
    when = datetime(2022, 12, 6, 14, 30, tzinfo=UTC)
    assert moment(when, 176) == "20221206 09:30:00 America/New_York"
    assert moment(when, 157) == "20221206  09:30:00"


@pytest.mark.parametrize(
    ("offer", "version"),
    [
        (b"v157..176", 176),
        (b"v157..178", 176),
        (b"v100..193 +PACEAPI", 176),
        (b"v100..157", 157),
        (b"v100..163", 157),
        (b"v157", 157),
        (b"v100..156", None),
        (b"v158..175", None),
        (b"v177..200", None),
    ],
)
def test_the_highest_common_implemented_version_is_announced(offer, version):
    assert Handshake.parse(offer).version() == version


@pytest.mark.parametrize("bytes_", [b"GET / HTTP/1.1\r\n", b"\0\0\0\x05hello", b"APIX"])
def test_a_stranger_on_the_port_is_recognised_by_its_first_bytes(bytes_):
    with pytest.raises(WireError, match="first bytes"):
        FrameBuffer().feed(bytes_)


def test_a_frame_beyond_the_limit_is_refused_before_it_is_read():
    with pytest.raises(WireError, match="limit"):
        FrameBuffer().feed(greeting() + b"\x7f\0\0\0")


@pytest.mark.parametrize(
    ("body", "message"), [(b"no end", "zero byte"), (b"\xff\0", "UTF-8"), (b"", "zero byte")]
)
def test_a_body_that_is_not_text_fields_is_refused(body, message):
    with pytest.raises(WireError, match=message):
        decode_fields(body)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("1.5", Decimal("1.5")),
        ("2147483647", None),
        ("9223372036854775807", None),
        ("1.7976931348623157E308", None),
        ("1.7976931348623157e+308", None),
        ("0", Decimal(0)),
    ],
)
def test_every_clients_way_to_say_nothing_is_understood(text, value):
    assert FieldReader([text]).number() == value


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (FieldReader.number, "abc", "field 1 must be a number, got 'abc'"),
        (FieldReader.number, "NaN", "must be a number"),
        (FieldReader.integer, "1.5", "must be a whole number"),
        (FieldReader.flag, "2", "must be 0 or 1"),
    ],
)
def test_a_malformed_field_is_named_by_message_and_position(read, text, message):
    reader = FieldReader(["3", text])
    reader.skip()
    with pytest.raises(WireError, match=f"message 3: .*{message}"):
        read(reader)


def test_a_missing_field_is_named_by_message_and_position():
    reader = FieldReader(["3"])
    reader.skip()
    with pytest.raises(WireError, match="message 3: field 1 is missing"):
        reader.text()
