"""A sensor that blinks: 50 samples a second, in packets of five."""

import asyncio
import math
from contextlib import asynccontextmanager

import numpy as np

from innpar.devices import NS, Chunk, Event, NotFound
from innpar.devices.options import Options, slug
from innpar.devices.registry import Entry

RATE = 50.0
PACKET = 5


class Blinker:
    source = "live"  # or "replay", "simulated": every published beat says it
    polarity = 1  # a pulse makes the samples rise; -1 where it makes them fall, 0 unknown
    site = "wrist"  # or "finger", "head", "unknown"

    def __init__(self, port="", brightness=1.0):
        # Nothing is opened here: a device is a value until `open`.
        self.id = slug(f"blinker-{port}") if port else "blinker"
        self.port = port
        self.brightness = brightness

    @asynccontextmanager
    async def open(self, *, clock, tap=None):
        if self.port == "nowhere":
            raise NotFound(f"no blinker on {self.port}: plug it in, or name another port")
        sensor = Sensor(clock)  # entering connects …
        try:
            yield self._items(sensor, clock, tap)
        finally:
            sensor.close()  # … leaving disconnects, whatever happened in between

    async def _items(self, sensor, clock, tap):
        now = clock.now()
        yield Event(self.id, "connected", now, now, {"model": "Blinker 1", "rate": RATE})
        before = number = None
        while True:
            arrival, raw = await sensor.packet()
            if tap is not None:
                tap("packets", arrival, raw)  # before decoding: it is what recordings keep
            packet, *values = np.frombuffer(raw, "<i4").tolist()
            # The sensor stamps nothing, so its packets' arrival dates their last samples.
            times = arrival - np.arange(PACKET - 1, -1, -1) * round(NS / RATE)
            if number is not None and packet != number + 1:
                lost = (packet - number - 1) * PACKET
                detail = {"why": "packets lost", "lost": lost, "signal": "ppg"}
                yield Event(self.id, "gap", before, int(times[0]), detail)
            number, before = packet, int(times[-1])
            data = np.array(values, np.float64)[:, None] * self.brightness
            yield Chunk(self.id, "ppg", ("green",), RATE, times.astype(np.int64), data)


class Sensor:
    """Stands for your radio or serial port."""

    def __init__(self, clock):
        self.clock, self.number, self.due = clock, 0, clock.now()

    async def packet(self):
        self.number += 1
        self.due += round(PACKET * NS / RATE)
        await self.clock.sleep_until(self.due)
        first = self.number * PACKET
        values = [1000 + 200 * math.sin((first + k) / 8) for k in range(PACKET)]
        return self.due, np.array([self.number, *values]).astype("<i4").tobytes()

    def close(self):
        """Close the port."""


def make(argument, options, pace):
    given = Options("blinker", options, {"brightness": "1 as the sensor sends, 2 twice as bright"})
    return Blinker(argument, given.number("brightness", 0.1, 10) or 1.0)


entry = Entry("the sensor that blinks: blinker[:PORT][?brightness=1]", make)


async def main():
    """Stream five beats of it; the device need not be registered for that."""
    import innpar

    async with innpar.live(Blinker()) as beats:
        async for beat in beats:
            print(f"{beat.device}: valid: {beat.valid}, heart rate {beat.hr:.0f}", flush=True)
            if beat.seq == 4:
                break


if __name__ == "__main__":
    asyncio.run(main())
