"""The sensor of docs/how-to/add-a-sensor.md, as it stands there."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
import pytest

from innpar.devices import NS, BadPacket, Chunk
from innpar.devices.sensors.gatt import Gatt
from innpar.devices.timing.pace import Pace
from support.paths import ROOT

PAGE = ROOT / "docs" / "how-to" / "add-a-sensor.md"


@pytest.fixture(scope="module")
def glow() -> dict[str, Any]:
    """Return the definitions of the page's example."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert found
    names: dict[str, Any] = {"__name__": "glow"}
    exec(compile(found[1], str(PAGE), "exec"), names)
    return names


def frame(number: int, first: int) -> bytes:
    return struct.pack("<B10H", number, *range(first, first + 10))


def test_two_frames_are_decoded(glow: dict[str, Any]) -> None:
    decoder = glow["GlowDecoder"]("glow")
    out = decoder.push("samples", NS, frame(255, 100))
    out += decoder.push("samples", NS + NS // 5, frame(0, 110))
    chunks = [item for item in [*out, *decoder.flush()] if isinstance(item, Chunk)]
    assert np.concatenate([chunk.data[:, 0] for chunk in chunks]).tolist() == list(range(100, 120))
    times = np.concatenate([chunk.times for chunk in chunks])
    assert np.abs(np.diff(times) - NS / 50).max() < 1000
    assert out == [item for item in out if isinstance(item, Chunk)]


def test_a_skipped_number_is_a_gap(glow: dict[str, Any]) -> None:
    decoder = glow["GlowDecoder"]("glow")
    out = decoder.push("samples", NS, frame(7, 0))
    out += decoder.push("samples", NS + 2 * NS // 5, frame(9, 20))
    gaps = [item.detail["lost"] for item in [*out, *decoder.flush()] if not isinstance(item, Chunk)]
    assert gaps == [10]


def test_a_truncated_frame_is_counted_as_bad(glow: dict[str, Any]) -> None:
    decoder = glow["GlowDecoder"]("glow")
    with pytest.raises(BadPacket, match="21 bytes, not 20"):
        decoder.push("samples", NS, frame(0, 0)[:-1])
    assert decoder.bad == 1


def test_the_driver_makes_a_device(glow: dict[str, Any]) -> None:
    device = glow["create_glow"]("1A2B", {}, Pace(1.0))
    assert isinstance(device, Gatt)
    assert (device.kind, device.site) == ("glow", "wrist")
