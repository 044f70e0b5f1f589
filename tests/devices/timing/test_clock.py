"""Sensor time to host time under drift and jitter, and sample times with every hole reported."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.devices.base import NS
from innpar.devices.timing.clock import MonotonicTimes, SensorClock
from innpar.devices.timing.timeline import PlacedSamples, Timeline

START = 1_790_000_000 * NS
SENSOR = 799_443_547 * NS
SMALLEST = 9_000_000  # ns of delay that every frame has
Ints = npt.NDArray[np.int64]


def jitter(kind: str, rng: np.random.Generator, n: int) -> Ints:
    """Return 20 ms of arrival jitter of one of three distributions."""
    law = {
        "uniform": rng.uniform(0, 20e6, n),
        "exponential": rng.exponential(20e6, n),
        "half-normal": np.abs(rng.normal(0, 20e6, n)),
    }
    return law[kind].astype(np.int64)


def run(ppm: float, law: str, seconds: float, seed: int) -> tuple[Ints, Ints, SensorClock]:
    """Play 0.8 s batches of 44 samples; return host times, and true times plus smallest delay."""
    rng = np.random.default_rng(seed)
    frames = int(seconds / 0.8)
    clock = SensorClock()
    monotonic = MonotonicTimes(clock)
    out, true = [], []
    delays = jitter(law, rng, frames)
    for k in range(frames):
        host = START + np.rint((44 * k + np.arange(1, 45)) / 55 * NS).astype(np.int64)
        sensor = SENSOR + np.rint((host - START) * (1 - ppm * 1e-6)).astype(np.int64)
        clock.observe(int(sensor[-1]), int(host[-1]) + SMALLEST + int(delays[k]))
        out.append(monotonic.host(sensor))
        true.append(host + SMALLEST)
    return np.concatenate(out), np.concatenate(true), clock


@pytest.mark.parametrize("ppm", [-200, 0, 200, 500])
@pytest.mark.parametrize("law", ["uniform", "exponential", "half-normal"])
def test_within_5_ms_after_a_minute_and_10_ppm_after_ten(ppm: float, law: str) -> None:
    for seed in range(3):
        out, true, clock = run(ppm, law, 900, seed)
        assert (np.diff(out) > 0).all()
        late = true - true[0] > 60 * NS
        assert np.abs(out - true)[late].max() < 5_000_000
        assert clock.skew_ppm == pytest.approx(ppm, abs=10)
        assert clock.error_ms < 2
        *_, clock = run(ppm, law, 600, seed)
        assert clock.skew_ppm == pytest.approx(ppm, abs=10)


@given(st.integers(0, 2**32 - 1), st.floats(-500, 500))
@settings(max_examples=30, deadline=None)
def test_never_backward(seed: int, ppm: float) -> None:
    """Cover delays of seconds and a sensor clock that is set, backward or forward."""
    rng = np.random.default_rng(seed)
    clock = SensorClock()
    monotonic = MonotonicTimes(clock)
    host, shift, last = START, 0, 0
    for _ in range(150):
        step = int(rng.uniform(0.1, 3) * NS)
        times = np.linspace(host, host + step, 20, endpoint=False, dtype=np.int64)
        host += step
        if rng.random() < 0.03:
            shift = int(rng.normal(0, 1e6) * NS)
            clock.reset()
        sensor = SENSOR + 10**7 * NS + shift + np.rint(times * (1 + ppm / 1e6)).astype(np.int64)
        delay = int(rng.exponential(0.02) * NS) if rng.random() < 0.95 else 4 * NS
        clock.observe(int(sensor[-1]), host + delay)
        out = monotonic.host(sensor)
        assert out[0] > last
        assert (np.diff(out) > 0).all()
        last = int(out[-1])


@pytest.mark.parametrize("minutes", [5, 15, 60])
def test_a_long_silence_of_a_running_clock(minutes: int) -> None:
    clock = SensorClock()
    steps = [*range(700), *range(700 + 60 * minutes, 800 + 60 * minutes)]
    for k in steps:
        clock.observe(SENSOR + k * NS, START + round(k * NS * (1 + 100e-6)))
    assert clock.skew_ppm == pytest.approx(100, abs=10)
    last = clock.host(np.array([SENSOR + steps[-1] * NS]))[0]
    assert abs(last - START - round(steps[-1] * NS * (1 + 100e-6))) < 1_000_000


def test_a_clock_that_was_set_without_notice_is_followed() -> None:
    clock = SensorClock()
    for k in range(100):
        clock.observe(SENSOR + k * NS, START + k * NS)
    for k in range(100, 200):  # the host's clock is set an hour ahead
        clock.observe(SENSOR + k * NS, START + (k + 3600) * NS)
    now = clock.host(np.array([SENSOR + 199 * NS]))[0]
    assert now == START + (199 + 3600) * NS
    clock.observe(SENSOR + 200 * NS, START + 200 * NS)  # and back
    assert clock.host(np.array([SENSOR + 200 * NS]))[0] == START + 200 * NS


def test_a_rare_stall_does_not_move_the_line() -> None:
    clock = SensorClock()
    for k in range(700):
        held_up = 10 * NS if k % 50 == 20 else 0
        clock.observe(SENSOR + k * NS, START + k * NS + held_up)
    assert abs(clock.host(np.array([SENSOR + 700 * NS]))[0] - START - 700 * NS) < 1000
    assert abs(clock.skew_ppm) < 0.1


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_stamps_in_any_order(seconds: list[int]) -> None:
    clock = SensorClock()
    for s in seconds:
        clock.observe(SENSOR + s * NS, START + s * NS + NS // 100)
    assert clock.host(np.array([SENSOR]))[0] == START + NS // 100


def test_nothing_observed() -> None:
    with pytest.raises(ValueError, match="observed"):
        SensorClock().host(np.array([1]))


# Timeline


def frames(rate: float, sizes: list[int], start: int = SENSOR) -> list[tuple[int, Ints, int]]:
    """Frames of consecutive sample numbers: (stamp, numbers as one column, arrival)."""
    made, k = [], 0
    for n in sizes:
        k += n
        stamp = start + round((k - 1) * NS / rate)
        made.append((stamp, np.arange(k - n, k).reshape(-1, 1), START + stamp - SENSOR))
    return made


def push_all(
    timeline: Timeline[Ints], sent: list[tuple[int, Ints, int]]
) -> list[PlacedSamples[Ints]]:
    return [p for t, k, a in sent for p in timeline.push(t, len(k), k, a)] + timeline.flush()


def account(placed: list[PlacedSamples[Ints]]) -> tuple[int, int, list[int | None]]:
    received = sum(len(p.frame) for p in placed)
    holes = [p.hole.lost for p in placed if p.hole]
    return received, sum(lost or 0 for lost in holes), holes


@given(
    st.sampled_from([28.0, 44.0, 54.77, 55.0, 135.0, 176.0]),
    st.lists(st.integers(20, 60), min_size=10, max_size=60),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_sent_is_received_plus_declared_lost(
    rate: float, sizes: list[int], data: st.DataObject
) -> None:
    sent = frames(rate, sizes)
    lost = data.draw(st.sets(st.integers(2, len(sent) - 2), max_size=len(sent) // 2))
    late = data.draw(st.integers(2, len(sent) - 2))
    kept = [f for i, f in enumerate(sent) if i not in lost]
    if not {late, late + 1} & lost:  # one overtaken by its successor
        at = next(i for i, f in enumerate(kept) if f is sent[late])
        stamp, numbers, _ = kept.pop(at)
        kept.insert(at + 1, (stamp, numbers, kept[at][2] + NS // 100))
    timeline: Timeline[Ints] = Timeline([rate, 135.0])
    placed = push_all(timeline, kept)
    received, declared, holes = account(placed)
    assert None not in holes
    assert received + declared == sum(sizes)
    times = np.concatenate([p.times for p in placed])
    numbers = np.concatenate([p.frame[:, 0] for p in placed])
    assert np.abs(times - SENSOR - numbers * NS / rate).max() < 1000
    assert (np.diff(times) > 0).all()


def test_the_true_rate_is_measured_not_assumed() -> None:
    timeline: Timeline[Ints] = Timeline([135.0, 55.0])
    sent = frames(54.77, [42] * 20)
    placed = push_all(timeline, sent)
    assert timeline.rate == pytest.approx(54.77, rel=1e-6)
    assert placed[0].times[0] == pytest.approx(SENSOR, abs=1000)
    assert not any(p.hole for p in placed)


def test_a_lost_frame_right_at_the_start_does_not_halve_the_rate() -> None:
    sent = frames(55, [50] * 8)
    placed = push_all(Timeline([55.0]), [sent[0], *sent[2:]])
    assert account(placed) == (350, 50, [50])


def test_an_unknown_rate() -> None:
    timeline: Timeline[Ints] = Timeline([55.0])
    placed = push_all(timeline, frames(80, [50] * 10))
    assert timeline.rate == pytest.approx(80)
    assert account(placed) == (500, 0, [])


def test_a_rate_that_drifts_is_not_a_loss() -> None:
    """A real Verity Sense was seen to go from 55.0 to 54.77 Hz in its first seconds."""
    timeline: Timeline[Ints] = Timeline([55.0])
    placed, stamp = [], SENSOR
    for k in range(40):
        stamp += round(50 * NS / (55 - 0.23 * (1 - np.exp(-k / 5))))
        placed += timeline.push(stamp, 50, np.zeros((50, 1), np.int64), START + stamp - SENSOR)
    assert account(placed)[2] == []


def test_a_rate_that_jumps_is_learned() -> None:
    timeline: Timeline[Ints] = Timeline([55.0])
    placed = push_all(timeline, frames(55, [50] * 10))
    more = frames(53.5, [50] * 10, start=placed[-1].times[-1] + round(NS / 53.5))
    holes = account(push_all(timeline, more))[2]
    assert timeline.rate == pytest.approx(53.5, rel=1e-3)
    assert len(holes) <= 2


@pytest.mark.parametrize("shift", [-(10**9) * NS, 10**6 * NS])
def test_a_set_sensor_clock_loses_an_unknown_number(shift: int) -> None:
    timeline: Timeline[Ints] = Timeline([55.0])
    first = push_all(timeline, frames(55, [50] * 5))
    later = [(t + shift, s, a + 5 * NS) for t, s, a in frames(55, [50] * 5)[1:]]
    holes = account(push_all(timeline, later))[2]
    assert account(first)[2] == []
    assert holes == [None]


def test_delayed_frames_before_a_loss_do_not_make_it_unknown() -> None:
    sent = frames(55, [50] * 30)
    sent[8:13] = [(t, s, sent[13][2]) for t, s, _ in sent[8:13]]  # the first of them by 4.5 s
    kept = [*sent[:9], *sent[13:]]
    assert account(push_all(Timeline([55.0]), kept))[2] == [200]


@pytest.mark.parametrize("ppm", [-500, 500])
def test_a_clock_that_drifts_for_hours_was_not_set(ppm: int) -> None:
    timeline: Timeline[Ints] = Timeline([55.0])
    apart = [(t, s, a + (t - SENSOR) * ppm // 10**6) for t, s, a in frames(55, [550] * 1440)]
    assert account(push_all(timeline, apart))[2] == []
    timeline.restart()
    stamp, samples, arrival = apart[-1]
    again = timeline.push(stamp + 20 * NS, 550, samples, arrival + 20 * NS)
    assert account(again)[2] == [550]


def test_after_a_reconnect_the_same_epoch_counts_and_another_does_not() -> None:
    timeline: Timeline[Ints] = Timeline([55.0])
    sent = frames(55, [50] * 30)
    push_all(timeline, sent[:5])
    timeline.restart()
    assert account(push_all(timeline, sent[25:27]))[2] == [1000]
    timeline.restart()
    stopped = [(t, s, a + 60 * NS) for t, s, a in sent[28:]]  # the sensor's clock stood still
    assert account(push_all(timeline, stopped))[2] == [None]
