"""All readings in the level: from one reading to the next, through storage, and onto the wave."""

from __future__ import annotations

import numpy as np
import pytest

from innpar.devices import NS
from innpar.models.calibration.calibrate import CuffCalibration
from innpar.models.calibration.context import FEATURES
from innpar.models.calibration.process import INPUTS, MOST, WearerProcess, inputs
from innpar.models.calibration.process_level import ProcessTable
from innpar.models.calibration.wave_pressures import wave_pressures
from innpar.stream.calibration.history import ReadingHistory
from innpar.stream.calibration.tracker import HYDROSTATIC
from innpar.stream.calibration.types import CuffReading, StoredCalibration
from support.processes import PRIOR

RATE, DROP = 125.0, 60
PULSE = np.zeros(len(FEATURES))
PULSE[FEATURES.index("heart_rate")] = 75.0
TABLE = ProcessTable(PRIOR, 0.5, np.array([1.6, 1.7, 1.8]))


def wave(sbp: float, dbp: float) -> np.ndarray:
    """Return a window (640,) with these pressures at 75 beats a minute."""
    phase = 2 * np.pi * 1.25 * np.arange(640) / RATE
    return (dbp + (sbp - dbp) * 0.5 * (1 - np.cos(phase))).astype(np.float32)


def pressures(window: np.ndarray) -> np.ndarray:
    inner = window[None, DROP:-DROP].astype(np.float64)
    return wave_pressures(inner, np.array([75.0]), RATE)[0]


def taught(readings: list[CuffReading], alone: np.ndarray) -> list[CuffCalibration]:
    """Return the calibration after each of some readings, in order."""
    history, found = ReadingHistory(TABLE, RATE, DROP), list[CuffCalibration]()
    former, before = None, None
    for reading in readings:
        plain = CuffCalibration(reading.sbp, reading.dbp, PULSE, level=reading.dbp + 16.0)
        before = history.taught(plain, reading, [alone] * 8, former, before)
        former = reading
        found.append(before)
    return found


def readings(*minutes: float) -> list[CuffReading]:
    return [CuffReading(round(m * 60 * NS), 120.0 + m, 75.0) for m in minutes]


def test_a_history_counts_its_times_from_the_newest_reading() -> None:
    *_, third = taught(readings(0, 10, 25), wave(110, 65))
    assert [one.seconds for one in third.history] == [-1500.0, -900.0, 0.0]
    assert [one.pressures[0] for one in third.history] == [120.0, 130.0, 145.0]
    assert third.history[-1].pressures.tolist() == [145.0, 75.0, 91.0]
    np.testing.assert_allclose(third.history[0].inputs[:3], [-0.25, 5 / 12, 7.5 / 14], atol=0.05)


def test_earlier_readings_count_at_the_height_of_the_newest() -> None:
    """Of one posture, or of a raised and a lowered arm: the artery at the sensor is the same."""
    alone, found = wave(110, 65), list[list[float]]()
    for heights, above in (((0.0, 0.0), 0.0), ((20.0, -10.0), 15.4), ((0.0, 30.0), 0.0)):
        history, former, before = ReadingHistory(TABLE, RATE, DROP), None, None
        for k, height in enumerate(heights):
            plain = CuffCalibration(120.0 + above, 75.0 + above, PULSE, level=90.0 + above)
            stored = StoredCalibration(plain, height)
            reading = CuffReading(k * 600 * NS, plain.sbp, plain.dbp, stored)
            before = history.taught(plain, reading, [alone] * 8, former, before)
            former = reading
        assert before is not None
        sbp = [float(one.pressures[0]) for one in before.history]
        found.append([value - HYDROSTATIC * heights[-1] for value in sbp])
    # Minus the weight of the blood: the pressure at the sensor, 30 cm apart.
    assert found[0] == [120.0, 120.0]
    assert found[1] == pytest.approx([120.0, 143.1])
    assert found[2] == pytest.approx([120.0, 96.9])


def test_the_oldest_readings_are_dropped() -> None:
    many = taught(readings(*range(MOST + 3)), wave(110, 65))[-1]
    assert len(many.history) == MOST
    assert many.history[0].pressures[0] == 123.0


def test_a_history_survives_its_storage_exactly() -> None:
    (*_, calibration) = taught(readings(0, 10), wave(110, 65))
    detail = StoredCalibration(calibration).detail(5.0)
    found = StoredCalibration.of(130.0, 75.0, detail).calibration
    assert [one.detail() for one in found.history] == [one.detail() for one in calibration.history]
    del detail["history"]
    assert StoredCalibration.of(130.0, 75.0, detail).calibration.history == ()
    short = {"s": 0.0, "mmhg": [120.0], "inputs": [], "noise": None}
    with pytest.raises(ValueError, match="other numbers"):
        StoredCalibration.of(130.0, 75.0, {**detail, "history": [short]})


@pytest.mark.parametrize(
    "change",
    [
        {"noise": 0.0},
        {"noise": float("nan")},
        {"mmhg": [1e300, 75.0, 90.0]},
        {"inputs": [1e200] * len(INPUTS)},
        {"s": float("-inf")},
        {"s": 1e300},
    ],
)
def test_a_stored_reading_with_impossible_numbers_is_refused(change: dict[str, object]) -> None:
    """None of them may reach the process: it would have no solution, and end the run."""
    (calibration,) = taught(readings(0), wave(110, 65))
    bad = {**calibration.history[0].detail(), **change}
    detail = {**StoredCalibration(calibration).detail(5.0), "history": [bad]}
    with pytest.raises(ValueError, match="no reading"):
        StoredCalibration.of(130.0, 75.0, detail)


def test_the_wave_is_mapped_half_way_to_the_process() -> None:
    (*_, calibration) = taught(readings(0, 10), wave(110, 65))
    history = ReadingHistory(TABLE, RATE, DROP)
    assert history.mapped(wave(100, 60), calibration, PULSE, 60.0) is None  # no pulse yet
    history.push(wave(112, 66), PULSE)
    found = history.mapped(wave(100, 60), calibration, PULSE, 60.0)
    assert found is not None
    window, widths = found
    x = inputs(pressures(wave(112, 66))[None], PULSE[None])
    mean, sd = WearerProcess(PRIOR, calibration.history).at(x, np.array([60.0]))
    before = pressures(wave(100, 60))
    np.testing.assert_allclose(pressures(window)[:2], ((before + mean[0]) / 2)[:2], atol=0.05)
    np.testing.assert_allclose(widths, TABLE.widen * sd[0])
    # Affine, hence invertible: the shape is that of the network.
    np.testing.assert_allclose(np.corrcoef(window, wave(100, 60))[0, 1], 1.0)


def test_a_calibration_without_a_history_leaves_the_wave() -> None:
    history = ReadingHistory(TABLE, RATE, DROP)
    history.push(wave(112, 66), PULSE)
    plain = CuffCalibration(120.0, 75.0, PULSE, level=90.0)
    assert history.mapped(wave(100, 60), plain, PULSE, 60.0) is None


def test_a_new_segment_forgets_the_pulse_before_it() -> None:
    (calibration,) = taught(readings(0), wave(110, 65))
    history = ReadingHistory(TABLE, RATE, DROP)
    history.push(wave(112, 66), PULSE)
    history.forget()
    assert history.mapped(wave(100, 60), calibration, PULSE, 60.0) is None
