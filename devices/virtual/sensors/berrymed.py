"""A virtual BerryMed finger clip."""

from __future__ import annotations

from innpar.devices.base import HostClock
from innpar.devices.sensors.oximeters import berrymed
from innpar.devices.virtual.radio.peripheral import Characteristic
from innpar.devices.virtual.sensors.gatt import Batch, Feeding, Gain
from innpar.devices.virtual.world.faults import Faults
from innpar.devices.virtual.world.light import Ints, Light, pulse


class VirtualBerryMed(Feeding):
    """A BerryMed clip of version 1.2: a waveform with automatic gain."""

    def __init__(
        self, clock: HostClock, light: Light = pulse, *, faults: Faults | None = None
    ) -> None:
        services = {berrymed.SERVICE: [Characteristic(berrymed.NOTIFY, ("notify",))]}
        super().__init__(
            "BerryMed",
            services,
            clock,
            light,
            berrymed.RATE,
            4,
            address="00:A0:50:12:34:56",
            faults=faults,
        )
        self._gain = Gain(5, 95)

    def encode(self, number: int, counts: Ints) -> Batch:
        """Return four packets in one notification."""
        levels = self._gain(counts[:, 0])
        packets = b"".join(bytes([0x84, level, 5, 72, 98]) for level in levels)
        return [(berrymed.NOTIFY, packets)]
