"""Overlapping windows joined into one waveform."""

from __future__ import annotations

import numpy as np

from innpar.stream.beats.combine import Combiner, Reconstruction
from innpar.stream.windows.quality import Quality
from support.windows import WINDOW


def rebuilt(index: int, wave: np.ndarray, segment: int = 0) -> Reconstruction:
    part = wave[index : index + WINDOW].astype(np.float32)
    return Reconstruction(segment, index, part, part, Quality(1.0, (), 1.0), 0, 0.0)


def test_windows_that_agree_are_joined_without_a_seam() -> None:
    wave = np.random.default_rng(0).normal(90, 10, 4000)
    combiner = Combiner(60)
    pieces = [combiner.push(rebuilt(k * 128, wave)) for k in range(20)]
    joined = np.concatenate([piece.abp for piece in pieces])
    assert pieces[0].index == 60
    np.testing.assert_allclose(joined, wave[60 : 60 + len(joined)], rtol=1e-6)
    assert {piece.segment for piece in pieces} == {0}


def test_windows_that_disagree_fade_into_each_other() -> None:
    low, high = np.full(4000, 80.0), np.full(4000, 100.0)
    combiner = Combiner(60)
    combiner.push(rebuilt(0, low))
    piece = combiner.push(rebuilt(128, high))
    assert np.diff(piece.abp).max() < 20 / 30
    assert piece.abp[0] < 81
    assert piece.abp[-1] == 100


def test_a_skipped_window_interrupts_the_waveform() -> None:
    wave = np.full(4000, 90.0)
    combiner = Combiner(60)
    first = combiner.push(rebuilt(0, wave))
    after = combiner.push(rebuilt(5 * 128, wave))
    assert after.segment == first.segment + 1
    assert after.index >= first.index + len(first.abp)
    other = combiner.push(rebuilt(0, wave, segment=1))
    assert (other.segment, other.index) == (first.segment + 2, 60)
