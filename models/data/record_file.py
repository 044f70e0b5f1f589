"""Record files (``.npz``): int16 codes with scales, one verdict per ten seconds."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from innpar.models.errors import DataError

Floats = npt.NDArray[np.float64]

MISSING = -32768
_DAMAGED = (
    *(OSError, EOFError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError),
    *(RuntimeError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def read_record(path: Path) -> tuple[dict[str, Floats], npt.NDArray[np.bool_], Floats]:
    """Read a record file.

    Returns:
        The signals ``ppg`` (n,) in the sensor's unit and ``abp`` (n,) in mmHg, NaN where missing;
        for each ten seconds the verdict (True: usable), and the heart rate per minute.

    Raises:
        DataError: The file is missing, damaged, or has another layout.
    """
    try:
        with path.open("rb") as file, np.load(file) as z:
            codes = {name: z[name] for name in ("ppg", "abp")}
            values = {
                name: np.where(code == MISSING, np.nan, code * float(z[f"{name}_scale"]))
                for name, code in codes.items()
            }
            verdict = np.asarray(z["win_good"], dtype=bool)
            beat_rate = z["win_hr"]
            if beat_rate.dtype.kind not in "fiu":
                raise ValueError("win_hr is not numeric")
    except _DAMAGED as error:
        reason = str(error).splitlines() or [type(error).__name__]
        raise DataError(f"{path} cannot be read as a record: {reason[0]}") from None
    shapes = {array.shape for array in values.values()}, {verdict.shape, beat_rate.shape}
    if any(len(of) != 1 or len(next(iter(of))) != 1 for of in shapes):
        raise DataError(
            f"{path} cannot be read as a record: ppg and abp must have the same length, win_good "
            "and win_hr one value per ten seconds"
        )
    return values, verdict, beat_rate
