"""Clocks and pacing."""

import math
import time

import pytest

from innpar.devices import NS
from innpar.devices.timing.pace import LONGEST_WAIT, Pace, Pacer, SystemClock, VirtualClock


async def test_system_clock_tells_the_time_and_sleeps_until_it() -> None:
    clock = SystemClock()
    assert abs(clock.now() - time.time_ns()) < NS
    due = clock.now() + NS // 50
    await clock.sleep_until(due)
    assert due <= clock.now() < due + NS
    await clock.sleep_until(due)  # what is past is not waited for


@pytest.mark.parametrize("speed", [0.5, 1.0, 20.0])
async def test_a_chunk_is_due_when_its_last_sample_is(speed: float) -> None:
    clock = VirtualClock()
    began = clock.now()
    pacer = Pacer(clock, speed)
    for second in range(5):
        first = 123 * NS + second * NS
        await pacer.until(first, first + NS * 9 // 10)
        assert clock.now() - began == round((second + 0.9) * NS / speed)


async def test_a_head_start_is_not_waited_for() -> None:
    clock = VirtualClock()
    began = clock.now()
    pacer = Pacer(clock, 1.0, head_start=6.0)
    for second in range(9):
        await pacer.until(second * NS, (second + 1) * NS - 1)
        assert clock.now() - began == max(0, (second - 5) * NS - 1)


async def test_at_infinite_speed_nothing_is_waited_for() -> None:
    clock = VirtualClock()
    began = clock.now()
    pacer = Pacer(clock, math.inf)
    for hour in range(3):
        await pacer.until(hour * 3600 * NS, (hour + 1) * 3600 * NS)
    assert clock.now() == began


@pytest.mark.parametrize("jump", [-3600, 3600])
async def test_a_long_hole_and_a_clock_set_back_are_not_waited_out(jump: int) -> None:
    clock = VirtualClock()
    began = clock.now()
    pacer = Pacer(clock, 1.0)
    await pacer.until(0, NS)
    await pacer.until(jump * NS, (jump + 1) * NS)
    assert clock.now() - began == 2 * NS
    await pacer.until((jump + 1) * NS + LONGEST_WAIT, (jump + 2) * NS + LONGEST_WAIT)
    assert clock.now() - began == 3 * NS + LONGEST_WAIT


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan])
def test_a_speed_must_be_positive(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Pace(speed)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_a_chunk_length_must_be_positive_and_finite(seconds: float) -> None:
    with pytest.raises(ValueError, match="chunk"):
        Pace(1.0, seconds)
