"""Distances of the stages, which decide how soon a beat is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from innpar.devices import Device
from innpar.models.manifest import Manifest

HOP = 128
"""Samples from one window to the next: 1.024 s at 125 Hz, a multiple of the network's four."""
SHORT_HOP = 32
"""The same with low latency: 0.256 s."""
SHORT_GUARD = 8
"""Samples that only the filter sees, with low latency: 0.064 s."""


@dataclass(frozen=True, slots=True)
class LatencyMode:
    """Latency of a run.

    Attributes:
        latency: ``low`` for short hops and guards.
        early: Whether SBP and DBP are published as soon as they are final; see `EarlyBeat`.
    """

    latency: Literal["low", "normal"] = "normal"
    early: bool = False

    @classmethod
    def of(cls, device: Device) -> LatencyMode:
        """Return the mode of a device's recording; the default for any other device."""
        low = getattr(device, "latency", None) == "low"
        return cls("low" if low else "normal", getattr(device, "early", False) is True)

    @classmethod
    def chosen(
        cls, device: Device, latency: Literal["low", "normal"] | None, early: bool | None
    ) -> LatencyMode:
        """Return the mode by the settings of a run; None is as recorded, else the default.

        Early beats belong to low latency unless set otherwise.
        """
        recorded = cls.of(device)
        if latency is None:
            return replace(recorded, early=recorded.early if early is None else early)
        return cls(latency, latency == "low" if early is None else early)

    @property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return SHORT_HOP if self.latency == "low" else HOP

    def applied(self, manifest: Manifest) -> Manifest:
        """Return a model's manifest with the guard of this mode."""
        if self.latency == "normal":
            return manifest
        return replace(manifest, guard=min(manifest.guard, SHORT_GUARD))

    @property
    def recorded(self) -> Mapping[str, object]:
        """The mode as in a session; empty for the default, which older sessions do not name."""
        return {} if self == NORMAL else {"latency": self.latency, "early": self.early}


NORMAL = LatencyMode()
