"""The process over all readings: laws of the posterior."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from innpar.models.calibration.process import (
    MOST,
    PastReading,
    WearerProcess,
)
from support.processes import PRIOR, K

moments = arrays(np.float64, K, elements=st.floats(-3, 3))
noises = st.one_of(st.none(), st.floats(0.5, 10.0))


@st.composite
def readings(draw: st.DrawFn) -> PastReading:
    dbp = draw(st.floats(40, 100))
    pulse_pressure = draw(st.floats(20, 80))
    pressures = np.array([dbp + pulse_pressure, dbp, dbp + 0.4 * pulse_pressure])
    return PastReading(draw(st.floats(0, 86400)), pressures, draw(moments), draw(noises))


histories = st.lists(readings(), max_size=8)


def at(process: WearerProcess, x: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    mean, sd = process.at(x[None], np.array([seconds]))
    return mean[0], sd[0]


@given(moments, st.floats(-1e5, 1e5))
def test_without_a_reading_it_is_the_population(x: np.ndarray, seconds: float) -> None:
    mean, sd = at(WearerProcess(PRIOR, []), x, seconds)
    np.testing.assert_allclose(mean, PRIOR.base + PRIOR.line @ x)
    np.testing.assert_allclose(
        sd**2, PRIOR.variance(PRIOR.moments(x[None], np.zeros(1)))[:, 0] + PRIOR.rest**2
    )


@given(histories, moments, st.randoms())
def test_only_the_times_of_readings_matter_not_their_order(
    history: list[PastReading], x: np.ndarray, random: object
) -> None:
    shuffled = list(history)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (at(WearerProcess(PRIOR, each), x, 9e4) for each in (history, shuffled))
    np.testing.assert_allclose(one, other, atol=1e-6)


@given(histories, readings(), moments)
def test_a_reading_never_widens_the_interval(
    history: list[PastReading], more: PastReading, x: np.ndarray
) -> None:
    _, without = at(WearerProcess(PRIOR, history), x, 9e4)
    _, with_it = at(WearerProcess(PRIOR, [*history, more]), x, 9e4)
    assert (with_it <= without + 1e-6).all()


@given(readings(), st.lists(st.floats(0, 1e6), min_size=2, max_size=6).map(sorted))
def test_the_interval_widens_with_the_time_since_the_reading(
    reading: PastReading, ages: list[float]
) -> None:
    process = WearerProcess(PRIOR, [reading])
    times = reading.seconds + np.array(ages)
    _, sd = process.at(np.tile(reading.inputs, (len(ages), 1)), times)
    assert (np.diff(sd, axis=0) >= -1e-6).all()


@given(readings())
def test_at_its_own_time_an_exact_reading_is_returned(reading: PastReading) -> None:
    exact = dataclasses.replace(reading, noise=0.01)
    mean, sd = at(WearerProcess(PRIOR, [exact]), exact.inputs, exact.seconds)
    np.testing.assert_allclose(mean, exact.pressures, atol=0.01)
    np.testing.assert_allclose(sd, PRIOR.rest, atol=0.01)


@given(readings())
def test_equal_readings_without_an_error_have_a_solution(reading: PastReading) -> None:
    equal = [dataclasses.replace(reading, noise=1e-12)] * MOST
    mean, sd = at(WearerProcess(PRIOR, equal), reading.inputs, reading.seconds)
    np.testing.assert_allclose(mean, reading.pressures, atol=0.01)
    np.testing.assert_allclose(sd, PRIOR.rest, atol=0.01)


@given(readings(), moments)
def test_a_noisy_reading_counts_less(reading: PastReading, x: np.ndarray) -> None:
    population = PRIOR.base + PRIOR.line @ reading.inputs
    surprise = reading.pressures - population
    moved = []
    for noise in (1.0, 5.0, 20.0):
        one = dataclasses.replace(reading, noise=noise)
        mean, _ = at(WearerProcess(PRIOR, [one]), one.inputs, one.seconds)
        moved.append((mean - population) / np.where(np.abs(surprise) < 1e-6, 1.0, surprise))
    known = np.abs(surprise) >= 1e-6
    assert (moved[0][known] > moved[1][known]).all()
    assert (moved[1][known] > moved[2][known]).all()


def test_only_the_newest_readings_count() -> None:
    rng = np.random.default_rng(0)
    history = [
        PastReading(600.0 * k, np.array([120.0, 70.0, 88.0]) + rng.normal(), rng.normal(size=K))
        for k in range(MOST + 5)
    ]
    x = rng.normal(size=K)
    one, other = (at(WearerProcess(PRIOR, h), x, 5e4) for h in (history, history[5:]))
    np.testing.assert_array_equal(one, other)


@given(readings())
def test_a_reading_survives_its_storage(reading: PastReading) -> None:
    found = PastReading.of(reading.detail())
    assert (found.seconds, found.noise) == (reading.seconds, reading.noise)
    np.testing.assert_array_equal(found.pressures, reading.pressures)
    np.testing.assert_array_equal(found.inputs, reading.inputs)
