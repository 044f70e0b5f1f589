"""The result of `innpar.reconstruct`: pressure on an even grid, and its beats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, Event
from innpar.stream.results import Beat, Waveform

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own

Floats = npt.NDArray[np.float64]
LONGEST_BEAT = 3 * NS
"""A beat without a successor within this (ns) ends there."""
PRESSURES = ("sbp", "dbp")
COLUMNS = ("peak", "sbp", "dbp", "map_", "hr", "quality", "valid")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PressureTrace:
    """Reconstructed arterial pressure of one array of PPG, or of a batch.

    A batch of n arrays has all its rows in one result; ``result[2]``, ``len(result)`` and iteration
    give the rows as results of their own. A single array is a batch of one.

    Attributes:
        time: (samples,) s since the first sample of the input, on the network's grid.
        abp: (samples,) or (n, samples) mmHg; NaN where the signal was rejected or missing, and at
            the ends: about the first 0.7 s and the last 0.7 to 1.7 s.
        ppg: Likewise the conditioned PPG as the network saw it, pulse upward, standard deviation 1.
        quality: Likewise, 0 to 1: that of the beat that a sample belongs to; NaN outside of beats.
        beats: In order of time, row after row. Their times count from the first sample; pressures
            are None where a beat is not `valid`, and `reasons` say why.
        events: Gaps, quality changes and notices on the way, likewise.
        rate: Of the grid, Hz.
        seconds: How long the reconstruction took, s, the whole batch together.
        model: Name and hash of the network.
    """

    time: Floats
    abp: Floats
    ppg: Floats
    quality: Floats
    beats: tuple[Beat, ...]
    events: tuple[Event, ...]
    rate: float
    seconds: float
    model: str
    _rows: tuple[PressureTrace, ...] = field(default=())

    @classmethod
    def stacked(cls, rows: Sequence[PressureTrace]) -> PressureTrace:
        """Return a batch; every row has the same time."""
        first = rows[0]
        return cls(
            first.time,
            np.stack([row.abp for row in rows]),
            np.stack([row.ppg for row in rows]),
            np.stack([row.quality for row in rows]),
            tuple(beat for row in rows for beat in row.beats),
            tuple(event for row in rows for event in row.events),
            first.rate,
            first.seconds,
            first.model,
            tuple(rows),
        )

    def __len__(self) -> int:
        """Number of rows; 1 for a single array."""
        return len(self._rows) or 1

    def __getitem__(self, row: int) -> PressureTrace:
        return (self._rows or (self,))[row]

    def __iter__(self) -> Iterator[PressureTrace]:
        yield from self._rows or (self,)

    def __repr__(self) -> str:
        valid = [beat for beat in self.beats if beat.sbp is not None and beat.dbp is not None]
        pressures = "no pressures"
        if valid:
            sbp, dbp = (np.median([getattr(beat, name) for beat in valid]) for name in PRESSURES)
            pressures = f"median {sbp:.0f}/{dbp:.0f} mmHg"
        rows = f"{len(self)} × " if self._rows else ""
        return (
            f"<PressureTrace: {rows}{len(self.time) / self.rate:.1f} s, "
            f"{len(valid)} of {len(self.beats)} beats valid, "
            f"{pressures}, took {self.seconds:.2f} s>"
        )

    def to_pandas(self, what: Literal["samples", "beats"] = "samples") -> pd.DataFrame:
        """Return a DataFrame.

        Args:
            what: ``samples``: one row a sample, indexed by ``time`` (s), with ``ABP`` (mmHg),
                ``PPG`` and ``quality``, and the grid's ``sampling_rate`` in ``attrs``. ``beats``:
                one row a beat, with peak (s), sbp, dbp, map_ (mmHg), hr (beats a minute), quality
                and valid. A batch has its row number as first index.

        Raises:
            SessionError: pandas is not installed.
        """
        from innpar.stream.session.export.formats import require

        require("pandas", "a DataFrame")
        import pandas as pd

        make = self._samples_table if what == "samples" else self._beats_table
        if self._rows:
            frames = [row.to_pandas(what) for row in self]
            frame = pd.concat(frames, keys=range(len(self)), names=["row"])
        else:
            columns = make()
            index = columns.pop("time", None)
            frame = pd.DataFrame(columns, index=index)
            frame.index.name = "time" if what == "samples" else "beat"
        frame.attrs["sampling_rate"] = self.rate
        return frame

    def _samples_table(self) -> dict[str, npt.NDArray[np.float64]]:
        return {"time": self.time, "ABP": self.abp, "PPG": self.ppg, "quality": self.quality}

    def _beats_table(self) -> dict[str, npt.NDArray[np.float64]]:
        values = [[beat.time, *(getattr(beat, c) for c in COLUMNS[1:])] for beat in self.beats]
        table = np.array(values, dtype=np.float64).reshape(-1, len(COLUMNS))
        columns = dict(zip(COLUMNS, table.T, strict=True))
        return columns | {"valid": table[:, -1] == 1}


def placed(
    waves: Sequence[Waveform], kind: Literal["abp", "ppg"], start: int, count: int
) -> Floats:
    """Return waveforms on a grid of `count` samples; NaN where there is none.

    Args:
        start: Time of the grid's first sample, ns.
    """
    values = np.full(count, np.nan)
    for wave in waves:
        if wave.kind == kind:
            at = round((wave.start - start) * wave.rate / NS)
            low, high = max(at, 0), min(at + len(wave.samples), count)
            values[low:high] = wave.samples[low - at : high - at]
    return values


def qualities(beats: Sequence[Beat], start: int, count: int, rate: float) -> Floats:
    """Return each sample's quality, that of the beat around it; NaN outside of beats."""
    values = np.full(count, np.nan)
    feet = [beat.abp_start for beat in beats]
    for beat, foot, following in zip(beats, feet, [*feet, None][1:], strict=True):
        end = foot + round(60 * NS / beat.hr) if beat.hr else foot + LONGEST_BEAT
        if following is not None:
            end = min(end, following) if following - foot > LONGEST_BEAT else following
        low, high = (round((t - start) * rate / NS) for t in (foot, end))
        values[max(low, 0) : max(high, 0)] = beat.quality
    return values
