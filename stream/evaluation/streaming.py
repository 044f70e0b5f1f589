"""Records streamed through the live pipeline, each beat paired with the true one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from innpar.devices import NS
from innpar.devices.timing.pace import VirtualClock
from innpar.models.data.index import IndexEntry
from innpar.models.data.recordings import TrainingRecord
from innpar.models.predictor import Predictor
from innpar.stream.evaluation.kriging import kriged
from innpar.stream.evaluation.record_device import (
    EPOCH,
    RecordDevice,
    ReferenceReading,
    reference_readings,
)
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.results import Beat, Item
from innpar.stream.windows.timing import NORMAL, LatencyMode

Floats = npt.NDArray[np.float64]

MATCH_SECONDS = 0.15
"""Largest distance between the peaks of a reconstructed and a true beat that are paired."""
EXAMPLE_BEATS = 6
WAVE_SAMPLES = 256
"""Most samples of a beat that enter the waveform errors, about two seconds."""


@dataclass(slots=True)
class _Beats:
    """Sink that stores the beats."""

    beats: list[Beat] = field(default_factory=list)

    async def send(self, item: Item) -> None:
        if isinstance(item, Beat):
            self.beats.append(item)

    async def ready(self) -> None:
        """Return at once: memory always has room."""


@dataclass(frozen=True, slots=True)
class EvaluatedRecord:
    """The valid beats of a record, each with its true counterpart.

    Attributes:
        subject: Subject of the record.
        source: Data source of the record.
        file: Its file in the data folder.
        beat: (n,) number of the true beat.
        seconds: (n,) systolic peak since the start of the record, s.
        found: (n, 3) reconstructed SBP, DBP, MAP, mmHg.
        truth: (n, 3) true SBP, DBP, MAP, mmHg.
        heart_rate: (n,) per minute.
        true_heart_rate: (n,) per minute.
        low: (n, 3) lower ends of the intervals, mmHg; NaN without an interval.
        high: (n, 3) upper ends of the intervals, mmHg; NaN without an interval.
        cuff: (n, 3) last cuff reading before the beat, mmHg; NaN before the first.
        age: (n,) time since that reading, s; NaN before the first.
        number: (n,) number of that reading, from 1; 0 before the first.
        kriged: (n, 3) pressures from the readings alone, without light, mmHg; NaN before the first.
        wave: (n, 4) MAE and RMSE of the waveform, mmHg, error of the steepest slope, mmHg/s, and
            Pearson's r.
        offered: Number of beats of the pipeline, valid or not, that have a true counterpart.
        example: (3, samples) a few beats: time in s, reconstructed and true pressure in mmHg.
    """

    subject: str
    source: str
    file: str
    beat: npt.NDArray[np.int64]
    seconds: Floats
    found: Floats
    truth: Floats
    heart_rate: Floats
    true_heart_rate: Floats
    low: Floats
    high: Floats
    cuff: Floats
    age: Floats
    number: npt.NDArray[np.int64]
    kriged: Floats
    wave: Floats
    offered: int
    example: Floats


async def evaluate_record(
    recording: TrainingRecord,
    predictor: Predictor,
    every: float | None,
    mode: LatencyMode = NORMAL,
) -> EvaluatedRecord:
    """Stream one record and pair its beats with the true ones.

    Args:
        recording: The record, at the model's rate.
        predictor: The model.
        every: Time between cuff readings, s; see `reference_readings`.
        mode: Latency of the pipeline.
    """
    rate = predictor.manifest.rate
    cuffs = tuple(reference_readings(recording, rate, every))
    engine, sink, clock = Engine(predictor), _Beats(), VirtualClock(EPOCH)
    wearer = enrol(RecordDevice(recording, rate, cuffs), engine, clock, mode=mode)
    await run([wearer], engine, sink, clock)
    return _pair(recording, rate, cuffs, sink.beats)


def _pair(
    recording: TrainingRecord, rate: float, cuffs: tuple[ReferenceReading, ...], beats: list[Beat]
) -> EvaluatedRecord:
    """Pair each beat with the true beat whose systolic peak is the nearest."""
    true = recording.beats
    true_time = true.peak / rate
    peak = np.array([(beat.peak - EPOCH) / NS for beat in beats])
    nearest = _nearest(true_time, peak)
    close = np.abs(true_time[nearest] - peak) <= MATCH_SECONDS if len(true_time) else peak != peak
    matched: list[int] = np.flatnonzero(close).tolist()
    valid = [k for k in matched if beats[k].valid]
    at = nearest[valid]
    chosen = [beats[k] for k in valid]
    truth = np.stack((true.sbp[at], true.dbp[at], true.map_[at]), axis=1)
    last = np.searchsorted([cuff.seconds for cuff in cuffs], peak[valid]) - 1
    held = [(cuffs[k].sbp, cuffs[k].dbp, cuffs[k].map_) if k >= 0 else None for k in last]
    missing = (np.nan,) * 3
    taken = np.array([np.nan, *(cuff.seconds for cuff in cuffs)])
    ages = peak[valid] - taken[last + 1]
    rr = np.diff(true_time, append=np.nan)
    bounds = [_bounds(beat) for beat in chosen]
    return EvaluatedRecord(
        recording.entry.subject,
        recording.entry.source,
        recording.entry.file,
        at,
        peak[valid],
        _columns([(beat.sbp, beat.dbp, beat.map_) for beat in chosen], 3),
        truth,
        np.array([beat.hr for beat in chosen], dtype=np.float64),
        60.0 / rr[at],
        _columns([low for low, _ in bounds], 3),
        _columns([high for _, high in bounds], 3),
        _columns([reading or missing for reading in held], 3),
        ages,
        last + 1,
        kriged(cuffs, peak[valid]),
        _columns([_wave_errors(beat, recording, rate) for beat in chosen], 4),
        len(matched),
        _example(chosen, recording, rate),
    )


def _nearest(times: Floats, wanted: Floats) -> npt.NDArray[np.int64]:
    """Return for each wanted time (n,) the index of the nearest of increasing times, or 0."""
    if len(times) < 2 or not len(wanted):
        return np.zeros(len(wanted), np.int64)
    later = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    return np.asarray(later - (wanted - times[later - 1] < times[later] - wanted))


def _columns(rows: list[tuple[float | None, ...]], width: int) -> Floats:
    return np.array(rows, dtype=np.float64).reshape(-1, width)


def _bounds(beat: Beat) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the lower and upper ends of a beat's intervals, mmHg; NaN without."""
    if beat.interval is None:
        return (np.nan,) * 3, (np.nan,) * 3
    each = (beat.interval.sbp, beat.interval.dbp, beat.interval.map_)
    return tuple(b[0] for b in each), tuple(b[1] for b in each)


def _example(beats: list[Beat], recording: TrainingRecord, rate: float) -> Floats:
    """Return some beats from the middle of a record, (3, samples), NaN where one is missing."""
    middle, end = len(beats) // 2, 0
    parts = [np.empty((3, 0))]
    for beat in beats[middle : middle + EXAMPLE_BEATS]:
        start = round((beat.abp_start - EPOCH) / NS * rate)
        truth = recording.abp[start : start + len(beat.abp)]
        if start > end > 0:
            parts.append(np.full((3, 1), np.nan))
        end = start + len(truth)
        time = (start + np.arange(len(truth))) / rate
        parts.append(np.stack((time, beat.abp[: len(truth)].astype(np.float64), truth)))
    return np.concatenate(parts, axis=1)


def _wave_errors(
    beat: Beat, recording: TrainingRecord, rate: float
) -> tuple[float, float, float, float]:
    """Return a row of `EvaluatedRecord.wave`; NaN where the true wave is not known throughout."""
    start = round((beat.abp_start - EPOCH) / NS * rate)
    found = beat.abp[:WAVE_SAMPLES].astype(np.float64)
    truth = recording.abp[start : start + len(found)]
    if len(truth) < len(found) or len(found) < 8 or not np.isfinite(truth).all():
        return (np.nan,) * 4
    error = found - truth
    slope = float(np.abs(np.diff(found).max() - np.diff(truth).max()) * rate)
    a, b = found - found.mean(), truth - truth.mean()
    r = float(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-9))
    return float(np.abs(error).mean()), float(np.sqrt((error**2).mean())), slope, r


def stream_records(
    folder: Path,
    entries: list[IndexEntry],
    predictor: Predictor,
    every: float | None,
    mode: LatencyMode = NORMAL,
) -> list[EvaluatedRecord]:
    """Stream records; return those with at least one paired beat.

    Args:
        folder: The data folder.
        entries: Rows of its index.
        predictor: The model.
        every: Time between cuff readings, s; None for no reading, infinity for one at the start.
        mode: Latency of the pipeline.

    Raises:
        ModelError: A record cannot be used.
    """
    import asyncio

    from rich.console import Console
    from rich.progress import track

    from innpar.stream.evaluation.dataset import recordings

    streamed = track(
        recordings(folder, entries, predictor.manifest.rate),
        f"streaming {entries[0].split}",
        total=len(entries),
        console=Console(stderr=True),
    )
    evaluated = [
        asyncio.run(evaluate_record(recording, predictor, every, mode)) for recording in streamed
    ]
    return [record for record in evaluated if len(record.seconds)]
