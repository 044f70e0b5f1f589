"""MQTT 5 properties, as another library reads them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.properties import packed

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=300)


@given(
    headers=st.lists(st.tuples(texts, texts), max_size=4),
    expiry=st.none() | st.integers(0, 2**32 - 1),
    correlation=st.none() | st.binary(max_size=200),
)
def test_packed_properties_are_those_that_paho_reads(
    headers: list[tuple[str, str]], expiry: int | None, correlation: bytes | None
) -> None:
    sent = Parcel(("t",), b"", headers=tuple(headers), expiry=expiry, correlation=correlation)
    data = packed(sent).pack()
    read = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    _, length = read.unpack(data)
    assert length == len(data)
    assert (read.PayloadFormatIndicator, read.ContentType) == (1, "application/json")
    assert list(getattr(read, "UserProperty", [])) == headers
    assert getattr(read, "MessageExpiryInterval", None) == expiry
    assert getattr(read, "CorrelationData", None) == correlation
