"""The catalogue of sensors: one row each, with driver, decoder and virtual twin.

A new sensor is a file of its own and one row here. Code is named as ``module:attribute`` below
`innpar.devices` and imported when it is first used, so that listing sensors imports none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from innpar.devices.base import Device
    from innpar.devices.timing.pace import Pace


@dataclass(frozen=True, slots=True)
class Sensor:
    """One row of the catalogue.

    Attributes:
        about: Its line in the list of devices, with the form of its argument and options.
        driver: Function of argument, options and pace that returns the `Device`.
        decoder: Function of a device id that returns a `CaptureDecoder`; the decoder names the
            channels of its frames.
        rates: Lowest and highest rate, Hz, that `decoder` takes as second argument (None where it
            is not given); None where the sensor has one rate.
        twin: Class of its virtual twin, a `VirtualSensor`; empty where there is none.
        redecoder: Function of a device id and the recorded ``decoder`` detail that returns a
            `Decoder` for recorded frames, which name this row; empty where they are not decoded
            anew.
    """

    about: str
    driver: str
    decoder: str
    rates: tuple[float, float] | None = None
    twin: str = ""
    redecoder: str = ""

    def make(self, argument: str, options: dict[str, str], pace: Pace) -> Device:
        """Return the device; nothing is connected yet.

        Raises:
            Refused: The argument or an option is invalid.
        """
        device: Device = load(self.driver)(argument, options, pace)
        return device


def load(path: str) -> Any:
    """Import and return ``module:attribute`` of `innpar.devices`."""
    module, _, name = path.partition(":")
    return getattr(import_module(f"innpar.devices.{module}"), name)


SENSORS: dict[str, Sensor] = {
    "polar-verity": Sensor(
        "Polar Verity Sense: polar-verity[:NUMBER or ADDRESS][?rate=55]",
        driver="sensors.polar.driver:create_polar_verity",
        decoder="sensors.polar.capture:PolarCapture",
        rates=(1, 1000),
        twin="virtual.sensors.polar:VirtualPolar",
    ),
    "polar-oh1": Sensor(
        "Polar OH1: polar-oh1[:NUMBER or ADDRESS]",
        driver="sensors.polar.driver:create_polar_oh1",
        decoder="sensors.polar.capture:PolarCapture",
        rates=(1, 1000),
        twin="virtual.sensors.polar:VirtualOh1",
    ),
    "polar": Sensor(
        "any Polar with an optical sensor (360, Loop and watches: pairing untested)",
        driver="sensors.polar.driver:create_any_polar",
        decoder="sensors.polar.capture:PolarCapture",
        rates=(1, 1000),
        twin="virtual.sensors.polar:VirtualPolar",
        redecoder="sensors.polar.decoder:recorded_decoder",
    ),
    "cuff": Sensor(
        "Bluetooth blood-pressure cuff, for calibration: cuff[:NAME or ADDRESS][?for=DEVICE]",
        driver="sensors.cuff:create_cuff",
        decoder="sensors.cuff:CuffDecoder",
    ),
    "muse": Sensor(
        "Muse 2 or Muse S headband: muse[:NAME or ADDRESS][?preset=p50]",
        driver="sensors.muse:create_muse",
        decoder="sensors.muse:MuseDecoder",
        twin="virtual.sensors.muse:VirtualMuse",
    ),
    "bangle": Sensor(
        "Bangle.js 2 watch: bangle[:NAME or ADDRESS][?rate=25]",
        driver="sensors.bangle:create_bangle",
        decoder="sensors.bangle:BangleDecoder",
    ),
    "nonin": Sensor(
        "Nonin 3150 oximeter, paired beforehand: nonin[:ADDRESS]",
        driver="sensors.oximeters.nonin:create_nonin",
        decoder="sensors.oximeters.nonin:NoninDecoder",
    ),
    "serial": Sensor(
        "sensor that prints lines of numbers (MAX3010x, ESP32, Arduino): serial:PORT[?rate=100]",
        driver="sensors.boards.serial_lines:create_lines",
        decoder="sensors.boards.serial_lines:capture_decoder",
        rates=(5, 2000),
    ),
    "json-udp": Sensor(
        "lines of JSON by UDP from a phone or board: json-udp[:PORT or 0.0.0.0:PORT][?rate=100]",
        driver="sensors.boards.messages:create_udp",
        decoder="sensors.boards.message_decoder:capture_decoder",
        rates=(5, 2000),
        twin="virtual.sensors.messages:VirtualUdpSender",
    ),
    "json-ws": Sensor(
        "the same from a WebSocket client: json-ws[:PORT or 0.0.0.0:PORT]",
        driver="sensors.boards.messages:create_websocket",
        decoder="sensors.boards.message_decoder:capture_decoder",
        rates=(5, 2000),
        twin="virtual.sensors.messages:VirtualWebSocketSender",
    ),
    "json-mqtt": Sensor(
        "the same from an MQTT topic: json-mqtt:TOPIC[?broker=HOST:PORT]",
        driver="sensors.boards.messages:create_mqtt",
        decoder="sensors.boards.message_decoder:capture_decoder",
        rates=(5, 2000),
    ),
    "contec": Sensor(
        "Contec CMS50D+ finger clip on USB: contec:PORT",
        driver="sensors.oximeters.contec:create_contec",
        decoder="sensors.oximeters.contec:ContecDecoder",
    ),
    "berrymed": Sensor(
        "BerryMed finger clip (BM1000): berrymed[:ADDRESS]",
        driver="sensors.oximeters.berrymed:create_berrymed",
        decoder="sensors.oximeters.berrymed:BerryMedDecoder",
        twin="virtual.sensors.berrymed:VirtualBerryMed",
    ),
    "o2ring": Sensor(
        "Wellue/Viatom O2Ring, SleepU, WearO2, Checkme O2 …, not the O2Ring-S: o2ring[:NUMBER]",
        driver="sensors.oximeters.o2ring:create_o2ring",
        decoder="sensors.oximeters.o2ring:O2RingDecoder",
        twin="virtual.sensors.o2ring:VirtualO2Ring",
    ),
    "emotibit": Sensor(
        "EmotiBit in the same network: emotibit[:ADDRESS][?serial=…]",
        driver="sensors.emotibit.driver:create_emotibit",
        decoder="sensors.emotibit.driver:EmotiBitDecoder",
        twin="virtual.sensors.emotibit:VirtualEmotiBit",
    ),
}
"""Name in ``--device`` and ``decode`` → its row."""
