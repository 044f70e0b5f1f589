"""The report at the end of a run: signal, usable share, beats, and errors against true pressure.

If a device carries the true pressure, the error stands beside that of two trivial methods for the
same beats: the mean of the training population, and the last cuff reading held.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from innpar.devices import Event
from innpar.stream.pipeline.wearer import Wearer
from innpar.stream.results import Beat, Item
from innpar.stream.sinks.beat_line import REASON_WORDS

PRESSURES = ("sbp", "dbp", "map")
MOST_BEATS = 20_000
"""Compared beats kept for the report, 1.3 MB; a longer run keeps an even sample of them."""
_NUMBERS = 8


@dataclass(slots=True)
class ErrorTally:
    """Compared beats in bounded memory: every n-th of a long run."""

    _numbers: array[float] = field(default_factory=lambda: array("d"))
    _every: int = 1
    _seen: int = 0

    @property
    def rows(self) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """The beats kept, (beats, 8); see `comparison`."""
        return np.array(self._numbers).reshape(-1, _NUMBERS)

    def add(self, row: tuple[float, ...]) -> None:
        """Take one beat's numbers."""
        if self._seen % self._every == 0:
            self._numbers.extend(row)
            if len(self._numbers) >= MOST_BEATS * _NUMBERS:
                self._numbers = array("d", self.rows[::2].ravel())
                self._every *= 2
        self._seen += 1


@dataclass(slots=True)
class RunTally:
    """Counts of one wearer's results."""

    beats: int = 0
    valid: int = 0
    matched: int = 0
    gaps: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    errors: ErrorTally = field(default_factory=ErrorTally)

    def add(self, item: Item) -> None:
        """Take one item of this wearer."""
        if isinstance(item, Event) and item.kind == "gap" and item.concerns_ppg:
            self.gaps += 1
        if not isinstance(item, Beat):
            return
        self.beats += 1
        self.valid += item.valid
        self.matched += item.reference is not None
        self.reasons.update(item.reasons)
        true, held = item.reference, item.calibration
        if true is None or item.sbp is None or item.dbp is None or item.map_ is None:
            return
        cuff = (np.nan, np.nan) if held.sbp is None or held.dbp is None else (held.sbp, held.dbp)
        self.errors.add((item.sbp, item.dbp, item.map_, true.sbp, true.dbp, true.map_, *cuff))


@dataclass(slots=True)
class TallySink:
    """A sink that only counts.

    Attributes:
        of: One tally for each device id.
    """

    of: dict[str, RunTally] = field(default_factory=dict)

    async def ready(self) -> None:
        """Return at once: counting needs no room."""

    async def send(self, item: Item) -> None:
        """Count an item."""
        self.of.setdefault(item.device, RunTally()).add(item)


def report(
    wearers: Sequence[Wearer],
    outcomes: Mapping[str, RunTally],
    population: Mapping[str, float] | None,
) -> list[str]:
    """Return the report's lines.

    Args:
        wearers: Those of the run.
        outcomes: By device id.
        population: ``sbp``, ``dbp``, ``map`` of the training subjects, mmHg.
    """
    lines: list[str] = []
    for wearer in wearers:
        outcome = outcomes.get(wearer.device.id, RunTally())
        lines += _signal(wearer, outcome)
        if len(rows := outcome.errors.rows):
            lines += comparison(rows, population)
    return lines


def _signal(wearer: Wearer, outcome: RunTally) -> list[str]:
    dropped, reference = wearer.preparer.tally, wearer.finisher.reference
    line = (
        f"{wearer.device.id}: {wearer.seconds:.0f} s of signal, {wearer.usable:.0%} of it usable; "
        f"{outcome.beats} beats, {outcome.valid} with pressures; {outcome.gaps} gaps"
    )
    if dropped.missing:
        line += f"; {dropped.missing} samples without a value dropped"
    if dropped.bridged:
        line += f"; {dropped.bridged} samples missing in holes short enough to fill"
    if dropped.disordered:
        line += f"; {dropped.disordered} samples out of order dropped"
    if wearer.preparer.backlog.left_out:
        line += f"; {wearer.preparer.backlog.left_out} windows left out: the computer was too slow"
    lines = [line]
    for cuff in wearer.queue.planned:
        at = f"{cuff.sbp:g}/{cuff.dbp:g}@{cuff.seconds:g}"
        lines.append(f"  cuff reading {at} was never reached and not used")
    if outcome.reasons:
        why = ", ".join(
            f"{REASON_WORDS.get(reason, reason)} {count}"
            for reason, count in outcome.reasons.most_common()
        )
        lines.append(f"  beats without pressures: {why}")
    if reference.expected:
        lines.append(
            f"  true pressure: {reference.beats} beats, {outcome.matched} of them matched by an "
            "estimate within 150 ms"
        )
    return lines


def comparison(
    rows: np.ndarray[tuple[int, int], np.dtype[np.float64]], population: Mapping[str, float] | None
) -> list[str]:
    """Return a small table: the model's errors beside those of the trivial methods.

    Args:
        rows: (beats, 8): estimate, truth (SBP, DBP, MAP each), cuff SBP and DBP (NaN without one).
        population: Means of the training subjects, mmHg.
    """
    estimate, truth, cuff = rows[:, :3], rows[:, 3:6], rows[:, 6:8]
    lines = [f"  {'error, mmHg':<24}{'SBP':>18}{'DBP':>18}{'MAP':>18}"]

    def line(name: str, error: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> str:
        cells = [f"{np.abs(e).mean():.1f} ({e.mean():+.1f}±{e.std():.1f})" for e in error.T]
        return f"  {name:<24}" + "".join(f"{cell:>18}" for cell in cells)

    lines.append(line("this model, MAE (ME±SD)", estimate - truth))
    if population is not None:
        mean = np.array([population[name] for name in PRESSURES])
        lines.append(line("population mean", mean - truth))
    held = np.isfinite(cuff[:, 0])
    if held.any():
        sbp, dbp = cuff[held, 0], cuff[held, 1]
        # A cuff shows no mean; a third of the pulse above diastole is the clinic's rule.
        values = np.stack([sbp, dbp, dbp + (sbp - dbp) / 3.0], axis=1)
        if held.all():
            lines.append(line("cuff reading held", values - truth))
        else:
            lines.append(line("  since cuff: this model", (estimate - truth)[held]))
            lines.append(line("  … cuff reading held", values - truth[held]))
    return lines
