"""Faults of a virtual sensor, on demand."""

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
    """Faults of a sensor; changes take effect at once.

    Attributes:
        drop, swap, truncate: Probability that a frame is lost, overtaken by its successor, or
            truncated.
        drop_next, swap_next, truncate_next: Number of next frames to which the same happens.
        stall: Whether frames are withheld.
        jitter: Largest delay of a frame, s.
        ppm: Excess of the sensor clock's rate over the host's, parts per million.
        off_rate: True sampling rate divided by the nominal one.
        refuse: (op, kind) → error code with which the sensor answers.
        mute: Whether it answers no commands.
        charger: Whether it is on its charger.
        mtu: Largest ATT packet it accepts, bytes; None for its default.
        stalls, losses, deaths: (start, duration), s, of a silence, a lost link or an empty battery;
            carried out by `virtual.schedule`.
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
    """Loss, reordering and truncation of a stream of frames.

    Args:
        faults: Probabilities and counts; may be changed at any time.
        rng: Source of randomness.
        cut: Function that truncates a frame to a fraction of its length.
    """

    def __init__(
        self, faults: Faults, rng: np.random.Generator, cut: Callable[[T, float], T]
    ) -> None:
        self._faults = faults
        self._rng = rng
        self._cut = cut
        self._overtaken: T | None = None

    def of(self, frame: T) -> list[T]:
        """Return the frames to send in place of `frame`: none, itself, or also one it overtook."""
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
    """Return the first part of a frame, shorter by at least one byte.

    Args:
        frame: The frame.
        share: Fraction of its length, below 1.
    """
    return frame[: int(share * len(frame))]


KEYS = {
    "drop": "fraction of frames lost",
    "reorder": "fraction of frames overtaken by their successor",
    "truncate": "fraction of frames truncated",
    "jitter": "largest delay of a frame in seconds",
    "ppm": "excess rate of the sensor's clock in parts per million",
    "rate": "true sampling rate divided by the nominal one",
    "mtu": "largest packet the sensor accepts in bytes, at least 23",
    "sdk": "refuse: SDK mode cannot be entered",
    "stall": "AT[+FOR]: no frames from AT seconds after the start, for FOR (10) seconds",
    "loss": "AT[+FOR]: the link breaks and cannot be restored for FOR (1) seconds",
    "battery": "AT[+FOR]: the battery is empty, and charged again after FOR seconds",
}
"""Keys of `parse`, with a description."""


def parse(written: Sequence[str]) -> Faults:
    """Parse faults written as ``KEY=VALUE``.

    Raises:
        Refused: Unknown fault, or invalid value.
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
        raise Refused(
            f"--fault: {key} must be AT or AT+FOR in seconds, such as 20+5, not {written!r}"
        )
    return float(found[1]), float(found[2]) if found[2] else usual
