"""Stream devices into a sink of your own: here, a CSV file of beats.

    python examples/own_sink.py OUT.csv [DEVICE ...]

A sink receives every item of every device: `Beat`, `Waveform`, `Summary`, events and states.
"""

import asyncio
import csv
import sys
from typing import TextIO

from innpar.stream import Beat, Item, Sink, run


class CsvSink(Sink):
    """Write a row for every valid beat."""

    def __init__(self, file: TextIO) -> None:
        self.rows = csv.writer(file)
        self.rows.writerow(["device", "time", "sbp", "dbp", "map", "hr"])

    async def send(self, item: Item) -> None:
        # Return at once: the stream waits meanwhile. A slow sink keeps a bounded queue of its own,
        # and its `ready` waits for room; here the inherited one does, which is always ready.
        if isinstance(item, Beat) and item.valid:
            numbers = (item.time, item.sbp, item.dbp, item.map_, item.hr)
            self.rows.writerow([item.device, *(f"{number:.3f}" for number in numbers)])


def main(out: str, *devices: str) -> None:
    with open(out, "x", newline="", encoding="utf-8") as file:
        asyncio.run(run(devices or ("demo",), CsvSink(file), duration=20))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
