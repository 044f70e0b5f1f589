"""Pressures from the readings alone."""

from __future__ import annotations

import numpy as np

from innpar.stream.evaluation.kriging import MEAN, kriged
from innpar.stream.evaluation.record_device import ReferenceReading

READINGS = [
    ReferenceReading(60.0, 150.0, 80.0, 105.0),
    ReferenceReading(1860.0, 140.0, 75.0, 100.0),
    ReferenceReading(3660.0, 145.0, 77.0, 102.0),
]


def test_there_are_none_up_to_the_first_reading() -> None:
    found = kriged(READINGS, np.array([0.0, 60.0, 61.0]))
    assert np.isnan(found[:2]).all()
    assert np.isfinite(found[2]).all()


def test_a_pressure_returns_from_the_reading_towards_the_mean_of_the_population() -> None:
    soon, later = kriged(READINGS[:1], np.array([61.0, 1e6]))
    reading = np.array([150.0, 80.0, 105.0])
    assert (abs(soon - reading) < 0.2 * (reading - MEAN)).all()
    assert ((later > MEAN) & (later < soon)).all()


def test_later_readings_do_not_change_what_was_known_before() -> None:
    seconds = np.array([100.0, 1000.0, 1850.0])
    np.testing.assert_array_equal(kriged(READINGS, seconds), kriged(READINGS[:1], seconds))


def test_many_readings_teach_the_own_mean_of_a_wearer() -> None:
    far = np.array([3660.0 + 5 * 3600.0])
    one, three = kriged(READINGS[2:], far)[0, 0], kriged(READINGS, far)[0, 0]
    assert MEAN[0] < one < three < 150.0
