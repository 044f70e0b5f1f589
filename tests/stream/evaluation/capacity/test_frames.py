"""The frames of the benchmark hold the signal that they were encoded from."""

from __future__ import annotations

import numpy as np

from innpar.devices.base import NS
from innpar.devices.sensors.polar.frames import PpgFrame, decode
from innpar.stream.evaluation.capacity.frames import RATE, ROOM, record


def test_no_sample_is_missing() -> None:
    frames = record(3, 12.0)
    sizes = []
    for due, raw in frames:
        frame = decode(raw)
        assert isinstance(frame, PpgFrame)
        assert frame.time == due
        assert len(raw) <= ROOM
        sizes.append(len(frame.samples))
    assert sum(sizes) == round(12 * RATE)
    assert np.cumsum(sizes).tolist() == [round(due * RATE / NS) + 1 for due, _ in frames]
