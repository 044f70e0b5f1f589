"""Judgement of columns by name and shape: which may be light, which are acceleration. No I/O.

Light rises and falls in many small steps. Counters, time stamps, flags, numerics that are repeated
until the next one, and the axes of an accelerometer do not, whatever they are called.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from innpar.devices.timing.column_names import ColumnKind, kind_of_name

FEWEST = 50
"""Finite samples below which a shape is not judged."""
SPAN = 2.0
"""Seconds below which a shape is not judged: a pulse may fall for longer than half of that."""
PRESENT = 0.5
"""Least share of finite samples of a usable column; below, it is empty or sparse."""
ONE_WAY = 0.9
"""Share of steps in one direction that only counters, times and sawtooths reach: even a pulse
with a steep upstroke (a fifth of the cycle) moves the other way for a fifth of the steps."""
SAME_STEP = 0.5
"""Share of those steps that have one size in a counter or sawtooth."""
CHANGES = 5.0
"""Least changes of value per second: a pulse of 40 a minute has four a second even with three
levels; numerics, repeated until the next one, change once a second."""
LEVELS = 4
"""Least number of distinct values; below, it is a flag."""
GRAVITY = (1.0, 9.81, 1000.0)
"""Resting length of the acceleration vector in g, m/s² and mg."""
COUNTS = (16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 2048.0, 4096.0, 8192.0, 16384.0)
"""The same in counts of usual accelerometers; believed of columns named as axes only."""
UPRIGHT = 0.1
"""Relative deviation of the median length from gravity, and its median absolute deviation."""


@dataclass(frozen=True, slots=True, eq=False)
class InputColumn:
    """InputColumn of unknown kind.

    Attributes:
        name: Name or label.
        data: (samples,) float64, first samples of it; NaN marks a missing value.
        type: Type of its stream or group, if any.
        unit: Unit as written, if any.
    """

    name: str
    data: npt.NDArray[np.float64]
    type: str = ""
    unit: str = ""

    @property
    def kind(self) -> ColumnKind:
        """Kind by name, type and unit."""
        return kind_of_name(self.name, self.type, self.unit)


@dataclass(frozen=True, slots=True)
class LightChoice:
    """Judgement of a set of columns.

    Attributes:
        light: Indices of the columns to use as light; empty if there are none.
        unclear: Indices of the columns that may be light, where more than one and none is named so.
        acceleration: Indices of the three axes of an accelerometer, or empty.
        scale: Value of 1 g in the unit of the acceleration.
        why_not: Index of each other column → reason why it is no light.
    """

    light: tuple[int, ...]
    unclear: tuple[int, ...] = ()
    acceleration: tuple[int, ...] = ()
    scale: float = 1.0
    why_not: dict[int, str] = field(default_factory=dict)


def choose_light(columns: Sequence[InputColumn], rate: float) -> LightChoice:
    """Choose the light among columns of one rate.

    Columns named as light come first, then one named "pulse", then those named "channel" or the
    like, then the only column left that may be light by its shape.

    Args:
        columns: All columns sampled together, time stamps aside.
        rate: Hz; NaN if unknown.
    """
    kinds = [column.kind for column in columns]
    axes, scale = find_acceleration(columns)
    why_not = {n: f"{_WORDS[kind]} by its name" for n, kind in enumerate(kinds) if kind in _WORDS}
    why_not |= dict.fromkeys(axes, "an axis of an accelerometer")
    for n, column in enumerate(columns):
        if n not in why_not and (objection := why_not_light(column.data, rate)):
            why_not[n] = objection
    left = [n for n in range(len(columns)) if n not in why_not]
    named = tuple(n for n, kind in enumerate(kinds) if kind == "light")
    if named and not set(named) & set(left):
        # All have an odd shape, but the file calls them light, and no other column is.
        left += [n for n in named if why_not[n] != EMPTY]
    for wanted in ("light", "pulse"):
        if good := tuple(n for n in left if kinds[n] == wanted):
            return LightChoice(good, (), axes, scale, why_not)
    weak = tuple(n for n in left if _WEAK.match(columns[n].name))
    if weak or len(left) == 1:
        return LightChoice(weak or tuple(left), (), axes, scale, why_not)
    return LightChoice((), tuple(left), axes, scale, why_not)


_WEAK = re.compile(r"channel|value|signal|raw", re.IGNORECASE)
EMPTY = "without any value"
_WORDS: dict[str, str] = {
    "acceleration": "acceleration",
    "pressure": "a pressure",
    "estimate": "an estimated pressure",
    "time": "a time",
    "other": "no light",
}


def why_not_light(samples: npt.NDArray[np.float64], rate: float) -> str:
    """Return the reason why samples cannot be light by their shape; empty if they may be.

    Args:
        samples: (samples,) float64, consecutive; NaN marks a missing value.
        rate: Hz; NaN if unknown.
    """
    known = samples[np.isfinite(samples)]
    if not len(known):
        return EMPTY if len(samples) else ""
    if len(samples) >= FEWEST and len(known) < PRESENT * len(samples):
        return "mostly missing"
    if len(known) < max(FEWEST, SPAN * rate if rate > 0 else 0.0):
        return ""
    if (known == known[0]).all():
        return "constant"
    if len(np.unique(known)) < LEVELS:
        return "a flag"
    steps = np.diff(known)
    moved = steps[steps != 0]
    seconds = len(known) / rate if rate > 0 else np.nan
    if len(moved) < CHANGES * seconds and len(moved) < 0.5 * len(steps):
        return "a number that is repeated until the next one"
    rising = float(np.mean(moved > 0))
    way = moved[moved > 0] if rising >= 0.5 else moved[moved < 0]
    if max(rising, 1 - rising) < ONE_WAY:
        return ""
    usual = float(np.median(way))
    alike = np.abs(way - usual) <= 1e-3 * abs(usual) + 1e-9
    if len(way) == len(moved):
        return "a time or counter"
    return "a counter or sawtooth" if float(np.mean(alike)) >= SAME_STEP else ""


def find_acceleration(columns: Sequence[InputColumn]) -> tuple[tuple[int, ...], float]:
    """Return the indices of the three axes of an accelerometer, and 1 g in their unit.

    They are named as axes, or unnamed columns in a row whose vector has the length of gravity.
    """
    kinds = [column.kind for column in columns]
    named = tuple(n for n, kind in enumerate(kinds) if kind == "acceleration")
    if len(named) == 3 and (scale := _gravity(columns, named, GRAVITY + COUNTS)):
        return named, scale
    for n in range(len(columns) - 2):
        row = (n, n + 1, n + 2)
        if all(kinds[c] == "" for c in row) and (scale := _gravity(columns, row)):
            return row, scale
    return (), 1.0


def _gravity(
    columns: Sequence[InputColumn], axes: tuple[int, ...], known: Sequence[float] = GRAVITY
) -> float:
    """Return the length of gravity in the unit of three axes, a `known` one, or 0."""
    vectors = np.stack([columns[n].data for n in axes], axis=1)
    lengths = np.linalg.norm(vectors[np.isfinite(vectors).all(axis=1)], axis=1)
    if len(lengths) < FEWEST:
        return 0.0
    middle = float(np.median(lengths))
    spread = float(np.median(np.abs(lengths - middle)))
    near = (g for g in known if abs(middle / g - 1) < UPRIGHT and spread < UPRIGHT * g)
    return next(near, 0.0)
