"""Choice of a live input's columns by name and shape: light, and axes of an accelerometer. No I/O.

A column named as light is light at once. All others are judged by their first seconds; while none
of them may be light, nothing is used, and the next seconds are judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from innpar.devices.base import NS, Chunk, Event
from innpar.devices.timing.plausible_light import FEWEST, SPAN, InputColumn, choose_light

AXES = ("x", "y", "z")


@dataclass(frozen=True, slots=True)
class LiveColumns:
    """Columns used of an input.

    Attributes:
        light: Indices of the columns of light.
        axes: Indices of the three axes of an accelerometer, or empty.
        scale: Value of 1 g in the unit of the axes.
        why_not: Index of each candidate left out → reason why it is no light.
    """

    light: tuple[int, ...]
    axes: tuple[int, ...] = ()
    scale: float = 1.0
    why_not: Mapping[int, str] = field(default_factory=dict)

    @property
    def all(self) -> list[int]:
        """Indices of light and axes, in the order that `split` takes."""
        return [*self.light, *self.axes]

    def split(self, items: Iterable[Chunk | Event]) -> list[Chunk | Event]:
        """Return items with each chunk of light and axes as one of ``acc`` and one of ``ppg``."""
        out: list[Chunk | Event] = []
        for item in items:
            if isinstance(item, Chunk) and self.axes:
                n, data = len(self.light), item.data
                moved = data[:, n:] / self.scale
                out.append(Chunk(item.device, "acc", AXES, item.rate, item.times, moved))
                item = Chunk(
                    item.device, "ppg", item.channels[:n], item.rate, item.times, data[:, :n]
                )
            out.append(item)
        return out


def needs_shape(columns: Sequence[InputColumn], candidates: Sequence[int]) -> bool:
    """Return whether names alone do not say which candidates are light, or there may be axes."""
    kinds = [column.kind for column in columns]
    return "acceleration" in kinds or any(kinds[c] != "light" for c in candidates)


def enough(samples: int, span: int) -> bool:
    """Return whether samples over a span of arrivals, ns, suffice to judge their shape."""
    return samples >= FEWEST and span >= SPAN * NS


def choose_live(
    columns: Sequence[InputColumn], candidates: Sequence[int], rate: float
) -> LiveColumns:
    """Choose among candidates by shape; those named as light need none.

    Args:
        columns: All columns with their first samples.
        candidates: Indices of those that may be light by their names.
        rate: Hz; NaN if unknown.
    """
    choice = choose_light(columns, rate)
    good = [c for c in candidates if c not in choice.why_not or columns[c].kind == "light"]
    light = tuple(c for c in good if c not in choice.acceleration)
    why_not = {c: choice.why_not[c] for c in candidates if c not in light}
    return LiveColumns(light, choice.acceleration, choice.scale, why_not)
