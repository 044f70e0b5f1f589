"""Level without a cuff reading: shrinkage, its table, and its fit over sources."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.models.calibration.population import PopulationLevel
from innpar.models.calibration.tables import Tables
from innpar.models.calibration.wave_pressures import beats_within, wave_pressures
from innpar.models.errors import DataError, ModelError
from innpar.models.manifest import NAME, read_manifest
from innpar.models.predictor import SHIPPED
from innpar.models.training.population_fit import LevelSource, fit_level

CENTRE = np.array([120.0, 62.0, 83.0])
RATE, DROP = 125.0, 60
TIME = np.arange(640) / RATE
PULSE = 0.5 + 0.4 * np.sin(2 * np.pi * 1.2 * TIME) + 0.1 * np.sin(4 * np.pi * 1.2 * TIME + 0.7)


def source(
    name: str, slope: float, *, people: int = 20, unseen: bool = True, offset: float = 0.0
) -> LevelSource:
    """Return people whose network follows the truth with a slope; 30 rows each."""
    rng = np.random.default_rng(len(name))
    level = np.repeat(rng.normal(0.0, 10.0, people), 30)[:, None]
    truth = CENTRE + offset + level
    subject = np.repeat([f"{name}{k}" for k in range(people)], 30)
    alone = CENTRE + slope * level + rng.normal(0.0, 1.0, truth.shape)
    return LevelSource(name, unseen, subject, alone, truth)


@given(st.floats(40, 130), st.floats(25, 90), st.floats(0, 1), st.sampled_from([60.0, 72.0, 90.0]))
def test_the_wave_gets_the_shrunk_pressures_and_keeps_its_shape(
    low: float, height: float, keep: float, beat_rate: float
) -> None:
    wave = (low + height * PULSE).astype(np.float32)
    published = PopulationLevel(CENTRE, keep).wave(wave, beat_rate, RATE)
    inner = np.stack([wave, published])[:, DROP:-DROP].astype(np.float64)
    before, after = wave_pressures(inner, np.full(2, beat_rate), RATE)
    wanted = CENTRE + keep * (before - CENTRE)
    np.testing.assert_allclose(after[:2], wanted[:2], atol=0.05)
    assert np.corrcoef(wave, published)[0, 1] == pytest.approx(1.0, abs=1e-4)


@given(st.floats(0, 1), st.floats(-6, 6))
def test_differences_between_beats_shrink_alike(keep: float, drift: float) -> None:
    wave = (75.0 + 45.0 * PULSE + drift * TIME).astype(np.float32)
    published = PopulationLevel(CENTRE, keep).wave(wave, 72.0, RATE)
    _, beats = beats_within(published.astype(np.float64), 50)
    assert len(beats) >= 3
    step = keep * drift / 1.2  # mmHg from beat to beat
    np.testing.assert_allclose(np.diff(beats[1:, :2], axis=0), step, atol=0.5)


def test_a_flat_wave_is_no_pulse_and_stays_implausible() -> None:
    flat = (90.0 + 10.0 * PULSE).astype(np.float32)
    assert PopulationLevel(CENTRE, 0.0).wave(flat, 72.0, RATE) is flat


def test_a_source_in_which_the_network_is_wrong_decides() -> None:
    good = source("good", 0.9)
    kept, _ = fit_level([good], CENTRE, 0.9)
    assert kept["keep"] > 0.9
    kept, _ = fit_level([good, source("opposed", -0.5)], CENTRE, 0.9)
    assert kept["keep"] == 0.0
    kept, _ = fit_level([good, source("opposed", -0.5, people=3)], CENTRE, 0.9)
    assert kept["keep"] > 0.9
    kept, _ = fit_level([good, source("opposed", -0.5, unseen=False)], CENTRE, 0.9)
    assert kept["keep"] > 0.9


def test_the_interval_covers_every_source() -> None:
    sources = [source("near", 0.1), source("far", 0.1, offset=15.0)]
    table, widths = fit_level(sources, CENTRE, 0.9)
    level = PopulationLevel(CENTRE, table["keep"])
    each = [s.coverage(level.pressures(s.alone), np.array([*widths.values()])) for s in sources]
    assert np.min(each) >= 0.895
    assert np.min(each[1]) <= 0.95


def test_a_fit_needs_people_the_network_has_not_seen() -> None:
    with pytest.raises(DataError, match="add recordings of other people"):
        fit_level([source("few", 0.5, people=5), source("seen", 0.5, unseen=False)], CENTRE, 0.9)


def test_the_shipped_model_has_the_table_and_old_manifests_have_none() -> None:
    shipped = read_manifest(SHIPPED / NAME)
    tables = Tables.of(shipped.calibration, shipped.intervals)
    assert tables is not None
    assert tables.population is not None
    means = shipped.training["population_mmhg"]
    np.testing.assert_allclose(tables.population.centre, [means[p] for p in ("sbp", "dbp", "map")])
    old = {name: v for name, v in shipped.calibration.items() if name != "uncalibrated"}
    former = Tables.of(old, shipped.intervals)
    assert former is not None
    assert former.population is None


@pytest.mark.parametrize(
    "wrong", [{"keep": 1.5}, {"keep": None}, {"centre": {"sbp": 120}}, {"centre": {}}, {}]
)
def test_an_unusable_table_is_refused(wrong: dict[str, object]) -> None:
    shipped = read_manifest(SHIPPED / NAME)
    table = {**shipped.calibration["uncalibrated"], **wrong} if wrong else {}
    with pytest.raises(ModelError, match="export the model again"):
        Tables.of({**shipped.calibration, "uncalibrated": table}, shipped.intervals)
