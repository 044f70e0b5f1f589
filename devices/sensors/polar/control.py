"""The dialogue with a Polar sensor's control point, over a link."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from innpar.devices.base import NS, HostClock, Lost, Refused
from innpar.devices.link.ble import BleLink
from innpar.devices.link.inbox import Arrival
from innpar.devices.sensors.polar.control_frames import (
    ALREADY,
    INVALID_STATE,
    RESPONSE,
    STOPPED,
    Op,
    SensorRefused,
    Setting,
    Settings,
    command,
    parse_answer,
    parse_features,
    parse_running,
    parse_settings,
)
from innpar.devices.sensors.polar.decoder import CONTROL
from innpar.devices.sensors.polar.frames import MeasurementKind

POINT = "fb005c81-02e7-f387-1cad-8acd2d8df0c8"

ANSWER_SECONDS = 10.0
"""Time limit for an answer, seconds; Polar's own software waits 30 s."""

SDK_PAUSE = 150 * NS // 1000
"""Pause after a change of mode, ns: firmware 2.1.0 needs 100 ms (polar-ble-sdk issue 395)."""


class ControlPoint:
    """Control point of the sensor, one command at a time; `open` subscribes to its answers."""

    def __init__(self, link: BleLink, clock: HostClock) -> None:
        self._link = link
        self._clock = clock
        self._running: set[int] = set()
        self._answers: deque[bytes] = deque(maxlen=16)
        self._answered = asyncio.Event()

    async def open(self) -> frozenset[int]:
        """Subscribe; return the kinds that the sensor measures.

        Raises:
            Lost, BadPacket: There is no valid answer.
        """
        features = parse_features(await self._link.read(POINT))
        await self._link.subscribe(POINT, CONTROL, self._sort)
        return features

    def _sort(self, arrival: Arrival) -> bool:
        """Keep answers, and queue only what the sensor reports by itself.

        BlueZ repeats reads as indications.
        """
        if arrival.data[:1] == bytes([RESPONSE]):
            self._answers.append(arrival.data)
            self._answered.set()
        return arrival.data[:1] != bytes([STOPPED])

    async def send(
        self, op: Op, kind: int | None = None, settings: Settings | None = None
    ) -> bytes:
        """Send a command; return the parameters of its answer.

        Raises:
            SensorRefused: The sensor answered with an error.
            Lost: The sensor did not answer.
        """
        self._answers.clear()
        await self._link.write(POINT, command(op, kind, settings))
        params = b""
        while True:
            answer = parse_answer(await self._answer(op))
            if answer.op != op or (kind is not None and answer.kind != kind):
                continue  # late, to an abandoned command
            if answer.error:
                name = MeasurementKind(kind).name if kind is not None else ""
                raise SensorRefused(f"{op.name} {name}".strip(), answer.error)
            params += answer.params
            if not answer.more:
                return params

    async def _answer(self, op: Op) -> bytes:
        while not self._answers:
            self._answered.clear()
            try:
                await asyncio.wait_for(self._answered.wait(), ANSWER_SECONDS)
            except TimeoutError:
                raise Lost(
                    f"the sensor did not answer {op.name} within {ANSWER_SECONDS:g} s: "
                    "bring it closer, or switch it off and on"
                ) from None
        return self._answers.popleft()

    async def pause(self, ns: int = SDK_PAUSE) -> None:
        """Give the sensor time to change its state."""
        await self._clock.sleep_until(self._clock.now() + ns)

    async def settings(self, kind: MeasurementKind) -> dict[Setting, tuple[int | float, ...]]:
        """Return the settings that `kind` can be started with in the present mode."""
        return parse_settings(await self.send(Op.SETTINGS, kind))

    async def stop(self, kind: int) -> None:
        """Stop a stream, if it is running."""
        try:
            await self.send(Op.STOP, kind)
        except SensorRefused as refused:
            if refused.code not in (ALREADY, INVALID_STATE):
                raise

    async def stop_all(self, kinds: frozenset[int]) -> None:
        """Stop all running streams, or all of `kinds` if old firmware does not list them."""
        try:
            running = parse_running(await self.send(Op.STATUS))
        except SensorRefused:
            running = kinds & {
                MeasurementKind.PPG,
                MeasurementKind.ACC,
                MeasurementKind.PPI,
                MeasurementKind.GYRO,
                MeasurementKind.MAG,
            }
        for kind in sorted(running - {MeasurementKind.SDK_MODE}):
            await self.stop(kind)

    async def leave(self) -> None:
        """Stop all streams started here, then leave SDK mode if it was entered.

        Raises:
            Lost, BadPacket: There is no valid answer.
        """
        for kind in sorted(
            self._running, key=lambda kind: (kind == MeasurementKind.SDK_MODE, kind)
        ):
            with suppress(SensorRefused):  # one that refuses to stop does not keep the others on
                await self.stop(kind)

    async def sdk_mode(self, on: bool) -> None:
        """Switch SDK mode; every stream must have been stopped.

        Raises:
            SensorRefused: The sensor declines.
        """
        if on:
            self._running.add(MeasurementKind.SDK_MODE)
        try:
            await self.send(Op.START if on else Op.STOP, MeasurementKind.SDK_MODE)
        except SensorRefused as refused:
            if refused.code != ALREADY and (on or refused.code != INVALID_STATE):
                raise
        await self.pause()

    async def start(self, kind: MeasurementKind, settings: Settings | None = None) -> float:
        """Start a stream; return the factor that turns its counts into units.

        Raises:
            SensorRefused: The sensor declines twice, with a pause in between.
        """
        self._running.add(kind)
        try:
            params = await self.send(Op.START, kind, settings)
        except SensorRefused as refused:
            if refused.code not in (ALREADY, INVALID_STATE):
                raise
            if refused.code == ALREADY:
                await self.stop(kind)
            await self.pause()
            params = await self.send(Op.START, kind, settings)
        (factor,) = parse_settings(params).get(Setting.FACTOR, (1.0,))[:1]
        return float(factor)


@dataclass(frozen=True, slots=True)
class Plan:
    """Mode and settings for a PPG rate.

    Attributes:
        sdk: Whether SDK mode is needed.
        settings: Settings for the start, one value each.
        rates: Possible true rates, Hz, the promised one first.
    """

    sdk: bool
    settings: Mapping[Setting, tuple[int | float, ...]]
    rates: tuple[float, ...]


def plan(wanted: int | None, normal: Settings, has_sdk: bool) -> Plan | None:
    """Choose a mode for a rate; None if only SDK mode, once entered, can show.

    Two firmwares do not send the rate they state: an OH1 offers 130 Hz and sends 135, and a Verity
    Sense before 2.1.0 offers 135 Hz in normal mode and sends 55.

    Raises:
        Refused: The sensor has the rate in no mode.
    """
    offered = tuple(int(rate) for rate in normal.get(Setting.RATE, ()))
    if not offered:
        raise Refused("the sensor offers no PPG rate: update its firmware with Polar Flow")
    truth = {130: (130.0, 135.0), 135: (135.0, 55.0)} if has_sdk else {130: (130.0, 135.0)}
    for rate in offered:
        sent = truth.get(rate, (float(rate),))
        if wanted is None or wanted == sent[-1] or (wanted in sent and not has_sdk):
            return Plan(False, choose(normal, rate), sent)
    if has_sdk:
        return None
    raise Refused(
        f"the sensor has no {wanted} Hz: it offers {_listed(offered)} Hz; leave out --rate"
    )


def plan_sdk(wanted: int, full: Settings) -> Plan:
    """Choose from the settings of SDK mode.

    Raises:
        Refused: SDK mode does not have the rate either.
    """
    offered = tuple(int(rate) for rate in full.get(Setting.RATE, ()))
    if wanted not in offered:
        raise Refused(f"the sensor has no {wanted} Hz: choose --rate {_listed(offered)}")
    return Plan(True, choose(full, wanted), (float(wanted),))


def choose(offered: Settings, rate: int) -> Settings:
    """Choose `rate`, and the last value of every other setting, the finest or widest offered."""
    chosen: dict[Setting, tuple[int | float, ...]] = {
        setting: values[-1:] for setting, values in offered.items() if values
    }
    chosen[Setting.RATE] = (rate,)
    chosen.pop(Setting.FACTOR, None)
    return chosen


def _listed(rates: tuple[int, ...]) -> str:
    return ", ".join(str(rate) for rate in rates)
