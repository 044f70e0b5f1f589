"""A calibration survives a restart of a live device, and of nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from innpar.devices import NS, Event, HostClock
from innpar.devices.registry import create
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace, VirtualClock
from innpar.models.calibration.calibrate import Affine, CuffCalibration
from innpar.models.calibration.context import FEATURES
from innpar.stream.calibration.store import CalibrationStore
from innpar.stream.calibration.types import CuffReading, PlannedCuff, StoredCalibration
from innpar.stream.messages.payload import parcel
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.results import Beat, Item
from innpar.stream.session.recorder import Recorder
from innpar.stream.sinks.base import FanOut
from innpar.stream.sinks.terminal import event_text
from support.harness import Keep, estimates, same, shipped, stream_all

START = 1_700_000_000 * NS
HOUR = 3600 * NS
MODEL = "innpar@sha256:1"


class Band:
    """A sensor on a wrist, as far as anybody can tell."""

    def __init__(self, start: int, source: str = "live") -> None:
        self._wearer = Simulated(
            id="band",
            start=start,
            duration=60.0,
            pace=Pace(float("inf"), 2.0),
            cuff=False,
            motion=False,
            dropouts=False,
        )
        self.id, self.polarity, self.site = "band", self._wearer.polarity, "wrist"
        self.source = source

    def open(self, **how: Any) -> AbstractAsyncContextManager[Any]:
        return self._wearer.open(**how)


def streamed(
    folder: Path | None,
    start: int,
    cuffs: Sequence[PlannedCuff] = (),
    *,
    record: Path | None = None,
    device: Any = None,
) -> list[Item]:
    clock: HostClock = VirtualClock(start)
    engine, keep = Engine(shipped()), Keep()
    memory = None if folder is None else CalibrationStore(folder)
    wearer = enrol(device or Band(start), engine, clock, cuffs=cuffs, memory=memory)

    async def main() -> None:
        if record is None:
            await run([wearer], engine, keep, clock)
            return
        recorder = Recorder(record, clock, {"software": "test"})
        async with recorder.running():
            await run([wearer], engine, FanOut([keep, recorder]), clock, recorder)

    asyncio.run(main())
    return keep.items


def told(items: list[Item], kind: str) -> list[Event]:
    return [item for item in items if isinstance(item, Event) and item.kind == kind]


def late(items: list[Item], start: int) -> list[Beat]:
    return [beat for beat in estimates(items) if beat.peak > start + 15 * NS]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a reading of 150/95 at 20 s."""
    folder = tmp_path_factory.mktemp("state")
    items = streamed(folder, START, [PlannedCuff(150, 95, None, 20.0)])
    assert estimates(items)[0].calibration.state == "none"
    assert estimates(items)[-1].calibration.state == "ok"
    return folder


def test_the_next_run_begins_calibrated(kept: Path) -> None:
    again = START + HOUR
    items = streamed(kept, again)
    beats = estimates(items)
    assert {beat.calibration.state for beat in beats} == {"ok"}
    assert {(beat.calibration.sbp, beat.calibration.dbp) for beat in beats} == {(150.0, 95.0)}
    first = beats[0].calibration.age_s
    assert first == pytest.approx(3580, abs=15)
    (cuff,) = told(items, "cuff")
    assert cuff.detail["remembered"]["age_s"] == pytest.approx(3580, abs=1)
    assert "kept from the last run" in (event_text(cuff) or "")
    json.loads(parcel(cuff).payload)
    without = late(streamed(None, again), again)

    def level(some: list[Beat]) -> float:
        return float(np.median([beat.map_ for beat in some if beat.map_ is not None]))

    assert level(late(items, again)) - level(without) > 5  # towards 113 mmHg


def test_what_is_remembered_is_what_was_in_force(kept: Path) -> None:
    name = shipped().id
    found, text = CalibrationStore(kept).recall("band", name, START + HOUR)
    assert text == ""
    assert found is not None
    assert (found.time, found.sbp, found.dbp) == (START + 20 * NS, 150.0, 95.0)
    assert found.remembered is not None
    calibration = found.remembered.calibration
    assert calibration.level is not None
    assert calibration.level == pytest.approx(113, abs=12)
    assert calibration.calibrated_map.scale != 1.0
    assert calibration.uncalibrated_map.scale != 1.0


def test_a_replay_of_it_gives_the_same_beats(own: Path, tmp_path: Path) -> None:
    file = tmp_path / "again.mcap"
    again = START + HOUR
    live = streamed(own, again, [PlannedCuff(140, 90, None, 40.0)], record=file)
    replayed, _, _ = stream_all([create(f"replay:{file}", pace=Pace(float("inf"), 10.0))])
    assert {beat.calibration.sbp for beat in estimates(replayed)} == {150.0, 140.0}
    assert same(estimates(live), estimates(replayed))
    assert [e.detail for e in told(live, "cuff")] == [e.detail for e in told(replayed, "cuff")]
    assert "check" in told(live, "cuff")[-1].detail


@pytest.fixture
def own(kept: Path, tmp_path: Path) -> Path:
    (tmp_path / "calibration").mkdir()
    (file,) = (kept / "calibration").iterdir()
    (tmp_path / "calibration" / "band.json").write_bytes(file.read_bytes())
    return tmp_path


@pytest.mark.parametrize("source", ["simulated", "replay"])
def test_neither_a_replay_nor_the_demo_remembers(own: Path, source: str) -> None:
    before = (own / "calibration" / "band.json").read_bytes()
    device = Band(START + HOUR, source)
    items = streamed(own, START + HOUR, [PlannedCuff(120, 80, None, 30.0)], device=device)
    assert estimates(items)[0].calibration.state == "none"
    assert (own / "calibration" / "band.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "after", "words"),
    [
        ({"model": "innpar@sha256:0"}, HOUR, "another model"),
        ({}, 25 * HOUR, "too old"),
        ({}, -HOUR, "future"),
        ({"schema": "innpar-calibration/9"}, HOUR, "cannot be read"),
        ({"device": "other"}, HOUR, "cannot be read"),
        ({"remembered": {"pulse": [1.0]}}, HOUR, "cannot be read"),
        ({"sbp": 20.0}, HOUR, "cannot be read"),
        ({"time": "noon"}, HOUR, "cannot be read"),
        (None, HOUR, "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_said_once_and_left(
    own: Path, change: dict[str, Any] | None, after: int, words: str
) -> None:
    file = own / "calibration" / "band.json"
    if change is None:
        file.write_bytes(b"\x00{")
    else:
        file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    found, text = CalibrationStore(own).recall("band", shipped().id, START + after)
    assert found is None
    assert words in text
    assert text.endswith("measure again")
    assert "\n" not in text


def test_a_person_hears_why_a_reading_is_not_used(own: Path) -> None:
    items = streamed(own, START + 30 * HOUR)
    notices = [e for e in told(items, "notice") if e.detail["code"] == "calibration_not_resumed"]
    assert [e.detail["text"] for e in notices] == [
        "the reading 150/95 of 30.0 h ago is too old and not used; measure again"
    ]
    assert {beat.calibration.state for beat in estimates(items)} == {"none"}


def reading_in_force(**more: Any) -> CuffReading:
    pulse = np.linspace(-1, 1, len(FEATURES)) / 3
    calibration = CuffCalibration(
        128.0, 79.0, pulse, Affine(1.1, -7.0 / 3), Affine(0.9, 11.0 / 7), 95.2
    )
    return CuffReading(START, 128.0, 79.0, StoredCalibration(calibration, **more))


def test_every_bit_of_it_survives_the_disk(tmp_path: Path) -> None:
    kept = reading_in_force(height=12.5, channel="green1")
    CalibrationStore(tmp_path).keep(kept, "band", MODEL)
    found, _ = CalibrationStore(tmp_path).recall("band", MODEL, START + 1)
    assert found is not None
    assert (found.time, found.sbp, found.dbp) == (kept.time, kept.sbp, kept.dbp)
    assert found.remembered is not None
    assert kept.remembered is not None
    assert found.remembered.height == kept.remembered.height
    assert found.remembered.channel == kept.remembered.channel
    one, other = found.remembered.calibration, kept.remembered.calibration
    assert one.at_cuff.tobytes() == other.at_cuff.tobytes()
    for name in ("sbp", "dbp", "calibrated_map", "uncalibrated_map", "level"):
        assert getattr(one, name) == getattr(other, name)


def test_a_disk_that_takes_nothing_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = CalibrationStore(tmp_path)
    memory.keep(reading_in_force(), "band", MODEL)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        memory.keep(reading_in_force(height=9.0), "band", MODEL)
    found, _ = memory.recall("band", MODEL, START + 1)
    assert found is not None
    assert found.remembered is not None
    assert found.remembered.height == 0.0
    assert [file.name for file in (tmp_path / "calibration").iterdir()] == ["band.json"]
