"""Deleting what is kept of a wearer, and nothing of the others."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from innpar.state import state_folder
from innpar.stream.cli.main import main
from innpar.stream.messages.payload import parcel
from innpar.stream.mqtt.outgoing.outbox import Outbox, topics_of
from innpar.stream.mqtt.outgoing.spool import Spool
from innpar.stream.mqtt.outgoing.spool_lock import holding
from innpar.stream.results import State
from support.brokers import Broker, Mosquitto
from support.paths import ROOT
from support.sessions import demo, record

SESSION = "recordings/session-2026-11-29T000000Z"
OTHERS = {
    "calibration/demo-2.json",
    "address/demo-2.json",
    f"{SESSION}-demo-2.mcap",
    "calibration/polar-verity-8a3f.json",
    "address/polar-verity.json",
}
RETAINED = (
    "bp/devices/demo/state",
    "bp/devices/demo/meta",
    "bp/entry/demo/sbp",
    "homeassistant/device/bp-demo/config",
)


def spooled(folder: Path) -> list[str]:
    """Return a topic of each spooled parcel."""
    spool, found = Spool(folder), []
    while (record := spool.read()) is not None:
        found.append(topics_of(record[0])[0])
    spool.close()
    return found


def files(folder: Path) -> set[str]:
    """Return the files of a state folder, its spools aside."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith("spool/")}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A state folder with data of the devices ``demo``, ``demo-2`` and one of version 0.1."""
    folder = state_folder()
    for name in ("demo", "demo-2"):
        for kind in ("calibration", "address"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            (folder / kind / f"{name}.json").write_text("{}")
    shutil.copy(ROOT / "tests/from_0_1/calibration/polar-verity-8a3f.json", folder / "calibration")
    (folder / "address/polar-verity.json").write_text("{}")
    (folder / "recordings").mkdir()
    for name in ("demo", "demo-2"):
        record(folder / f"{SESSION}-{name}.mcap", demo(5, id=name))
    outbox = Outbox(Spool(folder / "spool/broker-1"))
    outbox.link_lost()
    for _ in range(3):
        outbox.put(parcel(State("demo-2", "online")))
        outbox.put(parcel(State("demo", "online")))
    outbox.close()
    shutil.copytree(ROOT / "tests/from_0_1/spool", folder / "spool/old-1")
    return folder


def publish(broker: Mosquitto, topic: str, text: str) -> None:
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-r", "-t", topic, "-m", text]
    subprocess.run(["mosquitto_pub", *where], check=True, timeout=10)


def retained(broker: Mosquitto) -> set[str]:
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-t", "#", "-v", "-W", "1"]
    run = subprocess.run(["mosquitto_sub", *where], capture_output=True, text=True, check=False)
    return {line.split()[0] for line in run.stdout.splitlines()}


def forget(broker: Mosquitto, wearer: str, *more: str) -> int:
    return main(["forget", wearer, "--broker", broker.url, *more])


def test_only_the_wearers_data_go(
    kept: Path, mosquitto: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = mosquitto()
    for topic in RETAINED:
        publish(broker, topic, "offline")
        publish(broker, topic.replace("demo", "demo-2"), "online")
    assert forget(broker, "demo", "--yes") == 0
    printed = capsys.readouterr().out
    for word in ("calibration/demo.json", "address/demo.json", f"{SESSION}-demo.mcap", *RETAINED):
        assert f"{word}\n" in printed or f"{word}: retained on the broker\n" in printed
    assert "broker-1: 3 undelivered messages" in printed
    assert "old-1: 5 undelivered messages" in printed
    assert files(kept) == OTHERS
    assert spooled(kept / "spool/broker-1") == ["bp/devices/demo-2/state"] * 3
    assert spooled(kept / "spool/old-1") == []
    left = b"".join(path.read_bytes() for path in (kept / "spool").rglob("*") if path.is_file())
    assert b"/demo/" not in left
    assert retained(broker) == {topic.replace("demo", "demo-2") for topic in RETAINED}
    assert forget(broker, "demo", "--yes") == 1
    assert capsys.readouterr().out == "nothing is kept of demo\n"


def test_a_sensor_is_forgotten_with_its_address(kept: Path, mosquitto: Broker) -> None:
    assert forget(mosquitto(), "polar-verity-8a3f", "--yes") == 0
    gone = {"calibration/polar-verity-8a3f.json", "address/polar-verity.json"}
    assert not files(kept) & gone


def test_without_a_yes_nothing_goes(
    kept: Path, mosquitto: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(kept)
    assert forget(mosquitto(), "demo") == 2
    assert "no terminal to ask at: add --yes" in capsys.readouterr().err
    assert files(kept) == before
    assert len(spooled(kept / "spool/broker-1")) == 6


def test_a_running_wearer_is_not_forgotten(
    kept: Path, mosquitto: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    broker, before = mosquitto(), files(kept)
    publish(broker, RETAINED[0], "online")
    assert forget(broker, "demo", "--yes") == 2
    assert "demo is online at" in capsys.readouterr().err
    with holding(kept / "spool/broker-1"):
        assert forget(broker, "demo-2", "--yes") == 2
    assert "a run uses it now; end the run first" in capsys.readouterr().err
    assert files(kept) == before


@pytest.mark.parametrize("name", ["", "#", "a/b", "+", "x\n"])
def test_an_id_is_no_pattern(name: str, capsys: pytest.CaptureFixture[Any]) -> None:
    assert main(["forget", name, "--yes"]) == 2
    assert "is not the id of a device" in capsys.readouterr().err
