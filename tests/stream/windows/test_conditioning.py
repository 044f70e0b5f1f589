"""The conditioning filter: gain, phase, and what vanishes."""

from __future__ import annotations

import numpy as np
import pytest

from innpar.stream.windows.conditioning import condition, conditioning_matrix
from support.windows import GUARD, MATRIX, RATE, TIME, WINDOW


@pytest.mark.parametrize("frequency", [0.05, 0.25, 0.5, 1.0, 4.0, 8.0, 20.0])
def test_the_filter_is_a_zero_phase_butterworth(frequency: float) -> None:
    wave = np.sin(2 * np.pi * frequency * TIME)
    middle = slice(200, 440)
    out = condition(wave, MATRIX)[middle]
    inner = TIME[GUARD : GUARD + WINDOW][middle]
    basis = np.stack([np.sin(2 * np.pi * frequency * inner), np.cos(2 * np.pi * frequency * inner)])
    sine, cosine = np.linalg.lstsq(basis.T, out, rcond=None)[0]

    def low(f: float, cutoff: float) -> float:
        ratio = np.sin(np.pi * f / RATE) / np.sin(np.pi * cutoff / RATE)
        return float(1 / (1 + ratio**4))

    gain = low(frequency, 8.0) * (1 - low(frequency, 0.5))
    assert sine == pytest.approx(gain, abs=0.03)
    assert abs(cosine) < 0.03


def test_lines_of_any_size_vanish() -> None:
    assert np.abs(condition(5e5 + 1e5 * TIME, MATRIX)).max() < 1e-2


def test_an_impossible_band_is_refused() -> None:
    with pytest.raises(ValueError, match="half of 125"):
        conditioning_matrix(WINDOW, GUARD, RATE, (0.5, 70.0))
