"""Columns of a table: light, acceleration, reference pressure, stated source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from innpar.devices.base import Refused
from innpar.devices.files.recording import RecordingBlock
from innpar.devices.files.tables.table_layout import Layout
from innpar.devices.timing.plausible_light import InputColumn, LightChoice, choose_light

SOURCE = "source"
"""Name of a text column by which our own exports state the source of their samples."""


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Columns of a table that are used.

    Attributes:
        light: Columns of the PPG.
        motion: The three axes of an accelerometer, or empty.
        gravity: 1 g in the unit of the axes.
        reference: Column of measured arterial pressure, mmHg, or None.
    """

    light: tuple[int, ...]
    motion: tuple[int, ...] = ()
    gravity: float = 1.0
    reference: int | None = None

    @property
    def all(self) -> tuple[int, ...]:
        """All columns, in the order of `block`."""
        return (*self.light, *self.motion, *(() if self.reference is None else (self.reference,)))

    def block(
        self, times: npt.NDArray[np.int64], values: npt.NDArray[np.float64]
    ) -> RecordingBlock:
        """Return rows as a block.

        Args:
            times: (rows,) int64, ns since the Unix epoch.
            values: (rows, columns) float64, the columns of `all`.
        """
        n, m = len(self.light), len(self.motion)
        none = times[:0]
        return RecordingBlock(
            times,
            values[:, :n],
            none if self.reference is None else times,
            values[:0, 0] if self.reference is None else values[:, -1],
            times if m else none,
            values[:, n : n + m] / self.gravity if m else np.empty((0, 3)),
        )


def choose_columns(
    path: Path,
    layout: Layout,
    left: Sequence[int],
    values: npt.NDArray[np.float64],
    rate: float,
    channel: int | None,
    reference: int | None,
) -> TableColumns:
    """Choose the columns to use.

    Args:
        path: The file, for messages.
        layout: Its layout.
        left: Columns of numbers, times aside.
        values: (rows, columns) float64, first rows of these columns.
        rate: Sampling rate, Hz; NaN if unknown.
        channel: Column of the PPG given by the user.
        reference: Column of measured pressure given by the user.

    Raises:
        Refused: The PPG column is unclear.
    """
    data = {c: values[:, n] for n, c in enumerate(left)}
    left = [c for c in left if c not in (channel, reference)]
    choice = choose_light([InputColumn(layout.names[c], data[c]) for c in left], rate)
    motion = tuple(left[n] for n in choice.acceleration)
    light = tuple(left[n] for n in choice.light) if channel is None else (channel,)
    if not light:
        raise _unclear(path, [layout.names[c] for c in left], choice)
    return TableColumns(light, motion, choice.scale, reference)


def _unclear(path: Path, names: Sequence[str], choice: LightChoice) -> Refused:
    if choice.unclear:
        listed = ", ".join(names[n] for n in choice.unclear)
        return Refused(f"{path}: which column is the PPG? Add ?channel=NAME; there are: {listed}")
    listed = "; ".join(f"{names[n]} is {why}" for n, why in sorted(choice.why_not.items())[:6])
    return Refused(
        f"{path}: no column is light ({listed or 'there is none but the time'}); if one is, add"
        " ?channel=NAME"
    )


def stated_origin(layout: Layout, rows: Sequence[bytes]) -> str:
    """Return the first source of the samples: ``simulated`` if a column says so, else ``live``."""
    if SOURCE not in layout.names:
        return "live"
    column = layout.names.index(SOURCE)
    cells = {row.split(layout.delimiter)[column].strip().lower() for row in rows}
    return "simulated" if b"simulated" in cells else "live"
