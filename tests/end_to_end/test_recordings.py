"""Real wristbands and real patients through the whole pipeline."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import neurokit2
import numpy as np
import pytest

from innpar.devices import NS
from innpar.devices.registry import create
from innpar.devices.timing.pace import Pace
from innpar.stream.beats.combine import JoinedWave
from innpar.stream.beats.detector import BeatFinder, DetectedBeat
from innpar.stream.results import Waveform
from support.harness import estimates, need_data, stream_all

pytestmark = [pytest.mark.real, pytest.mark.slow]

WRIST = [f"S0{person}_r{run}_PPG.txt.gz" for person in (1, 2, 3) for run in (1, 2)]
VAL = ("case_0013", "case_0069", "case_0077", "case_3333")


def raw_channel(path: Path, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a Polar log without our code: sensor times (s) and the channel, upright."""
    with gzip.open(path, "rt") as file:
        next(file)
        rows = np.array([[float(cell) for cell in line.split(";")[1:6]] for line in file])
    channel = rows[:, 1 + int(label[3])]
    if label.endswith("ambient"):
        channel = channel - rows[:, 4]
    return (rows[:, 0] - rows[0, 0]) / NS, -channel


@pytest.fixture(scope="module")
def wrist() -> list[tuple[float, list[tuple[float, float]], list[float]]]:
    """Per recording: share accepted; (ours, NeuroKit2's) rate a 10 s window; pressures."""
    folder = need_data() / "wearable/polar_verity_sense"
    results = []
    for name in WRIST:
        device = create(f"replay:{folder / name}", pace=Pace(math.inf, 10.0))
        items, (wearer,), _ = stream_all([device])
        finisher = wearer.finisher
        info = wearer.info
        times, signal = raw_channel(folder / name, str(info.detail["channel"]))
        even = np.arange(0, times[-1], 0.01)
        clean = neurokit2.ppg_clean(np.interp(even, times, signal), sampling_rate=100)
        peaks = even[neurokit2.ppg_findpeaks(clean, sampling_rate=100)["PPG_Peaks"]]
        accepted = [i for i in items if isinstance(i, Waveform) and i.kind == "abp"]
        first = wearer.first or 0
        beats = estimates(items)
        valid = [beat for beat in beats if beat.valid]
        pairs = []
        for start in np.arange(0, times[-1] - 10, 10.0):
            covered = sum(
                len(w.samples) / w.rate
                for w in accepted
                if start - 0.5 <= (w.start - first) / NS < start + 9.5
            )
            if covered >= 9:
                pairs.append(_rates(beats, peaks, start, first))
        pressures = [p for beat in valid for p in (beat.sbp, beat.dbp, beat.map_) if p is not None]
        results.append((finisher.good_seconds / wearer.seconds, pairs, pressures))
    return results


def _rates(beats: list, peaks: np.ndarray, start: float, first: int) -> tuple[float, float]:
    """Mean rate of our beats in a window, and NeuroKit2's over the same beats."""
    spans = [
        ((beat.peak - first) / NS, 60 / beat.hr)
        for beat in beats
        if beat.hr is not None and start <= (beat.peak - first) / NS < start + 10
    ]
    middles, intervals = (peaks[1:] + peaks[:-1]) / 2, np.diff(peaks)
    theirs = [
        interval
        for middle, interval in zip(middles, intervals, strict=True)
        if any(at - 0.1 <= middle <= at + rr + 0.1 for at, rr in spans)
    ]
    if len(spans) < 3 or len(theirs) < 3:
        return math.nan, math.nan
    return 60 / float(np.mean([rr for _, rr in spans])), 60 / float(np.mean(theirs))


def test_the_gate_accepts_most_of_a_wrist_signal(wrist: list) -> None:
    for share, _, _ in wrist:
        assert share >= 0.6


def test_the_heart_rate_is_neurokits(wrist: list) -> None:
    pairs = np.array([pair for _, pairs, _ in wrist for pair in pairs])
    assert len(pairs) > 120
    # A window without enough beats counts as a disagreement.
    agree = np.abs(pairs[:, 0] - pairs[:, 1]) <= 3
    assert agree.mean() >= 0.95


def test_wrist_pressures_are_plausible(wrist: list) -> None:
    pressures = np.array([p for _, _, some in wrist for p in some])
    assert len(pressures) > 1000
    assert pressures.min() > 30
    assert pressures.max() < 220


def reference_beats(record: Path, begin: float, end: float) -> np.ndarray:
    """Peak times (s from the record's start) of the beats in good windows."""
    with np.load(record) as z:
        codes, rate = z["abp"], float(z["fs"])
        abp = np.where(codes == -32768, np.nan, codes * float(z["abp_scale"]))
        good = np.repeat(z["win_good"].astype(bool), round(10 * rate))
    stretch = slice(round(begin * rate), round(end * rate))
    abp, good = abp[stretch], good[stretch]
    finder, beats = BeatFinder(rate), list[DetectedBeat]()
    usable = np.isfinite(abp)
    starts = np.flatnonzero(np.diff(usable.astype(int), prepend=0) == 1)
    stops = np.flatnonzero(np.diff(usable.astype(int), append=0) == -1) + 1
    for segment, (a, b) in enumerate(zip(starts, stops, strict=True)):
        none = np.empty(0, np.float32)
        for at in range(a, b, 128):
            block = abp[at : min(at + 128, b)]
            beats += finder.push(JoinedWave(segment, int(at), block, none, 1.0, (), 0, 0.0))
    peaks = np.array([beat.peak for beat in beats if good[beat.foot : beat.end].all()])
    return begin + peaks / rate


@pytest.mark.parametrize("case", VAL)
def test_beats_align_with_the_invasive_ones(case: str) -> None:
    record = need_data() / f"abp/vitaldb_125hz/{case}.npz"
    begin, end = 1200.0, 2400.0
    device = create(f"replay:{record}?from={begin:g}&to={end:g}", pace=Pace(math.inf, 10.0))
    items, (wearer,), _ = stream_all([device])
    first = (wearer.first or 0) - round(begin * NS)
    ours = np.array([(beat.peak - first) / NS for beat in estimates(items)])
    lag = float(str(wearer.info.detail["lag"]))
    theirs = reference_beats(record, begin, end) + lag
    inside = theirs[(theirs > begin + 4) & (theirs < end - 4)]
    assert len(inside) > 500
    nearest = np.abs(ours[:, None] - inside[None]).min(axis=0)
    assert np.mean(nearest <= 0.15) >= 0.95
