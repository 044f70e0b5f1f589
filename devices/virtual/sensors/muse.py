"""A virtual Muse headband."""

from __future__ import annotations

import numpy as np

from innpar.devices.base import HostClock
from innpar.devices.sensors import muse
from innpar.devices.virtual.radio.peripheral import Characteristic
from innpar.devices.virtual.sensors.gatt import Batch, Feeding
from innpar.devices.virtual.world.faults import Faults
from innpar.devices.virtual.world.light import Ints, Light, pulse


class VirtualMuse(Feeding):
    """A Muse headband: sends light once started with a preset that it knows."""

    def __init__(
        self,
        clock: HostClock,
        light: Light = pulse,
        *,
        number: str = "4A2B",
        presets: tuple[str, ...] = ("p50", "p51"),
        faults: Faults | None = None,
    ) -> None:
        control = Characteristic(muse.CONTROL, ("write-without-response", "notify"))
        optodes = [Characteristic(uuid, ("notify",)) for uuid in muse.OPTODES]
        services = {muse.SERVICE: [control, *optodes]}
        super().__init__(
            f"Muse-{number}",
            services,
            clock,
            light,
            muse.RATE,
            muse.SAMPLES,
            advertised=("fe8d",),
            address="00:55:DA:B0:4A:2B",
            faults=faults,
        )
        self.on: bool = False
        self._presets, self._chosen = presets, "p21"

    def write(self, uuid: str, data: bytes) -> None:
        """Take a command."""
        super().write(uuid, data)
        text = data[1:-1].decode("ascii", "replace")
        if text.startswith("p"):
            self._chosen = text
        if text in ("h", "d"):
            self.on = text == "d" and self._chosen in self._presets

    def encode(self, number: int, counts: Ints) -> Batch:
        """Return a packet of each optode."""
        seen = np.clip(counts[:, [0, 1, 3]], 0, (1 << 24) - 1)
        return [
            (uuid, muse.build(number, tuple(seen[:, column].tolist())))
            for column, uuid in enumerate(muse.OPTODES)
        ]
