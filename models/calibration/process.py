"""One Gaussian process a wearer over all cuff readings.

Each pressure is a line in what the network alone finds and in the shape of the pulse, the same for
everyone, plus the wearer's own offset and slopes, plus a term that is alike while the pulse is
alike and fades over hours, plus a slow and a quick drift. Every reading teaches all of these; how
much, follows from their sizes, which are learnt on training subjects (`models.training.process_fit`
draws from them). See Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press
2006, chapters 2 and 4.

The amplitude of the light is no input: it changes with the seat of the sensor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.context import FEATURES, present
from innpar.models.calibration.population import PRESSURES

Floats = npt.NDArray[np.float64]

MOST = 64
"""Newest readings that count."""
LEAST_NOISE = 0.01
"""SD of a reading's error at least, mmHg; without one, two equal readings have no solution."""
INPUTS = (*(f"network_{name}" for name in PRESSURES), *FEATURES[1:])
"""Columns of the inputs: pressures of the network without a reading, features of the pulse."""
_CENTRE, _SPREAD = np.array([115.0, 60.0, 80.0]), np.array([20.0, 12.0, 14.0])  # mmHg


def inputs(alone: Floats, pulse: Floats) -> Floats:
    """Return the inputs of the process (n, len(INPUTS)), of order one.

    Args:
        alone: (n, 3) SBP, DBP, MAP of the network without a reading, mmHg, medians over some 30 s.
        pulse: (n, len(FEATURES)) features, medians over the same time.
    """
    pressures = np.clip((alone - _CENTRE) / _SPREAD, -4.0, 4.0)
    return np.concatenate((pressures, present(pulse)[:, 1:]), axis=1)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PastReading:
    """A cuff reading with the pulse at its time.

    Attributes:
        seconds: Its time on any axis, s.
        pressures: (3,) SBP, DBP, MAP, mmHg.
        inputs: (K,); see `inputs`.
        noise: SD of its error, mmHg; None: that of the prior.
    """

    seconds: float
    pressures: Floats
    inputs: Floats
    noise: float | None = None

    def detail(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "s": self.seconds,
            "mmhg": self.pressures.tolist(),
            "inputs": self.inputs.tolist(),
            "noise": self.noise,
        }

    @classmethod
    def of(cls, detail: Mapping[str, Any]) -> PastReading:
        """Read what `detail` returned; raises KeyError, TypeError or ValueError."""
        pressures, x = (np.array(detail[name], dtype=np.float64) for name in ("mmhg", "inputs"))
        noise = None if detail["noise"] is None else float(detail["noise"])
        if pressures.shape != (3,) or x.shape != (len(INPUTS),):
            raise ValueError("no reading: other numbers")
        seconds = float(detail["s"])
        limits = ((pressures, 1e3), (x, 10.0), (np.array([seconds]), 1e10))
        if not all((np.abs(values) <= most).all() for values, most in limits):
            raise ValueError("no reading: impossible numbers")
        if noise is not None and not 0.0 < noise <= 50.0:
            raise ValueError("no reading: an impossible error")
        return cls(seconds, pressures, x, noise)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Inputs at some times, scaled by the sizes of a process.

    Attributes:
        hours: (n,).
        sloped: (3, n, K) inputs times the slopes' SDs, mmHg.
        alike: (3, n, K) inputs over the lengths of their likeness.
        size: (3, n) squared norms of `alike`.
    """

    hours: Floats
    sloped: Floats
    alike: Floats
    size: Floats


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ProcessPrior:
    """Sizes of the terms of the process; rows are SBP, DBP and MAP, sizes are SDs in mmHg.

    Attributes:
        base: (3,) mean where all inputs are zero, mmHg.
        line: (3, K) slopes of the population, mmHg per unit.
        offset: (3,) of the wearer's offset.
        slopes: (3, K) of the wearer's slopes, mmHg per unit.
        similarity: (3,) of the term that is alike while the pulse is alike.
        alike: (3, K) inverse length of that likeness by input.
        fade: (3,) hours over which that likeness fades.
        drift: (3, 2) of the two drifts.
        drift_hours: (3, 2) their time constants.
        rest: (3,) of what no term explains.
        noise: Of a reading that does not state its own.
    """

    base: Floats
    line: Floats
    offset: Floats
    slopes: Floats
    similarity: Floats
    alike: Floats
    fade: Floats
    drift: Floats
    drift_hours: Floats
    rest: Floats
    noise: float

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> ProcessPrior:
        """Read a manifest's table; raises KeyError, TypeError or ValueError if it is unusable."""
        arrays = {
            field.name: np.array([table[field.name][name] for name in PRESSURES], dtype=np.float64)
            for field in dataclasses.fields(cls)
            if field.name != "noise"
        }
        prior = cls(**arrays, noise=float(table["noise"]))
        count = prior.line.shape[1:]
        wide, two = (3, *count), (3, 2)
        shapes = ((3,), wide, (3,), wide, (3,), wide, (3,), two, two, (3,))
        if [a.shape for a in arrays.values()] != list(shapes):
            raise ValueError("a process of another shape")
        positive = [prior.offset, prior.fade, prior.drift_hours, prior.rest]
        if not np.isfinite(np.concatenate([a.ravel() for a in arrays.values()])).all():
            raise ValueError("a process without numbers")
        if not (prior.noise > 0 and all((a > 0).all() for a in positive)):
            raise ValueError("a process without a size")
        return prior

    def table(self, digits: int = 4) -> dict[str, Any]:
        """Return the table for a manifest."""
        found: dict[str, Any] = {"noise": self.noise}
        for field in dataclasses.fields(self):
            if field.name != "noise":
                rows = np.round(getattr(self, field.name), digits).tolist()
                found[field.name] = dict(zip(PRESSURES, rows, strict=True))
        return found

    def mean(self, x: Floats) -> Floats:
        """Return the population's pressures (3, n) at inputs (n, K), mmHg."""
        return np.asarray(self.base[:, None] + self.line @ x.T)

    def moments(self, x: Floats, hours: Floats) -> Moments:
        """Return moments with inputs x (n, K) at times (n,)."""
        alike = x * self.alike[:, None]
        return Moments(hours, x * self.slopes[:, None], alike, (alike * alike).sum(2))

    def covariance(self, these: Moments, those: Moments) -> Floats:
        """Return the covariance (3, n, m) of two sets of moments, mmHg²."""
        apart = np.abs(these.hours[:, None] - those.hours)
        found = these.sloped @ those.sloped.transpose(0, 2, 1)
        found += (self.offset * self.offset)[:, None, None]
        far = these.alike @ those.alike.transpose(0, 2, 1)
        far -= 0.5 * (these.size[:, :, None] + those.size[:, None])
        np.minimum(far, 0.0, out=far)
        far -= apart / self.fade[:, None, None]
        found += (self.similarity * self.similarity)[:, None, None] * np.exp(far)
        fading = np.exp(apart[:, :, None] / -self.drift_hours[:, None, None])
        found += (fading @ (self.drift * self.drift)[:, None, :, None])[..., 0]
        return found

    def variance(self, now: Moments) -> Floats:
        """Return the variance (3, n) before any reading, mmHg²."""
        constant = self.offset**2 + self.similarity**2 + (self.drift**2).sum(1)
        return np.asarray((now.sloped * now.sloped).sum(2) + constant[:, None])


class WearerProcess:
    """Pressures of a wearer after some cuff readings; their order does not matter.

    Args:
        prior: Sizes of the terms.
        readings: The readings; only the newest `MOST` count.
    """

    def __init__(self, prior: ProcessPrior, readings: Sequence[PastReading]) -> None:
        self._prior = prior
        newest = sorted(readings, key=lambda one: (one.seconds, *one.pressures))[-MOST:]
        self._origin = newest[-1].seconds if newest else 0.0
        x = np.array([one.inputs for one in newest]).reshape(len(newest), prior.line.shape[1])
        hours = np.array([(one.seconds - self._origin) / 3600.0 for one in newest])
        self._moments = prior.moments(x, hours)
        noise = [prior.noise if one.noise is None else one.noise for one in newest]
        between = prior.covariance(self._moments, self._moments)
        between = between + np.diag(np.maximum(np.array(noise), LEAST_NOISE) ** 2)
        surprise = np.array([one.pressures for one in newest]).reshape(-1, 3).T
        surprise = surprise - prior.mean(x)
        lower = np.linalg.inv(np.linalg.cholesky(between)) if newest else between
        self._whiten = lower
        self._weights = (lower.transpose(0, 2, 1) @ (lower @ surprise[..., None]))[..., 0]

    def at(self, x: Floats, seconds: Floats) -> tuple[Floats, Floats]:
        """Return the pressures (n, 3) at some moments, and the SDs of their errors (n, 3), mmHg.

        Args:
            x: (n, K); see `inputs`.
            seconds: (n,) on the axis of the readings, s.
        """
        prior = self._prior
        now = prior.moments(x, (seconds - self._origin) / 3600.0)
        across = prior.covariance(now, self._moments)
        mean = prior.mean(x) + (across @ self._weights[..., None])[..., 0]
        known = across @ self._whiten.transpose(0, 2, 1)
        left = np.maximum(prior.variance(now) - (known * known).sum(2), 0.0)
        return mean.T, np.sqrt(left + prior.rest[:, None] ** 2).T
