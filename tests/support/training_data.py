"""Small recordings in the layout of the training data."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

LAG = 0.4  # s


def pulses(times: np.ndarray, period: float = 0.8) -> np.ndarray:
    """Return a pulse wave of height one: a fast rise, a slow fall, a foot at zero."""
    phase = (times % period) / period
    return np.where(phase < 0.2, np.sin(np.pi / 2 * phase / 0.2), np.exp(-(phase - 0.2) / 0.25))


def write_record(
    folder: Path, name: str, rate: float, seconds: int = 120, lag: float = LAG
) -> None:
    """Write a record with 75 beats a minute at 120/82 mmHg; its fourth ten seconds are bad."""
    times = np.arange(int(seconds * rate)) / rate
    abp = 80.0 + 40.0 * pulses(times)
    ppg = 5.0 * pulses(times - lag)
    good = np.ones(seconds // 10, bool)
    good[3] = False
    np.savez(
        folder / name,
        ppg=np.round(ppg / 0.001).astype(np.int16),
        abp=np.round(abp / 0.01).astype(np.int16),
        ppg_scale=0.001,
        abp_scale=0.01,
        win_good=good,
        win_hr=np.full(len(good), 75.0, np.float32),
    )


def write_index(folder: Path, rows: list[tuple[str, str, str, float]]) -> None:
    """Write index.csv from rows of file, subject, split and rate (Hz)."""
    with (folder / "index.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["file", "subject", "split", "fs", "lag_s"])
        writer.writerows([*row, LAG] for row in rows)
