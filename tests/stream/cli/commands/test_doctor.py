"""`innpar-stream doctor` on sound and on broken computers."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from innpar.devices.timing.pace import SystemClock
from innpar.devices.virtual.radio.bluez import bluez
from innpar.devices.virtual.sensors.polar import VirtualPolar
from innpar.models.predictor import SHIPPED
from innpar.stream.cli.commands import doctor
from innpar.stream.cli.commands.doctor import Finding, examine
from innpar.stream.cli.main import main
from support.brokers import Broker, free_port
from support.loopback import Sender


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LISTEN", 1.0)


async def findings(broker: str | None = None, model: Path | None = None) -> dict[str, Finding]:
    return {finding.name: finding async for finding in examine(broker, model)}


@pytest.mark.slow
async def test_a_sound_computer(mosquitto: Broker) -> None:
    broker = mosquitto()
    sensor = VirtualPolar(SystemClock(), number="8A3F1B2C")
    with Sender("nearby"):
        async with bluez([sensor]):
            found = await findings(broker.url)
    assert "polar-verity:" in found["Bluetooth"].text
    assert [name for name, one in found.items() if not one.ok] == []
    assert "name=nearby type=PPG" in found["LSL"].text
    assert str(broker.port) in found["broker"].text
    assert "@sha256:" in found["model"].text
    assert "per wearer" in found["compute"].text
    assert os.environ["XDG_STATE_HOME"] in found["disk"].text


async def test_a_broken_computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    state = tmp_path / "taken"
    state.write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    folder = tmp_path / "model"
    shutil.copytree(SHIPPED.parent if SHIPPED.is_file() else SHIPPED, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in manifest["files"]:
        with (folder / name).open("ab") as file:
            file.write(b"!")
    found = await findings(f"mqtt://127.0.0.1:{free_port()}", folder)
    assert {name for name, one in found.items() if one.ok} <= {"LSL"}
    assert "start dbus" in found["D-Bus"].text
    assert "D-Bus" in found["Bluetooth"].text
    assert "get the model again" in found["model"].text
    assert "XDG_STATE_HOME" in found["disk"].text
    assert all("\n" not in one.line for one in found.values())


async def test_weights_that_are_others_are_found_though_the_script_is_used(tmp_path: Path) -> None:
    folder, name = with_other_weights(tmp_path)
    told = (await findings(model=folder))["model"]
    assert not told.ok
    assert f"{name} does not match its manifest" in told.text


def with_other_weights(tmp_path: Path) -> tuple[Path, str]:
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "model"))
    (weights,) = folder.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[::-1])
    return folder, weights.name


async def test_a_hanging_check_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PATIENCE", 1.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = await findings(f"mqtt://127.0.0.1:{silent.getsockname()[1]}")
    assert not found["broker"].ok


@pytest.mark.slow
async def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOM", 2**70)
    assert "MB free" in (await findings())["disk"].text


def test_one_line_per_check(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    assert main(["doctor", "--broker", "nonsense"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "D-Bus",
        "Bluetooth",
        "LSL",
        "broker",
        "model",
        "compute",
        "disk",
    ]
    assert all(line[11:13] in ("ok", "!!") for line in lines)
