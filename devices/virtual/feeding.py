"""Virtual sensors that send what they see without much dialogue: a Muse, a BerryMed, a cuff."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .. import berrymed, cuff, muse
from ..base import NS, HostClock
from ..inbox import wait
from .light import Ints, Light, pulse
from .peripheral import Characteristic, Send
from .simple import Simple


class Feeding(Simple):
    """A `Simple` that looks at its light at a steady rate, in batches.

    Samples lie on a grid laid down when it is made; those that nobody received were still taken.

    Args:
        name, services, advertised, address: As of `Simple`.
        clock: The host's: what the sensor does, it does by this.
        light: What it sees.
        rate: Hz.
        batch: Samples that it sends together.

    Attributes:
        on: Whether it sends.
        drop_next: So many of the next batches are lost.
        stall: No batches while it is set.
    """

    def __init__(
        self,
        name: str,
        services: Mapping[str, Sequence[Characteristic]],
        clock: HostClock,
        light: Light,
        rate: float,
        batch: int,
        *,
        advertised: tuple[str, ...] = (),
        address: str,
    ) -> None:
        super().__init__(name, services, advertised=advertised, address=address)
        self._clock, self._light = clock, light
        self._rate, self._batch = rate, batch
        self._on_at = clock.now()
        self.on = True
        self.drop_next = 0
        self.stall = False

    def encode(self, number: int, counts: Ints) -> list[tuple[str, bytes]]:
        """Return the notifications of one batch, (samples, 4) counts."""
        raise NotImplementedError

    async def run(self, send: Send, mtu: Callable[[], int]) -> None:
        """Serve one connection until cancelled."""
        number = self._number(self._clock.now())
        while True:
            while self._out:
                await send(*self._out.popleft())
            while self._due(number) <= self._clock.now():
                for uuid, data in self._look(number):
                    await send(uuid, data)
                number += 1
            self._news.clear()
            await wait(self._news, self._due(number), self._clock)

    def _look(self, number: int) -> list[tuple[str, bytes]]:
        places = np.arange(number * self._batch, (number + 1) * self._batch)
        times = self._on_at + np.rint(places * (NS / self._rate)).astype(np.int64)
        frames = self.encode(number, self._light(times))
        if self.drop_next > 0:
            self.drop_next -= 1
            return []
        return frames if self.on and not self.stall else []

    def _number(self, now: int) -> int:
        """Return the batch that is being taken at `now`."""
        return int((now - self._on_at) * self._rate / NS) // self._batch

    def _due(self, number: int) -> int:
        return self._on_at + round((number + 1) * self._batch * NS / self._rate)


class VirtualMuse(Feeding):
    """A Muse headband: sends light once it has a preset that it knows, and was started."""

    def __init__(
        self,
        clock: HostClock,
        light: Light = pulse,
        *,
        number: str = "4A2B",
        presets: tuple[str, ...] = ("p50", "p51"),
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
        )
        self.on = False
        self._presets, self._chosen = presets, "p21"

    def write(self, uuid: str, data: bytes) -> None:
        """Take a command."""
        super().write(uuid, data)
        text = data[1:-1].decode("ascii", "replace")
        if text.startswith("p"):
            self._chosen = text
        if text in ("h", "d"):
            self.on = text == "d" and self._chosen in self._presets

    def encode(self, number: int, counts: Ints) -> list[tuple[str, bytes]]:
        """Return a packet of each optode."""
        seen = np.clip(counts[:, [0, 1, 3]], 0, (1 << 24) - 1)
        return [
            (uuid, muse.build(number, tuple(seen[:, column].tolist())))
            for column, uuid in enumerate(muse.OPTODES)
        ]


class VirtualBerryMed(Feeding):
    """A BerryMed clip of version 1.2: a waveform that fills its range by itself."""

    def __init__(self, clock: HostClock, light: Light = pulse) -> None:
        services = {berrymed.SERVICE: [Characteristic(berrymed.NOTIFY, ("notify",))]}
        super().__init__(
            "BerryMed", services, clock, light, berrymed.RATE, 4, address="00:A0:50:12:34:56"
        )
        self._low = self._high = float("nan")

    def encode(self, number: int, counts: Ints) -> list[tuple[str, bytes]]:
        """Return four packets in one notification."""
        packets = b""
        for absorbed in (-counts[:, 0]).tolist():
            self._low = min(np.nan_to_num(self._low, nan=absorbed), absorbed)
            self._high = max(np.nan_to_num(self._high, nan=absorbed), absorbed)
            span = max(self._high - self._low, 1.0)
            level = 5 + round(90 * (absorbed - self._low) / span)
            self._low, self._high = self._low + span * 2e-4, self._high - span * 2e-4
            packets += bytes([0x84, level, 5, 72, 98])
        return [(berrymed.NOTIFY, packets)]


class VirtualCuff(Simple):
    """A cuff that has readings to tell."""

    def __init__(self, name: str = "BP-1 4711", address: str = "C0:FF:EE:00:18:10") -> None:
        services = {cuff.SERVICE: [Characteristic(cuff.MEASUREMENT, ("indicate",))]}
        super().__init__(name, services, advertised=("1810",), address=address)

    def tell(self, reading: cuff.Measurement) -> None:
        """Indicate a reading to whoever is connected and has subscribed."""
        self.post(cuff.MEASUREMENT, cuff.build(reading))

    def sleep(self) -> None:
        """Hang up."""
        if self.air is not None:
            self.air.hang_up()
