"""Markers by key, by LSL and by command; recordings by command; what a recording tells of whom."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from innpar.devices import NS, Event, Refused
from innpar.devices.lsl.markers import LslMarks
from innpar.devices.session.contents import about
from innpar.devices.session.device import open_session
from innpar.devices.session.items import BEATS, Topic, from_json, pack_event
from innpar.devices.session.reader import SessionFile
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace, SystemClock, VirtualClock
from innpar.models.calibration.calibrate import Affine, CuffCalibration
from innpar.models.calibration.context import FEATURES
from innpar.stream.app.recording import recordings_folder, subject_names
from innpar.stream.app.settings import load
from innpar.stream.calibration.types import CuffReading, StoredCalibration
from innpar.stream.cli.main import main
from innpar.stream.errors import ConfigError, SessionError
from innpar.stream.messages.beat import beat_payload
from innpar.stream.messages.commands import (
    Calibrate,
    Command,
    CommandError,
    Mark,
    Record,
    parse_command,
)
from innpar.stream.pipeline.engine import Engine, Reconstructed
from innpar.stream.pipeline.injection import FULL
from innpar.stream.pipeline.prepare import Prepared
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.sidecars import forward_markers
from innpar.stream.pipeline.steering import (
    execute,
    inject,
    mark,
    mark_all,
    start_recording,
    stop_recording,
)
from innpar.stream.pipeline.wearer import Wearer, enrol
from innpar.stream.results import Beat, Item
from innpar.stream.session.recorder import Recorder
from innpar.stream.session.recorders import Recorders
from innpar.stream.sinks.base import FanOut
from innpar.stream.sinks.keyboard import KeyPresses
from support.brokers import Mosquitto
from support.harness import Keep, estimates, shipped, stream_all
from support.listening import Listener
from support.loopback import lsl
from support.sessions import MAX, Listening, demo, played
from support.waiting import LONGEST, wait_for

PROGRAM = [sys.executable, "-m", "innpar.stream.cli.main"]


def markers(path: Path) -> list[str]:
    items = played(path)
    return [str(i.detail["text"]) for i in items if isinstance(i, Event) and i.kind == "marker"]


def told(path: Path, device: str = "demo") -> dict[str, Any]:
    with SessionFile(path) as file:
        return about(file, device)


class OnTerminal:
    """A run on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(PROGRAM[0], [*PROGRAM, *arguments])
        self.before = termios.tcgetattr(self.fd)
        self.said = b""

    def until(self, pattern: bytes) -> None:
        deadline = time.monotonic() + LONGEST
        while not re.search(pattern, self.said):
            assert time.monotonic() < deadline, self.said
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.said += os.read(self.fd, 65536)
                except OSError:
                    raise AssertionError(self.said) from None

    def press(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def wait(self) -> int:
        """Return the exit status, reading what is still said."""
        while True:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.said += os.read(self.fd, 65536)
                except OSError:
                    time.sleep(0.05)


@pytest.mark.parametrize(
    ("typed", "texts"),
    [
        ([b" a7Z"], ["mark", "a", "7", "Z"]),
        ([b"\x1b[A\x1b[B\x1bOC\x1b[1;5D"], []),  # arrows
        ([b"\x1b[15~\x1b[[Ax\x1b[Z"], ["x"]),  # function keys
        ([b"\x1ba"], []),  # Alt and a letter
        ([b"\x1b[", b"Ay", b"\x1b", b"[Az", b"\x1bO", b"Ak"], ["y", "z", "k"]),
        ([b"\x1b", b"a", b"\x1b", b"O"], ["a", "O"]),  # the escape key, then a letter
        (["é".encode(), "ß".encode()[:1], "ß".encode()[1:], b"\xff\n\t"], ["é", "ß"]),
    ],
)
def test_only_letters_digits_and_space_mark(typed: list[bytes], texts: list[str]) -> None:
    typing = KeyPresses()
    assert [text for part in typed for text in typing.push(part)] == texts


def test_a_key_marks_the_moment_and_the_terminal_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "keys.mcap"
    run = OnTerminal("--device", "demo", "--broker", "embedded", "--record", str(path))
    run.until(rb"space, a letter or a digit")
    within = termios.tcgetattr(run.fd)
    assert not within[3] & (termios.ICANON | termios.ECHO)
    run.until(rb"mmHg")
    for key in (b" ", b"x", b"7", b"\x1b", b"\n"):
        run.press(key)
    run.until(rb"demo: mark(.|\n)*demo: x(.|\n)*demo: 7")
    os.kill(run.pid, signal.SIGINT)
    assert run.wait() == 0
    assert termios.tcgetattr(run.fd)[3] == run.before[3]
    os.close(run.fd)
    assert [text for text in markers(path) if len(text) < 5] == ["mark", "x", "7"]


def test_without_a_terminal_nobody_is_asked_to_press(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "--device", "demo", "--broker", "embedded", "--speed", "max", "--duration", "3"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "letter or a digit" not in done.stdout


def outlet(name: str, *, kind: str = "Markers", channels: int = 1, format_: str = "string") -> Any:
    return lsl.StreamOutlet(lsl.StreamInfo(name, kind, channels, 0, format_, f"id-{name}"))


async def until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONGEST):
        while not there():  # noqa: ASYNC110 — another thread's or library's doing
            await asyncio.sleep(0.02)


async def test_markers_of_any_stream_are_dated_by_their_sender() -> None:
    clock, heard = SystemClock(), list[Event]()
    first, numbers = outlet("stimuli"), outlet("triggers", channels=2, format_="int32")
    other = outlet("nothing", kind="Text")

    async def listen(events: Any) -> None:
        async for event in events:
            heard.append(event)

    async with LslMarks().open(clock=clock) as events:
        task = asyncio.create_task(listen(events))
        await until(lambda: first.have_consumers() and numbers.have_consumers())
        sent = clock.now()
        first.push_sample(["light on"], lsl.local_clock() - 0.25)
        numbers.push_sample([5, 6])
        other.push_sample(["unheard"])
        late = outlet("tablet")
        await until(late.have_consumers)
        late.push_sample(["from a tablet"])
        await until(lambda: len(heard) == 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    by = {str(event.detail["text"]): event for event in heard}
    assert set(by) == {"light on", "5, 6", "from a tablet"}
    assert abs(by["light on"].start - (sent - NS // 4)) < NS // 20
    assert abs(by["5, 6"].start - sent) < NS // 20
    assert by["light on"].detail["from"] == "stimuli"


async def test_markers_that_are_not_utf_8_neither_end_the_others_nor_the_thread() -> None:
    clock, heard = SystemClock(), list[Event]()
    latin, fine = outlet("latin"), outlet("fine")

    async def listen(events: Any) -> None:
        async for event in events:
            heard.append(event)

    async with LslMarks().open(clock=clock) as events:
        task = asyncio.create_task(listen(events))
        await until(lambda: latin.have_consumers() and fine.have_consumers())
        for text in (b"gr\xfc\xdfe", b"\x1b[2Jred\nline", b"\xed\xa0\x80"):
            latin.push_sample([text])
        fine.push_sample(["after it"])
        await until(lambda: len(heard) == 4)
        latin.push_sample(["again"])
        await until(lambda: len(heard) == 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    texts = [str(event.detail["text"]) for event in heard]
    assert set(texts) == {"gr\ufffd\ufffde", "[2Jred line", "\ufffd" * 3, "after it", "again"}
    for event in heard:
        pack_event(event)


async def test_a_selected_stream_alone_is_heard_and_recorded(tmp_path: Path) -> None:
    path, clock, seen = tmp_path / "lsl.mcap", SystemClock(), asyncio.Event()
    wanted, other = outlet("wanted"), outlet("other")

    def on(item: Item) -> None:
        if isinstance(item, Event) and item.detail.get("text") == "go":
            seen.set()

    engine, keep = Engine(shipped()), Listening(on)
    wearer = enrol(demo(60, pace=Pace(1, 0.25)), engine, clock)
    recorder = Recorder(path, clock, {})
    async with recorder.running():
        out = FanOut([keep, recorder])
        marks = asyncio.create_task(forward_markers(LslMarks("name=wanted"), [wearer], out, clock))
        running = asyncio.create_task(run([wearer], engine, out, clock, recorder))
        await until(lambda: wanted.have_consumers() and wearer.first is not None)
        other.push_sample(["unheard"])
        wanted.push_sample(["go"])
        await asyncio.wait_for(seen.wait(), 20)
        for task in (marks, running):
            task.cancel()
        await asyncio.gather(marks, running, return_exceptions=True)
    assert "go" in markers(path)
    assert "unheard" not in markers(path)


async def test_a_selection_that_makes_no_sense_is_told_and_the_run_goes_on() -> None:
    with pytest.raises(Refused, match="select by"):
        LslMarks("colour=red")
    engine, keep, clock = Engine(shipped()), Listening(None), VirtualClock()
    wearer = enrol(demo(5), engine, clock)
    await forward_markers(LslMarks("name='a' and ("), [wearer], keep, clock)
    (notice,) = keep.items
    assert isinstance(notice, Event)
    assert "not a valid XPath 1.0 predicate" in notice.detail["text"]


@pytest.mark.parametrize("reading", ["taken", "remembered", "to come"])
def test_a_recording_begun_by_command_replays_as_it_was_streamed(
    reading: str, tmp_path: Path
) -> None:
    engine, clock = Engine(shipped()), VirtualClock()
    wearer = enrol(demo(120, seed=3, cuff=reading == "taken"), engine, clock)
    if reading == "remembered":
        pulse = np.linspace(-1, 1, len(FEATURES)) / 3
        calibration = CuffCalibration(128, 79, pulse, Affine(1.1, -7), Affine(0.9, 11), 95.0)
        wearer._recalled = CuffReading(wearer.last, 128, 79, StoredCalibration(calibration))
    deck = Recorders(lambda path, tag: Recorder(path or tmp_path, clock, {}, tag=tag))
    doing: list[asyncio.Task[None]] = []
    beats = 0

    def on(item: Item) -> None:
        nonlocal beats
        beats += isinstance(item, Beat)
        if reading == "to come" and beats == 20 and not wearer.queue:
            at = wearer.last + 40 * NS
            inject(wearer, Event("demo", "cuff", at, at, {"sbp": 128, "dbp": 79}))
        if beats in (40, 80) and len(doing) < beats // 40:
            asked = (start_recording if beats == 40 else stop_recording)(wearer, deck)
            doing.append(asyncio.get_running_loop().create_task(asked))

    async def main() -> None:
        async with deck.running(None) as recorder:
            assert recorder is None
            with pytest.raises(SessionError, match="is not streaming"):
                await deck.start("demo")
            await run([wearer], engine, FanOut([Listening(on), deck]), clock, deck)
            with pytest.raises(SessionError, match="not being recorded"):
                await deck.stop("demo")

    asyncio.run(main())
    assert [task.exception() for task in doing] == [None, None]
    (path,) = tmp_path.glob("session-*-demo.mcap")
    assert main_verify(path) == 0
    with SessionFile(path) as file:
        numbers = file.numbers(str(Topic("demo", BEATS)))
        recorded = [from_json(m.data) for m in file.messages() if m.channel in numbers]
    again = estimates(stream_all([open_session(path, {}, pace=MAX)])[0])
    replayed = [beat_payload(beat) for beat in again]
    # A beat that was on its way when the recording began is not of the replayed signal.
    begun = next(i for i in played(path) if isinstance(i, Event) and i.kind == "gap").start
    of_run = ("session", "latency_ms", "source", "seq", "reference")
    plain = [
        [
            {k: v for k, v in beat.items() if k not in of_run}
            for beat in beats
            if beat["t"] > begun / NS
        ]
        for beats in (recorded, replayed)
    ]
    assert len(plain[0]) > 20
    states = {"taken": {"ok"}, "remembered": {"stale"}, "to come": {"none", "ok"}}
    assert {beat["calibration"]["state"] for beat in plain[0]} == states[reading]
    assert plain[0] == plain[1][: len(plain[0])]


def test_no_recording_begins_while_a_reading_is_in_the_network(tmp_path: Path) -> None:
    """Its calibration is not known yet, and the recording would begin without it."""
    clock, refused, doing = VirtualClock(), list[str](), list[bool]()

    class Interrupted(Engine):
        async def reconstruct(self, windows: Sequence[Prepared]) -> list[Reconstructed]:
            if any(window.guidance.anchor for window in windows):
                with pytest.raises(SessionError) as error:
                    await start_recording(wearer, deck)
                refused.append(str(error.value))
            elif refused and not doing:
                doing.append(True)
                await start_recording(wearer, deck)
            return await super().reconstruct(windows)

    engine = Interrupted(shipped())
    wearer = enrol(demo(40, seed=3, cuff=True), engine, clock)
    deck = Recorders(lambda path, tag: Recorder(path or tmp_path, clock, {}, tag=tag))

    async def main() -> None:
        async with deck.running(None):
            await run([wearer], engine, FanOut([Keep(), deck]), clock, deck)

    asyncio.run(main())
    assert refused == ["a cuff reading is taking effect just now; try again"]
    (path,) = tmp_path.glob("session-*-demo.mcap")
    (cuff,) = (i for i in played(path) if isinstance(i, Event) and i.kind == "cuff")
    assert cuff.detail["remembered"]["level"] is not None


def injected(wearer: Wearer) -> list[Event]:
    """Take the events that wait for the wearer's next samples."""
    return wearer.queue.take(wearer.device.id, wearer.first or 0, wearer.last)


def main_verify(path: Path) -> int:
    return main(["session", "verify", str(path)])


async def test_a_recording_begins_whole_or_not_at_all(tmp_path: Path) -> None:
    clock = VirtualClock()
    wearer = enrol(demo(), Engine(shipped()), clock)
    deck = Recorders(lambda path, tag: Recorder(tmp_path, clock, {}, tag=tag))
    deck.enrol(demo(), "s")
    while wearer.queue.room > 1:
        inject(wearer, Event("demo", "marker", 0, 0, {"text": "x"}))
    with pytest.raises(SessionError, match=FULL):
        await start_recording(wearer, deck)
    assert not os.listdir(tmp_path)


async def test_a_run_that_is_recorded_is_not_recorded_twice(tmp_path: Path) -> None:
    clock = VirtualClock()
    deck = Recorders(lambda path, tag: Recorder(path or tmp_path, clock, {}, tag=tag))
    async with deck.running(tmp_path / "all.mcap") as recorder:
        assert recorder is not None
        deck.enrol(demo(), "s")
        with pytest.raises(SessionError, match=r"recorded already, to all\.mcap"):
            await deck.start("demo")
        with pytest.raises(SessionError, match="ends with the run"):
            await deck.stop("demo")
        recorder._fail(OSError(28, "No space left on device"))
        # Where the disk was full, another recording may begin once there is room.
        assert (await deck.start("demo")).parent == tmp_path
        with pytest.raises(SessionError, match="stop that recording first"):
            await deck.start("demo")


def test_what_is_no_command_to_record() -> None:
    assert parse_command("record", "d", b'{"record":true}', None) == Record("d", True)
    for text in (b"{}", b'{"record":1}', b'{"record":"on"}'):
        with pytest.raises(CommandError, match="true or false"):
            parse_command("record", "d", text, None)
    with pytest.raises(CommandError, match=r'such as \{"record":true\}'):
        parse_command("record", "d", b"on", None)


def test_the_schema_of_the_command_knows_what_the_parser_knows() -> None:
    text = (
        files("innpar.stream.messages")
        .joinpath("schemas", "record.json")
        .read_text(encoding="utf-8")
    )
    validator = jsonschema.Draft202012Validator(json.loads(text))
    for message in ({"record": True}, {"record": False}, {}, {"record": 1}, {"record": None}):
        try:
            parse_command("record", "d", json.dumps(message).encode(), None)
        except CommandError:
            assert not validator.is_valid(message)
        else:
            assert validator.is_valid(message)


@pytest.mark.slow
def test_recording_by_mqtt(
    mosquitto: Callable[..., Mosquitto], listen: Callable[..., Listener], tmp_path: Path
) -> None:
    broker, folder = mosquitto(), tmp_path / "state/innpar-stream/recordings"
    listener = listen(broker.port, "bp/answers", "bp/devices/demo/events")
    publish = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-V", "5", "-q", "1"]

    def ask(record: bool) -> None:
        topic = ["-t", "bp/cmd/demo/record", "-m", json.dumps({"record": record})]
        more = ["-D", "publish", "response-topic", "bp/answers"]
        subprocess.run([*publish, *topic, *more], check=True, timeout=10)

    def wait(what: str) -> None:
        listener.wait(lambda got: any(what in one.payload for one in got), within=LONGEST)

    run = subprocess.Popen(
        [*PROGRAM, "--device", "demo", "--broker", broker.url, "--subject", "P07"],
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        wait("fit check")
        ask(True)
        wait("recording to ")
        wait_for(lambda: any(path.stat().st_size > 4000 for path in folder.glob("*.mcap")))
        ask(True)
        wait("recorded already")
        ask(False)
        wait("has ended")
    finally:
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 0
    (path,) = folder.glob("*.mcap")
    assert main_verify(path) == 0
    assert told(path)["subject"] == "P07"
    wait_for(lambda: len(listener.heard("bp/answers")) >= 3)
    answers = [message.json["ok"] for message in listener.heard("bp/answers")]
    assert answers == [True, False, True]


def test_a_marker_of_a_live_wearer_is_of_now_or_of_its_time() -> None:
    clock = VirtualClock(1_700_000_000 * NS)

    def wearer(source: str) -> Wearer:
        device = demo(5)
        found = enrol(device, Engine(shipped()), clock)
        found.device = type("Worn", (), {"id": "w", "source": source})()
        found.last = found.first = 5 * NS
        found.last_arrival = 1
        return found

    live, replay = wearer("live"), wearer("replay")
    for mine, then in ((live, 1_699_999_990), (replay, 4)):
        for asked in (Mark("w", "now"), Mark("w", "then", then * NS)):
            mark(mine, asked, clock)
    assert [event.start // NS for event in injected(live)] == [1_700_000_000, 1_699_999_990]
    assert [event.start // NS for event in injected(replay)] == [5, 4]
    for mine, then in ((live, 1_700_000_006), (replay, 1_700_000_000)):
        with pytest.raises(SessionError, match="still to come"):
            mark(mine, Mark("w", "then", then * NS), clock)
    live.first = 1_699_999_000 * NS
    with pytest.raises(SessionError, match="before the stream's beginning"):
        mark(live, Mark("w", "then", 1_699_998_900 * NS), clock)
    for _ in range(64):
        mark(live, Mark("w", "x"), clock)
    with pytest.raises(SessionError, match="too many"):
        mark(live, Mark("w", "x"), clock)
    live.last_arrival = 0
    mark_all([live, replay], "all", clock)
    assert [event.detail for event in injected(replay)] == [{"text": "all"}]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (Calibrate("demo", 120, 70, 1 * NS), "long before the stream's beginning"),
        (Calibrate("demo", 120, 70, 1_731_536_000 * NS), "still to come"),
        (Calibrate("demo", 120, 70, 1_699_920_000 * NS), ""),
        (Calibrate("demo", 120, 70, 1_700_000_013 * NS), ""),
        (Mark("demo", "x", 1_699_920_000 * NS), "before the stream's beginning"),
        (Record("demo", True, 1_699_920_000 * NS), "leave 'time' out"),
    ],
)
async def test_a_time_is_of_the_stream_or_refused_saying_why(
    command: Command, why: str, tmp_path: Path
) -> None:
    clock = VirtualClock(1_700_000_010 * NS)
    wearer = enrol(Simulated(), Engine(shipped()), clock)
    deck = Recorders(lambda path, tag: Recorder(tmp_path / "r.mcap", clock, {}, tag=tag))
    with pytest.raises(SessionError, match="nothing yet"):
        await execute(command, [wearer], clock, deck)
    wearer.first, wearer.last, wearer.last_arrival = 1_700_000_000 * NS, clock.time, 1
    if why:
        with pytest.raises(SessionError, match=why):
            await execute(command, [wearer], clock, deck)
        assert not wearer.queue
    else:
        await execute(command, [wearer], clock, deck)
        assert [event.start for event in injected(wearer)] == [command.time]


def test_whom_a_recording_is_of(tmp_path: Path) -> None:
    assert subject_names(["P07"], ["demo"]) == {"": "P07"}
    assert subject_names(["a=P07", "b=x y"], ["a", "b"]) == {"a": "P07", "b": "x y"}
    for given, devices in ((["P07"], ["a", "b"]), (["c=P07"], ["a"]), (["a="], ["a"])):
        with pytest.raises(ConfigError, match="--subject"):
            subject_names(given, devices)
    said = []
    for number, subjects in enumerate(({"demo": "P07"}, {"": "P07"}, {}, {})):
        path = tmp_path / f"{number}.mcap"
        recorder = Recorder(path, VirtualClock(), {}, subjects=subjects)
        recorder.enrol(demo(id="demo-3"), "s")
        for item in demo(5, id="demo-3").items(NS):
            recorder.take(item)
        recorder.close()
        said.append(told(path, "demo-3")["subject"])
    assert said[:2] == ["P07", "P07"]
    assert said[2].startswith("subject-")
    assert said[2] != said[3]


def test_no_address_is_written_anywhere(tmp_path: Path) -> None:
    """Neither in what was asked for, nor in what the driver tells, nor in an id."""
    address = "A0:9E:1A:12:34:56"
    for keep in (False, True):
        path = tmp_path / f"{keep}.mcap"
        run = {"configuration": {"device": [f"polar-verity:{address}"]}}
        recorder = Recorder(path, VirtualClock(), run, keep_address=keep)
        recorder.enrol(demo(), "s")
        texts = ({"address": address}, {"text": f"lost {address}; looking for it"})
        for kind, detail in zip(("connected", "notice"), texts, strict=True):
            recorder.take(Event("demo", kind, NS, NS, detail))  # type: ignore[arg-type]
        for item in demo(5).items(NS):
            recorder.take(item)
        recorder.close()
        with SessionFile(path) as file:
            everything = b"".join(message.data for message in file.messages())
        assert everything.count(address.encode()) == (3 if keep else 0)
        assert len(set(re.findall(rb"pseudonym-[0-9a-f]+", everything))) == (0 if keep else 1)


def test_settings_of_markers_and_subjects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load({"lsl_markers": "", "subject": ["P07"]}, None, {"INNPAR_SUBJECT": "x y"})
    assert (settings.lsl_markers, settings.subject) == ("", ["P07"])
    assert load({}, None, {"INNPAR_SUBJECT": "a=x b=y"}).subject == ["a=x", "b=y"]
    assert load({}, None, {}).lsl_markers is None
    assert recordings_folder(tmp_path) == tmp_path
    assert recordings_folder(tmp_path / "x.mcap") == tmp_path
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    with pytest.raises(SessionError, match="cannot be created"):
        recordings_folder(None)
