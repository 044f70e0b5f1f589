"""Commands from untrusted bytes: read, or refused with the reason; never half."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices import NS, Event
from innpar.devices.session.items import pack_event
from innpar.stream.messages.commands import (
    LARGEST,
    NAMES,
    Calibrate,
    CommandError,
    Mark,
    Undo,
    name_of,
    parse_command,
)
from innpar.stream.messages.payload import parcel, reply_parcel
from support.schemas import schema

SCHEMAS = {name: schema(name) for name in NAMES}


def read(name: str, payload: bytes | str) -> Any:
    raw = payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload
    return parse_command(name, "demo", raw, None)


@pytest.mark.parametrize(
    ("payload", "command"),
    [
        ('{"sbp":128,"dbp":79}', Calibrate("demo", 128, 79)),
        ('{"sbp":128,"dbp":79,"confirm":true}', Calibrate("demo", 128, 79, confirm=True)),
        ('{"sbp":128,"dbp":79,"time":5}', Calibrate("demo", 128, 79, 5 * NS)),
        ('{"undo":true}', Undo("demo")),
    ],
)
def test_valid_calibrations(payload: str, command: Calibrate | Undo) -> None:
    assert read("calibrate", payload) == command
    assert name_of(command) == "calibrate"
    SCHEMAS["calibrate"].validate(json.loads(payload))


@pytest.mark.parametrize(
    ("name", "payload", "why"),
    [
        ("mark", b'{"text":"\\ud800"}', "lone surrogates"),
        ("mark", b'{"text":"a\\nb"}', "without control characters"),
        ("mark", b'{"text":"\\u001b[2J"}', "without control characters"),
        ("mark", b'{"text":"a\\u2028b"}', "without control characters"),
        ("mark", '{"text":"\x7f"}', "without control characters"),
        ("mark", b'{"text":"\xed\xa0\x80"}', "such as"),
        ("mark", b'{"text":"\xff"}', "such as"),
        ("mark", '{"text":"x","text":"y"}', "'text' stands twice"),
        ("mark", '{"text":"x","note":"y"}', "'note' is not a key of mark: use text, time"),
        ("mark", b'{"text":"x","\\ud800":1}', "is not a key of mark"),
        ("mark", '{"text":"%s"}' % ("x" * 501), "1 to 500 characters"),
        ("mark", '{"text":"x","time":NaN}', "NaN is not a number"),
        ("mark", '{"text":"%s"}' % ("x" * LARGEST), "at most 65536 bytes"),
        ("mark", "[" * 60_000, "such as"),
        ("mark", '{"text":"x"}'.encode("utf-16"), "such as"),
        ("calibrate", '{"sbp":1e999,"dbp":79}', "lies within"),
        ("calibrate", '{"sbp":%s,"dbp":79}' % ("9" * 5000), "such as"),
        ("calibrate", '{"sbp":128,"dbp":79,"confirm":1}', "'confirm' is true or false"),
        ("calibrate", '{"sbp":128,"dbp":79,"undo":true}', "stands alone"),
        ("calibrate", '{"undo":false}', "stands alone"),
        ("calibrate", '{"undo":1}', "stands alone"),
        ("calibrate", '{"undo":true,"time":5}', "stands alone"),
        ("calibrate", '{"sbp":128,"dbp":79,"text":"x"}', "is not a key of calibrate"),
        ("record", '{"record":true,"text":"x"}', "is not a key of record"),
    ],
)
def test_refused_commands(name: str, payload: bytes | str, why: str) -> None:
    with pytest.raises(CommandError, match=why) as caught:
        read(name, payload)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message.encode()) < 300
    reply_parcel(name, "demo", message, "bp/reply/1", None)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(60, 200)
    | st.text(st.characters(exclude_categories=()), max_size=12),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
keys = st.sampled_from(("sbp", "dbp", "time", "confirm", "undo", "text", "record", "x", "\ud800"))


@given(st.sampled_from(NAMES), st.dictionaries(keys, values, max_size=4))
def test_every_accepted_command_is_of_its_schema_and_can_be_written(
    name: str, message: dict[str, Any]
) -> None:
    try:
        command = read(name, json.dumps(message))
    except CommandError as error:
        reply_parcel(name, "demo", str(error), "bp/reply/1", None)
        return
    SCHEMAS[name].validate(message)
    if isinstance(command, Mark):
        event = Event("demo", "marker", 0, 0, {"text": command.text})
        pack_event(event)
        parcel(event)


@given(st.sampled_from(NAMES), st.binary(max_size=200))
def test_random_bytes_are_refused(name: str, payload: bytes) -> None:
    with pytest.raises(CommandError, match=r"such as|key of|stands|is|has"):
        read(name, b"x" + payload)
