"""Session files after kills, full disks and damage, and files of other programs."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from innpar.devices import NS, Chunk, DeviceError, Event, NoticeCode, Refused, code_of
from innpar.devices.registry import create
from innpar.devices.session.contents import devices_in
from innpar.devices.session.reader import SessionFile, _unpack
from innpar.devices.session.writer import MAGIC
from innpar.devices.timing.pace import Pace, VirtualClock
from innpar.stream.app.recording import describe
from innpar.stream.app.settings import load
from innpar.stream.cli.main import main
from innpar.stream.errors import SessionError
from innpar.stream.session.excerpt import stretch
from innpar.stream.session.export.formats import FORMATS
from innpar.stream.session.recorder import Recorder, place
from support.harness import estimates, same, shipped
from support.sessions import demo, keys, mount_small, played, record, samples, unmount

START = 1_700_000_000 * NS
HEAD = 0.2
"""Fraction of `whole` that holds its header and first block."""
KILLS = int(os.environ.get("INNPAR_KILLS", "5"))

ACTIONS = (
    *("info", "verify", "repair", "cut", "merge", "redact", "plot", "report"),
    *(f"export {format_}" for format_ in FORMATS),
)


def arguments(action: str, path: Path) -> list[str]:
    """Return the command for an action on a file, with output ``out`` beside it."""
    out = str(path.parent / "out")
    if action == "report":
        return ["report", str(path), out]
    name, _, format_ = action.partition(" ")
    if name in ("info", "verify"):
        return ["session", name, str(path)]
    if name == "plot":
        return ["session", name, str(path), f"{out}.png"]
    return ["session", name, str(path), out, *(["--format", format_] if format_ else [])]


RECORD = """
import asyncio, sys, time
from pathlib import Path
from innpar.devices import Chunk
from innpar.devices.timing.pace import Pace, SystemClock
from innpar.devices.simulated.device import Simulated
from innpar.stream.session.recorder import Recorder

async def main():
    clock = SystemClock()
    device = Simulated(seed=5, start=int(sys.argv[2]), pace=Pace(float(sys.argv[3])))
    recorder = Recorder(Path(sys.argv[1]), clock, {"software": "test"})
    async with recorder.running(), device.open(clock=clock) as items:
        recorder.enrol(device, "s")
        async for item in items:
            recorder.take(item)
            if isinstance(item, Chunk) and item.signal == "ppg":
                print(time.monotonic(), int(item.times[-1]), flush=True)

asyncio.run(asyncio.wait_for(main(), 60))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of many small blocks."""
    path = tmp_path_factory.mktemp("whole") / "whole.mcap"
    recorder = Recorder(path, VirtualClock(START), {"software": "test"})
    device = demo(12, seed=5, pace=Pace(float("inf"), 0.4))
    recorder.enrol(device, "s")
    for number, item in enumerate(device.items(START)):
        recorder.take(item)
        if number % 7 == 0:
            recorder._flush()
    recorder.close()
    return path


@pytest.fixture(scope="module")
def stream(whole: Path) -> list[object]:
    """All items in the session."""
    return keys(played(whole))


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_a_random_moment(number: int, tmp_path: Path) -> None:
    """All samples recorded a second before are there, and no others."""
    path = tmp_path / "killed.mcap"
    speed = random.Random(number).choice([1, 20, 60])
    command = [sys.executable, "-c", RECORD, str(path), str(START), str(speed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.Random(number).uniform(0.1, 2.5))
        killed = time.monotonic()
        process.kill()
        told = [line.split() for line in process.stdout.read().splitlines() if " " in line]
        process.wait(10)
    safe = [int(sample) for moment, sample in told if float(moment) <= killed - 1]
    with SessionFile(path) as file:
        assert not file.whole
        if not devices_in(file):
            assert not safe
            return
    items = played(path)
    assert isinstance(items[-1], Event)
    assert code_of(items[-1]) is NoticeCode.RECORDING_INCOMPLETE
    assert "still being written, or cut off" in items[-1].detail["text"]
    times, _ = samples(items)
    assert times[-1] >= max(safe, default=0)
    wanted = demo(float("inf"), seed=5, pace=Pace(1)).items(START)
    # The first says that nobody wore it, the last that it is cut off.
    assert keys(items[1:-1]) == keys([next(wanted) for _ in items[1:-1]])
    mended = tmp_path / "mended.mcap"
    assert main(["session", "repair", str(path), str(mended)]) == 0
    assert main(["session", "verify", str(mended)]) == 0
    assert keys(played(mended)) == keys(items[:-1])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(share=st.floats(0, 1))
def test_cut_off_anywhere(
    whole: Path, stream: list[object], tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    data = whole.read_bytes()
    torn = tmp_path_factory.mktemp("torn") / "torn.mcap"
    torn.write_bytes(data[: int(share * (len(data) - 1))])
    if share < HEAD:
        with contextlib.suppress(DeviceError):
            played(torn)
        return
    items = keys(played(torn))
    assert items[:-1] == stream[: len(items) - 1]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), torn=st.booleans())
def test_damaged_anywhere(
    whole: Path,
    stream: list[object],
    tmp_path_factory: pytest.TempPathFactory,
    share: float,
    bit: int,
    torn: bool,
) -> None:
    """A flipped bit may cost samples; it never changes one."""
    data = bytearray(whole.read_bytes())
    data[int(share * len(data))] ^= 1 << bit
    path = tmp_path_factory.mktemp("damaged") / "damaged.mcap"
    path.write_bytes(data[:-40] if torn else data)
    items = []
    with contextlib.suppress(DeviceError):
        items = played(path)
    known = set(stream)
    added = [item for item, key in zip(items, keys(items), strict=True) if key not in known]
    assert all(isinstance(item, Event) and item.kind == "notice" for item in added)
    times, _ = samples(items)
    assert (np.diff(times) > 0).all()
    # Past the head of the file no single bit makes it unreadable.
    assert len(times) or share < HEAD


def test_a_damaged_length_allocates_no_memory() -> None:
    import lz4.frame
    import zstandard

    plain = bytes(range(256)) * 4
    packed = {"zstd": zstandard.compress(plain), "lz4": lz4.frame.compress(plain)}
    for how, data in packed.items():
        assert _unpack(data, how, len(plain)) == plain
        for bit in range(8 * 20):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            with contextlib.suppress(ValueError):
                assert len(_unpack(bytes(damaged), how, len(plain))) <= len(plain)


def test_damaged_blocks_are_reported_and_left_out(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with SessionFile(whole) as file:
        block = file.blocks[len(file.blocks) // 2]
    data = bytearray(whole.read_bytes())
    data[block.offset + block.length // 2] ^= 0xFF
    path = tmp_path / "damaged.mcap"
    path.write_bytes(data)
    assert main(["session", "verify", str(path)]) == 1
    output = capsys.readouterr().out
    assert "1 of" in output
    assert "messages are missing" in output
    last = played(path)[-1]
    assert isinstance(last, Event)
    assert "damaged" in last.detail["text"]
    assert main(["session", "verify", str(whole)]) == 0


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    small = tmp_path / "small"
    if why := mount_small(small, 128):
        pytest.skip(f"no small file system: {why}")
    try:
        path = small / "full.mcap"
        live = record(path, demo(180, pace=Pace(float("inf"), 0.4)))
        other = record(tmp_path / "room.mcap", demo(180, pace=Pace(float("inf"), 0.4)))
        assert same(estimates(live), estimates(other))
        events = [i for i in live if isinstance(i, Event)]
        notices = [i for i in events if code_of(i) is NoticeCode.RECORDING_FAILED]
        assert len(notices) == 1
        assert "No space left on device" in notices[0].detail["text"]
        assert "streaming continues" in notices[0].detail["text"]
        part, all_ = keys(played(path)), keys(played(tmp_path / "room.mcap"))
        assert 10 < len(part) < len(all_)
        assert part[:-1] == all_[: len(part) - 1]
    finally:
        unmount(small)


async def test_a_file_that_vanishes_ends_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "gone.mcap"
    recorder = Recorder(path, VirtualClock(START), {})
    device = demo()
    recorder.enrol(device, "s")
    items = device.items(START)
    async with recorder.running():
        assert recorder.take(next(items)) == []
        path.unlink()
        for _ in range(50):
            if recorder.failed:
                break
            await _soon()
        (event,) = recorder.take(next(items))
        assert "the file has been deleted" in event.detail["text"]
        assert recorder.take(next(items)) == []


async def _soon() -> None:
    import asyncio

    await asyncio.sleep(0.05)


async def test_a_silent_device_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "silent.mcap"
    recorder = Recorder(path, VirtualClock(START), {})
    device = demo()
    items = device.items(START)
    async with recorder.running():
        recorder.enrol(device, "s")
        for _ in range(4):
            recorder.take(next(items))
        size = path.stat().st_size
        for _ in range(12):
            await _soon()
        assert path.stat().st_size > size


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "there.mcap"
    path.write_text("precious")
    run = ["--device", "demo", "--broker", "embedded", "--speed", "max", "--duration", "1"]
    assert main([*run, "--record", str(path)]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert path.read_text() == "precious"
    with pytest.raises(SessionError, match="name another place"):
        Recorder(tmp_path / "no" / "such" / "folder.mcap", VirtualClock(), {})
    for name in ("session-2023-11-14T221320Z", "session-2023-11-14T221320Z-1"):
        recorder = Recorder(tmp_path, VirtualClock(), {})
        recorder.enrol(demo(), "s")
        recorder.close()
        assert recorder.path == tmp_path / f"{name}.mcap"


def test_a_recording_that_was_never_begun_leaves_no_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "nothing.mcap", VirtualClock(), {"software": "test"})
    assert recorder.path.exists()
    recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_ends_with_a_slash(tmp_path: Path) -> None:
    assert place(f"{tmp_path}/a/b/") == tmp_path / "a" / "b"
    recorder = Recorder(tmp_path / "a" / "b", VirtualClock(), {})
    recorder.close()
    assert recorder.path.parent == tmp_path / "a" / "b"
    assert not place(f"{tmp_path}/c").exists()
    (tmp_path / "file").touch()
    with pytest.raises(SessionError, match="name another place"):
        place(f"{tmp_path}/file/")


def test_the_configuration_is_recorded(tmp_path: Path) -> None:
    flags = {"fault": ["drop=0.1"], "rate": "55", "compute": "cpu", "wrist_height": "-10"}
    told = describe(load(flags, None, {}), shipped())["configuration"]
    wanted = {"fault": ["drop=0.1"], "rate": 55.0, "compute": "cpu", "wrist_height": -10.0}
    assert {key: told[key] for key in wanted} == wanted


def test_verify_and_repair_agree(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No block of a file truncated by a kill is lost."""
    path = tmp_path / "killed.mcap"
    with SessionFile(whole) as file:
        last = file.blocks[-1]
        end = last.offset + last.length
    path.write_bytes(whole.read_bytes()[:end])
    assert main(["session", "verify", str(path)]) == 1
    assert "still being written, or cut off" in capsys.readouterr().out
    assert main(["session", "repair", str(path)]) == 0
    assert "still being written, or cut off" in capsys.readouterr().out
    fixed = path.with_name("killed.repaired.mcap")
    assert main(["session", "verify", str(fixed)]) == 0
    assert main(["session", "repair", str(fixed)]) == 0
    assert "the original was intact" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a session file"),
        (b"time,ppg\n1,2\n", "not a session file"),
        (MAGIC, "contains no data"),
        (MAGIC + b"\0" * 500, "contains no data"),
        (MAGIC * 40, "contains no data"),
        (b"\x89MCAP9\r\n" + b"x" * 99, "not a session file"),
    ],
)
@pytest.mark.parametrize("action", ACTIONS)
def test_other_files_are_refused(
    content: bytes, words: str, action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.mcap"
    path.write_bytes(content)
    assert main(arguments(action, path)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"innpar-stream: {path}: ")
    assert words in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", ["torn", "damaged", "foreign"])
def test_any_file_gives_a_result_or_one_line(
    kind: str, action: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"{kind}.mcap"
    data = bytearray(whole.read_bytes())
    if kind == "damaged":
        for at in range(len(data) // 3, len(data), 977):
            data[at] ^= 0x10
    path.write_bytes(data[: len(data) * 2 // 3] if kind == "torn" else data)
    if kind == "foreign":
        _robot(path)
    status = main(arguments(action, path))
    lines = capsys.readouterr().err.splitlines()
    assert (status, len(lines)) in ((0, 0), (1, 0), (2, 1))
    assert all(line.startswith("innpar-stream: ") for line in lines)
    if kind != "foreign":
        assert status == (action == "verify")


def test_existing_files_are_not_overwritten(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in ("repair", "cut", "merge", "redact", "plot", "report", "export csv"):
        out = tmp_path / f"{action.replace(' ', '-')}.png"
        out.mkdir() if "export" in action else out.write_text("precious")
        words = arguments(action, whole)
        words = [str(out) if "/out" in word else word for word in words]
        assert main(words) == 2
        assert "exists already" in capsys.readouterr().err
        assert out.is_dir() or out.read_text() == "precious"


def test_a_session_is_not_written_over_itself(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "only.mcap"
    path.write_bytes(whole.read_bytes())
    for command in (["report"], ["session", "repair"], ["session", "redact"]):
        assert main([*command, str(path), str(path)]) == 2
    assert path.read_bytes() == whole.read_bytes()


def test_incomplete_output_is_removed(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    if why := mount_small(folder, 8):
        pytest.skip(f"no small file system: {why}")
    try:
        for action in ("repair", "cut", "export csv"):
            words = arguments(action, whole)
            words = [str(folder / "out") if word.endswith("/out") else word for word in words]
            assert main(words) == 2
            assert list(folder.iterdir()) == []
    finally:
        unmount(folder)


def test_an_mcap_file_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "robot.mcap"
    _robot(path)
    with pytest.raises(Refused, match="verify"):
        create(f"replay:{path}")


def _robot(path: Path) -> None:
    from mcap.writer import Writer

    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        channel = writer.register_channel("robot/ppg", "json", 0)
        writer.add_message(channel, START, b"{}", START)
        writer.finish()


def test_csv_holds_every_number(whole: Path, tmp_path: Path) -> None:
    exported = tmp_path / "out"
    assert main(["session", "export", str(whole), str(exported)]) == 0
    for signal in ("ppg", "acc", "abp"):
        times, data = samples(played(whole), signal)
        with (exported / f"demo-{signal}.csv").open() as stream:
            header, *rows = csv.reader(stream)
        assert (header[0], header[-1]) == ("time", "source")
        assert [row[0] for row in rows] == [f"{t // NS}.{t % NS:09d}" for t in times.tolist()]
        assert (np.array([row[1:-1] for row in rows], dtype=float) == data).all()
        assert {row[-1] for row in rows} == {"simulated"}
    with (exported / "demo-events.csv").open() as stream:
        first = next(csv.DictReader(stream))
    assert first["kind"] == "connected"
    assert json.loads(first["detail"])["rate"] == 55
    assert main(["session", "export", str(whole), str(exported)]) == 2


def test_an_exported_table_can_be_replayed(whole: Path, tmp_path: Path) -> None:
    exported = tmp_path / "out"
    assert main(["session", "export", str(whole), str(exported)]) == 0
    times, data = samples(played(whole))
    device = create(f"replay:{exported / 'demo-ppg.csv'}?polarity=-1", pace=Pace(float("inf")))
    again, values = samples(list(device.items()))  # type: ignore[attr-defined]
    assert (np.abs(again - times) < 1000).all()
    assert (values == data[:, : values.shape[1]]).all()


def test_edf_holds_the_samples_within_its_resolution(tmp_path: Path) -> None:
    edfio = pytest.importorskip("edfio")
    path, out = tmp_path / "gaps.mcap", tmp_path / "edf"
    recorder = Recorder(path, VirtualClock(START), {})
    device = demo(150, seed=3, pace=Pace(float("inf"), 1.0))
    recorder.enrol(device, "s")
    items = list(device.items(START))
    for item in items:
        recorder.take(item)
    recorder.close()
    assert main(["session", "export", str(path), str(out), "--format", "edf"]) == 0
    gaps = [i for i in items if isinstance(i, Event) and i.kind == "gap"]
    assert gaps
    for signal, resolution in (("ppg", 0.0), ("acc", 1e-3), ("abp", 5e-3)):
        times, data = samples(items, signal)
        files = sorted(out.glob(f"demo-{signal}-*"))
        assert len(files) == (len(gaps) + 1 if signal != "abp" else 1)
        ends = np.flatnonzero(np.diff(times) > 2 * NS / 52) + 1
        for file, piece in zip(files, np.split(np.arange(len(times)), ends), strict=True):
            read = edfio.read_bdf if file.suffix == ".bdf" else edfio.read_edf
            told = read(file)
            columns = [column.data[: len(piece)] for column in told.signals]
            assert np.abs(np.stack(columns, axis=1) - data[piece]).max() <= resolution
            began = told.starttime
            assert began.microsecond == times[piece[0]] % NS // 1000
    notes = [note.text for note in edfio.read_edf(files[0]).annotations]
    assert any(text.startswith("cuff") for text in notes)


def test_an_overview_is_drawn(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "demo.mcap"
    record(path, demo(40))
    assert main(["session", "plot", str(path)]) == 0
    picture = path.with_suffix(".png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
    assert main(["session", "plot", str(whole), str(tmp_path / "no" / "p.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "demo.mcap"
    live = record(path, demo(60, seed=3))
    assert main(["session", "info", str(path)]) == 0
    output = capsys.readouterr().out
    (cuff,) = [i for i in live if isinstance(i, Event) and i.kind == "cuff"]
    ppg = sum(len(i) for i in played(path) if isinstance(i, Chunk) and i.signal == "ppg")
    assert f"ppg: {ppg} samples of ppg0, ppg1, ppg2, ambient at 55 Hz, 60.0 s" in output
    assert f"{len(estimates(live))} beats" in output
    assert "demo: simulated, worn at wrist" in output
    assert f"cuff {cuff.detail['sbp']}/{cuff.detail['dbp']} at" in output


def test_addresses_are_pseudonyms_unless_kept(tmp_path: Path) -> None:
    told = {"address": "A0:9E:1A:12:34:56", "rate": 55}
    addresses = []
    for number, keep in enumerate((False, False, True)):
        recorder = Recorder(tmp_path / f"{number}.mcap", VirtualClock(), {}, keep_address=keep)
        for _ in range(2):
            recorder.take(Event("d", "connected", START, START, told))
        recorder.close()
        with SessionFile(recorder.path) as file:
            events = [json.loads(m.data) for m in file.messages() if b"connected" in m.data]
        first, again = (event["detail"]["address"] for event in events)
        assert first == again
        addresses.append(first)
    assert addresses[2] == told["address"]
    assert len(set(addresses)) == 3
    assert b"A0:9E" not in (tmp_path / "0.mcap").read_bytes()


def test_some_seconds_in_detail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "demo.mcap"
    live = record(path, demo(60, seed=3))
    first = samples(played(path))[0][0] / NS
    within = [b for b in estimates(live) if 19.9 <= b.peak / NS - first < 30.1]
    for at, suffix in (("20", "png"), ("0:20", "svg"), ("0:00:20", "html"), ("20.0", "pdf")):
        out = tmp_path / f"detail.{suffix}"
        words = ["session", "plot", str(path), str(out), "--at", at, "--seconds", "10"]
        assert main(words) == 0
        output = capsys.readouterr().out
        beats = int(output.split(", ")[1].split()[0])
        assert len(within) - 1 <= beats <= len(within) + 1
        magic = {"png": b"\x89PNG", "svg": b"<?xml", "html": b"<!doctype", "pdf": b"%PDF"}
        assert out.read_bytes().startswith(magic[suffix])
        assert out.stat().st_size > 5000
    for more, words_ in (
        (["--at", "noon"], "H:MM:SS"),
        (["--at", "900"], "nothing was recorded then"),
        (["--at", "2026-01-01T00:00:00Z"], "nothing was recorded then"),
        (["--at", "5", "--seconds", "1000"], "at most 120"),
    ):
        assert main(["session", "plot", str(path), *more]) == 2
        assert words_ in capsys.readouterr().err
    assert main(["session", "plot", str(path), str(tmp_path / "x.jpg")]) == 2
    assert "ends with .png" in capsys.readouterr().err


def test_an_excerpt_matches_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "demo.mcap"
    live = record(path, demo(120, seed=3))
    times, data = samples(played(path))
    low, high = int(times[0]) + 40 * NS, int(times[0]) + 55 * NS
    with SessionFile(path) as file:
        found = stretch(file, "demo", low, high)
    inside = (times >= low) & (times < high)
    assert (found.samples("ppg")[0] == times[inside]).all()
    assert (found.samples("ppg")[1] == data[inside]).all()
    peaks = [round(b.peak / 1e6) / 1000 for b in estimates(live) if low <= b.peak < high]
    assert set(peaks) <= {beat["t"] for beat in found.beats}
    assert len(found.beats) <= len(peaks) + 2


def lying_files(folder: Path) -> dict[str, Path]:
    """Return files of a few kilobytes that state gigabytes, or decompress to them."""

    def record(opcode: int, body: bytes) -> bytes:
        return struct.pack("<BQ", opcode, len(body)) + body

    def block(plain: bytes, how: str, packed: bytes, size: int | None = None) -> bytes:
        stated = len(plain) if size is None else size
        head = struct.pack("<QQQII", 1, 2, stated, zlib.crc32(plain), len(how)) + how.encode()
        return record(6, head + struct.pack("<Q", len(packed)) + packed)

    def summed(summary: bytes, start: int) -> bytes:
        foot = struct.pack("<BQQQ", 2, 20, start, 0)
        return summary + foot + struct.pack("<I", zlib.crc32(foot, zlib.crc32(summary))) + MAGIC

    zeros = bytes(60 << 20)
    lz4_frame = pytest.importorskip("lz4.frame")
    index = struct.pack("<QQQQI", 1, 2, 8, 1 << 62, 0)
    places = struct.pack("<QQQQI", 1, 2, 8, 8, 0xFFFFFFF0)
    channel = struct.pack("<HHI", 1, 0, 0xFFFFFFFF)
    body = record(1, b"\0" * 8)
    contents = {
        "zstd-zeros": body + 40 * block(zeros, "zstd", zstandard.compress(zeros)),
        "lz4-no-size": body
        + 20 * block(zeros, "lz4", lz4_frame.compress(zeros, store_size=False), 1000),
        "long-block": body + struct.pack("<BQ", 6, 1 << 32),
        "long-index": body + summed(record(8, index), 8 + len(body)),
        "many-places": body + summed(record(8, places), 8 + len(body)),
        "long-name": body + block(record(4, channel), "", record(4, channel)),
        "short-message": body + block(record(5, b"\1"), "", record(5, b"\1")),
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = folder / f"{name}.mcap"
        paths[name].write_bytes(MAGIC + content)
    return paths


BOUNDED = """
import resource, sys, time
from innpar.stream.cli.main import main
import innpar.stream.session.info
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
code = main(sys.argv[1:])
spent = time.process_time() - began
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(f"FIGURE {code} {spent:.2f} {grown:.0f}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("action", ["info", "verify"])
def test_lengths_that_lie_cost_little_and_end_in_one_line(tmp_path: Path, action: str) -> None:
    for name, path in lying_files(tmp_path).items():
        done = subprocess.run(
            [sys.executable, "-c", BOUNDED, "session", action, str(path)],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert "Traceback" not in done.stderr, (name, done.stderr)
        assert done.stderr.count("\n") <= 1, (name, done.stderr)
        _, code, spent, grown = done.stdout.splitlines()[-1].split()
        assert int(code) in (0, 1, 2)
        assert float(spent) < 5, (name, spent)
        assert float(grown) < 300, (name, grown)
