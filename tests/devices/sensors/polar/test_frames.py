"""The Polar codec: captured frames, every truncation of them, random bytes, and the way back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.devices.base import NS, BadPacket
from innpar.devices.sensors.polar import frames as pmd
from innpar.devices.sensors.polar.frames import MeasurementKind, Metadata, PpgFrame, Pulses
from innpar.devices.timing.timeline import spread
from innpar.devices.virtual.sensors.polar_encoder import encode, encode_pulses
from support.paths import SHARED

VECTORS = SHARED / "vectors/pmd_vectors.json"

# One 24-bit reference of 4 channels, a block of two 3-bit samples, one of a zero-width sample.
#   reference 1, -1, 256, 0; steps (3, -4, 0, 1), (-1, 1, 2, -2): bits LSB first, sample-major:
#   110 001 00|0 100 111 1|00 010 011.
HAND = bytes.fromhex("01 0068ab0a00000000 80 010000 ffffff 000100 000000 03 02 23f2c8 00 01")


def vectors() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        pytest.skip("the captured frames in ../shared/vectors are not here")
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text())
    return found


def test_hand_made_frame() -> None:
    frame = pmd.decode(HAND)
    assert isinstance(frame, PpgFrame)
    assert frame.time == 0x0AAB6800
    assert frame.channels == ("ppg0", "ppg1", "ppg2", "ambient")
    assert frame.samples.tolist() == [
        [1, -1, 256, 0],
        [4, -5, 256, 1],
        [3, -4, 258, -1],
        [3, -4, 258, -1],
    ]


def test_captured_frames_decode_exactly() -> None:
    for vector in vectors():
        frame = pmd.decode(bytes.fromhex(vector["hex"]))
        assert frame.time == vector["timestamp_ns"], vector["name"]
        if isinstance(frame, Pulses):
            assert [
                {
                    "hr": p.hr,
                    "ppi_ms": p.interval,
                    "err_ms": p.error,
                    "blocker": int(p.blocker),
                    "contact": int(bool(p.contact)),
                    "contact_supported": int(p.contact is not None),
                }
                for p in frame.pulses
            ] == vector["samples"]
            continue
        assert isinstance(frame, PpgFrame)
        assert frame.frame_type == vector["frame_type"] | vector["compressed"] << 7
        assert frame.samples.tolist() == vector["samples"], vector["name"]
        if "sample_times_ns" in vector:
            times = spread(vector["prev_timestamp_ns"], frame.time, vector["n"], NS)
            assert np.abs(times - vector["sample_times_ns"]).max() <= 128, vector["name"]
            assert times[-1] == frame.time


def check_truncations(raw: bytes) -> int:
    """Every cut is a correct prefix or refused; returns how many cuts were valid frames."""
    whole, valid = pmd.decode(raw), 0
    for end in range(len(raw)):
        try:
            cut = pmd.decode(raw[:end])
        except BadPacket:
            continue
        valid += 1
        if isinstance(whole, PpgFrame):
            assert isinstance(cut, PpgFrame)
            assert 0 < len(cut.samples) < len(whole.samples)
            assert (cut.samples == whole.samples[: len(cut.samples)]).all()
        else:
            assert isinstance(whole, Pulses)  # a metadata frame has one length
            assert isinstance(cut, Pulses)
            assert cut.pulses == whole.pulses[: len(cut.pulses)]
    return valid


def test_every_truncation_of_captured_frames() -> None:
    valid = {v["name"]: check_truncations(bytes.fromhex(v["hex"])) for v in vectors()}
    assert valid["verity_capture_2025_2blocks"] == 2  # after the reference, after the first block
    assert valid["verity_ppi_1"] == 4


WAVEFORMS = sorted(pmd.LAYOUTS)


@st.composite
def waveforms(draw: st.DrawFn) -> tuple[MeasurementKind, int, np.ndarray[Any, np.dtype[np.int64]]]:
    kind, frame_type = draw(st.sampled_from(WAVEFORMS))
    channels, size = pmd.LAYOUTS[kind, frame_type]
    bits = draw(st.integers(1, 8 * size))
    seed = draw(st.integers(0, 2**32 - 1))
    shape = (draw(st.integers(1, 130)), len(channels))
    rng = np.random.default_rng(seed)
    samples = rng.integers(-(1 << bits - 1), 1 << bits - 1, shape)
    if channels[-1] == "status":
        samples[:, -1] = rng.integers(0, 1 << 24, shape[0])
    return kind, frame_type, samples


@given(waveforms(), st.integers(0, 2**61), st.integers(90, 512))
@settings(deadline=None)
def test_what_is_encoded_decodes_and_survives_truncation(
    frame: tuple[MeasurementKind, int, np.ndarray[Any, np.dtype[np.int64]]], time: int, room: int
) -> None:
    kind, frame_type, samples = frame
    times = time + np.arange(len(samples), dtype=np.uint64)
    raw, taken = encode(kind, frame_type, times, samples, room)
    assert len(raw) <= room
    decoded = pmd.decode(raw)
    assert isinstance(decoded, PpgFrame)
    assert (decoded.kind, decoded.frame_type) == (kind, frame_type)
    assert decoded.time == times[taken - 1]
    assert (decoded.samples == samples[:taken]).all()
    check_truncations(raw)


def test_a_frame_is_filled() -> None:
    walk = np.random.default_rng(0).normal(0, 30, (400, 4)).cumsum(axis=0).astype(np.int64)
    raw, taken = encode(MeasurementKind.PPG, 0x80, np.arange(400), walk, 229)
    assert 215 < len(raw) <= 229
    assert 40 < taken < 60


def test_pulses_come_back() -> None:
    pulses = (pmd.Pulse(61, 980, 6, False, True), pmd.Pulse(0, 1, 9, True, None))
    frame = pmd.decode(encode_pulses(77, pulses))
    assert frame == Pulses(77, pulses)


@pytest.mark.parametrize(
    ("hexed", "values"),
    [
        ("05 2a000000", (42,)),
        ("06 0100000000000080", (0x8000000000000001,)),
        ("0e 05 0f 0a", (5, 7, 2)),
        ("04" + "03" * 12 + "ff" * 24, (3,) * 12 + (7,) * 24),
        ("09" + "03" * 12 + "08" * 24, (3,) * 12 + (0,) * 24),
    ],
)
def test_metadata(hexed: str, values: tuple[int, ...]) -> None:
    body = bytes.fromhex(hexed)
    frame = pmd.decode(b"\x41" + (9).to_bytes(8, "little") + body)
    assert frame == Metadata(MeasurementKind.PPG, body[0], 9, values)


@pytest.mark.parametrize(
    "hexed",
    [
        "",
        "01",
        "01" + "00" * 8,  # no frame type
        "01" + "00" * 9,  # no body
        "01" + "00" * 9 + "00" * 13,  # not a multiple of a sample
        "01" + "00" * 8 + "80" + "00" * 11,  # shorter than the reference
        "01" + "00" * 8 + "80" + "00" * 12 + "0a",  # half a block header
        "01" + "00" * 8 + "80" + "00" * 12 + "0800",  # a block of nothing
        "01" + "00" * 8 + "80" + "00" * 12 + "2101" + "00" * 17,  # 33-bit differences
        "01" + "00" * 8 + "81" + "00" * 12,  # undescribed type
        "04" + "00" * 8 + "80" + "00" * 12,  # undescribed measurement
        "03" + "00" * 8 + "80" + "00" * 6,  # compressed intervals
        "01" + "00" * 7 + "40" + "00" + "00" * 12,  # stamped in 2146
    ],
)
def test_what_is_refused(hexed: str) -> None:
    raw = bytes.fromhex(hexed)
    with pytest.raises(BadPacket) as refused:
        pmd.decode(raw)
    assert refused.value.raw == raw


def test_random_bytes_give_samples_or_a_named_error() -> None:
    rng = np.random.default_rng(20_000)
    kinds = [0, 1, 1, 1, 1, 2, 2, 3, 5, 63]
    types = [0x00, 0x80, 0x87, 0x88, 0x8A, 0x8D, 0x81, 0x02, 0x04, 0x05, 0x06, 0x0E, 0x09]
    decoded = 0
    for i in range(20_000):
        raw = rng.bytes(int(rng.integers(0, 260)))
        if len(raw) > 10 and i % 4:  # three in four get past the header
            raw = bytes([kinds[i % 10], *raw[1:8], 0, types[i % 13], *raw[10:]])
        try:
            pmd.decode(raw)
        except BadPacket:
            continue
        decoded += 1
    assert decoded > 100
