"""Virtual sensors without much dialogue: a Muse, a BerryMed, an O2Ring, a cuff."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .. import berrymed, cuff, muse, o2ring
from ..base import NS, HostClock
from ..inbox import wait
from .faults import Faults, Mishaps, cut
from .light import Ints, Light, pulse
from .peripheral import Characteristic, Send
from .simple import Simple

Batch = list[tuple[str, bytes]]
"""Notifications of samples that were taken together: (characteristic, value)."""


def _cut(batch: Batch, share: float) -> Batch:
    return [(uuid, cut(raw, share)) for uuid, raw in batch]


class Feeding(Simple):
    """A `Simple` that looks at its light at a steady rate, in batches.

    Samples lie on a grid laid down when it is made; those that nobody received were still taken.

    Args:
        name, services, advertised, address: As of `Simple`.
        clock: The host's: what the sensor does, it does by this.
        light: What it sees.
        rate: Hz.
        batch: Samples that it sends together.
        faults: May be changed at any time, but for the rate and the MTU.

    Attributes:
        on: Whether it sends.
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
        faults: Faults | None = None,
    ) -> None:
        self.faults = faults or Faults()
        mtu = self.faults.mtu or 247
        super().__init__(name, services, advertised=advertised, address=address, mtu=mtu)
        self._mishaps: Mishaps[Batch] = Mishaps(self.faults, np.random.default_rng(0), _cut)
        self._clock, self._light = clock, light
        self._rate, self._batch = rate * self.faults.off_rate, batch
        self._on_at = clock.now()
        self.on = True

    def encode(self, number: int, counts: Ints) -> Batch:
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

    def _look(self, number: int) -> Batch:
        places = np.arange(number * self._batch, (number + 1) * self._batch)
        times = self._on_at + np.rint(places * (NS / self._rate)).astype(np.int64)
        batch = self.encode(number, self._light(times))
        left = self._mishaps.of(batch)
        return [frame for one in left for frame in one] if self.on else []

    def _number(self, now: int) -> int:
        """Return the batch that is being taken at `now`."""
        return int((now - self._on_at) * self._rate / NS) // self._batch

    def _due(self, number: int) -> int:
        return self._on_at + round((number + 1) * self._batch * NS / self._rate)


class Gain:
    """Makes a waveform fill a range by itself, turned upright, as oximeters do.

    Args:
        low: Least level.
        high: Greatest level.
    """

    def __init__(self, low: int, high: int) -> None:
        self._range = low, high
        self._low = self._high = float("nan")

    def __call__(self, counts: Ints) -> list[int]:
        """Return the levels of (samples,) counts of reflected light."""
        low, high = self._range
        levels = []
        for absorbed in (-counts).tolist():
            self._low = min(np.nan_to_num(self._low, nan=absorbed), absorbed)
            self._high = max(np.nan_to_num(self._high, nan=absorbed), absorbed)
            span = max(self._high - self._low, 1.0)
            levels.append(low + round((high - low) * (absorbed - self._low) / span))
            self._low, self._high = self._low + span * 2e-4, self._high - span * 2e-4
        return levels


class VirtualMuse(Feeding):
    """A Muse headband: sends light once it has a preset that it knows, and was started."""

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

    def encode(self, number: int, counts: Ints) -> Batch:
        """Return a packet of each optode."""
        seen = np.clip(counts[:, [0, 1, 3]], 0, (1 << 24) - 1)
        return [
            (uuid, muse.build(number, tuple(seen[:, column].tolist())))
            for column, uuid in enumerate(muse.OPTODES)
        ]


class VirtualBerryMed(Feeding):
    """A BerryMed clip of version 1.2: a waveform that fills its range by itself."""

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


class VirtualO2Ring(Simple):
    """An O2Ring: when asked, it gives what it has seen since, as far as it could keep it.

    Args:
        clock: The host's.
        light: What it sees.
        level: Turns what its infrared saw into a byte a sample; None for a gain of its own.
        faults: May be changed at any time: drop, reorder, truncate, stall, ppm and rate.
        number: The last part of its name.

    Attributes:
        battery: Percent.
        worn: Whether it feels a finger.
        lost: Samples that were not asked for in time.
    """

    KEEPS = 250
    """Samples (2 s)."""

    def __init__(
        self,
        clock: HostClock,
        light: Light = pulse,
        *,
        level: Callable[[Ints], list[int]] | None = None,
        faults: Faults | None = None,
        number: str = "0042",
    ) -> None:
        about = [
            Characteristic(o2ring.WRITE, ("write", "write-without-response")),
            Characteristic(o2ring.NOTIFY, ("notify",)),
        ]
        services = {o2ring.SERVICE: about}
        self.faults = faults or Faults()
        super().__init__(
            f"O2Ring {number}", services, address="E1:E2:E3:04:05:06", mtu=self.faults.mtu or 23
        )
        self.battery, self.worn, self.lost = 88, True, 0
        self._clock, self._light = clock, light
        self._level = level or Gain(5, 95)
        self._on_at = clock.now()
        self._next = 0
        self._mishaps: Mishaps[bytes] = Mishaps(self.faults, np.random.default_rng(0), cut)

    def write(self, uuid: str, data: bytes) -> None:
        """Answer a question."""
        super().write(uuid, data)
        if data == o2ring.ASK:
            answer = self._answer()
            for part in self._mishaps.of(answer):
                step = self.mtu - 3
                for at in range(0, len(part), step):
                    self.post(o2ring.NOTIFY, part[at : at + step])

    def _answer(self) -> bytes:
        rate = o2ring.RATE * self.faults.off_rate * (1 + self.faults.ppm * 1e-6)
        taken = int((self._clock.now() - self._on_at) * rate / NS)
        first = max(self._next, taken - self.KEEPS)
        self.lost += first - self._next
        self._next = max(taken, first)
        times = self._on_at + np.rint(np.arange(first, self._next) * (NS / rate)).astype(np.int64)
        samples = bytes(self._level(self._light(times)[:, 0]) if len(times) else [])
        about = struct.pack("<BHBBBB3xH", 97, 66, self.battery, 0, 5, self.worn, len(samples))
        return o2ring.build(0, about + samples, first=o2ring.ANSWER)


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
