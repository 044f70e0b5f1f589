"""Index of a training-data folder: one row per record, with a split by subject."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from innpar.models.errors import DataError

SPLITS = ("train", "val", "test")
_COLUMNS = {"file", "subject", "split", "fs", "lag_s"}


@dataclasses.dataclass(frozen=True, slots=True)
class IndexEntry:
    """One row of the index.

    Attributes:
        file: Path of the record, relative to the folder of the index.
        subject: Name of the subject.
        split: ``train``, ``val``, ``test`` or ``rejects``.
        rate: Sampling rate of the record, Hz.
        lag: Delay of the PPG behind the pressure, s; NaN where not given.
    """

    file: str
    subject: str
    split: str
    rate: float
    lag: float

    @property
    def source(self) -> str:
        """Name of the data source: the first folder of `file`."""
        return self.file.split("/")[0]


def read_index(folder: Path) -> list[IndexEntry]:
    """Read ``index.csv`` of a data folder, or of its subfolder ``abp``.

    Raises:
        DataError: There is no index, a column or value is missing, or a subject is in two splits.
    """
    path = folder / "index.csv"
    if not path.is_file():
        nested = folder / "abp" / "index.csv"
        if not nested.is_file():
            raise DataError(f"there is no index.csv in {folder}; give the folder that contains it")
        path = nested
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}") from None
    missing = _COLUMNS - set(rows[0] if rows else ())
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    entries = [_entry(row, f"{path}, record {k}") for k, row in enumerate(rows, 1)]
    check_splits(entries)
    return entries


def _entry(row: dict[str, str], where: str) -> IndexEntry:
    for name in sorted(_COLUMNS - {"lag_s"}):
        if not row[name]:
            raise DataError(f"{where} has no {name}")
    try:
        rate, lag = float(row["fs"]), float(row["lag_s"] or "nan")
    except ValueError as error:
        raise DataError(f"{where}: {error}; fs and lag_s are numbers") from None
    if not 0 < rate < math.inf:
        raise DataError(f"{where}: fs is {rate:g} Hz")
    return IndexEntry(row["file"], row["subject"], row["split"], rate, lag)


def check_splits(entries: Iterable[IndexEntry]) -> None:
    """Check that no subject is in two of train, val and test (rejects are exempt).

    A subject on both sides of a split would invalidate every accuracy figure.

    Raises:
        DataError: A subject is in two splits.
    """
    seen: dict[str, str] = {}
    for entry in entries:
        if entry.split not in SPLITS:
            continue
        other = seen.setdefault(entry.subject, entry.split)
        if other != entry.split:
            raise DataError(
                f"subject {entry.subject} is in {other} and in {entry.split} ({entry.file}); "
                "give each subject one split in index.csv"
            )


def of_split(entries: Sequence[IndexEntry], split: str) -> list[IndexEntry]:
    """Return the entries of one split.

    Raises:
        DataError: There are none.
    """
    chosen = [entry for entry in entries if entry.split == split]
    if not chosen:
        present = ", ".join(sorted({entry.split for entry in entries}))
        raise DataError(f"no record in split {split!r}; the index has the splits {present}")
    return chosen


def folder_of(folder: Path) -> Path:
    """Return the folder that contains index.csv: `folder` itself or its subfolder ``abp``."""
    return folder if (folder / "index.csv").is_file() else folder / "abp"
