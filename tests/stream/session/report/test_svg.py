"""Axes of the charts."""

from __future__ import annotations

import numpy as np

from innpar.stream.session.report.svg import around, round_values


def test_round_numbers_on_axes() -> None:
    assert round_values(0, 1, 4) == [0, 0.25, 0.5, 0.75, 1.0]
    assert round_values(40, 180, 5) == [50, 100, 150]
    assert round_values(3, 3, 5) == [3]
    assert around([np.array([61.0, np.nan]), np.array([119.0])], 20, 40) == (60, 120)
    assert around([np.array([np.nan])], 20, 40) == (0, 40)
