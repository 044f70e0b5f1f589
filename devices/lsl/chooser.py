"""Choice of an LSL outlet's columns: by their labels, else by the shape of their samples. No I/O.

The type of a stream is no proof: programs send counters, numerics and acceleration in streams typed
PPG. Where labels do not name the light, blocks are held back until their shape can be judged, and
decoded afterwards with their own arrivals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from innpar.devices.base import NS, Chunk, Event
from innpar.devices.lsl.columns import again, choose, labels
from innpar.devices.lsl.decoder import LslBlock
from innpar.devices.lsl.library import LslInfo
from innpar.devices.timing.column_names import kind_of_name
from innpar.devices.timing.live_columns import LiveColumns, choose_live, enough, needs_shape
from innpar.devices.timing.plausible_light import FEWEST, InputColumn

PATIENCE = 10 * NS
"""Span of arrivals, ns, within which `FEWEST` samples must come: a pulse needs more still."""


class LslChooser:
    """Columns to use of a stream's outlets, one after the other.

    Args:
        channel: Label or number of the column selected by the user; None for all that are light.

    Attributes:
        text: Sentence about the latest judgement, for a notice; empty if there is nothing to say.
    """

    def __init__(self, channel: str | None) -> None:
        self._channel = channel
        self._found: LslInfo | None = None
        self._used: LiveColumns | None = None
        self._names: tuple[str, ...] = ()
        self._candidates: list[int] = []
        self._held: list[LslBlock] = []
        self._reported = False
        self.text: str = ""

    @property
    def columns(self) -> list[int]:
        """Indices of the columns in use, light first, then axes; empty while they are judged."""
        return self._used.all if self._used is not None else []

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the columns in use."""
        return tuple(self._names[k] for k in self.columns)

    def begin(self, found: LslInfo) -> None:
        """Take a new outlet; blocks held back of the one before are dropped.

        Raises:
            Refused: It contains text, has no such channel, or none that may be light.
        """
        before = self._used
        light = [self._names[k] for k in before.light] if before is not None else []
        if light and (self._channel is not None or all(map(_is_light, light))):
            self._candidates = again(found, light, self._channel)
        else:
            self._candidates = choose(found, self._channel)
        self._found, self._names = found, labels(found)
        self._held, self._reported = [], False
        asked = self._channel is not None
        empty = np.empty((0, found.channels))
        known = not needs_shape(_columns(found, empty), [] if asked else self._candidates)
        self._used = LiveColumns(tuple(self._candidates)) if known else None

    def drop(self) -> int:
        """Discard the blocks held back, of a stream that is lost; return their samples."""
        held, self._held = self._held, []
        return sum(len(block.stamps) for block in held)

    def push(self, block: LslBlock) -> list[LslBlock]:
        """Return the blocks to decode: this one, none while it is held back, or all held back."""
        self.text = ""
        if self._used is not None:
            return [block]
        self._held.append(block)
        samples = sum(len(held.stamps) for held in self._held)
        span = block.arrival - self._held[0].arrival
        if not enough(samples, span) and span < PATIENCE:
            return []
        held, self._held = self._held, []
        self._judge(held, samples, span)
        return held if self._used is not None else []

    def split(self, items: Sequence[Chunk | Event]) -> list[Chunk | Event]:
        """Return items with light and acceleration in chunks of their own."""
        return self._used.split(items) if self._used is not None else list(items)

    def _judge(self, held: Sequence[LslBlock], samples: int, span: int) -> None:
        """Choose by the shape of the samples held back; nothing is used while none may be light."""
        assert self._found is not None
        asked = self._channel is not None
        if samples < FEWEST and not asked:
            self._report_none(f"only {samples} samples in {span / NS:.0f} s")
            return
        after = sum(len(block.stamps) for block in held[1:])
        rate = self._found.rate or (after * NS / span if span else math.nan)
        columns = _columns(self._found, np.concatenate([block.data for block in held]))
        used = choose_live(columns, self._candidates, rate)
        if asked:
            used = replace(used, light=tuple(self._candidates))
        out = {k: why for k, why in used.why_not.items() if k not in used.light}
        listed = ", ".join(f"{self._names[k]} ({why})" for k, why in out.items())
        if not used.light:
            self._report_none(listed)
            return
        self._used = used
        if listed and not asked:
            self.text = f"left out as no light: {listed}; used: {', '.join(self.names)}. To use "
            self.text += "another column, start again with ?channel=…"

    def _report_none(self, why: str) -> None:
        """Set the text, once an outlet: later seconds may still show light."""
        assert self._found is not None
        if not self._reported:
            self.text = (
                f"no light so far in the LSL stream {self._found.line}: {why}. Put the sensor on, "
                "select another stream, or a column with ?channel=…"
            )
        self._reported = True


def _is_light(name: str) -> bool:
    return kind_of_name(name) == "light"


def _columns(found: LslInfo, data: np.ndarray) -> list[InputColumn]:
    """Return the columns with their labels, types and units as given; (samples, channels) data."""
    none = ("",) * found.channels
    stated = zip(found.labels or none, found.kinds or none, found.units or none, strict=True)
    return [
        InputColumn(name, data[:, k], kind, unit) for k, (name, kind, unit) in enumerate(stated)
    ]
