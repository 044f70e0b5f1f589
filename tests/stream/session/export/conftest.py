"""Sessions to export."""

from __future__ import annotations

from pathlib import Path

import pytest

from innpar.devices import NS, Chunk, Event
from innpar.devices.timing.pace import Pace, VirtualClock
from innpar.stream.results import Item
from innpar.stream.session.recorder import Recorder
from support.exports import START, WORDS
from support.sessions import demo, record


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Item]]:
    """A session with gaps, a cuff reading, its beats, and markers."""
    path = tmp_path_factory.mktemp("session") / "demo.mcap"
    device = demo(150, seed=3)
    return path, record(path, device)


@pytest.fixture(scope="session")
def marked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Chunk | Event]]:
    """The stream alone, with a marker among its samples that was given late."""
    path = tmp_path_factory.mktemp("marked") / "marked.mcap"
    recorder = Recorder(path, VirtualClock(START), {"software": "test"})
    device = demo(150, seed=3, pace=Pace(float("inf"), 1.0))
    recorder.enrol(device, "s")
    items = list(device.items(START))
    where = next(n for n, i in enumerate(items) if isinstance(i, Event) and i.kind == "gap") + 2
    at = START + 20 * NS
    items.insert(where, Event("demo", "marker", at, at, {"text": WORDS}))
    for item in items:
        recorder.take(item)
    recorder.close()
    return path, items
