"""Choice among a file's traces: light, acceleration, reference pressure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from innpar.devices.base import Refused
from innpar.devices.files.recording import measured_rate
from innpar.devices.options import Options
from innpar.devices.timing.plausible_light import InputColumn, LightChoice, choose_light

PRESSURE = re.compile(r"(?:^|[\W_])(abp|art|ibp|arterial|aobp|fin\w*p\w*)(?:$|[\W_])", re.I)
SLOWEST = 20.0
"""Lowest rate of a waveform, Hz."""
JUDGED = 1 << 17
"""Samples of a trace by which its shape is judged."""

TraceContent = Literal["", "estimate", "measured"]
"""Pressure as its file states it: an estimate, a measured or simulated truth, or nothing stated."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Signal of a file.

    Attributes:
        label: Its name.
        times: (samples,) int64, ns since the Unix epoch.
        data: (samples,) float64, physical values; NaN marks a missing sample.
        group: Number shared by traces that are sampled together.
        unit: As written in the file; empty if it has none.
        type: Type of its stream; empty if it has none.
        content: See `TraceContent`.
    """

    label: str
    times: npt.NDArray[np.int64]
    data: npt.NDArray[np.float64]
    group: int = 0
    unit: str = ""
    type: str = ""
    content: TraceContent = ""

    @property
    def column(self) -> InputColumn:
        """The trace as a column to judge."""
        return InputColumn(self.label, self.data[:JUDGED], self.type, self.unit)

    @property
    def rate(self) -> float:
        """Sampling rate by its times, Hz."""
        return measured_rate(self.times[:JUDGED])


@dataclass(frozen=True, slots=True)
class TraceChoice:
    """Traces that are used, by number.

    Attributes:
        light: Traces of one group.
        motion: The three axes of an accelerometer, or empty.
        gravity: 1 g in the unit of the axes.
        reference: Trace of true arterial pressure; None without one.
    """

    light: list[int]
    motion: list[int] = field(default_factory=list)
    gravity: float = 1.0
    reference: int | None = None


def choose_traces(
    path: Path, chosen: Options, traces: Sequence[Trace], trusted: bool
) -> TraceChoice:
    """Choose among traces by the user's options, names and shapes.

    Args:
        path: The file, for messages.
        chosen: ``channel``, ``reference`` and ``abp``.
        traces: All signals.
        trusted: Whether a pressure of this format is a measured one by convention.

    Raises:
        Refused: No trace is light, or several may be.
    """
    labels = [trace.label for trace in traces]
    groups: dict[int, list[int]] = {}
    for n, trace in enumerate(traces):
        groups.setdefault(trace.group, []).append(n)
    choices = [
        (group, choose_light([traces[n].column for n in group], traces[group[0]].rate))
        for group in groups.values()
    ]
    column = chosen.column("channel", labels)
    light = [column] if column is not None else _light(path, traces, choices)
    rate = traces[light[0]].rate
    if not rate >= SLOWEST:
        raise Refused(
            f"{path}: {labels[light[0]]} is sampled at {rate:.3g} Hz, but PPG needs at least "
            f"{SLOWEST:g} Hz; choose another trace with ?channel=…"
        )
    moved = next(((g, c) for g, c in choices if c.acceleration), None)
    reference = _reference(chosen, traces, light, trusted)
    if moved is None:
        return TraceChoice(light, reference=reference)
    group, choice = moved
    return TraceChoice(light, [group[n] for n in choice.acceleration], choice.scale, reference)


def _light(
    path: Path, traces: Sequence[Trace], choices: Sequence[tuple[list[int], LightChoice]]
) -> list[int]:
    """Return the first group named as light; else named "pulse"; else the only one that may be."""
    found = [[group[n] for n in choice.light] for group, choice in choices if choice.light]
    fast = [group for group in found if traces[group[0]].rate >= SLOWEST]
    for kind in ("light", "pulse"):
        named = [group for group in fast if traces[group[0]].column.kind == kind]
        if named:
            return named[0]
    unclear = [group[n] for group, choice in choices for n in choice.unclear]
    if len(fast) == 1 and not unclear:
        return fast[0]
    if found and not fast and not unclear:
        return found[0]
    may = [n for group in fast for n in group] + unclear
    if may:
        listed = ", ".join(traces[n].label for n in may)
        raise Refused(f"{path}: which trace is the PPG? add ?channel=…; there are: {listed}")
    why = "; ".join(
        f"{traces[group[n]].label} is {text}"
        for group, choice in choices
        for n, text in choice.why_not.items()
    )
    raise Refused(f"{path}: no trace is light ({why}); if one is, add ?channel=…")


def _reference(
    chosen: Options, traces: Sequence[Trace], light: list[int], trusted: bool
) -> int | None:
    key = "reference" if "reference" in chosen else "abp"
    if chosen.text(key) == "off":
        return None
    column = chosen.column(key, [trace.label for trace in traces])
    if column is not None:
        return column
    stated = (n for n, trace in enumerate(traces) if trace.content == "measured")
    named = (
        n
        for n, trace in enumerate(traces)
        if trusted and trace.content != "estimate" and n not in light and _is_pressure(trace)
    )
    return next(stated, next(named, None))


def _is_pressure(trace: Trace) -> bool:
    waveform = bool(PRESSURE.search(trace.label)) and trace.rate >= SLOWEST
    return waveform and trace.column.kind != "estimate"
