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
    """

    latency: Literal["low", "normal"] = "normal"

    @classmethod
    def of(cls, device: Device) -> LatencyMode:
        """Return the mode of a device's recording; the default for any other device."""
        return cls("low" if getattr(device, "latency", None) == "low" else "normal")

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
        return {} if self == NORMAL else {"latency": self.latency}


NORMAL = LatencyMode()
