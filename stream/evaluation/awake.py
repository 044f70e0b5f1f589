"""Awake people with cuff readings: the network's pressures without a reading, and the cuff's.

A set is one ``.npz`` with a row per record: int16 codes of the light with scale and offset, the
number of samples, the cuff's pressures, and the skewness of the slope, whose sign tells the
polarity. Records shorter than a window are continued by whole beats.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.context import FEATURES, features, heart_rate
from innpar.models.calibration.wave_pressures import wave_pressures
from innpar.models.errors import DataError
from innpar.models.predictor import Predictor
from innpar.models.training.population_fit import LevelSource
from innpar.stream.evaluation.dataset import resample_uniform
from innpar.stream.windows.conditioning import conditioning_matrix
from innpar.stream.windows.quality import assess

Floats = npt.NDArray[np.float64]

SETS = {
    "fourwl": "fourwl_200hz",
    "usc56": "usc56_100hz",
    "ppgbp": "ppgbp_1000hz",
    "bcg": "bcg_bpbenchmark_125hz",
    "max30102": "max30102_100hz",
}
"""File in the folder ``cuff``, by name."""
MISSING = -32768
_SHORTEST = 200
"""Samples without which a record has no beat period."""
_HEART_RATE = FEATURES.index("heart_rate")


def awake_sets(data: Path, predictor: Predictor) -> list[LevelSource]:
    """Return the sets in the folder ``cuff`` of a data folder, one row per record.

    Raises:
        DataError: There is none, or one has another layout.
    """
    files = {name: data / "cuff" / f"{file}.npz" for name, file in SETS.items()}
    found = [_read(name, path, predictor) for name, path in files.items() if path.is_file()]
    if not found:
        raise DataError(f"{data / 'cuff'} has none of {', '.join(SETS.values())}; check the folder")
    return found


def fit_half(source: LevelSource) -> npt.NDArray[np.bool_]:
    """Return which rows (n,) belong to the half of the people that a fit may see."""
    return np.array([zlib.crc32(name.encode()) % 2 == 0 for name in source.subject.tolist()])


def _read(name: str, path: Path, predictor: Predictor) -> LevelSource:
    try:
        with np.load(path) as file:
            z: dict[str, Any] = {key: file[key] for key in file.files}
        rows = [_record(z, row, predictor) for row in range(len(z["ppg"]))]
        sbp, dbp = (z[key].astype(np.float64) for key in ("sbp", "dbp"))
        subject = np.array([str(value) for value in z["subject"]])
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a set of cuff readings: {error}") from None
    alone = np.array(rows).reshape(-1, 3)
    truth = np.stack((sbp, dbp, (sbp + 2.0 * dbp) / 3.0), axis=1)
    known = np.isfinite(alone).all(axis=1) & np.isfinite(truth).all(axis=1)
    return LevelSource(name, True, subject[known], alone[known], truth[known])


def _record(z: dict[str, Any], row: int, predictor: Predictor) -> Floats:
    """Return the medians (3,) over a record's accepted windows, mmHg; NaN without one."""
    m = predictor.manifest
    codes = z["ppg"][row][: int(z["n"][row])]
    light = np.where(
        codes == MISSING, np.nan, codes * float(z["ppg_scale"][row]) + float(z["ppg_offset"][row])
    )
    light = resample_uniform(light, float(np.ravel(z["fs"])[0]), m.rate)
    light = light[np.isfinite(light)] * (1.0 if z["slope_skew"][row] > 0 else -1.0)
    if len(light) < _SHORTEST:
        return np.full(3, np.nan)
    matrix = conditioning_matrix(m.window, m.guard, m.rate, m.band)
    buffer = matrix.shape[0]
    if len(light) < buffer:
        light = _continued(light, buffer, m.rate)
    raw = np.stack([light[k : k + buffer] for k in range(0, len(light) - buffer + 1, m.window)])
    ppg = (raw - raw.mean(axis=1, keepdims=True)) @ matrix
    pairs = zip(raw, ppg.astype(np.float32), strict=True)
    ppg = ppg[[assess(whole, part, m.rate).accepted for whole, part in pairs]]
    if not len(ppg):
        return np.full(3, np.nan)
    waves = predictor(ppg).abp[:, m.drop : m.window - m.drop].astype(np.float64)
    found = wave_pressures(waves, features(ppg, m.rate)[:, _HEART_RATE], m.rate)
    return np.asarray(np.median(found, axis=0))


def _continued(light: Floats, samples: int, rate: float) -> Floats:
    """Repeat the whole beats of a short record until it has so many samples."""
    level = light - np.linspace(light[0], light[-1], len(light))
    padded = np.pad(level - level.mean(), (0, max(samples - len(level), 0)))
    beat_rate, _ = heart_rate(padded[None], rate)
    period = 60.0 * rate / float(beat_rate[0])
    beats = max(int(len(level) / period), 1)
    return np.resize(level[: min(round(beats * period), len(level))], samples)
