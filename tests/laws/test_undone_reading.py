"""The newest cuff reading is in force, and can be withdrawn as if it had never been entered."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from statistics import median
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices import NS, Event
from innpar.devices.base import Source
from innpar.devices.session.device import open_session
from innpar.devices.session.reader import SessionFile
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace, VirtualClock
from innpar.models.calibration.calibrate import CuffCalibration
from innpar.models.calibration.context import FEATURES
from innpar.stream.calibration.believable import doubt
from innpar.stream.calibration.store import CalibrationStore
from innpar.stream.calibration.tracker import KEPT, CalibrationTracker
from innpar.stream.calibration.types import CuffReading, StoredCalibration
from innpar.stream.errors import SessionError, UnconfirmedReading
from innpar.stream.messages.commands import Calibrate, Moved, Undo
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.steering import execute
from innpar.stream.pipeline.wearer import Wearer, enrol
from innpar.stream.results import Beat, Item
from innpar.stream.session.events import WITHDRAWN, events_of
from innpar.stream.session.recorder import Recorder
from innpar.stream.sinks.base import FanOut
from support.harness import Keep, estimates, same, shipped, stream_all

START = 1_795_000_000 * NS
HOP = 1_024_000_000
TIMES = np.arange(625) / 125
RNG = np.random.default_rng(1)


def wave() -> np.ndarray:
    pulse = np.sin(7.54 * TIMES) + 0.5 * np.sin(15.08 * TIMES + 1)
    return (pulse + 0.01 * RNG.normal(size=625)).astype(np.float32)


def undone(sbp: float, dbp: float) -> Event:
    return CuffReading(START, sbp, dbp).undone("d", START)


def in_force(tracker: CalibrationTracker) -> tuple[float, float] | None:
    return (tracker.effective[-1].sbp, tracker.effective[-1].dbp) if tracker.effective else None


@given(st.permutations([(0, 124.0, 78.0), (240, 139.0, 88.0), (480, 152.0, 96.0)]))
def test_the_newest_reading_is_in_force_whatever_the_order_of_arrival(
    order: list[tuple[int, float, float]],
) -> None:
    tracker = CalibrationTracker()
    due = dict(zip((20, 23, 26), order, strict=True))
    for k in range(40):
        if k in due:
            ago, sbp, dbp = due[k]
            tracker.cuff(CuffReading(START + 20 * HOP - ago * NS, sbp, dbp))
        status = tracker.push(START + k * HOP, wave(), True, 0, "ir").status
    assert (status.sbp, status.dbp) == (124.0, 78.0)


def test_readings_are_withdrawn_one_after_another_waiting_ones_first() -> None:
    tracker, k = CalibrationTracker(), itertools.count()

    def go_on(windows: int) -> None:
        for _ in range(windows):
            tracker.push(START + next(k) * HOP, wave(), True, 0, "ir")

    for sbp in (120.0, 130.0):
        assert tracker.cuff(CuffReading(START + round(sbp) * HOP // 10, sbp, 80))
    go_on(30)
    assert tracker.cuff(CuffReading(START + 40 * HOP, 182, 79))
    tracker.undo(undone(182, 79))
    assert not tracker.waiting
    go_on(20)
    assert in_force(tracker) == (130, 80)
    tracker.undo(undone(99, 79))
    assert in_force(tracker) == (130, 80)
    tracker.undo(undone(130, 80))
    assert in_force(tracker) == (120, 80)
    tracker.undo(undone(120, 80))
    assert in_force(tracker) is None
    go_on(1)
    assert not tracker.forgot
    for n in range(KEPT + 1):
        tracker.cuff(CuffReading(START + (60 + n) * HOP, 120 + n, 80))
    go_on(50)
    assert (len(tracker.effective), tracker.forgot) == (KEPT, True)


def demo(duration: float = 100.0, **more: object) -> Simulated:
    pace = Pace(float("inf"), 1.0)
    return Simulated("demo", 3, duration=duration, start=START, pace=pace, cuff=False, **more)  # type: ignore[arg-type]


class LiveDemo(Simulated):
    source: ClassVar[Source] = "live"


class Acts(Keep):
    """A sink that executes commands when a number of beats has passed, and keeps all items."""

    def __init__(self, commands: dict[int, Calibrate | Undo | Moved]) -> None:
        super().__init__()
        self.wearer: Wearer
        self.refused: list[SessionError] = []
        self._commands = commands
        self._beats = 0

    async def send(self, item: Item) -> None:
        await super().send(item)
        if not isinstance(item, Beat):
            return
        self._beats += 1
        if self._beats in self._commands:
            command, clock = self._commands[self._beats], VirtualClock()
            try:
                await execute(command, [self.wearer], clock, None)  # type: ignore[arg-type]
            except SessionError as error:
                self.refused.append(error)


def streamed(commands: dict[int, Calibrate | Undo | Moved], path: Path | None = None) -> Acts:
    keep, engine, clock = Acts(commands), Engine(shipped()), VirtualClock()
    keep.wearer = enrol(demo(), engine, clock)

    async def main() -> None:
        if path is None:
            await run([keep.wearer], engine, keep, clock)
            return
        recorder = Recorder(path, clock, {})
        async with recorder.running():
            await run([keep.wearer], engine, FanOut([keep, recorder]), clock, recorder)

    asyncio.run(main())
    return keep


FIRST = Calibrate("demo", 128, 79)
TYPO = Calibrate("demo", 182, 79, confirm=True)


@pytest.mark.parametrize("first", [None, FIRST])
def test_after_an_undo_the_estimates_are_those_of_a_run_without_the_reading(
    first: Calibrate | None, tmp_path: Path
) -> None:
    path = tmp_path / "undone.mcap"
    before = {20: first} if first else {}
    keep = streamed({**before, 45: TYPO, 65: Undo("demo")}, path)
    assert keep.refused == []
    withdrawn = estimates(keep.items)
    without = estimates(streamed(before).items)
    kinds = [i.kind for i in keep.items if isinstance(i, Event) and i.kind.startswith("cuff")]
    assert kinds == ["cuff"] * (1 + len(before)) + ["cuff_undone"]
    (undo,) = (i for i in keep.items if isinstance(i, Event) and i.kind == "cuff_undone")
    wrong = [b.sbp for b in withdrawn if b.calibration.sbp == 182 and b.sbp]
    assert len(wrong) > 5
    assert min(wrong) > max(b.sbp for b in without if b.sbp) + 15
    after = undo.start + 1_100_000_000  # the next window, a hop long
    # Where the arm moves, the pulses of the reconstruction are arbitrary.
    ours, others = (
        [b for b in beats if b.peak > after and "motion" not in b.reasons]
        for beats in (withdrawn, without)
    )
    assert [b.peak for b in ours] == [b.peak for b in others]
    compared = 0
    for one, other in zip(ours, others, strict=True):
        assert (one.valid, one.reasons) == (other.valid, other.reasons)
        assert one.calibration == other.calibration
        if one.sbp is not None and other.sbp is not None:
            # The running mean begins anew, of one window; its time constant is 10 s.
            within = 0.1 + 3.0 * np.exp((undo.start - one.peak) / (10 * NS))
            assert one.sbp == pytest.approx(other.sbp, abs=within)
            assert one.dbp == pytest.approx(other.dbp, abs=within)
            compared += one.peak > undo.start + 10 * NS
    assert compared > 10
    # The replay law holds, and the session keeps both events.
    again = stream_all([open_session(path, {}, pace=Pace(float("inf"), 0.7))])[0]
    assert same(withdrawn, estimates(again))
    assert [i.kind for i in again if isinstance(i, Event) and i.kind.startswith("cuff")] == kinds


def test_a_reading_outlasts_the_withdrawal_of_as_many_as_can_be() -> None:
    """Withdrawn readings do not displace the calibration of the one still in force."""
    commands: dict[int, Calibrate | Undo | Moved] = {20: FIRST}
    for k in range(KEPT):
        commands |= {26 + 9 * k: TYPO, 31 + 9 * k: Undo("demo")}
    keep = streamed(commands)
    assert keep.refused == []
    (*_, undo) = (i for i in keep.items if isinstance(i, Event) and i.kind == "cuff_undone")
    ours, others = (
        {b.peak: b for b in estimates(items) if b.valid and b.peak > undo.start + 10 * NS}
        for items in (keep.items, streamed({20: FIRST}).items)
    )
    assert len(ours.keys() & others.keys()) > 5
    for peak in ours.keys() & others.keys():
        assert ours[peak].sbp == pytest.approx(others[peak].sbp, abs=1.0)
        assert ours[peak].dbp == pytest.approx(others[peak].dbp, abs=1.0)
    assert keep.wearer.in_force is not None
    assert keep.wearer.in_force.remembered is not None
    assert keep.wearer.in_force.remembered.calibration.level is not None


def test_after_a_move_the_first_reading_can_be_withdrawn() -> None:
    tracker = CalibrationTracker()
    for k in range(40 + KEPT):
        if k < KEPT + 1:
            tracker.cuff(CuffReading(START + k, 120 + k, 80))
        tracker.push(START + k * HOP, wave(), True, 0, "ir")
    assert tracker.forgot
    for reading in reversed(tracker.effective):
        tracker.undo(reading.undone("d", START + 50 * HOP, moved=True))
    assert (tracker.effective, tracker.forgot) == ((), False)


def test_a_withdrawn_reading_teaches_nothing() -> None:
    """Withdrawn before the next one takes effect, or long before: it is in no history."""
    last = Calibrate("demo", 131, 80, confirm=True)
    for undo in (60, 79):
        keep = streamed({20: FIRST, 45: TYPO, undo: Undo("demo"), 80: last})
        assert keep.refused == []
        (*_, reading) = keep.wearer.readings
        assert reading.remembered is not None
        history = reading.remembered.calibration.history
        assert [one.pressures[0] for one in history] == [128, 131]


def test_a_reading_far_from_the_estimates_is_confirmed_or_refused() -> None:
    unsure = Calibrate("demo", 182, 79)
    keep = streamed({20: FIRST, 50: unsure, 55: Calibrate("demo", 131, 80)})
    (error,) = keep.refused
    assert isinstance(error, UnconfirmedReading)
    assert "182/79 is far from the estimates" in str(error)
    readings = [b.calibration.sbp for b in estimates(keep.items)]
    assert set(readings) == {None, 128, 131}


def test_an_older_reading_and_an_undo_of_nothing_are_refused() -> None:
    late = Calibrate("demo", 125, 78, START + 5 * NS)
    keep = streamed({10: Undo("demo"), 20: FIRST, 21: late, 40: late})
    texts = [str(error) for error in keep.refused]
    assert texts[0].startswith("there is no cuff reading to withdraw")
    assert [text.startswith("a newer cuff reading, 128/79") for text in texts[1:]] == [True, True]


def test_after_a_move_no_reading_is_followed_and_a_new_one_is(tmp_path: Path) -> None:
    path = tmp_path / "moved.mcap"
    second, third = Calibrate("demo", 131, 80), Calibrate("demo", 126, 77, confirm=True)
    keep = streamed({20: FIRST, 40: second, 60: Moved("demo"), 75: third}, path)
    assert keep.refused == []
    beats = estimates(keep.items)
    (told,) = (
        i for i in keep.items if isinstance(i, Event) and i.detail.get("code") == "sensor_moved"
    )
    assert "earlier cuff readings no longer apply" in told.detail["text"]
    gaps = [i for i in keep.items if isinstance(i, Event) and i.kind == "gap"]
    assert "the sensor was moved" in [gap.detail["why"] for gap in gaps]
    followed = [b.calibration.sbp for b in beats if b.peak < told.start]
    assert set(followed) == {None, 128, 131}
    afterwards = [b.calibration.sbp for b in beats if b.peak > told.start]
    assert list(dict.fromkeys(afterwards)) == [None, 126]
    undone = [i for i in keep.items if isinstance(i, Event) and i.kind == "cuff_undone"]
    assert [(i.detail["sbp"], i.detail["why"]) for i in undone] == [(131, "moved"), (128, "moved")]
    # The readings were right: the session does not mark them as withdrawn. The replay law holds.
    again = stream_all([open_session(path, {}, pace=Pace(float("inf"), 0.7))])[0]
    assert same(beats, estimates(again))
    with SessionFile(path) as file:
        cuffs = [event for event in events_of(file)["demo"] if event.kind == "cuff"]
    assert [WITHDRAWN in event.detail for event in cuffs] == [False, False, False]


def test_a_stale_reading_asks_once_for_a_new_one() -> None:
    old = Calibrate("demo", 128, 79, START - 5 * 3600 * NS)
    keep = streamed({20: old, 80: Calibrate("demo", 128, 79, confirm=True)})
    notices = [i for i in keep.items if isinstance(i, Event) and i.detail.get("code")]
    (advice,) = (i for i in notices if i.detail["code"] == "recalibrate")
    assert advice.detail["text"] == "the cuff reading 128/79 is 5.0 h old: rest, and measure again"
    beats = estimates(keep.items)
    stale = [b.peak for b in beats if b.calibration.state == "stale"]
    assert advice.start > stale[0] + 20 * NS
    assert beats[-1].calibration.state == "ok"


def test_a_move_without_a_reading_begins_the_signal_anew() -> None:
    keep = streamed({30: Moved("demo")})
    texts = [i.detail["text"] for i in keep.items if isinstance(i, Event) and "code" in i.detail]
    assert "the sensor was moved: measure with a cuff" in texts


def test_what_is_believable() -> None:
    beats = [b for b in estimates(stream_all([demo(30.0)])[0]) if b.valid]
    now, near = beats[-1].peak, beats[-10:]
    sbp, dbp = (median(getattr(b, name) for b in near) for name in ("sbp", "dbp"))
    upper = median(b.interval.sbp[1] for b in near if b.interval)
    assert upper - sbp > 30  # wide, without a reading
    for far, reading in (
        (False, (sbp, dbp)),
        (False, (sbp - 29, dbp + 29)),
        (False, (upper - 1, dbp)),
        (True, (upper + 1, dbp)),
        (True, (sbp, dbp + 31)),
        (True, (182, 79)),
    ):
        assert (doubt(*reading, now, beats) is not None) == far, reading
    assert doubt(250, 79, now + 3600 * NS, beats) is None  # nothing near to compare with
    assert doubt(250, 79, now, []) is None


async def test_a_withdrawn_reading_is_not_remembered(tmp_path: Path) -> None:
    memory, clock = CalibrationStore(tmp_path), VirtualClock(START)
    device = LiveDemo(start=START)
    wearer = enrol(device, Engine(shipped()), clock, memory=memory)
    pulse = np.zeros(len(FEATURES))

    async def stored(reading: CuffReading | None) -> float | None:
        wearer.finisher.in_force = reading
        await wearer.store()
        found, text = memory.recall("demo", wearer.info.model, START + 100 * NS)
        assert text == ""
        return None if found is None else found.sbp

    first, typo = (
        CuffReading(START, sbp, 79, StoredCalibration(CuffCalibration(sbp, 79, pulse)))
        for sbp in (128.0, 182.0)
    )
    assert [await stored(one) for one in (None, first, typo)] == [None, 128, 182]
    wearer.finisher.withdrawals += 1
    assert await stored(first) == 128
    wearer.finisher.withdrawals += 1
    assert await stored(None) is None
    assert await stored(first) == 128
    # One of an earlier run, which never took effect in this one.
    wearer.finisher.in_force = wearer._stored = None
    wearer.finisher.withdrawals += 1
    assert await stored(None) is None
