"""The choice of a channel and its polarity."""

from __future__ import annotations

import numpy as np
import pytest

from innpar.stream.windows.channel import ChannelPicker
from support.windows import MATRIX, RATE, SPAN, pulse


def test_the_best_channel_is_taken_and_kept_until_the_next_gap() -> None:
    rng = np.random.default_rng(0)
    clean, noise = -1000 * pulse(), 3000 * rng.normal(size=SPAN)
    raw = np.stack([clean + 0.5 * noise, clean, noise], axis=1)
    channels = ("ppg0", "ppg1", "ambient")
    picker = ChannelPicker(-1, RATE, MATRIX)
    signal, _, quality = picker.push(0, channels, raw)
    assert picker.choice is not None
    assert picker.choice.label == "ppg1"
    assert quality.accepted
    np.testing.assert_array_equal(signal, -clean)
    swapped = raw[:, [1, 0, 2]]
    assert not picker.push(0, channels, swapped)[2].accepted
    assert picker.choice.label == "ppg1"
    picker.push(1, channels, swapped)
    assert picker.choice.label == "ppg0"


def test_ambient_light_is_subtracted_where_that_helps() -> None:
    rng = np.random.default_rng(0)
    ambient = 3000 * rng.normal(size=SPAN).cumsum() / 5
    raw = np.stack([ambient + 1000 * pulse(), ambient], axis=1)
    picker = ChannelPicker(1, RATE, MATRIX)
    picker.push(0, ("ppg0", "ambient"), raw)
    assert picker.choice is not None
    assert picker.choice.label == "ppg0-ambient"


@pytest.mark.parametrize("sign", [1, -1])
def test_an_undeclared_polarity_is_found_out(sign: int) -> None:
    picker = ChannelPicker(0, RATE, MATRIX)
    signal, _, quality = picker.push(0, ("ppg",), sign * 1000 * pulse()[:, None])
    assert quality.accepted
    np.testing.assert_array_equal(signal, 1000 * pulse())
