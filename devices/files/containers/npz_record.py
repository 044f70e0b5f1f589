"""Patient records: ``.npz`` files of PPG and simultaneous arterial pressure as 16-bit codes.

Keys: ``ppg``, ``abp`` (int16; -32768 is missing), ``ppg_scale``, ``abp_scale`` (abp in mmHg),
``fs`` (Hz), and for each 10 s window ``win_good`` and ``win_lag`` (seconds by which the PPG lags
the pressure, mostly due to the monitor). The pressure's times are shifted by that lag to the PPG's.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Refused
from innpar.devices.files.containers.arrays import open_arrays
from innpar.devices.files.packed import opened
from innpar.devices.files.recording import NO_DATE, Notices, Recording, RecordingBlock
from innpar.devices.options import Options

_MISSING = -32768
_BLOCK_SECONDS = 10
_WRONG = (KeyError, IndexError, TypeError, ValueError, AttributeError)
_LEFT_OUT = ("ecg_ii",)
_OURS = {"ppg_scale", "abp_scale"}
"""Keys that only a patient record has."""
_NEAR = 0.12
"""Deviation from the median lag, s, beyond which a window's lag is wrong by a beat or more."""

_NEIGHBOURS = 30
"""Windows on either side over which lags are pooled: five minutes."""

OPTIONS = {"lag": "seconds by which the PPG lags the pressure, instead of the record's own"}


def open_record(path: Path, options: dict[str, str]) -> Recording:
    """Open a patient record.

    Args:
        path: The file, optionally gzip-compressed.
        options: See `OPTIONS`.

    Raises:
        Refused: It is damaged, or lacks an array.
    """
    arrays = _load(path)
    if not _OURS & arrays.keys():
        return open_arrays(path, "NumPy", arrays, options)
    chosen = Options(str(path), options, OPTIONS)
    given = chosen.number("lag", -2.0, 2.0)
    try:
        rate = float(arrays["fs"])
        codes = {key: (arrays[key], float(arrays[f"{key}_scale"])) for key in ("ppg", "abp")}
        samples = len(codes["ppg"][0])
        knots, lags = _lags(arrays) if given is None else (np.zeros(1), np.array([given]))
    except _WRONG as error:
        raise Refused(
            f"{path}: not a record of PPG and pressure ({error}); it needs ppg, abp, ppg_scale, "
            "abp_scale and fs"
        ) from None
    shapes = [codes[key][0].shape for key in codes] + [codes[key][0].dtype for key in codes]
    if shapes != [(samples,), (samples,), np.int16, np.int16] or not 1 <= rate <= 10_000:
        raise Refused(
            f"{path}: PPG and pressure differ in length or type, or the rate is invalid; "
            "copy it again"
        )

    def read(notices: Notices) -> Iterator[RecordingBlock]:
        size = round(_BLOCK_SECONDS * rate)
        for first in range(0, samples, size):
            index = np.arange(first, min(first + size, samples))
            since = index / rate
            lag = np.interp(since, knots, lags)
            yield RecordingBlock(
                _times(since),
                _physical(*codes["ppg"], index)[:, None],
                _times(since + lag),
                _physical(*codes["abp"], index),
            )

    return Recording(
        format="record",
        model=str(arrays.get("source", "unknown")),
        channels=("ppg",),
        rate=rate,
        polarity=1,
        site="finger",
        start=NO_DATE,
        duration=samples / rate,
        read=read,
        detail={
            "record": str(arrays.get("record", path.stem)),
            "subject": str(arrays.get("subject", "unknown")),
            "reference": True,
            "lag": round(float(np.median(lags)), 3),
            "lag_range": [round(float(lags.min()), 3), round(float(lags.max()), 3)],
        },
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        # Without pickles: a recording must not be able to run code.
        with opened(path) as stream, np.load(io.BytesIO(stream.read()), allow_pickle=False) as file:
            return {key: file[key] for key in file.files if key not in _LEFT_OUT}
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, *_WRONG, RuntimeError) as error:
        raise Refused(f"{path}: a damaged .npz file ({error}); copy it again") from None


def _lags(arrays: dict[str, Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return (times into the record, lags at these times), s, between which to interpolate.

    The lag drifts: it is the running median of good windows whose lag is near the record's median.
    """
    if not {"win_good", "win_lag"} <= arrays.keys():
        return np.zeros(1), np.zeros(1)
    lag = np.asarray(arrays["win_lag"], np.float64)
    good = np.asarray(arrays["win_good"], bool) & np.isfinite(lag)
    if not good.any():
        good = np.isfinite(lag)
    if not good.any():
        return np.zeros(1), np.zeros(1)
    middle = round(float(np.median(lag[good])), 6)
    where = np.flatnonzero(good & (np.abs(lag - middle) < _NEAR))
    if not len(where):
        return np.zeros(1), np.full(1, middle)
    around = [lag[where[np.abs(where - w) <= _NEIGHBOURS]] for w in where]
    knots = (where + 0.5).astype(np.float64) * float(arrays.get("win_s", 10.0))
    return knots, np.array([round(float(np.median(lags)), 6) for lags in around])


def _times(since: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    whole: npt.NDArray[np.int64] = np.rint(since * NS).astype(np.int64)
    return whole + NO_DATE


def _physical(
    codes: npt.NDArray[np.int16], scale: float, index: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    taken = codes[index]
    return np.where(taken == _MISSING, np.nan, taken * scale)
