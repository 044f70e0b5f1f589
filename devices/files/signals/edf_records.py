"""Starts of the data records of an EDF+D file, which may have pauses between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

_LABEL = 16


def record_starts(path: Path, records: int, width: int) -> npt.NDArray[np.float64] | None:
    """Return the start of each data record, s since the file's start; None without pauses.

    Args:
        path: The file.
        records: Number of its complete records.
        width: Bytes per sample, 2 or 3.

    Raises:
        ValueError: The header or an annotation is damaged.
    """
    with path.open("rb") as stream:
        head = stream.read(256)
        if not head[192:197].upper().endswith(b"+D"):
            return None
        signals = int(head[252:256])
        more = stream.read(256 * signals)
        labels = [more[_LABEL * n : _LABEL * (n + 1)] for n in range(signals)]
        sizes = [width * int(more[216 * signals + 8 * n :][:8]) for n in range(signals)]
        notes = next(n for n, label in enumerate(labels) if b"Annotations" in label)
        starts = np.empty(records)
        for record in range(records):
            stream.seek(256 * (signals + 1) + record * sum(sizes) + sum(sizes[:notes]))
            onset = stream.read(sizes[notes]).partition(b"\x14")[0]
            starts[record] = float(onset)
    return starts
