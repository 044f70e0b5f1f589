"""The rate at which a signal was measured, whatever rate it states."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices import NS, Chunk
from innpar.devices.replay import open_recording
from innpar.stream.results import Beat
from innpar.stream.windows.bandwidth import effective_rate
from innpar.stream.windows.resample import Resampler
from support.harness import DATA, need_data, stream_all
from support.rhythms import pulse_wave, regular
from support.sessions import MAX

SECONDS = 5.12
KINDS = ("hold", "linear", "packets")
WEARABLES = [
    ("polar_verity_sense/S01_r1_PPG.txt.gz", {}),
    ("polar_verity_sense/S02_r2_PPG.txt.gz", {}),
    ("polar_verity_sense/S03_r1_PPG.txt.gz", {}),
    ("empatica_e4/BVP.csv.gz", {}),
    ("emotibit/emotibit_raw.csv.gz", {}),
    ("berrymed/berrymed_100Hz.csv.gz", {"rate": "100"}),
]


def light(rate: float, beats: float = 72, seconds: float = SECONDS) -> np.ndarray:
    """Return a pulse of 1000 counts, sampled at `rate`."""
    onsets = regular(beats, seconds + 4, np.random.default_rng(7))
    fine = 40_000 + 1000 * pulse_wave(onsets, np.ones(len(onsets)), seconds + 4, rate=2000.0)
    at = np.arange(0, seconds, 1 / rate)
    return np.interp(at, np.arange(len(fine)) / 2000.0, fine)


def upsampled(
    kind: str, true: float, rate: float, beats: float = 72, seconds: float = SECONDS
) -> np.ndarray:
    """Return a pulse measured at `true` Hz and sent at `rate`, in whole counts."""
    few = light(true, beats, seconds + 1)
    at = np.arange(0, seconds, 1 / rate) + 0.013
    if kind == "hold":
        return np.round(few[np.floor(at * true).astype(int)])
    if kind == "linear":
        return np.round(np.interp(at, np.arange(len(few)) / true, few))
    times = round(rate / true)
    packets = few[: len(few) // 4 * 4].round().reshape(-1, 4)
    return np.repeat(packets, times, axis=0).ravel()[: len(at)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("true", [4.0, 6.0, 8.0, 10.0, 12.5, 16.0, 20.0])
@pytest.mark.parametrize("rate", [64.0, 100.0, 250.0])
def test_upsampling_does_not_raise_the_rate(kind: str, true: float, rate: float) -> None:
    found = effective_rate(upsampled(kind, true, rate), rate)
    assert 0.6 * true <= found * (4 if kind == "packets" else 1) <= 1.3 * true


@pytest.mark.parametrize("beats", [38, 60, 110, 150])
@pytest.mark.parametrize("kind", KINDS)
def test_at_any_heart_rate(kind: str, beats: float) -> None:
    assert effective_rate(upsampled(kind, 10.0, 100.0, beats), 100.0) <= 13


@pytest.mark.parametrize("counts", [40, 100, 300, 1000, 30_000])
@pytest.mark.parametrize("rate", [25.0, 50.0, 125.0, 250.0])
@pytest.mark.parametrize("cutoff", [2.0, 4.0, 8.0, None])
def test_a_filtered_or_coarse_signal_keeps_its_rate(
    counts: int, rate: float, cutoff: float | None
) -> None:
    wave = light(rate) / 1000
    if cutoff is not None:
        for _ in range(2):  # a sensor's own low-pass filter, of the second order
            share = 1 - np.exp(-2 * np.pi * cutoff / rate)
            for n in range(1, len(wave)):
                wave[n] = wave[n - 1] + share * (wave[n] - wave[n - 1])
    coarse = np.round(counts * wave)
    assert effective_rate(coarse, rate) == rate
    assert effective_rate(wave, rate) == rate
    noisy = coarse + np.random.default_rng(1).integers(-1, 2, len(coarse))
    assert effective_rate(noisy, rate) == rate


def test_too_little_to_judge_keeps_its_rate() -> None:
    for samples in (np.zeros(0), np.ones(3), np.full(500, 7.0), np.eye(500)[250], np.arange(500.0)):
        assert effective_rate(samples, 100.0) == 100.0


@given(cuts=st.lists(st.integers(1, 599), max_size=9))
def test_the_cut_of_the_input_does_not_matter(cuts: list[int]) -> None:
    samples = upsampled("linear", 10.0, 100.0, seconds=6.0)
    times = np.arange(len(samples)) * (NS // 100)
    whole, cut = Resampler(125.0), Resampler(125.0)
    edges = [0, *sorted(set(cuts)), len(samples)]
    for resampler, ends in ((whole, [0, len(samples)]), (cut, edges)):
        for a, b in itertools.pairwise(ends):
            part = samples[a:b, None]
            resampler.push(Chunk("test", "ppg", ("ppg",), 100.0, times[a:b], part))
    span = NS // 2, 5 * NS
    found = [one.recent.effective(0, span, (-1.0,), 100.0) for one in (whole, cut)]
    assert found[0] == found[1] < 12


def play(samples: np.ndarray, rate: float, path: Path) -> list[Beat]:
    """Return the beats of a table of these samples."""
    rows = (f"{n / rate:.6f},{value:g}" for n, value in enumerate(samples.tolist()))
    path.write_text("time_s,ppg\n" + "\n".join(rows) + "\n")
    items, _, _ = stream_all([open_recording(path, {}, pace=MAX)])
    return [item for item in items if isinstance(item, Beat)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("true", [8.0, 20.0])
def test_an_upsampled_pulse_has_no_pressures(kind: str, true: float, tmp_path: Path) -> None:
    beats = play(upsampled(kind, true, 100.0, seconds=20.0), 100.0, tmp_path / "light.csv")
    assert not any(beat.valid or beat.sbp is not None for beat in beats)
    assert all("rate" in beat.reasons for beat in beats)
    rates = [beat.hr for beat in beats if beat.hr is not None]
    assert (
        rates == []
        if true < 16 or kind == "packets"
        else np.median(rates) == pytest.approx(72, abs=2)
    )


def test_the_same_pulse_measured_fast_enough_has_pressures(tmp_path: Path) -> None:
    beats = play(light(50.0, seconds=20.0).round(), 50.0, tmp_path / "light.csv")
    assert sum(beat.valid for beat in beats) >= 12


@pytest.mark.real
@pytest.mark.parametrize(("name", "options"), WEARABLES, ids=lambda one: str(one)[-24:])
def test_no_real_window_is_taken_for_interpolated(name: str, options: dict[str, str]) -> None:
    need_data()
    recording = open_recording(DATA / "wearable" / name, options, pace=MAX).recording
    rate, length = recording.rate, round(SECONDS * recording.rate)
    data = np.concatenate([block.data for block in recording.read([])])
    for column in data[: 300 * length].T:
        for start in range(0, len(column) - length, length):
            assert effective_rate(column[start : start + length], rate) == rate
