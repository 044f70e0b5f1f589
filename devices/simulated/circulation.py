"""Simulation of the circulation: beat intervals, ejection, arterial load, and skin blood volume.

Beat intervals vary by respiratory sinus arrhythmia and Mayer waves around a drifting heart rate.
Each beat ejects a flow into a three-element windkessel (1); with a delayed, smoothed reflection of
the forward wave, this gives the arterial pressure. The blood volume of the skin, which a PPG sensor
measures, follows it through a viscoelastic low-pass and an arctangent pressure-volume curve (2),
scaled by vasomotor tone. Transit to the skin is omitted, so that pressure and pulse are aligned as
in records whose delay has been removed.

1. Westerhof, Lankhaar, Westerhof, The arterial Windkessel, Med. Biol. Eng. Comput. 47 (2009) 131,
   doi 10.1007/s11517-008-0359-2
2. Langewouters, Wesseling, Goedhard, The static elastic properties of 45 human thoracic and 20
   abdominal aortas in vitro, J. Biomech. 17 (1984) 425, doi 10.1016/0021-9290(84)90034-4
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
State = dict[str, Array]

RATE = 250
"""Rate of all signals computed here, Hz."""

BLOCK = 8 * RATE
"""Samples per block; fixed, so that the signals do not depend on how the output is cut."""

_AHEAD = RATE // 2
"""Samples by which pressure is computed ahead of the skin, whose filter is non-causal."""

_BACK = RATE
"""Samples kept from the block before, as history of the filters."""

_GRID = 10
"""Rate of slowly varying quantities, Hz."""

_VENOUS = 6.0
"""Pressure distal to the arterioles, mmHg."""

EPISODES: dict[str, dict[str, float]] = {
    "exercise": {"hr": 0.42, "stroke": 0.08, "resistance": -0.22, "perfusion": 0.15},
    "standing up": {"hr": 0.18, "stroke": -0.17, "resistance": 0.08, "perfusion": -0.15},
    "cold hands": {"hr": -0.04, "resistance": 0.20, "compliance": -0.10, "perfusion": -0.50},
}
"""Relative changes from rest at the peak of an episode."""


@dataclass(frozen=True, slots=True)
class Episode:
    """Temporary change of state; times in seconds since the simulation began."""

    kind: str
    start: float
    rise: float
    hold: float
    fall: float

    @property
    def end(self) -> float:
        return self.start + self.rise + self.hold + self.fall

    def level(self, t: Array) -> Array:
        """Return its intensity at times `t`, 0 to 1, with smooth rise and fall."""
        up = np.clip((t - self.start) / self.rise, 0.0, 1.0)
        down = np.clip((self.end - t) / self.fall, 0.0, 1.0)
        return (up * up * (3 - 2 * up)) * (down * down * (3 - 2 * down))


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """Block of a simulated circulation.

    Attributes:
        abp: (BLOCK,) arterial pressure, mmHg.
        volume: (BLOCK + 1,) blood volume of the skin, about 1 from foot to peak at rest; one
            sample longer, for interpolation.
        begun: Episodes that begin in this block: (seconds since the simulation began, kind).
    """

    abp: Array
    volume: Array
    begun: tuple[tuple[float, str], ...]


def circulation(seed: int, *, episodes: bool = True) -> Iterator[Span]:
    """Yield the circulation of one person block by block, endlessly.

    Args:
        seed: Determines the person and the sequence of episodes.
        episodes: Whether there are episodes in addition to slow drifts.
    """
    person = _Person(np.random.default_rng([seed, 1]))
    heart = _Heart(np.random.default_rng([seed, 2]))
    arteries = _Arteries(person)
    story = _story(np.random.default_rng([seed, 3])) if episodes else iter(())
    upcoming = next(story, None)
    current: list[Episode] = []
    # The first block lets the load settle and is not yielded.
    start = (_AHEAD - BLOCK) / RATE
    while True:
        t = start + np.arange(BLOCK) / RATE
        # A second more at either end: the skin lags, and a beat may end in the next block.
        grid = start + np.arange(-_GRID, 10 * _GRID) / _GRID
        while upcoming is not None and upcoming.start < grid[-1]:
            current.append(upcoming)
            upcoming = next(story, None)
        state = person.at(grid, current)
        abp, volume = arteries.push(heart.flow(t, grid, state), t, grid, state)
        first = start - _AHEAD / RATE  # time of the first sample of `abp`
        if first >= 0.0:
            begun = ((e.start, e.kind) for e in current if 0.0 <= e.start - first < BLOCK / RATE)
            yield Span(abp, volume, tuple(begun))
        current = [e for e in current if e.end > first]
        start += BLOCK / RATE


def _story(rng: np.random.Generator) -> Iterator[Episode]:
    start = 35.0
    while True:
        for kind in rng.permutation(list(EPISODES)):
            rise, hold, fall = rng.uniform((6.0, 20.0, 10.0), (10.0, 35.0, 18.0)).tolist()
            episode = Episode(str(kind), start, rise, hold, fall)
            yield episode
            start = episode.end + float(rng.uniform(15.0, 35.0))


class _Person:
    """A person's resting state and its drifts."""

    def __init__(self, rng: np.random.Generator) -> None:
        spread = rng.normal(size=6).clip(-1.5, 1.5)
        self.rest = {
            "hr": 66.0 * (1 + 0.08 * spread[0]),  # beats per minute
            "stroke": 78.0 * (1 + 0.05 * spread[1]),  # mL
            "resistance": 1.00 * (1 + 0.05 * spread[2]),  # mmHg s/mL
            "compliance": 2.25 * (1 + 0.12 * spread[3]),  # mL/mmHg
            "perfusion": 1.0,
        }
        self.impedance = 0.066 * (1 + 0.10 * spread[4])  # mmHg s/mL
        self.reflection = 0.29 * (1 + 0.15 * spread[5])
        self.breath = float(rng.uniform(0.19, 0.27))  # Hz
        self.phases = rng.uniform(0, 2 * np.pi, size=(2, 5))
        self.periods = rng.uniform(
            (20.0, 45.0, 110.0, 280.0, 9.2), (30.0, 70.0, 170.0, 420.0, 10.8)
        )

    def at(self, t: Array, episodes: list[Episode]) -> State:
        """Return all quantities at times `t`, seconds since the simulation began."""
        waves = np.sin(2 * np.pi * t / self.periods[:, None] + self.phases[:, :, None])
        drift = (np.array([0.2, 0.4, 0.7, 1.0]) @ waves[:, :4]) / 1.3  # SD near 0.7
        mayer = waves[:, 4]
        change = {
            "hr": 0.045 * drift[0] + 0.02 * mayer[0],
            "stroke": -0.02 * drift[0],
            "resistance": 0.06 * drift[1] + 0.02 * mayer[1],
            "compliance": -0.03 * drift[1],
            "perfusion": -0.10 * drift[1] - 0.06 * mayer[1],
        }
        state = {key: value * (1 + change[key]) for key, value in self.rest.items()}
        for episode in episodes:
            level = episode.level(t)
            for key, effect in EPISODES[episode.kind].items():
                state[key] = state[key] * (1 + effect * level)
        # Breathing is not perfectly regular.
        state["breath"] = 2 * np.pi * self.breath * t + 0.9 * waves[0, 0] + 0.6 * waves[1, 1]
        return state


class _Heart:
    """Beats and their ventricular outflow."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._beats: list[tuple[float, float, float]] = []  # onset s, ejection s, stroke mL
        self._next: float | None = None
        self._wander = 0.0

    def flow(self, t: Array, grid: Array, state: State) -> Array:
        """Return the flow out of the ventricle at times `t`, mL/s."""
        if self._next is None:
            self._next = float(t[0])
        while self._next <= t[-1]:
            at = round((self._next - grid[0]) * _GRID)
            breath = np.sin(state["breath"][at])
            self._wander = 0.9 * self._wander + self._rng.normal(0.0, 0.008)
            interval = 60.0 / state["hr"][at] * (1 + 0.035 * breath + self._wander)
            # At a slow rate the ventricle fills more and ejects longer.
            ejection = 0.16 + 0.13 * interval
            stroke = state["stroke"][at] * (1 - 0.035 * breath + 0.25 * self._wander)
            self._beats.append((self._next, ejection, stroke))
            self._next += float(interval)
        onset, ejection, stroke = np.array(self._beats).T
        beat = np.searchsorted(onset, t, side="right") - 1
        flow: Array = stroke[beat] / ejection[beat] * _ejection((t - onset[beat]) / ejection[beat])
        self._beats = self._beats[-2:]
        return flow


def _ejection(x: Array) -> Array:
    """Return ventricular outflow over a beat, normalised to area 1.

    It peaks early; a small backflow after the ejection closes the valve and causes the incisura.

    Args:
        x: Time since the onset as a fraction of the ejection time.
    """
    inside = np.clip(x, 0.0, 1.0)
    back = np.clip((x - 1) / 0.20, 0.0, 1.0)
    return 9.74 * inside**0.7 * (1 - inside) ** 2.2 - 0.30 * np.sin(np.pi * back)


class _Arteries:
    """Arterial load: pressure and skin blood volume from the flow."""

    def __init__(self, person: _Person) -> None:
        self._person = person
        self._stored = 88.0  # mmHg on the compliance
        self._flow = np.zeros(_BACK)
        self._pressure = np.full(_BACK + _AHEAD, 90.0)

    def push(self, flow: Array, t: Array, grid: Array, state: State) -> tuple[Array, Array]:
        """Return pressure and volume of the block that begins `_AHEAD` samples before `t`.

        Args:
            flow: (BLOCK,) mL/s at times `t`.
            t: (BLOCK,) seconds since the simulation began.
            grid: (points,) times of `state`, seconds since the simulation began.
            state: Quantities of `_Person.at`, (points,) each.

        Returns:
            (BLOCK,) arterial pressure, mmHg, and (BLOCK + 1,) volume of about 1 per pulse.
        """
        stored = self._store(
            flow, *(np.interp(t, grid, state[k]) for k in ("resistance", "compliance"))
        )
        wave = flow + self._person.reflection * self._reflect(flow, stored)
        pressure = np.concatenate([self._pressure, stored + self._person.impedance * wave])
        self._pressure = pressure[-len(self._pressure) :]
        abp = _filtered(pressure, _CATHETER, len(_CATHETER) // 2, BLOCK)
        felt = _filtered(pressure, _SKIN, _SKIN_LEAD, BLOCK + 1)
        perfusion = np.interp(
            t[0] + (np.arange(BLOCK + 1) - _AHEAD) / RATE, grid, state["perfusion"]
        )
        return abp, perfusion * np.arctan((felt - 75.0) / 80.0) / 0.45

    def _store(self, flow: Array, resistance: Array, compliance: Array) -> Array:
        """Return the pressure on the compliance, mmHg, by the exact windkessel solution."""
        decay = np.cumsum(1 / (RATE * resistance * compliance))
        inflow = (flow + _VENOUS / resistance) / compliance
        stored = np.exp(-decay) * (self._stored + np.cumsum(inflow * np.exp(decay)) / RATE)
        self._stored = float(stored[-1])
        return stored

    def _reflect(self, flow: Array, stored: Array) -> Array:
        """Return the flow reflected from the periphery, delayed and smoothed, mL/s."""
        past = np.concatenate([self._flow, flow])
        self._flow = past[-_BACK:]
        smooth = np.convolve(past, _SPREAD, "valid")
        first = len(_SPREAD) // 2 - _BACK
        since = (first + np.arange(len(smooth))) / RATE
        # Higher pressure stiffens the arteries, and the wave returns earlier.
        delay = 0.335 * np.sqrt(90.0 / np.clip(stored, 50.0, 160.0))
        return np.interp(np.arange(BLOCK) / RATE - delay, since, smooth)


def _bell(sd: float) -> Array:
    """Return the taps of a Gaussian with a standard deviation of `sd` seconds and area 1."""
    half = round(3 * sd * RATE)
    taps: Array = np.exp(-0.5 * (np.arange(-half, half + 1) / (sd * RATE)) ** 2)
    area: float = taps.sum()
    return taps / area


def _viscoelastic(sd: float, tau: float) -> Array:
    tail: Array = np.exp(-np.arange(round(6 * tau * RATE)) / (tau * RATE))
    return np.convolve(_bell(sd), tail / tail.sum())


def _filtered(x: Array, taps: Array, lead: int, count: int) -> Array:
    """Return `count` filtered samples of `x` from sample `_BACK` on, advanced by `lead`."""
    first = _BACK + lead - len(taps) + 1
    return np.convolve(x, taps, "valid")[first : first + count]


_CATHETER = _bell(0.012)
_SPREAD = _bell(0.050)
_SKIN = _viscoelastic(0.020, 0.045)
_SKIN_LEAD = round((3 * 0.020 + 0.034) * RATE)
