"""A moving arm, by acceleration or by the device's own report: no pressures, with the reason."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.devices.base import NS, Chunk, Event, HostClock, Source, Tap
from innpar.devices.replay import open_recording
from innpar.devices.simulated.device import Simulated
from innpar.stream.pipeline.prepare import Prepared, Preparer
from innpar.stream.results import Beat
from innpar.stream.windows.motion import KEPT, MOVING, MotionJudge
from support.harness import estimates, need_data, same, shipped, stream_all

START = 1_700_000_000 * NS
RATE = 50


def shaken(seconds: float, moving: slice, size: float = 0.5) -> Chunk:
    """Return a still wrist's acceleration that sways by `size` g, rms, in a stretch of samples."""
    n = round(seconds * RATE)
    data = np.array([[0.1, -0.2, 0.97]]).repeat(n, axis=0)
    data += np.random.default_rng(0).normal(0, 0.003, data.shape)
    sway = np.sin(np.arange(n) / RATE * 2 * np.pi * 2) * np.sqrt(2) * size
    data[moving, 1] += sway[moving]
    times = START + (np.arange(n) * (NS // RATE)).astype(np.int64)
    return Chunk("x", "acc", ("x", "y", "z"), RATE, times, data)


def test_a_still_arm_and_a_moving_one() -> None:
    judge = MotionJudge()
    judge.push(shaken(10, slice(4 * RATE, 5 * RATE)))
    at = [judge.moving(START + k * NS, START + (k + 1) * NS) for k in range(10)]
    assert at == [False] * 4 + [True] + [False] * 5
    assert judge.moving(START, START + 5 * NS)
    assert not judge.moving(START, START + 4 * NS)
    assert not judge.moving(START + 20 * NS, START + 25 * NS)  # nothing is known of it


@pytest.mark.parametrize(("size", "moves"), [(0.9 * MOVING, False), (1.1 * MOVING, True)])
def test_the_limit(size: float, moves: bool) -> None:
    judge = MotionJudge()
    judge.push(shaken(3, slice(None), size))
    assert judge.moving(START, START + 3 * NS) is moves


def test_turning_the_arm_counts_as_well() -> None:
    turn = shaken(2, slice(0))
    turn.data[:50] = np.stack([np.sin(t := np.linspace(0, 1.5, 50)), 0 * t, np.cos(t)], axis=1)
    judge = MotionJudge()
    judge.push(turn)
    assert judge.moving(START, START + NS)


def test_what_is_not_known_is_not_motion() -> None:
    judge = MotionJudge()
    broken = shaken(2, slice(None), 2.0)
    broken.data[3:, 0] = np.nan
    judge.push(broken)
    assert not judge.moving(START, START + 2 * NS)
    judge.push(shaken(1, slice(None))[:0])
    assert not judge.moving(START, START + 2 * NS)


def test_it_keeps_a_bounded_past() -> None:
    judge = MotionJudge()
    long = shaken(500, slice(None))
    for second in range(500):
        judge.push(long[second * RATE : (second + 1) * RATE])
    assert len(judge._seconds) == KEPT
    assert judge.moving(START + 499 * NS, START + 500 * NS)
    assert not judge.moving(START, START + 400 * NS)


@given(st.lists(st.integers(0, 8 * RATE), max_size=20), st.floats(0.15, 0.25))
@settings(max_examples=60)
def test_any_cut_judges_the_same(cuts: list[int], size: float) -> None:
    whole = shaken(8, slice(3 * RATE, 6 * RATE), size)
    one, other = MotionJudge(), MotionJudge()
    one.push(whole)
    for a, b in itertools.pairwise([0, *sorted(cuts), 8 * RATE]):
        other.push(whole[a:b])
    for k in range(8):
        window = START + k * NS, START + (k + 1) * NS
        assert one.moving(*window) == other.moving(*window)


@dataclass
class Played:
    """Items as a device."""

    items: list[Chunk | Event]
    id: str = "demo"
    source: Source = "simulated"
    polarity: Literal[-1, 0, 1] = -1
    site: str = "wrist"
    given: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        async def play() -> AsyncIterator[Chunk | Event]:
            for item in self.items:
                yield item

        yield play()


def light(seconds: float) -> Iterator[Chunk]:
    """Yield undisturbed PPG in chunks of half a second."""
    for item in Simulated(motion=False, dropouts=False, cuff=False).items(START):
        if isinstance(item, Chunk) and item.signal == "ppg":
            if int(item.times[-1]) > START + seconds * NS:
                return
            yield item


def worn(moving: slice, told: Iterable[Event] = ()) -> list[Chunk | Event]:
    """Return 40 s of PPG, and acceleration that arrives a second later."""
    acc = shaken(40, moving)
    items: list[Chunk | Event] = []
    waiting = sorted(told, key=lambda e: e.start)
    done = 0
    for chunk in light(40):
        while waiting and waiting[0].start <= chunk.times[0]:
            items.append(waiting.pop(0))
        items.append(chunk)
        until = int(np.searchsorted(acc.times, chunk.times[-1] - NS))
        items.append(acc[done : max(done, until)])
        done = max(done, until)
    return items


def beats(items: list[Chunk | Event]) -> list[Beat]:
    return estimates(stream_all([Played(items)])[0])


def test_nothing_is_published_of_a_moving_arm() -> None:
    still, moved = beats(worn(slice(0))), beats(worn(slice(15 * RATE, 20 * RATE)))
    assert sum(beat.valid for beat in still) > 0.9 * len(still)
    during = [b for b in moved if START + 15 * NS < b.peak < START + 20 * NS]
    assert during
    for beat in during:
        assert not beat.valid
        assert "motion" in beat.reasons
        assert (beat.sbp, beat.quality) == (None, 0.0)
    before = [b for b in moved if b.peak < START + 9 * NS]
    assert same(before, still[: len(before)])
    assert sum(b.valid for b in moved if b.peak > START + 27 * NS) > 8


def test_what_the_device_itself_says_counts_too() -> None:
    told = [
        Event("demo", "motion", START + at * NS, START + at * NS, {"moving": moving})
        for at, moving in ((12, True), (18, False))
    ]
    found = beats(worn(slice(0), told))
    during = [b for b in found if START + 13 * NS < b.peak < START + 17 * NS]
    assert during
    assert {b.valid for b in during} == {False}
    assert all("motion" in b.reasons for b in during)
    assert any(b.valid for b in found if b.peak > START + 25 * NS)


@pytest.mark.slow
@given(st.integers(1, 40))
@settings(max_examples=5, deadline=None)
def test_any_cut_gives_the_same_beats(size: int) -> None:
    items = worn(slice(15 * RATE, 17 * RATE))
    pieces = [
        piece
        for item in items
        for piece in (
            [item[k : k + size] for k in range(0, len(item), size)]
            if isinstance(item, Chunk)
            else [item]
        )
    ]
    assert same(beats(items), beats(pieces))


@pytest.mark.slow
@pytest.mark.real
def test_the_limit_on_a_real_wrist() -> None:
    """The figures in the module's docstring, from an hour with an Empatica E4."""
    folder = need_data() / "wearable/empatica_e4"
    rows = gzip.decompress((folder / "ACC.csv.gz").read_bytes()).decode().splitlines()
    table = np.array([[float(cell) for cell in row.split(",")] for row in rows])
    times = np.rint((table[0, 0] + np.arange(len(table) - 2) / table[1, 0]) * NS).astype(np.int64)
    judge = MotionJudge()
    acc = Chunk("x", "acc", ("x", "y", "z"), float(table[1, 0]), times, table[2:] / 64)
    recording = open_recording(folder / "BVP.csv.gz", {}).recording
    manifest = shipped().manifest
    preparer = Preparer(recording.polarity, manifest, check_fit=False)
    usable: dict[bool, list[bool]] = {True: [], False: []}
    done = 0
    for block in recording.read([]):
        chunk = Chunk("x", "ppg", recording.channels, recording.rate, block.times, block.data)
        for part in (chunk[k : k + 640] for k in range(0, len(chunk), 640)):
            until = int(np.searchsorted(times, part.times[-1]))
            judge.push(acc[done:until])
            done = until
            for out in preparer.push(part):
                if isinstance(out, Prepared):
                    start = out.window.index * 8_000_000
                    moves = judge.moving(start, start + manifest.window * 8_000_000)
                    usable[moves].append(out.quality.accepted)
    assert len(usable[True]) + len(usable[False]) > 3500
    assert np.mean(usable[True]) < 0.1
    assert np.mean(usable[False]) > 0.25
