"""Calibration with a cuff reading, and prediction intervals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.models.calibration.calibrate import Affine, CuffCalibration, Smoother, half_widths
from innpar.models.calibration.context import CONTEXT, FEATURES
from innpar.models.calibration.tables import DIFFICULTY, PRESSURES, Blend, Tables
from innpar.models.errors import ModelError
from innpar.models.manifest import RATE
from support.training_data import pulses

NO_BLEND = Blend((0.0, 0.0), (0.0, 0.0), 1800.0)
TABLES = Tables(
    0.8, 1800.0, NO_BLEND, 10.0, 0.9, np.ones((3, len(DIFFICULTY))), np.array([30.0, 20.0, 25.0])
)
AT_CUFF = np.zeros(len(FEATURES))
WAVE = (70.0 + 40.0 * pulses(np.arange(640) / RATE)).astype(np.float32)
LIKE = {"difficulty": list(DIFFICULTY), "level": 0.9, "uncalibrated": dict.fromkeys(PRESSURES, 20)}


def anchored(sbp: float = 130.0, dbp: float = 85.0) -> CuffCalibration:
    waves = np.stack([WAVE, WAVE + 1, WAVE - 1])
    return CuffCalibration(sbp, dbp, AT_CUFF).anchored(
        waves, waves - 10, np.full(3, 75.0), drop=60, rate=RATE
    )


def test_the_map_makes_the_reconstruction_agree_with_the_reading() -> None:
    calibration = anchored()
    calibrated = calibration.blended(WAVE, WAVE, 0.0, dataclasses.replace(TABLES, pull=1.0))
    uncalibrated = calibration.uncalibrated_map(WAVE - 10)
    for wave in (calibrated, uncalibrated):
        assert wave.max() == pytest.approx(130.0, abs=0.5)
        assert wave[100:540].min() == pytest.approx(85.0, abs=0.5)


def test_the_pull_fades_with_time() -> None:
    calibration = anchored()
    moved = [
        float(np.abs(calibration.blended(WAVE, WAVE, t, TABLES) - WAVE).mean())
        for t in (0, 1800, 36000)
    ]
    assert moved[0] > 10
    assert moved[1] == pytest.approx(moved[0] / np.e, rel=1e-3)
    assert moved[2] < 1e-3


def test_a_flat_reconstruction_does_not_blow_the_scale_up() -> None:
    flat = np.full((3, 640), 80.0, np.float32)
    calibration = CuffCalibration(180.0, 80.0, AT_CUFF).anchored(
        flat, flat, np.full(3, 75.0), drop=60, rate=RATE
    )
    assert calibration.calibrated_map.scale <= 2.0
    assert np.isfinite(calibration.blended(flat[0], flat[0], 0.0, TABLES)).all()


def test_the_wave_made_without_the_reading_counts_more_as_time_goes() -> None:
    blend = Blend(mapped=(0.1, 0.4), plain=(0.0, 0.2), seconds=1800.0)
    assert blend.at(0.0) == pytest.approx((0.1, 0.0))
    assert blend.at(1e9) == pytest.approx((0.4, 0.2))
    assert blend.at(1800.0) == pytest.approx((0.4 - 0.3 / np.e, 0.2 - 0.2 / np.e))
    calibration = CuffCalibration(130.0, 85.0, AT_CUFF, Affine(), Affine(1.0, 10.0), 95.0)
    tables = dataclasses.replace(TABLES, pull=0.0, blend=blend)
    wave = calibration.blended(np.full(4, 100, "f4"), np.full(4, 50, "f4"), 1e9, tables)
    assert wave == pytest.approx(0.4 * 100 + 0.4 * 60 + 0.2 * 50)


def test_the_context_at_the_reading_is_calibrated_without_change() -> None:
    found = anchored().context(AT_CUFF[None], 0.0)
    assert found.shape == (1, len(CONTEXT))
    assert found[0, CONTEXT.index("calibrated")] == 1
    assert not any(found[0, k] for k, name in enumerate(CONTEXT) if name.startswith("change_"))


@pytest.mark.slow
@given(seconds=st.floats(0, 1e6), later=st.floats(0, 1e6))
def test_intervals_widen_with_time(seconds: float, later: float) -> None:
    now = half_widths(TABLES, anchored(), AT_CUFF, seconds, 100.0)
    then = half_widths(TABLES, anchored(), AT_CUFF, seconds + later, 100.0)
    assert (now > 0).all()
    assert (then >= now).all()


def test_intervals_widen_with_what_has_changed_and_are_fixed_without_a_reading() -> None:
    changed = AT_CUFF.copy()
    changed[FEATURES.index("heart_rate")] += 20.0
    calibration = anchored()
    level = calibration.level
    assert level is not None
    still = half_widths(TABLES, calibration, AT_CUFF, 60.0, level)
    assert (half_widths(TABLES, calibration, changed, 60.0, level) > still).all()
    assert (half_widths(TABLES, calibration, AT_CUFF, 60.0, level + 20) > still).all()
    assert half_widths(TABLES, None, AT_CUFF, 0.0, level).tolist() == [30.0, 20.0, 25.0]


def test_smoothing_keeps_a_steady_wave_and_halves_noise() -> None:
    smoother, rng = Smoother(10.0), np.random.default_rng(0)
    assert np.allclose(smoother.push(WAVE, 0.0), WAVE, atol=1e-3)
    assert np.allclose(smoother.push(WAVE, 1.0), WAVE, atol=1e-3)
    noise = rng.normal(0.0, 5.0, 200)
    levels = [float(smoother.push(WAVE + n, 1.0).mean() - WAVE.mean()) for n in noise]
    assert np.std(levels[20:]) < 0.5 * np.std(noise[20:])
    smoother.forget()
    assert np.allclose(smoother.push(WAVE + 30, 1.0), WAVE + 30, atol=1e-3)


def test_a_lasting_change_comes_through() -> None:
    smoother = Smoother(10.0)
    smoother.push(WAVE, 0.0)
    for _ in range(40):
        last = smoother.push(WAVE * 1.2 + 10, 1.0)
    assert np.allclose(last, WAVE * 1.2 + 10, atol=1.0)


def test_tables_are_read_strictly() -> None:
    assert Tables.of({}, {}) is None
    blend = {"mapped": [0.1, 0.4], "plain": [0, 0.2], "seconds": 1800}
    calibration = {"pull": 0.8, "fade_seconds": 1800, "blend": blend, "smooth_seconds": 10}
    rows = {name: [1.0] * len(DIFFICULTY) for name in PRESSURES}
    tables = Tables.of(calibration, {**LIKE, "calibrated": rows})
    assert tables is not None
    assert tables.pull == 0.8
    assert tables.blend == Blend((0.1, 0.4), (0.0, 0.2), 1800.0)
    with pytest.raises(ModelError, match="unusable"):
        Tables.of({**calibration, "blend": {"mapped": [0.1]}}, {**LIKE, "calibrated": rows})
    with pytest.raises(ModelError, match="unusable"):
        Tables.of({"pull": 0.8}, {**LIKE, "calibrated": rows})
    with pytest.raises(ModelError, match="unusable"):
        Tables.of(calibration, {**LIKE, "difficulty": ["age"], "calibrated": rows})
    with pytest.raises(ModelError, match="a level of 90"):
        Tables.of(calibration, {**LIKE, "calibrated": rows, "level": 90})
    with pytest.raises(ModelError, match="another shape"):
        Tables.of(calibration, {**LIKE, "calibrated": {key: [1.0] for key in PRESSURES}})
