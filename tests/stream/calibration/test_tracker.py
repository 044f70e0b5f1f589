"""A cuff reading's state: in force, and no longer to be relied on once too much has changed."""

from __future__ import annotations

import numpy as np
import pytest

from innpar.devices import NS
from innpar.models.calibration.context import CONTEXT
from innpar.stream.calibration.tracker import (
    ANCHORS,
    ENOUGH,
    MEMORY,
    STALE_HEART_RATE,
    STALE_LOG_AMPLITUDE,
    STALE_SECONDS,
    CalibrationTracker,
    _median,
)
from innpar.stream.calibration.types import CuffReading, Guidance

HOP = 1024 * NS // 1000


def pulse(rate: float = 70.0, amplitude: float = 1000.0) -> np.ndarray:
    """Return a conditioned window (640,) with so many beats a minute."""
    phase = 2 * np.pi * rate / 60 * np.arange(640) / 125
    return (amplitude * (np.sin(phase) + 0.4 * np.sin(2 * phase + 1))).astype(np.float32)


def after_a_reading(later: np.ndarray, *, at: int = 0, channel: str = "green") -> Guidance:
    """Return what is known after a reading and a memory's worth of other windows, from `at` on."""
    calibration, time = CalibrationTracker(), 0
    calibration.cuff(CuffReading(0, 128.0, 79.0))
    for _ in range(ENOUGH):
        time += HOP
        calibration.push(time, pulse(), True, channel="green")
    time += at
    for _ in range(MEMORY):
        time += HOP
        found = calibration.push(time, later, True, channel=channel)
    return found


def test_a_reading_waits_for_enough_windows() -> None:
    calibration = CalibrationTracker()
    calibration.cuff(CuffReading(0, 128.0, 79.0))
    states = [calibration.push(k * HOP, pulse(), True).status.state for k in range(1, ENOUGH + 1)]
    assert states == ["none"] * (ENOUGH - 1) + ["ok"]


@pytest.mark.parametrize("at", [0, (STALE_SECONDS - 600) * NS])
def test_it_stays_in_force(at: int) -> None:
    found = after_a_reading(pulse(80.0, 1500.0), at=at)
    assert found.status.state == "ok"
    assert (found.status.sbp, found.status.dbp) == (128.0, 79.0)


@pytest.mark.parametrize(
    "found",
    [
        after_a_reading(pulse(), at=STALE_SECONDS * NS),
        after_a_reading(pulse(70.0 + STALE_HEART_RATE + 5)),
        after_a_reading(pulse(70.0, 1000.0 * np.exp(STALE_LOG_AMPLITUDE + 0.1))),
        after_a_reading(pulse(70.0, 1000.0 / np.exp(STALE_LOG_AMPLITUDE + 0.1))),
        after_a_reading(pulse(), channel="infrared"),
    ],
    ids=["age", "heart rate", "stronger pulse", "weaker pulse", "another channel"],
)
def test_it_is_stale_once_too_much_has_changed(found: Guidance) -> None:
    assert found.status.state == "stale"
    assert found.context is not None  # still used, and said to be stale


@pytest.mark.parametrize("names", [("cuff_dbp", "calibrated"), ("now_heart_rate",), CONTEXT])
def test_the_network_is_told_what_it_asks_for(names: tuple[str, ...]) -> None:
    whole, some = CalibrationTracker(), CalibrationTracker(names)
    for calibration in (whole, some):
        calibration.cuff(CuffReading(0, 128.0, 79.0))
        for k in range(1, ENOUGH + 1):
            found = calibration.push(k * HOP, pulse(), True)
        assert all(one.context is not None for one in found.anchor)
        assert found.context is not None
        if calibration is whole:
            expected = {name: found.context[CONTEXT.index(name)] for name in names}
        else:
            assert dict(zip(names, found.context, strict=True)) == expected


def test_a_network_without_a_context_is_told_nothing() -> None:
    calibration = CalibrationTracker(())
    calibration.cuff(CuffReading(0, 128.0, 79.0))
    for k in range(1, ENOUGH + 1):
        found = calibration.push(k * HOP, pulse(), True)
    assert found.status.state == "ok"
    assert [one.context for one in (found, *found.anchor)] == [None] * (1 + ANCHORS)


def test_a_window_between_two_descriptions_has_the_last_context() -> None:
    calibration = CalibrationTracker()
    calibration.cuff(CuffReading(0, 128.0, 79.0))
    for k in range(1, ENOUGH + 2):
        described = calibration.push(k * HOP, pulse(), True)
    between = calibration.between((ENOUGH + 2) * HOP)
    assert between.context is described.context
    assert not between.anchor
    assert between.status.age_s == pytest.approx((described.status.age_s or 0) + HOP / NS)
    assert (between.status.state, between.reading) == ("ok", described.reading)


def test_a_withdrawn_reading_is_not_in_force_between_two_descriptions() -> None:
    calibration = CalibrationTracker()
    reading = CuffReading(0, 128.0, 79.0)
    calibration.cuff(reading)
    for k in range(1, ENOUGH + 1):
        calibration.push(k * HOP, pulse(), True)
    calibration.undo(reading.undone("demo", ENOUGH * HOP))
    found = calibration.between((ENOUGH + 1) * HOP)
    assert found.context is None
    assert found.status.state == "none"


def test_a_change_of_height_shows_between_two_descriptions() -> None:
    calibration = CalibrationTracker()
    calibration.push(HOP, pulse(), True)
    calibration.posture(2 * HOP, 10.0)
    assert calibration.between(2 * HOP - 1).lift == 0
    assert calibration.between(2 * HOP).lift == pytest.approx(7.7)


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_the_pulse_is_the_median_of_each_feature(count: int) -> None:
    rows = np.random.default_rng(count).normal(size=(count, 20)) * 10.0 ** np.arange(-10, 10)
    assert _median(rows).tobytes() == np.median(rows, axis=0).tobytes()
