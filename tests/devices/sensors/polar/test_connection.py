"""The Polar device end to end, over both virtual radios: connect, stream, lose, recover, refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from innpar.devices.base import NS, Chunk, Event, NotFound, Refused
from innpar.devices.link.ble import Radio, scan
from innpar.devices.notices import NoticeCode, code_of
from innpar.devices.sensors.polar import frames as pmd
from innpar.devices.sensors.polar.connection import STALL
from innpar.devices.sensors.polar.control_frames import IN_CHARGER, INVALID_STATE, Op
from innpar.devices.sensors.polar.driver import Polar
from innpar.devices.sensors.polar.frames import MeasurementKind
from innpar.devices.virtual.radio.bluez import FakeBluez, bluez
from innpar.devices.virtual.radio.bumble_radio import bumble
from innpar.devices.virtual.sensors.polar import OH1, VERITY_OLD, VirtualPolar
from innpar.devices.virtual.world.faults import Faults
from innpar.devices.virtual.world.light import Ints, pulse
from support.radios import Serve
from support.scaled import ScaledClock
from support.sensing import uncoded

pytest.importorskip("bumble")
pytest.importorskip("dbus_fast")

SPEED = 20.0
TICK = 100_000  # ns; the light tells the time in these


class Timed:
    """Light whose first channel says when it was seen, so that any loss shows."""

    zero = 0

    def __call__(self, times: Ints) -> Ints:
        seen = (times - self.zero + TICK // 2) // TICK
        return np.stack([seen, seen % 1000, -(seen % 1000), np.full(len(seen), 5)], axis=1)

    def numbers(self, data: npt.NDArray[np.float64], rate: float) -> npt.NDArray[np.int64]:
        """Return the place of each sample on the sensor's grid."""
        return np.rint(data[:, 0] * TICK / NS * rate).astype(np.int64)


def timed(clock: ScaledClock, **options: Any) -> tuple[VirtualPolar, Timed]:
    """Return a sensor and the light it sees."""
    light = Timed()
    sensor = VirtualPolar(clock, light, **options)
    light.zero = sensor.on_at
    return sensor, light


class Heard:
    """Everything a device gave out."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.events: list[Event] = []

    def take(self, item: Chunk | Event) -> None:
        assert not uncoded(item)
        if isinstance(item, Event):
            self.events.append(item)
        elif item.signal == "ppg":
            self.chunks.append(item)

    def told(self, kind: str) -> list[Event]:
        return [e for e in self.events if e.kind == kind]

    @property
    def codes(self) -> list[NoticeCode | None]:
        """Of its notices."""
        return [code_of(e) for e in self.told("notice")]

    @property
    def samples(self) -> int:
        return sum(len(c) for c in self.chunks)

    @property
    def lost(self) -> list[int | None]:
        return [e.detail["lost"] for e in self.told("gap")]


async def listen(
    device: Polar, clock: ScaledClock, done: Callable[[Heard], bool], seconds: float = 30
) -> Heard:
    """Open, take until `done`, close; nothing may be left running."""
    before = asyncio.all_tasks()
    heard = Heard()
    async with asyncio.timeout(seconds), device.open(clock=clock) as items:
        async for item in items:
            heard.take(item)
            if done(heard):
                break
    await asyncio.sleep(0)
    left = {t for t in asyncio.all_tasks() - before if "bleak" not in repr(t)}
    assert not {t for t in left if "innpar/devices/polar" in repr(t) or "devices/ble" in repr(t)}
    return heard


def account(heard: Heard, light: Timed, rate: float) -> None:
    """Sent is received plus declared lost, to the sample; and times tell the true instants."""
    numbers = np.concatenate([light.numbers(c.data, rate) for c in heard.chunks])
    times = np.concatenate([c.times for c in heard.chunks])
    assert (np.diff(numbers) > 0).all()
    assert (np.diff(times) > 0).all()
    sent = numbers[-1] - numbers[0] + 1
    assert None not in heard.lost
    assert sent == heard.samples + sum(lost or 0 for lost in heard.lost)
    assert {c.rate for c in heard.chunks} == {rate}


@pytest.mark.parametrize("rate", [None, 176])
async def test_stream(air: Serve, rate: int | None) -> None:
    clock = ScaledClock(SPEED)
    sensor, light = timed(clock)
    async with air([sensor]) as radio:
        device = Polar(rate=rate, radio=radio)
        heard = await listen(device, clock, lambda h: h.samples > 2000)
    assert device.id == "polar-verity-8a3f1b2c"
    (connected,) = heard.told("connected")
    assert connected.detail["firmware"] == "2.2.6"
    assert connected.detail["battery"] == 87
    assert connected.detail["sdk_mode"] is (rate is not None)
    assert connected.detail["mtu"] == 247
    assert [e.detail for e in heard.told("wear")] == [{"worn": True}]
    assert heard.told("gap") == []
    assert heard.chunks[0].channels == ("ppg0", "ppg1", "ppg2", "ambient")
    account(heard, light, rate or 55)
    times = np.concatenate([c.times for c in heard.chunks[4:]])
    seen = np.concatenate([c.data[:, 0] for c in heard.chunks[4:]]) * TICK + light.zero
    assert 0 < np.median(times - seen) < 0.6 * NS  # at most 30 ms of a busy computer's real time
    kinds = (
        [MeasurementKind.PPG] if rate is None else [MeasurementKind.PPG, MeasurementKind.SDK_MODE]
    )
    assert sensor.commands[-len(kinds) :] == [bytes([Op.STOP, kind]) for kind in kinds]


async def test_all_is_stopped_and_sdk_mode_left_at_the_end(air: Serve) -> None:
    clock = ScaledClock(SPEED)
    sensor = VirtualPolar(clock)
    async with air([sensor]) as radio:
        await listen(Polar(rate=176, acc=True, radio=radio), clock, lambda h: h.samples > 200)
        ended = [
            bytes([Op.STOP, kind])
            for kind in (MeasurementKind.PPG, MeasurementKind.ACC, MeasurementKind.SDK_MODE)
        ]
        assert sensor.commands[-3:] == ended
        await listen(Polar(acc=True, ppi=True, radio=radio), clock, lambda h: h.samples > 200)
        ended = [
            bytes([Op.STOP, kind])
            for kind in (MeasurementKind.PPG, MeasurementKind.ACC, MeasurementKind.PPI)
        ]
        assert sensor.commands[-3:] == ended
        # A rate that there turns out not to be.
        with pytest.raises(Refused, match="no 100 Hz"):
            await listen(Polar(rate=100, radio=radio), clock, lambda h: True)
        assert sensor.commands[-1] == bytes([Op.STOP, MeasurementKind.SDK_MODE])


async def test_a_sensor_that_cannot_be_told_to_stop_is_left() -> None:
    clock = ScaledClock(SPEED)
    sensor = VirtualPolar(clock)

    def fall_silent(heard: Heard) -> bool:
        sensor.faults.mute = heard.samples > 200
        return sensor.faults.mute

    async with bumble([sensor]) as radio:
        await listen(Polar(rate=176, acc=True, radio=radio), clock, fall_silent)
        assert sensor.commands[-1] == bytes([Op.STOP, MeasurementKind.PPG])
        sensor.faults.mute = False
        refused = {(Op.STOP, MeasurementKind.ACC): 77}
        done = lambda h: sensor.faults.refuse.update(refused) or h.samples > 200  # noqa: E731
        await listen(Polar(acc=True, ppi=True, radio=radio), clock, done)
        assert sensor.commands[-2:] == [
            bytes([Op.STOP, MeasurementKind.ACC]),
            bytes([Op.STOP, MeasurementKind.PPI]),
        ]


async def test_lost_overtaken_and_cut_frames(air: Serve) -> None:
    clock = ScaledClock(SPEED)
    sensor, light = timed(clock, faults=Faults(drop=0.1), seed=3)
    troubles = [10, 20, 30]

    def stir(heard: Heard) -> bool:
        if troubles and len(heard.chunks) == troubles[0]:
            troubles.pop(0)
            sensor.faults.swap_next += 1
            sensor.faults.drop_next += 2
            sensor.faults.truncate_next += 1
        return len(heard.chunks) > 60

    async with air([sensor]) as radio:
        heard = await listen(Polar(rate=176, radio=radio), clock, stir)
    assert len(heard.told("gap")) >= 3
    assert {e.detail["why"] for e in heard.told("gap")} == {"samples did not arrive"}
    numbers = np.concatenate([light.numbers(c.data, 176) for c in heard.chunks])
    assert numbers[-1] - numbers[0] + 1 == heard.samples + sum(n or 0 for n in heard.lost)


async def test_link_loss_is_survived_and_counted(air: Serve) -> None:
    clock = ScaledClock(SPEED)
    sensor, light = timed(clock)
    losses = [20, 40]

    def stir(heard: Heard) -> bool:
        if losses and len(heard.chunks) == losses[0]:
            losses.pop(0)
            sensor.hang_up()
        return len(heard.chunks) > 60

    async with air([sensor]) as radio:
        heard = await listen(Polar(rate=135, radio=radio), clock, stir)
    kinds = [e.kind for e in heard.events if e.kind in ("connected", "disconnected", "gap")]
    assert kinds == ["connected", *["disconnected", "connected", "gap"] * 2]
    assert all(e.detail["why"] == "link lost" for e in heard.told("gap"))
    assert all(e.detail["lost"] > 50 for e in heard.told("gap"))
    assert all(e.start < e.end for e in heard.told("gap"))
    account(heard, light, 135)


async def test_power_off_sets_the_clock_and_loses_an_unknown_number(air: Serve) -> None:
    clock = ScaledClock(SPEED)
    sensor = VirtualPolar(clock)

    async def off_and_on() -> None:
        sensor.power(False)
        await clock.sleep_until(clock.now() + 20 * NS)
        sensor.power(True)

    tasks = []

    def stir(heard: Heard) -> bool:
        if len(heard.chunks) == 20 and not tasks:
            tasks.append(asyncio.ensure_future(off_and_on()))
        return len(heard.chunks) > 40

    async with air([sensor]) as radio:
        heard = await listen(Polar(rate=176, radio=radio), clock, stir)
    (gap,) = heard.told("gap")
    assert gap.detail["lost"] is None
    assert 15 * NS < gap.end - gap.start < 120 * NS
    times = np.concatenate([c.times for c in heard.chunks])
    assert (np.diff(times) > 0).all()
    assert abs(clock.now() - times[-1]) < 3 * NS


async def test_stop_stall_and_charger_are_recovered_from(air: Serve) -> None:
    clock = ScaledClock(SPEED)
    sensor, light = timed(clock)

    def restarts(heard: Heard) -> int:
        return heard.codes.count(NoticeCode.STALLED_RESTARTED)

    def refused(heard: Heard) -> bool:
        return NoticeCode.RESTART_REFUSED in heard.codes

    def charge() -> None:
        sensor.faults.charger = True
        sensor.stop_by_itself()

    story: list[tuple[Callable[[Heard], bool], Callable[[], None]]] = [
        (lambda h: len(h.chunks) == 20, sensor.stop_by_itself),
        (lambda h: len(h.chunks) == 40, lambda: setattr(sensor.faults, "stall", True)),
        (lambda h: restarts(h) == 2, lambda: setattr(sensor.faults, "stall", False)),
        (lambda h: len(h.chunks) == 60, charge),
        (refused, lambda: setattr(sensor.faults, "charger", False)),
    ]

    def stir(heard: Heard) -> bool:
        if story and story[0][0](heard):
            story.pop(0)[1]()
        return len(heard.chunks) > 80

    async with air([sensor]) as radio:
        heard = await listen(Polar(rate=176, radio=radio), clock, stir)
    texts = [e.detail["text"] for e in heard.told("notice")]
    assert heard.codes.count(NoticeCode.STOPPED_BY_SENSOR) == 2
    assert sum("stopped sending PPG by itself" in text for text in texts) == 2
    assert any("take it off the charger" in text for text in texts)
    why = [e.detail["why"] for e in heard.told("gap")]
    assert why == ["stopped by the sensor", "stalled", "stopped by the sensor"]
    stalled = heard.told("gap")[1]
    assert stalled.end - stalled.start > STALL
    account(heard, light, 176)


@pytest.mark.parametrize(
    ("faults", "mtu", "rate", "words"),
    [
        (Faults(charger=True), 247, 176, ["error 13", "take it off the charger"]),
        (Faults(), 23, 55, ["error 10", "MTU"]),
        (
            Faults(refuse={(Op.START, MeasurementKind.SDK_MODE): INVALID_STATE}),
            247,
            176,
            ["SDK_MODE", "error 12", "switch it off and on"],
        ),
        (
            Faults(refuse={(Op.START, MeasurementKind.PPG): 77}),
            247,
            None,
            ["error 77", "off and on"],
        ),
    ],
)
async def test_refusals_name_the_remedy(
    air: Serve, faults: Faults, mtu: int, rate: int | None, words: list[str]
) -> None:
    clock = ScaledClock(SPEED)
    sensor = VirtualPolar(clock, faults=faults, mtu=mtu)
    async with air([sensor]) as radio:
        with pytest.raises(Refused) as refused:
            await listen(Polar(rate=rate, radio=radio), clock, lambda h: True)
    assert all(word in str(refused.value) for word in words), str(refused.value)


async def test_a_moment_of_invalid_state_is_waited_out() -> None:
    clock = ScaledClock(SPEED)
    sensor = VirtualPolar(
        clock, faults=Faults(refuse={(Op.START, MeasurementKind.PPG): INVALID_STATE})
    )

    async def relent() -> None:
        start = bytes([Op.START, MeasurementKind.PPG])
        while not any(c[:2] == start for c in sensor.commands):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        sensor.faults.refuse.clear()

    async with bumble([sensor]) as radio, asyncio.TaskGroup() as tasks:
        tasks.create_task(relent())
        heard = await listen(Polar(radio=radio), clock, lambda h: h.samples > 50)
    assert heard.samples > 50


async def test_old_firmware_says_135_and_sends_55() -> None:
    clock = ScaledClock(SPEED)
    sensor, light = timed(clock, model=VERITY_OLD)
    async with bumble([sensor]) as radio:
        heard = await listen(Polar(radio=radio), clock, lambda h: h.samples > 400)
    account(heard, light, 55)
    (notice,) = heard.told("notice")
    assert notice.detail["text"] == "the sensor says 135 Hz and sends 55 Hz"


async def test_a_wrong_rate_is_measured() -> None:
    clock = ScaledClock(SPEED)
    sensor = VirtualPolar(clock, faults=Faults(off_rate=0.82))
    async with bumble([sensor]) as radio:
        heard = await listen(Polar(radio=radio), clock, lambda h: h.samples > 600)
    assert heard.told("gap") == []
    assert heard.chunks[-1].rate == pytest.approx(45.1, abs=0.02)
    assert "45.1 Hz" in heard.told("notice")[0].detail["text"]


async def test_oh1() -> None:
    clock = ScaledClock(SPEED)
    sensor, light = timed(clock, model=OH1)
    async with bumble([sensor]) as radio:
        device = Polar("polar-oh1", radio=radio)
        heard = await listen(device, clock, lambda h: h.samples > 1000)
        with pytest.raises(Refused, match=r"no 55 Hz: it offers 130 Hz"):
            await listen(Polar("polar-oh1", rate=55, radio=radio), clock, lambda h: True)
    account(heard, light, 135)
    assert not any(c[:2] == bytes([Op.START, MeasurementKind.SDK_MODE]) for c in sensor.commands)


async def test_the_rate_that_is_told_is_put_right_once_it_is_measured() -> None:
    clock = ScaledClock(SPEED)
    sensor = VirtualPolar(clock, model=OH1)

    def stir(heard: Heard) -> bool:
        if heard.told("notice") and not heard.told("disconnected"):
            sensor.hang_up()
        return len(heard.told("connected")) == 2

    async with bumble([sensor]) as radio:
        heard = await listen(Polar("polar-oh1", radio=radio), clock, stir)
    assert [e.detail["rate"] for e in heard.told("connected")] == [130, 135]
    (notice,) = heard.told("notice")
    text = "the sensor says 130 Hz and sends 135 Hz"
    assert notice.detail == {"code": "rate_corrected", "text": text, "rate": 135}


async def test_acceleration_intervals_battery_and_wear() -> None:
    clock = ScaledClock(SPEED)
    sensor = VirtualPolar(clock)
    acc: list[Chunk] = []
    events: list[Event] = []
    async with bumble([sensor]) as radio:
        device = Polar(acc=True, ppi=True, radio=radio)
        async with asyncio.timeout(20), device.open(clock=clock) as items:
            async for item in items:
                if isinstance(item, Event):
                    events.append(item)
                    continue
                if item.signal == "acc":
                    acc.append(item)
                if len(acc) == 3:
                    sensor.discharge(9)
                    sensor.worn = False
                if len(acc) == 8:
                    break
    assert acc[0].channels == ("x", "y", "z")
    assert acc[0].rate == 52
    assert np.abs(np.linalg.norm(acc[0].data, axis=1) - 1).max() < 0.01  # g, at rest
    told = [(e.kind, dict(e.detail)) for e in events]
    assert ("battery", {"percent": 9}) in told
    assert ("wear", {"worn": False}) in told
    assert ("motion", {"moving": False}) in told
    assert ("vitals", {"hr": 72}) in told
    (intervals, *_) = [detail for kind, detail in told if kind == "intervals"]
    assert set(intervals["ms"]) == {60_000 // 72}
    assert set(intervals["error_ms"]) == {6}
    assert set(intervals["moving"]) == {False}
    assert sum(kind == "vitals" for kind, _ in told) < len(acc)  # now and then, not every second


async def test_the_tap_gets_every_frame_before_decoding() -> None:
    clock = ScaledClock(SPEED)
    tapped: list[tuple[str, int, bytes]] = []
    received: list[npt.NDArray[np.float64]] = []
    sensor = VirtualPolar(clock)
    async with bumble([sensor]) as radio:
        device = Polar(radio=radio)

        def tap(*frame: object) -> None:
            tapped.append(frame)  # type: ignore[arg-type]

        async with asyncio.timeout(20), device.open(clock=clock, tap=tap) as items:
            async for item in items:
                if isinstance(item, Chunk):
                    received.append(item.data)
                    if len(received) == 6:
                        break
    frames = [pmd.decode(raw) for channel, _, raw in tapped if channel == "pmd"]
    assert all(b >= a for (_, a, _), (_, b, _) in pairwise(tapped))
    decoded = [f.samples for f in frames if isinstance(f, pmd.PpgFrame)]
    assert (np.concatenate(decoded) == np.concatenate(received)).all()


async def test_two_at_once_by_name_and_by_chance(air: Serve) -> None:
    clock = ScaledClock(SPEED)
    sensors = [VirtualPolar(clock, number=n) for n in ("11112222", "33334444", "AAAABBBB")]
    async with air(list(sensors)) as radio:
        devices = [
            Polar("polar-verity", "33334444", radio=radio),
            Polar("polar", "a0:9e:aa:aa:bb:bb", radio=radio),
            Polar("polar-verity", radio=radio),
        ]
        heard = await asyncio.gather(
            *(listen(d, clock, lambda h: h.samples > 200) for d in devices[:2])
        )
        rest = await listen(devices[2], clock, lambda h: h.samples > 200)
    assert [d.id for d in devices[:2]] == ["polar-verity-33334444", "polar-778186"]
    names = [h.told("connected")[0].detail["name"] for h in heard]
    assert names == ["Polar Sense 33334444", "Polar Sense AAAABBBB"]
    assert {c.device for h in heard for c in h.chunks} == {d.id for d in devices[:2]}
    assert rest.samples > 200


async def test_two_without_a_name_take_different_sensors() -> None:
    clock = ScaledClock(SPEED)
    sensors = [VirtualPolar(clock, number=n) for n in ("11112222", "33334444")]
    async with bumble(list(sensors)) as radio:
        devices = [Polar(radio=radio), Polar(radio=radio)]
        await asyncio.gather(*(listen(d, clock, lambda h: h.samples > 200) for d in devices))
    assert {d.id for d in devices} == {"polar-verity-11112222", "polar-verity-33334444"}


async def test_not_there(air: Serve) -> None:
    clock = ScaledClock(SPEED)
    async with air([VirtualPolar(clock)]) as radio:
        device = Polar("polar-oh1", radio=radio, wait=0.3)
        with pytest.raises(NotFound, match=r"polar-oh1 not found: put it on.*scan"):
            await listen(device, clock, lambda h: True)


async def test_it_is_cancelled_cleanly_at_any_moment(air: Serve) -> None:
    """Closing at whatever it awaits leaves no task behind and the sensor free for the next."""
    clock = ScaledClock(SPEED)
    sensor = VirtualPolar(clock)
    async with air([sensor]) as radio:
        await asyncio.sleep(0.1)
        before = len(asyncio.all_tasks())
        for delay in (0, 0.003, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3):
            task = asyncio.ensure_future(listen(Polar(radio=radio), clock, lambda h: False))
            await asyncio.sleep(delay)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.2)
            assert len(asyncio.all_tasks()) <= before + 2, asyncio.all_tasks()
        heard = await listen(Polar(radio=radio), clock, lambda h: h.samples > 100)
    assert heard.samples > 100


async def test_the_adapter_goes_and_comes_back() -> None:
    clock = ScaledClock(SPEED)
    sensor, light = timed(clock)

    async def pull(fake: FakeBluez) -> None:
        await fake.unplug()
        await asyncio.sleep(0.5)
        fake.plug_in()

    tasks: list[asyncio.Future[None]] = []
    async with bluez([sensor]) as fake:

        def stir(heard: Heard) -> bool:
            if len(heard.chunks) == 20 and not tasks:
                tasks.append(asyncio.ensure_future(pull(fake)))
            return len(heard.chunks) > 40

        heard = await listen(Polar(rate=176), clock, stir)
    assert [e.kind for e in heard.told("disconnected")] == ["disconnected"]
    account(heard, light, 176)


async def test_no_bluetooth_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ScaledClock(SPEED)
    async with bluez([]) as fake:
        await fake.unplug()
        with pytest.raises(NotFound, match=r"no Bluetooth to use.*--virtual"):
            await listen(Polar(), clock, lambda h: True)


def test_no_bus_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/nothing")
    with pytest.raises(NotFound, match=r"no D-Bus system bus.*--virtual needs none"):
        asyncio.run(scan(0.1, Radio()))


async def test_scan_lists_what_can_be_heard(air: Serve) -> None:
    clock = ScaledClock(SPEED)
    async with air([VirtualPolar(clock), VirtualPolar(clock, model=OH1, number="00000001")]) as r:
        found = await scan(0.3, r)
    assert {(s.name, s.rssi) for s in found} == {
        ("Polar Sense 8A3F1B2C", -50),
        ("Polar OH1 00000001", -50),
    }


def test_the_light_of_the_default_sensor_is_a_falling_pulse() -> None:
    counts = pulse(np.arange(0, 5 * NS, NS // 55))
    assert counts.shape == (276, 4)
    assert np.ptp(counts[:, 0]) > 2000
    assert IN_CHARGER == 13
