"""Packets as another library reads them, and acknowledgements in any cutting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.packets import acknowledged, properties, publish, whole_packets

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=300)


@given(
    headers=st.lists(st.tuples(texts, texts), max_size=4),
    expiry=st.none() | st.integers(0, 2**32 - 1),
    correlation=st.none() | st.binary(max_size=200),
)
def test_properties_are_those_that_paho_reads(
    headers: list[tuple[str, str]], expiry: int | None, correlation: bytes | None
) -> None:
    sent = Parcel(("t",), b"", headers=tuple(headers), expiry=expiry, correlation=correlation)
    data = properties(sent)
    read = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    _, length = read.unpack(data)
    assert length == len(data)
    assert (read.PayloadFormatIndicator, read.ContentType) == (1, "application/json")
    assert list(getattr(read, "UserProperty", [])) == headers
    assert getattr(read, "MessageExpiryInterval", None) == expiry
    assert getattr(read, "CorrelationData", None) == correlation


@given(
    topic=texts,
    payload=st.binary(max_size=40_000),
    qos=st.sampled_from([0, 1]),
    retain=st.booleans(),
    number=st.integers(1, 0xFFFF),
)
def test_a_packet_has_every_part_in_its_place(
    topic: str, payload: bytes, qos: int, retain: bool, number: int
) -> None:
    parcel = Parcel((topic,), payload, qos=qos, retain=retain)  # type: ignore[arg-type]
    own = properties(parcel)
    packet = publish(parcel, topic, number, own)
    assert packet[0] == 0x30 | qos << 1 | retain
    assert list(whole_packets(packet)) == [packet]
    name = topic.encode()
    identifier = number.to_bytes(2) if qos else b""
    body = len(name).to_bytes(2) + name + identifier + own + payload
    assert packet.endswith(body)
    assert len(packet) - len(body) <= 5
    assert publish(parcel, topic, number).endswith(name + identifier + payload)  # 3.1.1


packets = st.one_of(
    st.tuples(st.integers(0, 0xFFFF), st.sampled_from([None, 0, 0x10, 0x87])).map(
        lambda one: (
            bytes([0x40, 2 if one[1] is None else 3])
            + one[0].to_bytes(2)
            + (b"" if one[1] is None else bytes([one[1]]))
        )
    ),
    st.binary(max_size=300).map(lambda body: publish(Parcel(("t",), body, qos=0), "t", 0)),
    st.just(b"\xd0\x00"),
)


@given(st.lists(packets, max_size=8), st.lists(st.integers(1, 50), min_size=1))
def test_packets_are_found_in_any_cutting(sent: list[bytes], cuts: list[int]) -> None:
    data, found, rest = b"".join(sent), list[bytes](), b""
    while data:
        for cut in cuts:
            rest, data = rest + data[:cut], data[cut:]
            complete = list(whole_packets(rest))
            found += complete
            rest = rest[sum(map(len, complete)) :]
    assert found == sent
    assert not rest


def test_only_an_acknowledgement_is_one() -> None:
    assert acknowledged(bytes([0x40, 2, 1, 2])) == (0x0102, 0)
    assert acknowledged(bytes([0x40, 3, 1, 2, 0x87])) == (0x0102, 0x87)
    assert acknowledged(bytes([0x40, 4, 0, 7, 0x10, 0])) == (7, 0x10)
    assert acknowledged(bytes([0xD0, 0])) is None
    assert acknowledged(bytes([0x90, 3, 1, 2, 0])) is None
    assert acknowledged(bytes([0x40, 1, 2])) is None
