"""What goes wrong with a virtual sensor, on demand."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from innpar.devices.base import Refused
from innpar.devices.options import Options
from innpar.devices.sensors.polar.control_frames import INVALID_STATE, Op
from innpar.devices.sensors.polar.frames import MeasurementKind

T = TypeVar("T")


@dataclass(slots=True)
class Faults:
    """What goes wrong, from the moment it is set.

    Attributes:
        drop, swap, truncate: Probability that a frame is lost, overtaken by its successor, cut
            short.
        drop_next, swap_next, truncate_next: So many of the next frames are.
        stall: No frames while it is set.
        jitter: Frames are late by up to so many seconds.
        ppm: How much faster the sensor's clock runs than the host's.
        off_rate: The true rate is this many times the promised one.
        refuse: (op, kind) → the error that the sensor answers.
        mute: It answers no command.
        charger: It is in its charger.
        mtu: Largest ATT packet it agrees to; None for its own.
        stalls, losses, deaths: (after how many seconds, for how many) it falls silent, breaks the
            link, or its battery is empty; told to the sensor by `worn.Worn`.
    """

    drop: float = 0.0
    swap: float = 0.0
    truncate: float = 0.0
    drop_next: int = 0
    swap_next: int = 0
    truncate_next: int = 0
    stall: bool = False
    jitter: float = 0.0
    ppm: float = 0.0
    off_rate: float = 1.0
    refuse: dict[tuple[int, int], int] = field(default_factory=dict)
    mute: bool = False
    charger: bool = False
    mtu: int | None = None
    stalls: tuple[float, float] | None = None
    losses: tuple[float, float] | None = None
    deaths: tuple[float, float] | None = None


class Mishaps(Generic[T]):
    """Does to a stream of frames what the faults say.

    Args:
        faults: May be changed at any time.
        rng: Decides.
        cut: Returns a frame cut short at a share of its length.
    """

    def __init__(
        self, faults: Faults, rng: np.random.Generator, cut: Callable[[T, float], T]
    ) -> None:
        self._faults = faults
        self._rng = rng
        self._cut = cut
        self._overtaken: T | None = None

    def of(self, frame: T) -> list[T]:
        """Return what is left of a frame, and the one that it overtook."""
        faults, rng = self._faults, self._rng
        if faults.stall or rng.random() < faults.drop:
            return []
        if faults.drop_next:
            faults.drop_next -= 1
            return []
        if faults.truncate_next or (faults.truncate and rng.random() < faults.truncate):
            faults.truncate_next = max(faults.truncate_next - 1, 0)
            return [self._cut(frame, float(rng.random()))]
        swap = faults.swap_next or (faults.swap and rng.random() < faults.swap)
        if swap and self._overtaken is None:
            faults.swap_next = max(faults.swap_next - 1, 0)
            self._overtaken = frame
            return []
        overtaken, self._overtaken = self._overtaken, None
        return [frame] if overtaken is None else [frame, overtaken]


def cut(frame: bytes, share: float) -> bytes:
    """Return the beginning of a frame, at least a byte less than all of it."""
    return frame[: int(share * len(frame))]


KEYS = {
    "drop": "share of frames that are lost",
    "reorder": "share of frames that their successor overtakes",
    "truncate": "share of frames that are cut short",
    "jitter": "seconds by which frames are late at most",
    "ppm": "how much faster the sensor's clock runs, parts per million",
    "rate": "the true sampling rate over the promised one",
    "mtu": "largest packet that the sensor agrees to, bytes; 23 is the least there is",
    "sdk": "refuse: SDK mode cannot be entered",
    "stall": "AT[+FOR]: it falls silent AT seconds after the start, FOR (10) seconds long",
    "loss": "AT[+FOR]: the link breaks, and cannot be made for FOR (1) seconds",
    "battery": "AT[+FOR]: the battery is empty, and charged again after FOR seconds",
}
"""What `parse` understands."""


def parse(written: Sequence[str]) -> Faults:
    """Return the faults that ``KEY=VALUE`` pairs stand for.

    Raises:
        Refused: No such fault, or its value makes no sense.
    """
    pairs = [text.partition("=") for text in written]
    given = Options("--fault", {key: value for key, _, value in pairs}, KEYS)
    mtu = given.whole("mtu", 23, 517)
    faults = Faults(
        drop=given.number("drop", 0, 1) or 0.0,
        swap=given.number("reorder", 0, 1) or 0.0,
        truncate=given.number("truncate", 0, 1) or 0.0,
        jitter=given.number("jitter", 0, 10) or 0.0,
        ppm=given.number("ppm", -2000, 2000) or 0.0,
        off_rate=given.number("rate", 0.1, 4) or 1.0,
        mtu=mtu,
        stalls=_span(given, "stall", 10.0),
        losses=_span(given, "loss", 1.0),
        deaths=_span(given, "battery", float("inf")),
    )
    if given.choice("sdk", ("refuse",)) is not None:
        faults.refuse[(Op.START, MeasurementKind.SDK_MODE)] = INVALID_STATE
    return faults


def _span(given: Options, key: str, usual: float) -> tuple[float, float] | None:
    written = given.text(key)
    if written is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:\+(\d+(?:\.\d+)?))?", written)
    if found is None:
        raise Refused(f"--fault: {key} is AT or AT+FOR in seconds, such as 20+5, not {written!r}")
    return float(found[1]), float(found[2]) if found[2] else usual
