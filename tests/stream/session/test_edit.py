"""Cut, merged and redacted sessions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from innpar.devices import NS, Event
from innpar.devices.session.reader import SessionFile
from innpar.devices.timing.pace import Pace, VirtualClock
from innpar.stream.cli.main import main
from innpar.stream.session.recorder import Recorder
from support.sessions import demo, keys, played, record, samples

START = 1_700_000_000 * NS
SHORT = Pace(float("inf"), 0.4)


def write(path: Path, start: int = START, identity: str = "demo") -> Path:
    run = {"configuration": {"device": [identity]}}
    recorder = Recorder(path, VirtualClock(start), run, subjects={"": "Bert"})
    device = demo(30, id=identity, pace=SHORT)
    recorder.enrol(device, "s")
    for item in device.items(start):
        recorder.take(item)
    told = {"address": "A0:9E:1A:12:34:56", "name": "Polar Sense 12345678", "rate": 55}
    recorder.take(Event(identity, "connected", start + 30 * NS, start + 30 * NS, told))
    recorder.take(Event(identity, "marker", start + 30 * NS, start + 30 * NS, {"text": "Anna"}))
    recorder.close()
    return path


def test_a_part_is_what_a_replay_of_that_part_gives(tmp_path: Path) -> None:
    path, out = write(tmp_path / "a.mcap"), tmp_path / "part.mcap"
    assert main(["session", "cut", str(path), str(out), "--from", "7.3", "--to", "21"]) == 0
    assert main(["session", "verify", str(out)]) == 0
    assert keys(played(out)[1:]) == keys(played(path, from_="7.3", to="21")[1:])
    assert main(["session", "cut", str(path), str(tmp_path / "x"), "--from", "99"]) == 2
    assert main(["session", "cut", str(path)]) == 2


@pytest.mark.parametrize("still", [False, True])
def test_a_part_knows_whether_the_arm_moved_when_it_began(still: bool, tmp_path: Path) -> None:
    path, out = tmp_path / "a.mcap", tmp_path / "part.mcap"
    recorder = Recorder(path, VirtualClock(START), {})
    device = demo(30, pace=SHORT, episodes=False, motion=False)
    recorder.enrol(device, "s")
    for item in device.items(START):
        recorder.take(item)
        if isinstance(item, Event) and item.kind == "connected":
            recorder.take(Event("demo", "motion", START, START, {"moving": True}))
            if still:  # a new link takes the arm to be still
                recorder.take(item)
    recorder.close()
    assert main(["session", "cut", str(path), str(out), "--from", "7.3", "--to", "21"]) == 0
    told = ["motion", "connected"] if still else ["connected", "motion"]
    for items in (played(out), played(path, from_="7.3")):
        kinds = [i.kind for i in items if isinstance(i, Event)]
        assert [kind for kind in kinds if kind in told] == told


@pytest.mark.parametrize(
    "part",
    [
        *(["--from", "nan"], ["--from", "inf"], ["--from=-1"], ["--to", "nan"], ["--to", "0"]),
        *(["--to=-1"], ["--to=-inf"], ["--from", "30", "--to", "10"], ["--from", "1e300"]),
    ],
)
def test_parts_that_there_are_not(
    part: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write(tmp_path / "a.mcap"), tmp_path / "part.mcap"
    assert main(["session", "cut", str(path), str(out), *part]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not out.exists()


def test_two_in_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    early, late = write(tmp_path / "a.mcap"), write(tmp_path / "b.mcap", START + 100 * NS)
    other = write(tmp_path / "c.mcap", identity="other")
    out = tmp_path / "all.mcap"
    assert main(["session", "merge", str(late), str(other), str(early), str(out)]) == 0
    times, data = samples(played(out, device="demo"))
    parts = [samples(played(path)) for path in (early, late)]
    assert (times == np.concatenate([part[0] for part in parts])).all()
    assert (data == np.concatenate([part[1] for part in parts])).all()
    assert keys(played(out, device="other")) == keys(played(other))
    assert main(["session", "merge", str(early), str(early), str(tmp_path / "d")]) == 2
    assert "overlap in time for demo" in capsys.readouterr().err


def test_a_session_that_names_nobody(tmp_path: Path) -> None:
    live, path = tmp_path / "live.mcap", write(tmp_path / "a.mcap", identity="polar-12345678")
    out = tmp_path / "nobody.mcap"
    assert main(["session", "redact", str(path), str(out)]) == 0
    with SessionFile(out) as file:
        everything = b"".join(message.data for message in file.messages())
        topics = {channel.topic for channel in file.channels.values()}
    for word in (b"12345678", b"A0:9E", b"Anna", b"Bert", b"subject"):
        assert word not in everything
    assert "wearer-1/ppg" in topics
    assert samples(played(out))[1].tobytes() == samples(played(path))[1].tobytes()
    record(live, demo(30))
    assert main(["session", "redact", str(live), str(tmp_path / "two.mcap")]) == 0
    with SessionFile(tmp_path / "two.mcap") as file:
        beats = [m for m in file.messages() if file.channels[m.channel].topic == "wearer-1/beats"]
    assert len(beats) > 20
    assert all(b'"device":"wearer-1"' in beat.data for beat in beats)
