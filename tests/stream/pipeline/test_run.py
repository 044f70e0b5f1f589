"""The whole of it, with the shipped network: laws, gates, cuff readings, company."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from innpar.devices import (
    NS,
    Chunk,
    Device,
    Event,
    HostClock,
    Lost,
    NotFound,
    NoticeCode,
    code_of,
    is_real_time,
)
from innpar.devices.registry import create
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace, SystemClock, VirtualClock
from innpar.devices.virtual.device import virtual_device
from innpar.devices.virtual.sensors.bluetooth import RadioKind
from innpar.stream.beats.summary import Summaries
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.prepare import InfoChange
from innpar.stream.pipeline.run import run, watch_silence
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.results import Beat, DeviceInfo, Item, State, Summary, Waveform
from support.harness import Keep, estimates, need_dbus, same, shipped, stream_all
from support.scaled import ScaledClock

START = 1_700_000_000 * NS


def wearer(
    chunk_seconds: float | None = 10.0, speed: float = math.inf, **more: object
) -> Simulated:
    return Simulated(
        pace=Pace(speed, chunk_seconds),
        start=START,
        **{"duration": 90.0, **more},  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def usual() -> list[Beat]:
    return estimates(stream_all([wearer()])[0])


@pytest.mark.parametrize("seconds", [0.05, 0.4, 1.7, 30.0])
def test_any_cut_gives_the_same_beats(usual: list[Beat], seconds: float) -> None:
    assert len(usual) > 60
    assert same(usual, estimates(stream_all([wearer(seconds)])[0]))


@pytest.mark.parametrize("speed", [1.0, 20.0])
def test_any_speed_gives_the_same_beats(usual: list[Beat], speed: float) -> None:
    # The clock is virtual: the pace is kept, nobody waits.
    slow = estimates(stream_all([wearer(speed=speed)], clock=VirtualClock())[0])
    assert same(usual, slow)


def test_company_changes_nothing(usual: list[Beat]) -> None:
    others = [wearer(0.7, seed=3, id="b"), wearer(1.1, seed=4, id="c"), wearer(0.3, seed=5, id="d")]
    items, _, engine = stream_all([wearer(0.4), *others])
    assert same(usual, estimates(items, "demo"))
    assert engine.calls < engine.windows, "windows of different wearers never met in a batch"


def test_beats_are_numbered_and_ordered(usual: list[Beat]) -> None:
    assert [beat.seq for beat in usual] == list(range(len(usual)))
    assert all(np.diff([beat.peak for beat in usual]) > 0)


def test_a_beat_is_what_its_waveform_says(usual: list[Beat]) -> None:
    for beat in usual:
        if not beat.valid:
            assert beat.reasons
            assert (beat.sbp, beat.dbp, beat.map_, beat.interval) == (None,) * 4
            assert len(beat.abp) == 0
            continue
        assert beat.reasons == ()
        assert beat.sbp == pytest.approx(beat.abp.max(), abs=1e-3)
        assert beat.dbp == pytest.approx(beat.abp[0], abs=1e-3)
        assert beat.map_ == pytest.approx(beat.abp.mean(), abs=1e-3)
        assert beat.abp_start < beat.peak < beat.abp_start + len(beat.abp) * 8_000_000


def test_latency_adds_up_to_delivery(usual: list[Beat]) -> None:
    items, _, _ = stream_all([wearer(0.4)])
    manifest = shipped().manifest
    for beat in estimates(items):
        parts = beat.latency
        assert parts.guard == manifest.guard * 8
        assert parts.lookahead == manifest.drop * 8
        assert 0 <= parts.sensor <= 400 + 45  # a chunk, and a sample to interpolate towards
        # A hop, but for the first window of a segment, which gives out all of its middle.
        assert 0 <= parts.hop <= (manifest.window - 2 * manifest.drop) * 8
        assert parts.beat > 0
        assert parts.compute > 0
        total = parts.sensor + parts.guard + parts.lookahead + parts.hop + parts.beat
        assert parts.total == pytest.approx(total + parts.compute)


def test_the_waveform_is_continuous_and_holds_the_beats() -> None:
    items, _, _ = stream_all([wearer(motion=False, dropouts=False)])
    pieces = [i for i in items if isinstance(i, Waveform) and i.kind == "abp"]
    for one, two in itertools.pairwise(pieces):
        assert two.start == one.start + len(one.samples) * 8_000_000
    joined = np.concatenate([piece.samples for piece in pieces])
    for beat in estimates(items):
        if beat.valid:
            at = (beat.abp_start - pieces[0].start) // 8_000_000
            np.testing.assert_array_equal(joined[at : at + len(beat.abp)], beat.abp)


def test_the_demo_carries_its_true_pressure(usual: list[Beat]) -> None:
    known = [beat for beat in usual if beat.reference is not None]
    assert len(known) > 0.9 * len(usual)
    assert all(80 < beat.reference.sbp < 200 for beat in known if beat.reference)


def test_a_cuff_reading_takes_effect_at_its_place() -> None:
    cuffs = [PlannedCuff(140, 90, None, 30.0)]
    device = wearer(cuff=False, motion=False, dropouts=False)
    items, _, _ = stream_all([device], cuffs=cuffs)
    beats = estimates(items)
    before = [b for b in beats if b.peak < START + 25 * NS]
    after = [b for b in beats if b.peak > START + 40 * NS]
    assert {b.calibration.state for b in before} == {"none"}
    assert {b.calibration.state for b in after} == {"ok"}
    assert {(b.calibration.sbp, b.calibration.dbp) for b in after} == {(140.0, 90.0)}
    plain = estimates(stream_all([device])[0])
    assert same(before, plain[: len(before)])

    def level(beats: list[Beat]) -> float:
        return float(np.median([b.map_ for b in beats if b.map_ is not None]))

    # Towards 107 mmHg, and the nearer for it.
    late = [b for b in plain if b.peak > START + 40 * NS]
    assert abs(level(after) - 107) < abs(level(late) - 107)
    assert same(
        beats,
        estimates(
            stream_all([wearer(0.3, cuff=False, motion=False, dropouts=False)], cuffs=cuffs)[0]
        ),
    )


def test_two_readings_close_together_give_the_same_at_any_cut() -> None:
    cuffs = [PlannedCuff(128, 79, None, 22.0), PlannedCuff(110, 60, None, 27.0)]
    runs = [
        estimates(stream_all([wearer(seconds, cuff=False)], cuffs=cuffs)[0])
        for seconds in (0.4, 1.0, 10.0)
    ]
    assert {b.calibration.sbp for b in runs[0]} == {None, 128.0, 110.0}
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])


def test_no_beat_mixes_two_states_of_calibration() -> None:
    # From one beat to the next the pressure follows the reading; nothing in between is published.
    device = wearer(cuff=False, motion=False, dropouts=False)
    beats = estimates(stream_all([device], cuffs=[PlannedCuff(170, 110, None, 30.0)])[0])
    before = [b.dbp for b in beats if b.dbp is not None and b.calibration.state == "none"]
    after = [b.dbp for b in beats if b.dbp is not None and b.calibration.state == "ok"]
    assert max(before) < min(after)


def test_a_duration_counts_signal_and_not_gaps(tmp_path: Path) -> None:
    times = np.arange(6000) / 100
    times[3000:] += 1e6
    _, (one,), _ = stream_all([write_csv(tmp_path / "gap.csv", pulse(60), times)])
    assert one.seconds == pytest.approx(60, abs=0.1)
    device = write_csv(tmp_path / "gap.csv", pulse(60), times)
    _, (one,), _ = stream_all([device], duration=45.0)
    assert one.seconds == pytest.approx(45, abs=0.05)


def test_true_pressure_of_the_last_seconds_is_taken_at_any_cut() -> None:
    known = [
        len([b for b in estimates(stream_all([wearer(s)], duration=40.0)[0]) if b.reference])
        for s in (0.4, 10.0)
    ]
    assert known[0] == known[1]


@pytest.mark.slow
@pytest.mark.parametrize("air", ["bumble", "bluez"])
def test_the_real_driver_feeds_the_pipeline_over_both_radios(air: RadioKind) -> None:
    if air == "bluez":
        need_dbus()
    device = virtual_device(create("polar-verity"), radio=air)
    items, (one,), _ = stream_all([device], duration=25.0, clock=ScaledClock(4))
    beats = [beat for beat in estimates(items) if beat.valid]
    assert len(beats) > 15
    assert {beat.device for beat in beats} == {one.device.id}
    assert one.device.id.startswith("polar-verity-")
    assert all(beat.reference is not None for beat in beats[:-3])


class Failing:
    """A device that delivers something and then fails."""

    id, source, polarity, site = "failing", "replay", -1, "wrist"

    @asynccontextmanager
    async def open(self, **_: object) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        async def items() -> AsyncIterator[Chunk | Event]:
            for item in wearer(1.0, duration=30.0, id="failing").items(START):
                yield item
            raise Lost("the file ends in the middle; copy it again")

        yield items()


def test_a_device_that_fails_later_neither_loses_its_tail_nor_ends_the_others() -> None:
    keep, engine, clock = Keep(), Engine(shipped()), VirtualClock()
    wearers = [enrol(device, engine, clock) for device in (Failing(), wearer(1.0))]  # type: ignore[arg-type]
    with pytest.raises(Lost, match="copy it again") as caught:
        asyncio.run(run(wearers, engine, keep, clock))
    assert caught.value.after_start
    assert same(estimates(keep.items, "demo"), estimates(stream_all([wearer(1.0)])[0]))
    whole = estimates(stream_all([wearer(1.0, duration=30.0, id="failing")])[0])
    assert same(estimates(keep.items, "failing"), whole)


def test_pressures_can_be_made_to_wait_for_a_cuff() -> None:
    items, _, _ = stream_all([wearer()], require_calibration=True)
    beats = estimates(items)
    for beat in beats:
        if beat.calibration.state == "none":
            assert not beat.valid
            assert "uncalibrated" in beat.reasons
    assert any(beat.valid for beat in beats)


def test_a_cuff_for_somebody_else_is_not_taken() -> None:
    items, _, _ = stream_all(
        [wearer(cuff=False, duration=40.0)], cuffs=[PlannedCuff(140, 90, "other")]
    )
    assert {beat.calibration.state for beat in estimates(items)} == {"none"}


def test_any_cut_tells_the_same_events_before_the_end() -> None:
    def told(chunk_seconds: float) -> list[tuple[str, int]]:
        items = stream_all([wearer(chunk_seconds)], duration=20.0)[0]
        kinds = ("cuff", "marker")
        return [(i.kind, i.start) for i in items if isinstance(i, Event) and i.kind in kinds]

    assert told(10.0) == told(0.4) != []


def test_the_duration_is_signal_time() -> None:
    items, (one,), _ = stream_all([wearer(duration=90.0)], duration=30.0)
    assert one.seconds == pytest.approx(30, abs=0.05)
    assert max(b.peak for b in estimates(items)) < START + 30 * NS


class Dying:
    """A live device that delivers twelve seconds and then nothing more."""

    id, source, polarity, site = "dying", "live", -1, "wrist"

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, **_: object
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        async def items() -> AsyncIterator[Chunk | Event]:
            for item in wearer(1.0, duration=12.0, id="dying").items(clock.now()):
                if isinstance(item, Chunk):
                    await clock.sleep_until(int(item.times[-1]))
                yield item
            await asyncio.Event().wait()

        yield items()


@pytest.mark.slow
async def test_a_sensor_that_stays_dead_does_not_keep_the_run_from_ending() -> None:
    keep, engine, clock = Keep(), Engine(shipped()), ScaledClock(30)
    began = clock.now()
    one = enrol(Dying(), engine, clock, duration=40.0)  # type: ignore[arg-type]
    async with asyncio.timeout(60):
        await run([one], engine, keep, clock)
    assert clock.now() - began >= 40 * NS
    texts = [i.detail["text"] for i in keep.items if isinstance(i, Event) and i.kind == "notice"]
    assert texts[-1] == "40 s have elapsed, with 12 s of signal"
    assert isinstance(keep.items[-1], State)
    assert estimates(keep.items)


def write_csv(path: Path, values: np.ndarray, times: np.ndarray | None = None) -> Device:
    times = np.arange(len(values)) / 100 if times is None else times
    rows = "\n".join(f"{t:.3f},{v:.3f}" for t, v in zip(times, values, strict=True))
    path.write_text("time,ppg\n" + rows + "\n")
    return create(f"replay:{path}", pace=Pace(math.inf, 10.0))


def pulse(seconds: float) -> np.ndarray:
    at = (1.1 * np.arange(round(100 * seconds)) / 100) % 1.0
    return 1000 * (np.exp(-(((at - 0.2) / 0.08) ** 2)) + 0.5 * np.exp(-(((at - 0.45) / 0.16) ** 2)))


def test_damage_in_a_file_is_counted_and_never_computed_across(tmp_path: Path) -> None:
    values, times = pulse(120), np.arange(12000) / 100
    values[2000:2010] = np.nan
    values[4000:5000] = values[4000]
    times[7000] = times[6999]
    times[9000] -= 0.5
    items, (one,), _ = stream_all([write_csv(tmp_path / "bad.csv", values, times)])
    gaps = [i for i in items if isinstance(i, Event) and i.kind == "gap"]
    assert len(gaps) == one.preparer.tally.gaps == 1
    assert one.preparer.tally.bridged == 2  # 20 ms each
    assert one.preparer.tally.missing == 10
    assert one.preparer.tally.disordered == 2
    beats = estimates(items)
    for gap in gaps:
        for beat in beats:
            end = beat.abp_start + len(beat.abp) * 8_000_000
            assert not (beat.valid and beat.abp_start <= gap.start and end >= gap.end)
    flat = [b for b in beats if b.valid and 41 < (b.peak - one.first) / NS < 49]  # type: ignore[operator]
    assert flat == []
    assert sum(b.valid for b in beats) > 60


def test_a_signal_that_never_fits_says_what_to_do(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=6000)
    items, _, _ = stream_all([write_csv(tmp_path / "noise.csv", noise)])
    assert not any(beat.valid for beat in estimates(items))
    told = [i for i in items if isinstance(i, Event) and i.kind == "quality"]
    assert [event.detail["usable"] for event in told] == [False]


def test_the_demo_says_how_it_fits() -> None:
    items, _, _ = stream_all([wearer()])
    notices = {code_of(i): i.detail.get("text", "") for i in items if isinstance(i, Event)}
    assert notices[NoticeCode.FIT_CHECK].startswith("fit check: the signal is usable")
    assert "little about the absolute level" in notices[NoticeCode.NOT_CALIBRATED]


def test_birth_tells_the_channel_and_state_the_link() -> None:
    items, _, _ = stream_all([wearer()])
    births = [i for i in items if isinstance(i, DeviceInfo)]
    assert births[-1].detail["channel"].startswith("ppg")  # type: ignore[attr-defined]
    assert births[-1].model == shipped().id
    assert [i.state for i in items if isinstance(i, State)] == ["online", "offline"]


class Broken:
    """A device that cannot be opened."""

    id, source, polarity, site = "broken", "live", 1, "wrist"

    @asynccontextmanager
    async def open(self, **_: object) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        raise NotFound("no such thing; switch it on")
        yield


def test_a_device_that_is_not_there_ends_the_run_with_its_own_error() -> None:
    with pytest.raises(NotFound, match="switch it on"):
        stream_all([wearer(), Broken()])  # type: ignore[list-item]


async def test_cancelling_at_any_await_leaves_no_task() -> None:
    for delay in (0.0, 0.01, 0.05, 0.2):
        engine, clock = Engine(shipped()), SystemClock()
        device = wearer(0.05, speed=1.0, duration=math.inf)
        one = enrol(device, engine, clock)
        task = asyncio.create_task(run([one], engine, Keep(), clock))
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}


class Full(Keep):
    """A sink that never has room, such as MQTT while the broker is away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def ready(self) -> None:
        self.asked.set()
        await asyncio.get_running_loop().create_future()


async def test_what_goes_by_the_clock_never_waits_and_what_can_wait_does() -> None:
    engine = Engine(shipped())
    clock, full = VirtualClock(), Full()
    now = Simulated(duration=20)
    assert is_real_time(now)
    await run([enrol(now, engine, clock)], engine, full, clock)
    assert not full.asked.is_set()
    assert len(estimates(full.items)) > 10
    for patient in (wearer(duration=20), wearer(speed=20.0, duration=20)):
        assert not is_real_time(patient)
        task = asyncio.create_task(run([enrol(patient, engine, clock)], engine, full, clock))
        await asyncio.wait_for(full.asked.wait(), 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        full.asked.clear()


def test_a_virtual_radio_goes_by_the_clock_and_a_recording_does_not(tmp_path: Path) -> None:
    assert is_real_time(virtual_device(create("polar-verity")))
    assert is_real_time(create("polar-verity"))
    (tmp_path / "x.csv").write_text("time,ppg\n" + "".join(f"{k / 50},{k}\n" for k in range(99)))
    assert not is_real_time(create(f"replay:{tmp_path / 'x.csv'}"))


def summaries(items: list[Item]) -> list[Summary]:
    return [item for item in items if isinstance(item, Summary)]


def test_any_cut_gives_a_summary_every_ten_seconds() -> None:
    one, other = (summaries(stream_all([wearer(seconds)])[0]) for seconds in (10.0, 0.4))
    plain = [dataclasses.replace(summary, session="") for summary in one]
    assert plain == [dataclasses.replace(summary, session="") for summary in other]
    assert [(s.start - START) // NS for s in one] == list(range(0, 90, 10))
    assert sum(summary.beats for summary in one) > 60


def test_a_signal_without_beats_has_summaries_too(tmp_path: Path) -> None:
    path = tmp_path / "flat.csv"
    path.write_text("time,ppg\n" + "".join(f"{k / 50},7\n" for k in range(50 * 65)))
    items, _, _ = stream_all([create(f"replay:{path}")])
    found = summaries(items)
    assert not estimates(items)
    assert [summary.end - summary.start for summary in found] == [10 * NS] * 7
    assert [summary.beats for summary in found] == [0] * 7


async def test_summaries_go_on_by_the_clock_while_a_device_is_silent() -> None:
    clock, engine, keep = VirtualClock(START), Engine(shipped()), Keep()
    silent = enrol(Simulated(), engine, clock)
    silent.begin(START)
    silent.last_arrival = START
    task = asyncio.create_task(watch_silence([silent], keep, clock))
    clock.time = START + 40 * NS
    while len(summaries(keep.items)) < 3:  # noqa: ASYNC110 - it looks once a second
        await asyncio.sleep(0.1)
    assert State("demo", "stale") in keep.items
    found = summaries(keep.items)
    assert [(summary.start - START) // NS for summary in found] == [0, 10, 20]
    assert found[-1].link == "stale"
    gone = Event("demo", "disconnected", clock.time, clock.time, {"why": "its battery is empty"})
    silent.note(gone)
    async with asyncio.timeout(10):
        while State("demo", "offline") not in keep.items:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
    task.cancel()


def test_a_device_that_never_sends_fills_no_memory() -> None:
    summaries, birth = Summaries(), DeviceInfo("x", "live", "s", "m", 125.0, {})
    for time in range(100):
        for kind in ("connected", "disconnected"):
            summaries.event(Event("x", kind, time, time, {}), birth)
    assert not summaries._events
    summaries.silent = True
    assert summaries.link == "offline"


def test_a_rate_that_turns_out_different_is_put_right() -> None:
    one = enrol(Simulated(), Engine(shipped()), VirtualClock(START))
    first, second = {"rate": 130.0, "model": "OH1"}, {"text": "it sends 135 Hz", "rate": 135.0}
    events = Event("x", "connected", 0, 0, first), Event("x", "notice", 0, 0, second)
    ready = [ready for event in events for ready in one.preparer.push(event)]
    published = [info for item in ready if isinstance(item, InfoChange) for info in one.note(item)]
    details = [info.detail for info in published if isinstance(info, DeviceInfo)]
    assert details == [first, {"rate": 135.0, "model": "OH1"}]
    assert one.info == published[-1]
