"""Blood-pressure cuffs that speak the Bluetooth Blood Pressure Service (0x1810).

A cuff measures by itself, goes on the air for some seconds, indicates its readings (0x2A35) and
sleeps. Layout: Bluetooth SIG, Blood Pressure Service 1.1 and GATT Specification Supplement;
numbers are IEEE 11073-20601 SFLOATs. Untested with a cuff that insists on bonding: pair it first
with the system's Bluetooth settings.
"""

from __future__ import annotations

import logging
import math
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from innpar.devices.base import NS, BadPacket, Chunk, Event, Lost, Refused
from innpar.devices.link.ble import BleLink, Radio, sig
from innpar.devices.notices import NoticeCode, notice
from innpar.devices.options import Options
from innpar.devices.sensors.family import Family
from innpar.devices.sensors.gatt import KEYS, WAIT, Gatt

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

log: logging.Logger = logging.getLogger(__name__)

SERVICE = sig("1810")
MEASUREMENT = sig("2a35")
CURRENT_TIME = sig("2a2b")
CHANNEL = "bp"

KPA = 7.500617
"""mmHg a kPa."""

FRESH = 600.0
"""Greatest age of a reading, seconds; older ones come from the cuff's memory."""
AHEAD = 90.0
"""Seconds by which a cuff's clock, which often shows minutes only, may be ahead of ours."""

MEMORY = 1024
"""Number of readings remembered to recognise repeats; more than any cuff stores."""

MOVED, LOOSE, IRREGULAR, RATE_HIGH, RATE_LOW, POSITION = 1, 2, 4, 8, 16, 32
FLAWS = {
    MOVED: "the body moved",
    LOOSE: "the cuff was too loose",
    IRREGULAR: "the pulse was irregular",
    POSITION: "the arm was in a wrong position",
}
"""Bits of the measurement status that make a reading unreliable."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One reading as the cuff sent it.

    Attributes:
        sbp, dbp, map_: mmHg; NaN where the cuff could not measure it.
        taken: Time by the cuff's own clock, without a time zone; None if not sent.
        pulse: Beats a minute; None if not sent.
        user: The cuff's number of the wearer; None if unknown.
        status: Bits of `FLAWS`, `RATE_HIGH` and `RATE_LOW`; None if not sent.
    """

    sbp: float
    dbp: float
    map_: float
    taken: datetime | None = None
    pulse: float | None = None
    user: int | None = None
    status: int | None = None

    @property
    def flaws(self) -> list[str]:
        """Reasons why the reading is unreliable; empty if there is none."""
        reasons = [text for bit, text in FLAWS.items() if (self.status or 0) & bit]
        if not (60 <= self.sbp <= 280 and 30 <= self.dbp <= 200 and self.sbp - self.dbp >= 10):
            reasons.append("its pressures are not plausible for a person")
        return reasons


def parse_sfloat(raw: int) -> float:
    """Return the value of an IEEE 11073-20601 SFLOAT; NaN and infinities as themselves.

    "Not at this resolution" and the reserved value are NaN too: they hold no number.
    """
    if raw in _SPECIAL:
        return _SPECIAL[raw]
    mantissa, exponent = raw & 0x0FFF, raw >> 12
    mantissa -= (mantissa & 0x0800) << 1
    exponent -= (exponent & 8) << 1
    return mantissa * 10.0**exponent if exponent >= 0 else mantissa / 10.0**-exponent


_SPECIAL = {
    0x07FF: math.nan,  # not a number
    0x0800: math.nan,  # not at this resolution
    0x0801: math.nan,  # reserved
    0x07FE: math.inf,
    0x0802: -math.inf,
}


def build_sfloat(value: float, exponent: int = 0) -> int:
    """Return the SFLOAT of `value` with a power of ten; NaN stays NaN.

    Raises:
        ValueError: It does not fit twelve bits.
    """
    if math.isnan(value):
        return 0x07FF
    mantissa = round(value / 10.0**exponent)
    if not (-0x07FE < mantissa < 0x07FE and -8 <= exponent <= 7):
        raise ValueError(f"{value:g} does not fit an SFLOAT with exponent {exponent}")
    return (exponent & 0xF) << 12 | mantissa & 0x0FFF


def parse(raw: bytes) -> Measurement:
    """Read a Blood Pressure Measurement (0x2A35).

    Raises:
        BadPacket: It is shorter or longer than its flags say, or names a day that never was.
    """
    flags = raw[0] if raw else 0
    has_time, has_pulse, has_user, has_status = (flags >> bit & 1 for bit in (1, 2, 3, 4))
    layout = "<B3H" + "H5B" * has_time + "H" * has_pulse + "B" * has_user + "H" * has_status
    if len(raw) != struct.calcsize(layout):
        raise BadPacket(
            f"a cuff reading with flags 0x{flags:02x} has {struct.calcsize(layout)} bytes, "
            f"not {len(raw)}",
            raw,
        )
    values = list(struct.unpack(layout, raw))[1:]
    unit = KPA if flags & 1 else 1.0
    sbp, dbp, mean = (round(parse_sfloat(v) * unit, 2) for v in values[:3])
    del values[:3]
    taken = _moment(values[:6], raw) if has_time else None
    del values[: 6 * has_time]
    pulse = parse_sfloat(values.pop(0)) if has_pulse else None
    user = values.pop(0) if has_user else None
    return Measurement(
        sbp,
        dbp,
        mean,
        taken,
        pulse if pulse is not None and math.isfinite(pulse) else None,
        None if user == 255 else user,
        values.pop(0) if has_status else None,
    )


def _moment(fields: list[int], raw: bytes) -> datetime | None:
    """Return what the cuff's clock showed; a year, month or day of 0 means that it is not set."""
    if 0 in fields[:3]:
        return None
    try:
        return datetime(*fields)  # type: ignore[arg-type]  # six numbers
    except ValueError as error:
        raise BadPacket(f"a cuff reading of no real moment ({error})", raw) from None


def build(m: Measurement, *, kpa: bool = False) -> bytes:
    """Return the bytes of a measurement, as `parse` reads them."""
    unit, exponent = (KPA, -1) if kpa else (1.0, 0)
    parts = [
        struct.pack("<3H", *(build_sfloat(v / unit, exponent) for v in (m.sbp, m.dbp, m.map_)))
    ]
    flags = int(kpa)
    if m.taken is not None:
        flags |= 2
        parts.append(struct.pack("<H5B", m.taken.year, *m.taken.timetuple()[1:6]))
    if m.pulse is not None:
        flags |= 4
        parts.append(struct.pack("<H", build_sfloat(m.pulse)))
    if m.user is not None:
        flags |= 8
        parts.append(bytes([m.user]))
    if m.status is not None:
        flags |= 16
        parts.append(struct.pack("<H", m.status))
    return bytes([flags]) + b"".join(parts)


class CuffDecoder:
    """Decoder of a cuff's indications: ``cuff`` events for calibration, ``notice`` for the rest.

    Args:
        device: Id to put on everything.
        user: The cuff's number of the user whose readings count; None for all users.

    Attributes:
        bad: Number of indications that could not be decoded.
    """

    channels = (CHANNEL,)

    def __init__(self, device: str, user: int | None = None) -> None:
        self._device = device
        self._user = user
        self._seen: deque[bytes] = deque(maxlen=MEMORY)
        self.bad: int = 0

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time of the reading, in this computer's time zone; 0 without one."""
        taken = parse(raw).taken
        return round(taken.timestamp() * NS) if taken is not None else 0

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode one indication; a repeat, recognised by its time stamp, gives no event."""
        try:
            reading = parse(raw)
        except BadPacket:
            self.bad += 1
            raise
        if reading.taken is not None:
            if raw in self._seen:
                return []
            self._seen.append(raw)
        detail = _detail(reading)
        why = reading.flaws
        age, undated = _age(reading, arrival)
        if self._user is not None and reading.user != self._user:
            why.append(f"it belongs to user {reading.user}, not to user {self._user}")
        if undated:
            why.append(undated)
        if why or age is None:
            shown = "/".join(
                f"{p:g}" if math.isfinite(p) else "?" for p in (reading.sbp, reading.dbp)
            )
            text = f"cuff reading {shown} not used: {', '.join(why)}"
            return [notice(self._device, arrival, NoticeCode.READING_NOT_USED, text, **detail)]
        at = arrival - round(age * NS)
        return [Event(self._device, "cuff", at, at, detail)]

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Ignore interruptions: a cuff is off the air most of the time."""

    def flush(self) -> list[Chunk | Event]:
        """Return nothing: nothing is held back."""
        return []


def _detail(m: Measurement) -> dict[str, Any]:
    """Return the detail of an event: plain values, None if unknown."""
    detail: dict[str, Any] = {"sbp": m.sbp, "dbp": m.dbp, "map": m.map_}
    detail = {key: value if math.isfinite(value) else None for key, value in detail.items()}
    detail |= {"pulse": m.pulse, "user": m.user}
    detail["taken"] = m.taken.isoformat() if m.taken else None
    if m.status is not None:
        odd = {RATE_HIGH: "above", RATE_LOW: "below"}.get(m.status & (RATE_HIGH | RATE_LOW))
        detail |= {"status": m.status, "pulse_range": odd or "within"}
    return detail


def _age(m: Measurement, arrival: int) -> tuple[float | None, str]:
    """Return the age of a reading, seconds, and "", or None and why it does not count.

    A reading without a time may be of any age, for a cuff hands over its whole memory. The cuff's
    clock shows some local time, so it counts only if it agrees with this computer's.
    """
    if m.taken is None:
        enter = f"{m.sbp:g}/{m.dbp:g}" if math.isfinite(m.sbp + m.dbp) else "SBP/DBP"
        why = "its time is unknown, as it has none or the cuff's clock is not set; if it was taken "
        return None, f"{why}just now, enter it: innpar-stream calibrate {enter}"
    ago = (datetime.fromtimestamp(arrival / NS) - m.taken).total_seconds()
    if ago < -AHEAD:
        return None, f"its time, {m.taken}, is still to come: set the cuff's clock"
    if ago > FRESH:
        return None, f"its time is {m.taken}: from the cuff's memory, or set the cuff's clock"
    return max(ago, 0.0), ""


def current_time(now: datetime) -> bytes:
    """Return the value of a Current Time characteristic (0x2A2B), set by hand.

    Layout: Bluetooth SIG, Current Time Service 1.1: date and time, day of the week from Monday,
    1/256 s, and the reason of the adjustment.
    """
    day = now.isoweekday()
    fraction = now.microsecond * 256 // 1_000_000
    return struct.pack("<H8B", now.year, *now.timetuple()[1:6], day, fraction, 1)


async def set_clock(link: BleLink) -> None:
    """Set a cuff's clock to this computer's local time, where it can be set."""
    if not link.has(CURRENT_TIME):
        return
    try:
        await link.write(CURRENT_TIME, current_time(datetime.now()))
    except (Lost, Refused) as error:  # most cuffs are set by their buttons or their app alone
        log.info("the cuff's clock cannot be set: %s", error)


class CuffDevice(Gatt):
    """A cuff as a `Device`: it yields no samples.

    Args:
        who: Its address, or the end of its name; empty for the first one found.
        wearer: Id of the device on the same person, or the beginning of it; None if there is only
            one.
        user: The cuff's number of the user whose readings count; None for all users.
        identity: Id to use.
        radio: The Bluetooth adapter.
    """

    def __init__(
        self,
        who: str = "",
        *,
        wearer: str | None = None,
        user: int | None = None,
        identity: str | None = None,
        radio: Radio | None = None,
    ) -> None:
        family = Family(
            name="cuff",
            names=(),
            services=(SERVICE,),
            notify={MEASUREMENT: CHANNEL},
            remedy="take a reading, or have the cuff send its last one",
            decoder=lambda device: CuffDecoder(device, user),
            begin=set_clock,
            stall=None,
            sleeps=True,
        )
        super().__init__(family, who, identity=identity, radio=radio, wait=WAIT)
        self.wearer = wearer
        self.user = user

    def is_for(self, device: str) -> bool:
        """Return whether an id is that of the wearer's device, which may grow once it is found."""
        wanted = self.wearer
        return wanted is None or device == wanted or device.startswith(f"{wanted}-")


CUFF_KEYS: Mapping[str, str] = {
    "for": "id of the device on the same person; not needed if there is only one",
    "user": "the cuff's number of the user whose readings count",
    "id": KEYS["id"],
    "adapter": KEYS["adapter"],
}


def create_cuff(argument: str, options: Mapping[str, str], pace: Pace) -> CuffDevice:
    """Return the device for ``cuff[:NAME or ADDRESS][?for=polar-verity&user=1]``.

    Raises:
        Refused: An option is invalid.
    """
    given = Options("cuff", options, CUFF_KEYS)
    return CuffDevice(
        argument,
        wearer=given.text("for"),
        user=given.whole("user", 0, 254),
        identity=given.identity("") if "id" in given else None,
        radio=Radio(adapter=given.text("adapter")),
    )
