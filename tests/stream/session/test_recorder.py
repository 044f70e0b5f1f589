"""Recordings that are interrupted, by running the real command."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from innpar.devices import NS, Chunk, Event
from innpar.devices.session.reader import SessionFile
from innpar.devices.timing.pace import VirtualClock
from innpar.stream.session.recorder import Recorder
from support.sessions import demo, mount_small, played, unmount

START = 1_700_000_000 * NS
PROGRAM = [sys.executable, "-m", "innpar.stream.cli.main"]
RUN = [*PROGRAM, "--device", "demo:3", "--broker", "embedded", "--json"]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 kB."""
    folder = tmp_path / "small"
    if why := mount_small(folder, 128):
        pytest.skip(f"no small file system: {why}")
    yield folder
    unmount(folder)


def run(*arguments: str) -> tuple[int, list[dict[str, Any]], list[str]]:
    """Return the exit status, the beats, and the messages."""
    done = subprocess.run(
        [*RUN, *arguments], capture_output=True, text=True, timeout=90, check=False
    )
    beats = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, beats, done.stderr.splitlines()


@pytest.mark.slow
def test_a_full_disk(small: Path) -> None:
    how = ("--speed", "max", "--duration", "200")
    status, beats, said = run(*how, "--record", str(small / "full.mcap"))
    other, wanted, _ = run(*how)
    assert (status, other) == (0, 0)
    assert [beat["seq"] for beat in beats] == [beat["seq"] for beat in wanted]
    (line,) = [line for line in said if "demo-3: recording to" in line]
    assert "has stopped (No space left on device); streaming continues" in line
    assert not any("Traceback" in line for line in said)
    items = played(small / "full.mcap")
    assert sum(isinstance(item, Chunk) for item in items) > 5


@pytest.mark.slow
def test_a_folder_that_only_can_be_read(small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True, timeout=10)
    for path in (small, small / "x.mcap"):
        status, beats, said = run("--duration", "5", "--record", str(path))
        assert (status, beats) == (2, [])
        assert len(said) == 1
        assert "cannot be written (Read-only file system); name another place" in said[0]


@pytest.mark.slow
def test_a_file_that_vanishes(tmp_path: Path) -> None:
    path = tmp_path / "gone.mcap"
    process = subprocess.Popen(
        [*RUN, "--speed", "10", "--duration", "100", "--record", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    path.unlink()
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(out.splitlines()) > 60
    assert said.count("demo-3: recording to") == 1
    assert "the file has been deleted" in said


def test_long_work_shows_on_a_terminal_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "long.mcap"
    recorder = Recorder(path, VirtualClock(), {})
    for n in range(2500):
        recorder.take(Event("demo", "marker", (n + 1) * NS, (n + 1) * NS, {"text": "x"}))
        recorder._flush()
    recorder.close()
    for words in (["info", str(path)], ["repair", str(path), str(tmp_path / "r.mcap")]):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*PROGRAM, "session", *words], stdout=subprocess.DEVNULL, stderr=theirs
        )
        os.close(theirs)
        said = b""
        while True:
            try:
                said += os.read(ours, 65536)
            except OSError:  # its end
                break
        os.close(ours)
        assert process.wait(30) == 0
        assert b"long.mcap" in said
        assert b"%" in said


def test_a_reader_that_has_enough(tmp_path: Path) -> None:
    path = tmp_path / "many.mcap"
    recorder = Recorder(path, VirtualClock(), {})
    for n in range(200):
        recorder.take(Event(f"d{n}", "marker", NS, NS, {"text": "x" * 400}))
    recorder.close()
    process = subprocess.Popen(
        [*PROGRAM, "session", "info", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(30) == 0


@pytest.mark.slow
def test_the_clock_of_a_killed_run_loses_no_more_than_a_second(tmp_path: Path) -> None:
    """The whole program, not the recorder alone: frames, samples, beats and all."""
    path = tmp_path / "killed.mcap"
    process = subprocess.Popen(
        [*RUN, "--record", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    beats = [json.loads(process.stdout.readline()) for _ in range(6)]
    process.kill()
    process.communicate(timeout=10)
    # By the clock of the process, which other processes may have kept waiting.
    published = beats[-1]["t"] + beats[-1]["latency_ms"]["total"] / 1000
    with SessionFile(path) as file:
        assert not file.whole
        last = max(message.written for message in file.messages())
    assert published - last / NS < 1.0 + 0.5  # the demo's samples come every 0.4 s


def test_only_its_owner_may_read_a_recording(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "night.mcap", VirtualClock(), {})
    assert (tmp_path / "night.mcap").stat().st_mode & 0o777 == 0o600
    recorder.close()


def test_no_message_is_dated_1970(tmp_path: Path) -> None:
    path = tmp_path / "empty.mcap"
    recorder = Recorder(path, VirtualClock(START), {})
    recorder.enrol(demo(), "s")
    empty = Chunk("demo", "ppg", ("a",), 55.0, np.empty(0, np.int64), np.empty((0, 1)))
    times = START + np.arange(10) * NS
    items = [empty, Chunk("demo", "ppg", ("a",), 55.0, times, np.zeros((10, 1))), empty]
    for item in items:
        recorder.take(item)
    recorder.close()
    with SessionFile(path) as file:
        assert min(message.time for message in file.messages()) == START
    assert [len(item) for item in played(path) if isinstance(item, Chunk)] == [0, 10, 0]
