"""Faults of virtual sensors on demand, and how the real drivers handle them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from innpar.devices.base import NS, DeviceError, Refused
from innpar.devices.notices import NoticeCode, code_of
from innpar.devices.registry import create
from innpar.devices.sensors.polar.control_frames import INVALID_STATE, Op
from innpar.devices.sensors.polar.frames import MeasurementKind
from innpar.devices.virtual.device import virtual_device
from innpar.devices.virtual.sensors.bluetooth import RadioKind
from innpar.devices.virtual.world.faults import KEYS, Faults, parse
from support.scaled import ScaledClock
from support.sensing import Heard

pytest.importorskip("bumble")
pytest.importorskip("dbus_fast")


def test_parse() -> None:
    assert parse([]) == Faults()
    assert parse(["drop=0.1", "reorder=0.2", "truncate=0.3", "jitter=0.02", "ppm=-500"]) == Faults(
        drop=0.1, swap=0.2, truncate=0.3, jitter=0.02, ppm=-500
    )
    assert parse(["rate=0.9", "mtu=23", "sdk=refuse"]) == Faults(
        off_rate=0.9, mtu=23, refuse={(Op.START, MeasurementKind.SDK_MODE): INVALID_STATE}
    )
    timed = parse(["stall=20+5", "loss=30", "battery=60"])
    assert (timed.stalls, timed.losses) == ((20, 5), (30, 1))
    assert timed.deaths == (60, float("inf"))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("drops=1", "no option 'drops'.*did you mean drop"),
        ("drop=2", "drop must be a number from 0 to 1"),
        ("mtu=22", "mtu must be a number from 23 to 517"),
        ("sdk=off", "sdk must be one of refuse"),
        ("stall=soon", r"stall must be AT or AT\+FOR in seconds"),
        ("rate=0", "rate must be a number from 0.1 to 4"),
    ],
)
def test_invalid_faults(written: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        parse([written])


def test_faults_that_a_sensor_cannot_have() -> None:
    with pytest.raises(Refused, match="only a Polar has an SDK mode"):
        virtual_device(create("muse"), faults=parse(["sdk=refuse"]))
    with pytest.raises(Refused, match="no Bluetooth"):
        virtual_device(create("emotibit"), faults=parse(["mtu=23"]))


async def wear(
    spec: str,
    faults: list[str],
    done: Callable[[Heard], bool],
    *,
    air: RadioKind = "bumble",
    speed: float = 8,  # a busy computer delays frames by as many times its own delay
) -> Heard:
    clock = ScaledClock(speed)
    device = virtual_device(create(spec), radio=air, faults=parse(faults))
    heard = Heard()
    async with device.open(clock=clock) as items:
        async for item in items:
            if not (hasattr(item, "signal") and item.signal != "ppg"):
                heard.take([item])
            if done(heard):
                return heard
    raise AssertionError("a live device never ends by itself")


SPECS = ["polar-verity:8A3F1B2C?rate=135", "muse", "berrymed", "o2ring", "emotibit"]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("spec", SPECS)
async def test_lossy_and_late(spec: str) -> None:
    """Run every sensor with all faults of frames at once."""
    faults = ["drop=0.05", "reorder=0.05", "truncate=0.03", "ppm=500"]
    if spec != "emotibit":
        faults.append("jitter=0.02")
    rate = 25 if spec == "emotibit" else 64
    heard = await wear(spec, faults, lambda h: h.samples > 40 * rate)
    assert (np.diff(heard.times) > 0).all()
    assert heard.told("gap")
    assert {e.detail["why"] for e in heard.told("gap")} <= {"samples did not arrive", "stalled"}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("spec", SPECS)
async def test_a_silence_a_lost_link_and_an_empty_battery(spec: str) -> None:
    # Longer than it is waited for, shorter than the link is given up for.
    silence = 5 if spec in ("muse", "o2ring", "emotibit") else 8
    faults = [f"stall=10+{silence}", "loss=30+2", "battery=50+5"]
    heard = await wear(spec, faults, lambda h: len(h.told("connected")) == 3 and link_again(h))
    assert [e.kind for e in heard.told("disconnected")] == ["disconnected"] * 2
    gaps = [e.detail for e in heard.told("gap") if e.detail["signal"] == "ppg"]
    whys = [gap["why"] for gap in gaps]
    # A Muse that was never told to halt sends until it is, which is soon after it is found again.
    halted = ["samples did not arrive"] if spec == "muse" else []
    assert [why for why in whys if why not in halted] == ["stalled", "link lost", "link lost"]
    fallen = NoticeCode.STALLED_RESTARTED if "verity" in spec else NoticeCode.NO_SAMPLES
    assert fallen in [code_of(e) for e in heard.told("notice")]
    if "verity" in spec:
        lost = [gap["lost"] for gap in gaps]
        assert None not in lost[:2]
        assert lost[2] is None  # its clock began anew
        levels = [e.detail["percent"] for e in heard.told("battery")]
        assert levels[-10:] == list(range(10, 0, -1))


def link_again(heard: Heard) -> bool:
    """Whether samples have come since the last connection."""
    return heard.chunks[-1].times[-1] > heard.told("connected")[-1].start + NS


@pytest.mark.parametrize("air", ["bumble", "bluez"])
@pytest.mark.parametrize(
    ("spec", "fault", "error", "message"),
    [
        ("polar-verity", "mtu=23", Refused, "MTU"),
        ("polar-verity?rate=176", "sdk=refuse", Refused, "SDK"),
    ],
)
async def test_refusals(
    spec: str, fault: str, error: type[DeviceError], message: str, air: RadioKind
) -> None:
    with pytest.raises(error, match=message):
        await wear(spec, [fault], lambda h: True, air=air)


@pytest.mark.parametrize("spec", ["muse", "berrymed", "o2ring"])
async def test_the_smallest_mtu_is_enough_for_the_others(spec: str) -> None:
    heard = await wear(spec, ["mtu=23"], lambda h: h.samples > 300, speed=6)
    assert heard.samples > 300


async def test_a_rate_that_differs_from_the_nominal_one() -> None:
    heard = await wear("polar-verity", ["rate=0.8"], lambda h: bool(h.told("notice")))
    assert heard.told("notice")[0].detail["text"] == "the sensor says 55 Hz and sends 44 Hz"


async def test_old_firmware_with_another_rate() -> None:
    spec = "polar-verity?rate=135"
    heard = await wear(spec, ["rate=0.4074"], lambda h: bool(h.told("notice")))
    assert heard.told("notice")[0].detail["text"] == "the sensor says 135 Hz and sends 55 Hz"


@pytest.mark.slow
def test_by_the_command() -> None:
    program = [sys.executable, "-m", "innpar.stream.cli.main", "--device", "polar-verity?rate=176"]
    command = [*program, "--virtual", "--fault", "sdk=refuse", "--broker", "embedded"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert run.returncode == 2
    assert "SDK" in run.stderr.splitlines()[-1]
    command = [*program, "--fault", "drop=0.1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert run.returncode == 2
    assert run.stderr.strip().endswith("applies to virtual sensors only; add --virtual")


def test_every_fault_is_in_the_help() -> None:
    command = [sys.executable, "-m", "innpar.stream.cli.main", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert [key for key in KEYS if f"{key}=" not in text] == []
