"""A virtual blood pressure cuff."""

from __future__ import annotations

from innpar.devices.sensors import cuff
from innpar.devices.virtual.radio.peripheral import Characteristic
from innpar.devices.virtual.sensors.simple import Simple


class VirtualCuff(Simple):
    """A cuff with readings to send."""

    def __init__(self, name: str = "BP-1 4711", address: str = "C0:FF:EE:00:18:10") -> None:
        services = {cuff.SERVICE: [Characteristic(cuff.MEASUREMENT, ("indicate",))]}
        super().__init__(name, services, advertised=("1810",), address=address)

    def indicate(self, reading: cuff.Measurement) -> None:
        """Indicate a reading to the central, once it is connected and subscribed."""
        self.post(cuff.MEASUREMENT, cuff.build(reading))

    def sleep(self) -> None:
        """Disconnect, as after sending the readings."""
        self.hang_up()
