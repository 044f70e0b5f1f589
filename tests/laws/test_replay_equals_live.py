"""Record, and replay: the same stream, the same beats, bit for bit."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mcap.reader import make_reader

from innpar.devices import NS, Chunk, Event, NotFound, NoticeCode, Refused, code_of
from innpar.devices.registry import create
from innpar.devices.session.device import ReplayedSession, open_session
from innpar.devices.session.items import pack_chunk, pack_event, unpack_chunk, unpack_event
from innpar.devices.session.reader import SessionFile
from innpar.devices.timing.pace import Pace, VirtualClock
from innpar.devices.virtual.device import virtual_device
from innpar.stream.app.replayed import as_recorded, latency_mode, other_model, required
from innpar.stream.app.settings import load
from innpar.stream.cli.main import main
from innpar.stream.results import Beat, DeviceInfo, Item
from innpar.stream.session.recorder import Recorder
from innpar.stream.windows.timing import NORMAL, LatencyMode
from support.harness import estimates, same, stream_all
from support.scaled import ScaledClock
from support.sessions import MAX, demo, keys, played, record, samples, uncoded, without_codes


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Item]]:
    path = tmp_path_factory.mktemp("session") / "demo.mcap"
    return path, record(path, demo(90, seed=3))


def without_remark(items: list[Chunk | Event]) -> list[Chunk | Event]:
    """Leave out the notice ahead of a simulated recording."""
    assert isinstance(items[0], Event)
    assert code_of(items[0]) is NoticeCode.SIMULATED_SOURCE
    return items[1:]


def test_the_stream_is_what_it_was(recorded: tuple[Path, list[Item]]) -> None:
    path, _ = recorded
    device = demo(90, seed=3)
    with SessionFile(path) as file:
        assert file.whole
    again = without_remark(played(path))
    first = next(item for item in again if isinstance(item, Chunk))
    assert keys(again) == keys(list(device.items(int(first.times[0]))))


def test_the_beats_are_what_they_were(recorded: tuple[Path, list[Item]]) -> None:
    path, live = recorded
    device = create(f"replay:{path}", pace=MAX)
    assert isinstance(device, ReplayedSession)
    assert (device.id, device.source, device.polarity, device.site) == (
        "demo",
        "replay",
        -1,
        "wrist",
    )
    again = estimates(stream_all([device])[0])
    assert len(again) > 60
    assert {beat.calibration.state for beat in again} == {"none", "ok"}
    assert {beat.source for beat in again} == {"simulated"}  # a replay, but never a person's
    assert same(estimates(live), again)


def test_without_the_cuff_the_beats_are_others(recorded: tuple[Path, list[Item]]) -> None:
    path, live = recorded
    again = estimates(stream_all([open_session(path, {"cuffs": "off"}, pace=MAX)])[0])
    assert {beat.calibration.state for beat in again} == {"none"}
    assert not same(estimates(live), again)


def test_other_readers_of_mcap_read_it(recorded: tuple[Path, list[Item]]) -> None:
    path, live = recorded
    with path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert reader.get_header().profile == "innpar-session/1"
        topics = [channel.topic for _, channel, _ in reader.iter_messages()]
    assert len(topics) == summary.statistics.message_count
    assert topics.count("demo/beats") == len(estimates(live))
    assert topics.count("run") == topics.count("demo/about") == 1


@pytest.mark.slow
@pytest.mark.parametrize("rate", [None, 176])
def test_a_polar_with_faults_decoded_then_and_decoded_now(tmp_path: Path, rate: int | None) -> None:
    """Frames lost, late, swapped and cut short, a link lost and a stream that stalls."""
    pytest.importorskip("bumble")
    tail = "" if rate is None else f"?rate={rate}"
    device = virtual_device(create(f"polar-verity:DEADBEEF{tail}"))
    device.faults.drop, device.faults.jitter, device.faults.ppm = 0.02, 0.2, 40.0
    beats = 0

    def trouble(item: Item) -> None:
        nonlocal beats
        sensor = device.sensor
        if not isinstance(item, Beat) or sensor is None:
            return
        beats += 1
        sensor.faults.swap_next += beats == 10
        sensor.faults.truncate_next += beats == 14
        if beats == 18:
            assert sensor.air is not None
            sensor.air.hang_up()
        if beats == 40:
            sensor.faults.stall = True
            asyncio.get_running_loop().call_later(1, setattr, sensor.faults, "stall", False)

    path = tmp_path / "polar.mcap"
    live = record(path, device, clock=ScaledClock(12), duration=110, on=trouble)
    kinds = [item.kind for item in live if isinstance(item, Event)]
    assert kinds.count("connected") >= 2
    assert kinds.count("gap") >= 3
    before = estimates(live)
    assert len(before) > 40
    then = open_session(path, {}, pace=MAX)
    now = open_session(path, {"redecode": "on"}, pace=MAX)
    assert keys(list(then.items())) == keys(list(now.items()))
    assert any(code_of(i) is NoticeCode.STALLED_RESTARTED for i in live if isinstance(i, Event))
    of_0_1 = without_codes(path, tmp_path / "old.mcap")
    decoded = played(of_0_1, redecode="on")
    assert keys(uncoded(list(now.items()))) == keys(uncoded(decoded))
    for whole in (path, of_0_1):  # neither needs the words that were taken out
        assert main(["session", "redact", str(whole), str(tmp_path / f"no-{whole.name}")]) == 0
        again = played(tmp_path / f"no-{whole.name}", redecode="on", id="x")
        assert gaps(again) == gaps(list(now.items()))
    assert same(before, estimates(stream_all([then])[0]))
    assert same(before, estimates(stream_all([now])[0]))


def gaps(items: list[Chunk | Event]) -> list[tuple[object, ...]]:
    """Return start, end, reason and lost samples of each gap."""
    events = [i for i in items if isinstance(i, Event) and i.kind == "gap"]
    return [(e.start, e.end, e.detail["why"], e.detail["lost"]) for e in events]


def test_redecoding_needs_frames(recorded: tuple[Path, list[Item]]) -> None:
    with pytest.raises(Refused, match="leave out redecode"):
        played(recorded[0], redecode="on")


def test_cut_from_any_second(recorded: tuple[Path, list[Item]]) -> None:
    path, _ = recorded
    times, data = samples(played(path))
    for begin, end in ((0, 20), (33.3, 47.7), (60, 1e6), (89.5, 91)):
        low, high = times[0] + round(begin * NS), times[0] + round(end * NS)
        inside = (times >= low) & (times < high)
        part = played(path, from_=str(begin), to=str(end))
        cut_times, cut = samples(part)
        assert (cut_times == times[inside]).all()
        assert (cut == data[inside]).all()
        assert [i.kind for i in part if isinstance(i, Event)].count("connected") == 1
        events = [i for i in part if isinstance(i, Event) and i.kind not in ("connected", "notice")]
        before = [event for event in events if event.start < low]
        assert [event.kind for event in before] == ["cuff"] * (begin > 20)
        assert all(event.start < high for event in events)


def test_seeking_reads_no_more_than_it_must(recorded: tuple[Path, list[Item]]) -> None:
    path, _ = recorded
    session = open_session(path, {"from": "80"}, pace=MAX)
    with SessionFile(path) as file:
        places = session._places(file)
        events = file.holding(file.numbers("demo/events"))
        last = file.blocks[-1]
        assert last.end >= session.last
        start = next(n for n, block in enumerate(file.blocks) if block.end >= session.begin)
        assert set(places) == {*(e for e in events if e < start), *range(start, len(file.blocks))}


def test_a_loop_goes_on_in_time(recorded: tuple[Path, list[Item]]) -> None:
    once, data = samples(played(recorded[0], from_="10", to="14"))
    items = played(recorded[0], from_="10", to="14", loop="3")
    times, thrice = samples(items)
    assert (np.diff(times) > 0).all()
    assert thrice.tobytes() == data.tobytes() * 3
    assert (times[: len(once)] == once).all()
    gaps = [i for i in items if isinstance(i, Event) and "begins again" in str(i.detail)]
    assert len(gaps) == 2
    assert keys(played(recorded[0], loop="1")) == keys(played(recorded[0]))
    endless = open_session(recorded[0], {"from": "10", "to": "14", "loop": "on"}).items()
    seen = [next(endless) for _ in range(500)]
    assert len([i for i in seen if isinstance(i, Event) and i.kind == "gap"]) > 5


def test_what_still_holds_comes_along(tmp_path: Path) -> None:
    path = tmp_path / "worn.mcap"
    recorder = Recorder(path, VirtualClock(), {})
    device = demo(20, pace=Pace(float("inf"), 0.4))
    recorder.enrol(device, "s")
    start = VirtualClock().now()
    told = [
        Event("demo", "wear", start, start, {"worn": virtual_device})
        for virtual_device in (False, True)
    ]
    told.append(Event("demo", "marker", start, start, {"text": "over"}))
    for item in [*told, *device.items(start)]:
        recorder.take(item)
    recorder.close()
    items = without_remark(played(path, from_="10"))
    assert [i.kind for i in items[:2] if isinstance(i, Event)] == ["wear", "connected"]
    assert isinstance(items[0], Event)
    assert items[0].detail == {"worn": True}
    assert "over" not in str(items)


@pytest.mark.slow
def test_from_the_command_line(tmp_path: Path) -> None:
    """``--record`` and ``replay``: the same lines of JSON, session and latency aside."""
    path = tmp_path / "run.mcap"
    program = [sys.executable, "-m", "innpar.stream.cli.main"]
    common = ["--broker", "embedded", "--speed", "max", "--json"]
    runs = []
    for arguments in (
        ["--device", "demo:3", "--duration", "70", "--record", str(path)],
        ["replay", str(path)],
    ):
        done = subprocess.run(
            [*program, *arguments, *common], capture_output=True, text=True, timeout=90, check=True
        )
        beats = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(beats) > 40
        for beat in beats:
            for key in ("session", "latency_ms", "source"):
                beat.pop(key)
        runs.append(beats)
    assert runs[0] == runs[1]


def test_several_devices_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "two.mcap"
    live = record(path, demo(30), demo(30, seed=2, id="other", rate=135.0))
    with pytest.raises(Refused, match=r"replay --only demo.*there are: demo, other"):
        create(f"replay:{path}")
    with pytest.raises(NotFound, match="has no device 'third'"):
        create(f"replay:{path}?device=third")
    for name in ("demo", "other"):
        device = create(f"replay:{path}?device={name}", pace=MAX)
        again = estimates(stream_all([device])[0])
        assert len(again) > 15
        assert same(estimates(live, name), again)


@pytest.mark.parametrize("as_cut", [False, True])
def test_the_reading_in_force_comes_along(
    as_cut: bool, recorded: tuple[Path, list[Item]], tmp_path: Path
) -> None:
    """A reading from before the replayed part, with the calibration learnt from it."""
    path, live = recorded
    options = {"from": "40"}
    if as_cut:
        path, options = tmp_path / "part.mcap", {}
        assert main(["session", "cut", str(recorded[0]), str(path), "--from", "40"]) == 0
    items, _, _ = stream_all([open_session(path, options, pace=MAX)])
    events = [i for i in items if isinstance(i, Event)]
    (told,) = [event for event in events if code_of(event) is NoticeCode.EARLIER_READING]
    assert "with its calibration" in told.detail["text"]
    again = [beat for beat in estimates(items) if beat.valid]
    states = {(beat.calibration.sbp, beat.calibration.dbp) for beat in again}
    then = [beat for beat in estimates(live) if beat.valid and beat.peak > again[0].peak]
    assert states == {(beat.calibration.sbp, beat.calibration.dbp) for beat in then}
    settled = [beat for beat in again if beat.peak > again[0].peak + 15 * NS]
    assert len(settled) > 12
    off = []
    for beat in settled:
        one = min(then, key=lambda other: abs(other.peak - beat.peak))
        if beat.sbp is not None and one.sbp is not None and abs(one.peak - beat.peak) < NS // 30:
            off.append(abs(beat.sbp - one.sbp))
    assert np.mean(off) < 2.0  # learnt anew it would be 4


def test_a_reading_that_had_not_taken_effect_comes_along_too(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    recorder = Recorder(path, VirtualClock(), {})
    device = demo(30, cuff=False)
    recorder.enrol(device, "s")
    for item in device.items(NS):
        recorder.take(item)
        if isinstance(item, Event) and item.kind == "connected":
            for at, sbp in ((NS, 120.0), (3 * NS, 130.0)):
                recorder.take(Event("demo", "cuff", at, at, {"sbp": sbp, "dbp": 80.0}))
    recorder.close()
    items = played(path, from_="10")
    events = [i for i in items if isinstance(i, Event)]
    assert [e.detail["sbp"] for e in events if e.kind == "cuff"] == [130.0]
    assert any("learnt again" in str(event.detail) for event in events)
    items = played(path, from_="10", cuffs="off")
    assert "cuff" not in [i.kind for i in items if isinstance(i, Event)]


def test_a_replay_requires_what_its_recording_did(tmp_path: Path) -> None:
    path = tmp_path / "strict.mcap"
    live = estimates(record(path, demo(40, seed=3), require_calibration=True))
    assert "uncalibrated" in {reason for beat in live for reason in beat.reasons}
    device = open_session(path, {}, pace=MAX)
    settings = load({}, None, {})
    (line,) = as_recorded(settings, [device])
    assert "--no-require-calibration" in line
    asked = required(settings, device)
    again = estimates(stream_all([device], require_calibration=asked)[0])
    assert same(live, again)
    for asked in (False, True):
        assert required(load({"require_calibration": asked}, None, {}), device) is asked
    assert not required(settings, demo())


def test_a_replay_has_the_latency_of_its_recording(tmp_path: Path) -> None:
    path = tmp_path / "low.mcap"
    items = record(path, demo(30, seed=3), mode=LatencyMode("low"))
    live = estimates(items)
    device = open_session(path, {}, pace=MAX)
    settings = load({}, None, {})
    (line,) = as_recorded(settings, [device])
    assert "--latency normal" in line
    for mode in (latency_mode(settings, device), None):
        assert same(live, estimates(stream_all([device], mode=mode)[0]))
    assert {item.latency for item in items if isinstance(item, DeviceInfo)} == {"low"}
    normal = latency_mode(load({"latency": "normal"}, None, {}), device)
    assert not same(live, estimates(stream_all([device], mode=normal)[0]))
    assert latency_mode(settings, demo()) == NORMAL


def test_nobody_stays_nobody(
    recorded: tuple[Path, list[Item]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A replay of a replay, recorded again, and a part of one."""
    first = recorded[0]
    second, third, part = (tmp_path / f"{n}.mcap" for n in range(3))
    record(second, open_session(first, {"to": "30"}, pace=MAX))
    record(third, open_session(second, {"from": "5"}, pace=MAX))
    assert main(["session", "cut", str(third), str(part), "--from", "5"]) == 0
    joined = tmp_path / "joined.mcap"
    late = tmp_path / "late.mcap"
    assert main(["session", "cut", str(first), str(late), "--from", "60"]) == 0
    assert main(["session", "merge", str(part), str(late), str(joined)]) == 0
    for path in (first, second, third, part, joined):
        assert main(["session", "info", str(path)]) == 0
        assert "demo: simulated, worn at" in capsys.readouterr().out
        page = tmp_path / f"{path.stem}.html"
        assert main(["report", str(path), str(page)]) == 0
        assert "SIMULATED, NOT A PERSON" in page.read_text()
        for begin in ("0", "3"):
            said = [str(i.detail) for i in played(path, from_=begin) if isinstance(i, Event)]
            assert len([text for text in said if "simulated wearer" in text]) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("?from=-1", "from must be a number"),
        ("?from=9&to=3", "must be greater than"),
        ("?from=1000", "past its end"),
        ("?loop=often", "loop must be on, off or a number of times"),
        ("?loop=1.5", "loop must be on, off or a number of times"),
        ("?loop=-1", "loop must be on, off or a number of times"),
        ("?loop=0", "loop must be on, off or a number of times"),
        ("?form=3", "did you mean from"),
    ],
)
def test_options_that_make_no_sense(
    recorded: tuple[Path, list[Item]], options: str, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        create(f"replay:{recorded[0]}{options}")


def _chunks() -> st.SearchStrategy[Chunk]:
    finite = st.floats(allow_nan=False, width=64)
    numbers = st.one_of(finite, st.integers(-(2**31), 2**31 - 1).map(float), st.just(np.nan))

    def build(shape: tuple[int, int]) -> st.SearchStrategy[Chunk]:
        return st.builds(
            lambda data, times, rate: Chunk(
                "d", "ppg", tuple(f"c{n}" for n in range(shape[1])), rate, times, data
            ),
            arrays.arrays(np.float64, shape, elements=numbers),
            arrays.arrays(np.int64, shape[0]),
            st.floats(0.1, 1e4),
        )

    return st.tuples(st.integers(0, 20), st.integers(1, 5)).flatmap(build)


@given(_chunks())
def test_samples_come_back_bit_for_bit(chunk: Chunk) -> None:
    back = unpack_chunk("d", "ppg", chunk.channels, pack_chunk(chunk))
    assert keys([back]) == keys([chunk])


@given(
    st.integers(-(2**62), 2**62),
    st.dictionaries(
        st.text(),
        st.one_of(
            st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text()
        ),
    ),
)
def test_events_come_back(start: int, detail: dict[str, object]) -> None:
    event = Event("d", "notice", start, start + 1, detail)
    assert unpack_event("d", pack_event(event)) == event


def test_another_model_than_the_recorded_one_is_told(tmp_path: Path) -> None:
    devices = []
    for number, run in enumerate(({"model": {"id": "old@1"}}, {"model": {"id": "new@2"}}, {})):
        recorder = Recorder(tmp_path / f"{number}.mcap", VirtualClock(), run)
        recorder.enrol(demo(), f"{number}")
        for item in demo(5).items(NS):
            recorder.take(item)
        recorder.close()
        devices.append(open_session(recorder.path, {"id": f"d{number}"}))
    told = list(other_model([*devices, demo()], "new@2"))
    assert told == ["d0: recorded with old@1, now estimated with new@2"]


@pytest.mark.slow
def test_another_reading_than_the_recorded_one(recorded: tuple[Path, list[Item]]) -> None:
    program = [sys.executable, "-m", "innpar.stream.cli.main", "replay", str(recorded[0])]
    how = ["--no-cuffs", "--cuff", "150/90@20", "--speed", "max", "--broker", "embedded", "--json"]
    done = subprocess.run([*program, *how], capture_output=True, text=True, timeout=90, check=True)
    beats = [json.loads(line) for line in done.stdout.splitlines()]
    readings = {(b["calibration"]["sbp"], b["calibration"]["dbp"]) for b in beats}
    assert readings == {(None, None), (150, 90)}
