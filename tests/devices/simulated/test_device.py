"""The simulated wearer: the same for any cut and pace, and physiologically plausible."""

import functools
import math
import time
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from innpar.devices import NS, Chunk, Event
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace, VirtualClock

SIGNALS = ("ppg", "abp", "acc")
Samples = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


def joined(items: Iterable[Chunk | Event], signal: str) -> Samples:
    chunks = [item for item in items if isinstance(item, Chunk) and item.signal == signal]
    return np.concatenate([c.times for c in chunks]), np.concatenate([c.data for c in chunks])


def events(items: Iterable[Chunk | Event]) -> list[Event]:
    return [item for item in items if isinstance(item, Event)]


def quiet(seed: int, duration: float, **options: float) -> list[Chunk | Event]:
    wearer = Simulated(
        seed=seed, duration=duration, episodes=False, motion=False, dropouts=False, **options
    )
    return list(wearer.items(0))


@functools.cache
def whole() -> list[Chunk | Event]:
    return list(Simulated(duration=150.0).items(0))


@settings(max_examples=12, deadline=None)
@given(chunk_seconds=st.floats(0.02, 40.0), duration=st.floats(1.0, 150.0))
@example(chunk_seconds=2.0, duration=17.6)  # times 55 Hz it is a little more than a whole number
def test_any_cut_gives_the_same_samples(chunk_seconds: float, duration: float) -> None:
    wearer = Simulated(duration=duration, pace=Pace(1.0, chunk_seconds))
    items = list(wearer.items(0))
    for signal in SIGNALS:
        times, data = joined(items, signal)
        all_times, all_data = joined(whole(), signal)
        inside = all_times < round(duration * NS)
        assert np.array_equal(times, all_times[inside])
        assert np.array_equal(data, all_data[inside])
    message = [event for event in events(items)[1:] if event.end < (duration - 1) * NS]
    assert message == [event for event in events(whole())[1:] if event.end < (duration - 1) * NS]


@pytest.mark.parametrize("speed", [1.0, 20.0, math.inf])
async def test_any_pace_gives_the_same_samples(speed: float) -> None:
    wearer = Simulated(duration=60.0, start=0, pace=Pace(speed))
    async with wearer.open(clock=VirtualClock()) as stream:
        items = [item async for item in stream]
    for signal in SIGNALS:
        times, data = joined(whole(), signal)
        inside = times < 60 * NS
        assert np.array_equal(joined(items, signal)[0], times[inside])
        assert np.array_equal(joined(items, signal)[1], data[inside])


async def test_the_lead_is_delivered_at_once_and_the_rest_in_time() -> None:
    clock = VirtualClock()
    began = clock.now()
    wearer = Simulated(duration=12.0, lead=6.0)
    async with wearer.open(clock=clock) as stream:
        async for item in stream:
            if isinstance(item, Chunk):
                last = int(item.times[-1])
                assert last <= clock.now()
                assert clock.now() == began or clock.now() - last < 0.5 * NS
                if last < began - NS:
                    assert clock.now() == began
    assert clock.now() - began == pytest.approx(6 * NS, abs=0.05 * NS)


async def test_without_a_duration_it_goes_on_until_it_is_left() -> None:
    wearer = Simulated(pace=Pace(math.inf))
    async with wearer.open(clock=VirtualClock()) as stream:
        last = 0
        async for item in stream:
            if isinstance(item, Chunk) and item.signal == "ppg":
                first = last or int(item.times[0])
                last = last or first
                if item.times[-1] - first > 100 * NS:
                    break
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


def test_another_seed_is_another_person() -> None:
    one, other = (joined(quiet(seed, 8.0), "abp")[1] for seed in (0, 1))
    assert not np.allclose(one, other, atol=1.0)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_pressures_at_rest_are_physiological(seed: int) -> None:
    times, abp = joined(quiet(seed, 64.0), "abp")
    assert np.all(np.diff(times) == NS // 125)
    feet, peaks = beats(abp[:, 0])
    sbp, dbp = np.median(abp[peaks]), np.median(abp[feet])
    assert 95 < sbp < 160
    assert 55 < dbp < 100
    assert 30 < sbp - dbp < 70
    # The mean lies about a third of the pulse above diastole.
    assert 0.25 < (abp[feet[0] : feet[-1]].mean() - dbp) / (sbp - dbp) < 0.55
    intervals = np.diff(feet) / 125
    assert 45 < 60 / intervals.mean() < 100
    assert 0.01 < intervals.std() / intervals.mean() < 0.12


def beats(abp: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the feet before the steepest rises of a clean pressure, and the peaks after them."""
    slope = np.diff(abp)
    steep = np.flatnonzero(slope > 0.6 * slope.max())
    steep = steep[np.diff(steep, prepend=-100) > 40]
    steep = steep[(steep > 25) & (steep < len(abp) - 50)]
    feet = np.array([i - 20 + abp[i - 20 : i + 1].argmin() for i in steep])
    return feet, np.array([i + abp[i : i + 40].argmax() for i in steep])


def test_episodes_move_the_pressure_and_the_cold_takes_the_pulse_from_the_skin() -> None:
    items = list(Simulated(duration=300.0, motion=False, dropouts=False).items(0))
    markers = {e.detail["text"]: e.start / NS for e in events(items) if e.kind == "marker"}
    _, abp = joined(items, "abp")
    _, ppg = joined(items, "ppg")

    def spread(signal: npt.NDArray[np.float64], rate: float, at: float) -> tuple[float, float]:
        part = signal[round(at * rate) : round((at + 15) * rate), 0]
        return float(part.mean()), float(np.abs(np.diff(part)).mean())

    cold = markers["cold hands"]
    before, during = (spread(abp, 125.0, at)[0] for at in (cold - 16, cold + 12))
    assert during - before > 8
    before, during = (spread(ppg, 55.0, at)[1] for at in (cold - 16, cold + 12))
    assert during < 0.75 * before
    exercise = markers["exercise"]
    rates = []
    for at in (exercise - 16, exercise + 12):
        feet, _ = beats(abp[round(at * 125) : round((at + 15) * 125), 0])
        rates.append(60 * 125 / np.diff(feet).mean())
    assert rates[1] > 1.15 * rates[0]
    assert abp.min() > 40
    assert abp.max() < 220


@pytest.mark.parametrize("rate", [28.0, 55.0, 135.0, 176.0])
def test_the_counts_follow_the_pressure_upside_down_and_in_time(rate: float) -> None:
    items = quiet(0, 40.0, rate=rate)
    times, counts = joined(items, "ppg")
    abp_times, abp = joined(items, "abp")
    assert np.array_equal(counts, np.rint(counts))
    assert len(times) == 40 * rate
    steps = np.diff(times)
    assert abs(steps - NS / rate).max() <= 1
    grid = np.arange(2, 38, 0.004) * NS
    pressure = highpass(np.interp(grid, abp_times, abp[:, 0]))
    pulse = highpass(-np.interp(grid, times, counts[:, 0]))
    shifts = range(-25, 26)
    likeness = [np.corrcoef(pulse[50:-50], np.roll(pressure, s)[50:-50])[0, 1] for s in shifts]
    assert max(likeness) > 0.9
    assert abs(shifts[int(np.argmax(likeness))]) <= 4


def highpass(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Take a running mean of 1 s from a signal at 250 Hz."""
    padded = np.pad(x, (125, 125), mode="reflect")
    return x - np.convolve(padded, np.full(251, 1 / 251), "valid")


def test_holes_and_gap_events_correspond() -> None:
    items = list(Simulated(seed=1, duration=600.0).items(0))
    times, _ = joined(items, "ppg")
    holes = np.flatnonzero(np.diff(times) > 1.5 * NS / 55)
    gaps = [e for e in events(items) if e.kind == "gap"]
    assert len(holes) >= 2
    assert [(e.start, e.end) for e in gaps] == [(times[i], times[i + 1]) for i in holes]
    lost = [round((e.end - e.start) * 55 / NS) - 1 for e in gaps]
    assert [e.detail["lost"] for e in gaps] == lost
    # The truth has no holes.
    assert len(joined(items, "abp")[0]) == 600 * 125


def test_the_arm_moves_where_the_counts_jump() -> None:
    items = list(Simulated(duration=300.0, dropouts=False, episodes=False).items(0))
    acc_times, acc = joined(items, "acc")
    times, counts = joined(items, "ppg")
    still = joined(quiet(0, 300.0), "ppg")[1]
    moved = np.abs(counts - still)[:, 0] > 2000
    assert 0.005 < moved.mean() < 0.2
    force = np.abs(np.linalg.norm(acc, axis=1) - 1.0)
    at = np.interp(times, acc_times, np.convolve(force, np.ones(52) / 52, "same"))
    assert at[moved].mean() > 5 * at[~moved].mean()


def test_the_first_item_describes_the_device() -> None:
    wearer = Simulated("left", seed=7, duration=1.0)
    first = next(iter(wearer.items(5 * NS)))
    assert isinstance(first, Event)
    assert (first.kind, first.device, first.start) == ("connected", "left", 5 * NS)
    assert first.detail["channels"] == ["ppg0", "ppg1", "ppg2", "ambient"]
    assert (wearer.source, wearer.polarity, wearer.site) == ("simulated", -1, "wrist")


def test_a_second_of_work_makes_many_of_signal() -> None:
    began = time.process_time()
    for _ in Simulated(duration=400.0).items(0):
        pass
    # Seen: 3000 seconds of signal a second; a busy computer may take three times as long.
    assert 400.0 / (time.process_time() - began) > 1000
