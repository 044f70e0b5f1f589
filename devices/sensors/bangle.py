"""Bangle.js 2 watches: a few lines of uploaded JavaScript print the light.

Over the Nordic UART service the watch is a JavaScript prompt. The script prints one line a sample,
``P,number,ms,raw,vcPPG,check``: the number shows every lost sample, the check a damaged line.
Untested on hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from innpar.devices.base import NS, BadPacket, Chunk, Event
from innpar.devices.link.ble import BleLink
from innpar.devices.options import Options
from innpar.devices.sensors.family import Family
from innpar.devices.sensors.gatt import KEYS, Gatt, create
from innpar.devices.timing.dejitter import Dejitter, StampRun
from innpar.devices.timing.repeats import Repeats
from innpar.devices.timing.timeline import Hole, PlacedSamples
from innpar.devices.timing.track import Rows, SignalTrack, stated

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

_UUID = "6e40{}-b5a3-f393-e0a9-e50e24dcca9e".format
SERVICE, WRITE, NOTIFY = (_UUID(n) for n in ("0001", "0002", "0003"))
CHANNEL = "uart"
CHANNELS = ("raw", "vcppg")

INTERVALS = {12: 80, 25: 40, 50: 20, 100: 10}
"""Approximate rate, Hz → poll interval of the watch, ms."""

PIECE = 20
"""Bytes of one write; fits every MTU."""

LONGEST = 256
MODULUS = 65_521
JUMP = 60 * NS
"""Step forward, ns, that means the watch's clock was set; backward, one second does."""

_LISTEN = (
    '"undefined"==typeof innpar&&(innpar={n:0},Bangle.on("HRM-raw",function(e){'
    "var n=innpar.n++,t=Math.round(Date.now()),r=Math.round(e.raw),v=Math.round(e.vcPPG||0);"
    f'Bluetooth.println("P,"+[n,t,r,v,(n+t+r+v)%{MODULUS}].join(","));'
    "}))"
)


def script(rate: int) -> list[bytes]:
    """Return the commands that start the printing: an interrupt, then lines without echo."""
    options = f"hrmPollInterval:{INTERVALS[rate]},powerSave:false,hrmWearDetect:false"
    lines = (f"Bangle.setOptions({{{options}}})", _LISTEN, 'Bangle.setHRMPower(1,"innpar")')
    return [b"\x03", *(b"\x10" + line.encode() + b"\n" for line in lines)]


STOP = b'\x10Bangle.setHRMPower(0,"innpar")\n'


def parse(line: str) -> tuple[int, int, tuple[float, float]] | None:
    """Return number, time (ms) and (raw, vcPPG); None for other output of the prompt.

    Raises:
        BadPacket: It is a line of the script, but damaged.
    """
    if "P," not in line:
        return None
    try:
        number, time, raw, value, check = map(int, line[line.index("P,") + 2 :].split(","))
    except ValueError:
        raise BadPacket(f"a damaged line: {line[:60]!r}", line.encode()) from None
    if (number + time + raw + value - check) % MODULUS or not 0 <= time < 1 << 52:
        raise BadPacket(f"a line with a wrong check: {line[:60]!r}", line.encode())
    return number, time, (float(raw), float(value))


def build(number: int, time: int, raw: int, value: int) -> bytes:
    """Return the line of a sample as the watch prints it."""
    check = (number + time + raw + value) % MODULUS
    return f"P,{number},{time},{raw},{value},{check}\r\n".encode()


class BangleDecoder:
    """Decoder of the lines of the watch; see `Decoder`.

    Args:
        device: Id to put on everything.
        rate: Approximate sampling rate, Hz.

    Attributes:
        bad: Number of notifications with a damaged line and nothing else.
        repeats: Lines and notifications that came more than once.
    """

    channels = (CHANNEL,)

    def __init__(self, device: str, rate: float = 50.0) -> None:
        self._track = SignalTrack(device, CHANNELS)
        self._nominal = rate
        self._rest = ""
        self._anew()
        self.repeats = Repeats(device)
        self.bad: int = 0

    def _anew(self) -> None:
        self._dejitter = Dejitter(self._nominal)
        self._rows: Rows = np.empty((0, len(CHANNELS)))
        self._stamps: list[int] = []
        self._values: list[tuple[float, float]] = []
        self._number: int | None = None
        self._time = 0
        self._placed: int | None = None
        self._missing = 0
        self._arrival = 0

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time of the last line, by the watch's clock."""
        for line in reversed((self._rest + raw.decode("latin-1")).split("\n")):
            found = parse(line) if line.endswith("\r") else None
            if found is not None:
                return found[1] * 1_000_000
        return self._time

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Note the reason for the next gap; lines printed without a link are numbered too."""
        self._track.interrupted(why)
        if relinked:
            self._rest = ""
            self.repeats.forget()

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode one notification.

        Raises:
            BadPacket: A line is damaged and the notification holds no sample.
        """
        if self.repeats.equal(channel, arrival, raw):  # numbers and checks differ otherwise
            return [*self.repeats.drop(arrival)]
        self._arrival = arrival
        *lines, rest = (self._rest + raw.decode("latin-1")).split("\n")
        self._rest = rest[-LONGEST:]
        out: list[Chunk | Event] = []
        wrong: BadPacket | None = None
        for line in lines:
            try:
                found = parse(line.strip("\r"))
            except BadPacket as bad:
                wrong = bad
                continue
            if found is not None:
                out += self._take(*found)
        out += self._push()
        if wrong is not None and not out:
            self.bad += 1
            raise wrong
        return out

    def flush(self) -> list[Chunk | Event]:
        """Return the samples still held back."""
        return self._push() + self._give(self._dejitter.flush())

    def _take(self, number: int, ms: int, values: tuple[float, float]) -> list[Chunk | Event]:
        """Queue a sample; a jump of the number or of the clock ends the segment before it."""
        time, out = ms * 1_000_000, []
        if self._number is not None and number <= self._number and -NS < time - self._time <= 0:
            return [*self.repeats.drop(self._arrival)]
        jump = 0 if self._number is None else number - self._number - 1
        if self._number is not None and (jump or not -NS < time - self._time < JUMP):
            out = self.flush()
            gone = jump * NS / self._nominal
            if jump < 0 or not -NS < time - self._time < JUMP + 2 * gone:
                self._anew()
                self._track.anew()
            else:
                self._dejitter.restart()
                self._missing += jump
        self._number, self._time = number, time
        self._stamps.append(time)
        self._values.append(values)
        return out

    def _push(self) -> list[Chunk | Event]:
        stamps, self._stamps = np.array(self._stamps, np.int64), []
        rows, self._values = np.array(self._values, np.float64), []
        if not len(stamps):
            return []
        self._rows = np.concatenate([self._rows, rows])
        return self._give(self._dejitter.push(stamps))

    def _give(self, runs: list[StampRun]) -> list[Chunk | Event]:
        out: list[Chunk | Event] = []
        for run in runs:
            rows, self._rows = self._rows[: len(run.times)], self._rows[len(run.times) :]
            times, lost = run.times, run.lost + self._missing
            if self._placed is not None and times[0] <= self._placed:
                times = times + (self._placed + 1 - times[0])
            hole = Hole(self._placed, lost) if lost and self._placed is not None else None
            self._missing, self._placed = 0, int(times[-1])
            placed = PlacedSamples(times, rows, self._arrival, hole)
            out += self._track.give([placed], stated(self._dejitter.rate, (self._nominal,)))
        return out


def family(rate: int = 50) -> Family:
    """Return the description of a Bangle.js 2 at a rate of `INTERVALS`."""

    async def write(link: BleLink, text: bytes) -> None:
        for i in range(0, len(text), PIECE):
            await link.write(WRITE, text[i : i + PIECE])

    async def begin(link: BleLink) -> None:
        for text in script(rate):
            await write(link, text)

    async def end(link: BleLink) -> None:
        await write(link, STOP)

    return Family(
        name="bangle",
        names=("Bangle.js",),
        services=(),
        notify={NOTIFY: CHANNEL},
        remedy="wake it, make it connectable, and close the Web IDE and the app loader",
        decoder=lambda device: BangleDecoder(device, NS / (INTERVALS[rate] * 1e6)),
        site="wrist",
        begin=begin,
        end=end,
    )


BANGLE_KEYS: Mapping[str, str] = {
    **KEYS,
    "rate": "approximate sampling rate, Hz: 12, 25, 50 or 100 (50)",
}


def create_bangle(argument: str, options: Mapping[str, str], pace: Pace) -> Gatt:
    """Return the device for ``bangle[:NAME or ADDRESS][?rate=25]``.

    Raises:
        Refused: An option is invalid.
    """
    given = Options("bangle", options, BANGLE_KEYS)
    rate = int(given.choice("rate", map(str, INTERVALS)) or 50)
    return create(family(rate), argument, given)
