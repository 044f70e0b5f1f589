"""A virtual Polar Verity Sense or OH1: its control point, its streams, its faults."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from innpar.devices.base import NS, HostClock
from innpar.devices.link.ble import sig
from innpar.devices.link.inbox import wait
from innpar.devices.sensors.polar.connection import (
    BATTERY_UUID,
    DATA_UUID,
    HEART_RATE_UUID,
    SERVICE,
)
from innpar.devices.sensors.polar.control import POINT
from innpar.devices.sensors.polar.control_frames import (
    ALREADY,
    IN_CHARGER,
    INVALID_OP,
    INVALID_STATE,
    STOPPED,
    Op,
    Setting,
    Settings,
    build_answer,
    build_features,
    build_settings,
    parse_settings,
)
from innpar.devices.sensors.polar.frames import MeasurementKind
from innpar.devices.virtual.radio.peripheral import Air, Characteristic, Send
from innpar.devices.virtual.sensors.bluetooth import BluetoothSensor
from innpar.devices.virtual.sensors.polar_stream import VirtualStream
from innpar.devices.virtual.world.faults import Faults
from innpar.devices.virtual.world.light import Ints, Light, pulse

SERIAL_UUID = sig("2a25")
MTU_NEEDED = 232
UNASKED_STOP = bytes([STOPPED])
BAD_KIND, BAD_PARAMETER, BAD_RATE, BAD_MTU = 2, 5, 8, 10


@dataclass(frozen=True, slots=True)
class PolarModel:
    """Differences between sensors and firmwares.

    Attributes:
        rates: Rate it states in normal mode → rate it sends, Hz.
        sdk: Rates of SDK mode, Hz; empty where it has none.
        frame_type: Of its PPG.
        channels: Whether its settings state a number of channels.
    """

    name: str
    firmware: str
    rates: Mapping[int, float]
    sdk: tuple[int, ...]
    frame_type: int
    channels: bool


VERITY = PolarModel("Polar Sense", "2.2.6", {55: 55.0}, (28, 44, 55, 135, 176), 0x80, True)
VERITY_OLD = PolarModel("Polar Sense", "1.1.5", {135: 55.0}, (28, 44, 135, 176), 0x80, True)
OH1 = PolarModel("Polar OH1", "2.1.15", {130: 135.0}, (), 0x00, False)


class VirtualPolar(BluetoothSensor):
    """A `Peripheral` that behaves like a Polar optical sensor.

    Samples lie on a grid of the sensor's clock that begins when it is switched on; a sample that
    was not received was still taken.

    Args:
        clock: The host clock, by which the sensor acts.
        light: Light at its sensor.
        model: `VERITY`, `VERITY_OLD` or `OH1`.
        number: The eight hex digits on its back.
        mtu: Largest ATT packet it agrees to.
        faults: May be changed at any time.
        seed: Seed of the randomness in `faults`.

    Attributes:
        battery: Percent.
        hr: Heart rate it reports, beats a minute; 0 in SDK mode.
        worn: Whether it detects skin.
        sent: PPG samples in frames that were sent or lost on purpose.
        commands: Every command received.
    """

    unsupported: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        clock: HostClock,
        light: Light = pulse,
        *,
        model: PolarModel = VERITY,
        number: str = "8A3F1B2C",
        mtu: int = 247,
        faults: Faults | None = None,
        seed: int = 0,
    ) -> None:
        self.faults: Faults = faults or Faults()
        self.mtu = self.faults.mtu or mtu
        self.advertised: tuple[str, ...] = ("180d",)
        self.air: Air | None = None
        self.model = model
        self.battery, self.hr, self.worn = 87, 72, True
        self.sent = 0
        self.commands: list[bytes] = []
        self.rng = np.random.default_rng(seed)
        self._clock, self._light = clock, light
        self._out: deque[tuple[str, bytes]] = deque()
        self._news = asyncio.Event()
        self._streams: dict[MeasurementKind, VirtualStream] = {}
        self._sdk = False
        self._mtu: Callable[[], int] = lambda: 23
        self._boot()
        about = [sig("2a24"), SERIAL_UUID, sig("2a28")]
        self.services: Mapping[str, tuple[Characteristic, ...]] = {
            SERVICE: (
                Characteristic(POINT, ("read", "write", "indicate")),
                Characteristic(DATA_UUID, ("notify",)),
            ),
            sig("180d"): (Characteristic(HEART_RATE_UUID, ("notify",)),),
            sig("180f"): (Characteristic(BATTERY_UUID, ("read", "notify")),),
            sig("180a"): tuple(Characteristic(uuid, ("read",)) for uuid in about),
        }
        self._values = {about[0]: model.name.encode(), about[2]: model.firmware.encode()}
        self._rename(number)

    def _rename(self, number: str) -> None:
        self.name = f"{self.model.name} {number}"
        self.address = ":".join(("A0", "9E", *(number[i : i + 2] for i in range(0, 8, 2))))
        self._values[SERIAL_UUID] = number.encode()

    def _boot(self) -> None:
        """Switch on: the clock begins at 2019-01-01 and SDK mode is off."""
        self._on_at = self._clock.now()
        self._sdk = False
        self._streams.clear()
        self._out.clear()

    # Requests of the radio

    def read(self, uuid: str) -> bytes:
        """Return the value of a characteristic."""
        if uuid == BATTERY_UUID:
            return bytes([self.battery])
        return build_features(self._kinds) if uuid == POINT else self._values[uuid]

    def write(self, uuid: str, data: bytes) -> None:
        """Take a command."""
        if uuid == POINT and data:
            self.commands.append(data)
            if not self.faults.mute:
                self._post(POINT, self._obey(data))

    async def run(self, send: Send, mtu: Callable[[], int]) -> None:
        """Serve one connection until cancelled."""
        self._mtu = mtu
        self._out.clear()
        self._streams.clear()
        next_hr = self._clock.now() + NS
        try:
            while True:
                due = min([next_hr, *(s.due for s in self._streams.values())])
                if not self._out and due > self._clock.now():
                    self._news.clear()
                    await wait(self._news, due, self._clock)
                while self._out:
                    await send(*self._out.popleft())
                now = self._clock.now()
                if next_hr <= now:
                    next_hr += NS
                    await send(HEART_RATE_UUID, bytes([self.worn * 2 | 4, self._reported_hr]))
                for stream in list(self._streams.values()):
                    for frame in stream.take(now):
                        await send(DATA_UUID, frame)
        finally:
            self._streams.clear()

    # Events from outside

    def answer_to(self, who: str) -> None:
        """Take the number that the driver looks for, padded with eights."""
        self._rename(re.sub("[^0-9A-F]", "", who.upper())[-8:].rjust(8, "8"))

    def power(self, on: bool) -> None:
        """Switch off, as with an empty battery, or on again with the clock at its beginning."""
        if not on:
            self.hang_up()
        else:
            self._boot()
        if self.air is not None:
            self.air.advertise(on)

    def discharge(self, percent: int) -> None:
        """Set the level of the battery and notify it."""
        self.battery = percent
        self._post(BATTERY_UUID, bytes([percent]))

    def stop_by_itself(self, kind: MeasurementKind = MeasurementKind.PPG) -> None:
        """Stop a stream unasked, as when put into the charger."""
        if self._streams.pop(kind, None) is not None:
            self._post(POINT, UNASKED_STOP + bytes([kind]))

    def stamp(self, host: Ints) -> Ints:
        """Return the sensor's clock at these times of the host clock, ns since 2000."""
        since = host - self._on_at
        drift = np.rint(since * (self.faults.ppm * 1e-6)).astype(np.int64)
        stamped: Ints = 599_616_000 * NS + since + drift
        return stamped

    # Commands

    @property
    def _kinds(self) -> frozenset[MeasurementKind]:
        kinds = {MeasurementKind.PPG, MeasurementKind.ACC, MeasurementKind.PPI}
        return frozenset(kinds | {MeasurementKind.SDK_MODE} if self.model.sdk else kinds)

    @property
    def _reported_hr(self) -> int:
        return 0 if self._sdk or not self.worn else self.hr

    def _post(self, uuid: str, data: bytes) -> None:
        self._out.append((uuid, data))
        self._news.set()

    def _obey(self, data: bytes) -> bytes:
        op, number = data[0], data[1] & 0x3F if len(data) > 1 else 0
        error, params = self.faults.refuse.get((op, number), 0), b""
        if not error:
            error, params = self._answer(op, number, data[2:])
        return build_answer(op, number, error, b"" if error else params)

    def _answer(self, op: int, number: int, params: bytes) -> tuple[int, bytes]:
        if op == Op.STATUS:
            return 0, bytes(n | (n in self._streams) << 6 for n in sorted(self._kinds))
        if op == Op.SDK_STATUS and self.model is VERITY:
            return 0, bytes([self._sdk])
        if op not in (Op.SETTINGS, Op.START, Op.STOP, Op.SDK_SETTINGS):
            return INVALID_OP, b""
        if number not in self._kinds:
            return BAD_KIND, b""
        kind = MeasurementKind(number)
        if op in (Op.SETTINGS, Op.SDK_SETTINGS):
            return 0, build_settings(self._settings(kind, self._sdk or op == Op.SDK_SETTINGS))
        if kind is MeasurementKind.SDK_MODE:
            return self._switch(op == Op.START), b""
        if op == Op.STOP:
            return (0 if self._streams.pop(kind, None) else ALREADY), b""
        return self._begin(kind, params)

    def _settings(self, kind: MeasurementKind, sdk: bool) -> Settings:
        if kind is MeasurementKind.PPG:
            rates = self.model.sdk if sdk else tuple(self.model.rates)
            light: Settings = {Setting.RATE: rates, Setting.RESOLUTION: (22,)}
            return {**light, Setting.CHANNELS: (4,)} if self.model.channels else light
        if kind is MeasurementKind.ACC:
            return {
                Setting.RATE: (26, 52, 104) if sdk else (52,),
                Setting.RESOLUTION: (16,),
                Setting.RANGE: (8,),
                Setting.CHANNELS: (3,),
            }
        return {}

    def _switch(self, on: bool) -> int:
        """Enter or leave SDK mode: only with every stream stopped."""
        if self._streams:
            return INVALID_STATE
        if self._sdk == on:
            return ALREADY
        self._sdk = on
        return 0

    def _begin(self, kind: MeasurementKind, params: bytes) -> tuple[int, bytes]:
        if self.faults.charger:
            return IN_CHARGER, b""
        if self._mtu() < MTU_NEEDED:
            return BAD_MTU, b""
        if kind in self._streams:
            return ALREADY, b""
        if kind is MeasurementKind.PPI and self._sdk:
            return INVALID_STATE, b""
        rate = 0
        if kind is not MeasurementKind.PPI:
            asked = parse_settings(params)
            offered = self._settings(kind, self._sdk)
            if set(asked) != set(offered):
                return BAD_PARAMETER, b""
            if asked[Setting.RATE][0] not in offered[Setting.RATE]:
                return BAD_RATE, b""
            rate = int(asked[Setting.RATE][0])
        self._streams[kind] = VirtualStream(
            self, kind, self._true_rate(kind, rate), self._clock.now()
        )
        self._news.set()
        return 0, b"" if kind is MeasurementKind.PPI else build_settings({Setting.FACTOR: (1.0,)})

    def _true_rate(self, kind: MeasurementKind, rate: int) -> float:
        if kind is not MeasurementKind.PPG:
            return float(rate)
        true = float(rate) if self._sdk else self.model.rates[rate]
        return true * self.faults.off_rate

    # Interface of its streams

    @property
    def frame_type(self) -> int:
        """Frame type of its PPG."""
        return self.model.frame_type

    @property
    def room(self) -> int:
        """Most bytes of a notification."""
        return self._mtu() - 3

    @property
    def on_at(self) -> int:
        """Time at which it was switched on, ns since the Unix epoch."""
        return self._on_at

    def sense(self, kind: MeasurementKind, host: Ints) -> Ints:
        """Return (samples, channels) counts at these times, ns."""
        if kind is MeasurementKind.PPG:
            return self._light(host)
        still = np.array([12, -30, 998], np.int64)
        return np.broadcast_to(still, (len(host), 3)) + (host // 10_000_000 % 3)[:, None]


class VirtualOh1(VirtualPolar):
    """A `VirtualPolar` that behaves like an OH1."""

    def __init__(
        self, clock: HostClock, light: Light = pulse, *, faults: Faults | None = None
    ) -> None:
        super().__init__(clock, light, model=OH1, faults=faults)
