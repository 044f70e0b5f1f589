"""A session as EDF+, read by EDFlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from innpar.devices import NS, Event
from innpar.stream.session.export.content import PlacedSignal, Segment
from innpar.stream.session.export.edf import edf, settle
from support.exports import START, WORDS


def test_edflib_reads_every_edf(tmp_path: Path) -> None:
    """Whatever the fraction of a second at which a recording begins."""
    edflib = pytest.importorskip("pyedflib")
    chance = np.random.default_rng(1)
    for number in range(100):
        start = START + int(chance.integers(86_400 * NS))
        rate = float(chance.choice([28, 55, 125, 176]))
        times = start + np.rint(np.arange(900) * (NS / rate)).astype(np.int64)
        data = np.rint(chance.normal(size=(900, 1)) * 1000)
        segment = Segment("demo", "ppg", ("ppg0",), rate, 1, times, data)
        at = int(times[chance.integers(900)]) + 7
        note = Event("demo", "marker", at, at, {"text": WORDS})
        path = tmp_path / f"{number}.edf"
        edf(PlacedSignal(segment, 0, 2**63 - 1), [note]).write(path)
        settle(path, 2)
        with edflib.EdfReader(str(path)) as file:
            assert (file.readSignal(0)[:900] == data[:, 0]).all()
            assert file.starttime_subsecond == start % NS // 1000 * 10
            onsets, _, texts = file.readAnnotations()
            (told,) = (t for t, text in zip(onsets, texts, strict=True) if "marker" in text)
            assert abs(told * NS + start - at) < 2000
