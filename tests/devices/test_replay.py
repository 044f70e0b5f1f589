"""Recordings: every format is recognised, and plays the same for any cut and pace."""

import gzip
import math
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from innpar.devices import NS, BadPacket, Chunk, Event, Refused
from innpar.devices.files.recording import NO_DATE
from innpar.devices.replay import open_recording
from innpar.devices.timing.pace import Pace, VirtualClock

Samples = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]

PHONE = 1_749_547_635_031_000_000
"""2025-06-10T09:27:15.031Z."""


def joined(items: Iterable[Chunk | Event], signal: str = "ppg") -> Samples:
    chunks = [item for item in items if isinstance(item, Chunk) and item.signal == signal]
    return np.concatenate([c.times for c in chunks]), np.concatenate([c.data for c in chunks])


def notices(items: Iterable[Chunk | Event]) -> list[str]:
    return [i.detail["text"] for i in items if isinstance(i, Event) and i.kind == "notice"]


def polar(rows: int = 400) -> list[str]:
    """Rows of a Polar log whose sensor clock is years off: 55 Hz, counts 1000 + row."""
    lines = ["Phone timestamp;sensor timestamp [ns];channel 0;channel 1;channel 2;ambient"]
    for row in range(rows):
        sensor = 599_616_000_000_000_123 + round(row * NS / 55)
        millis = 15_031 + round(row * 1000 / 55)
        phone = (
            f"2025-06-10T09:{27 + millis // 60000:02}:{millis // 1000 % 60:02}.{millis % 1000:03}"
        )
        lines.append(f"{phone};{sensor};{1000 + row};{2000 + row};-{3000 + row};7;")
    return lines


def write(path: Path, lines: Iterable[str]) -> Path:
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def record(path: Path, samples: int = 5000, **changed: object) -> Path:
    """A patient record: the pressure's code is its sample number, the PPG lags by 0.4 s."""
    arrays = {
        "ppg": np.arange(samples, dtype=np.int16),
        "abp": np.arange(samples, dtype=np.int16),
        "ppg_scale": 0.5,
        "abp_scale": 0.25,
        "fs": 125.0,
        "source": "made up",
        "win_good": np.ones(samples // 1250, bool),
        "win_lag": np.full(samples // 1250, 0.4, np.float32),
    }
    arrays.update(changed)
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


@pytest.mark.parametrize("name", ["S01_r1_PPG.txt", "S01_r1_PPG.txt.gz", "no-extension"])
def test_polar_intervals_are_the_sensors_and_the_anchor_is_the_phones(
    tmp_path: Path, name: str
) -> None:
    device = open_recording(write(tmp_path / name, polar()), {})
    assert (device.source, device.polarity, device.site) == ("replay", -1, "wrist")
    assert device.id == f"replay-{'no-extension' if name == 'no-extension' else 's01-r1-ppg'}"
    items = list(device.items())
    times, data = joined(items)
    assert np.array_equal(times - PHONE, np.rint(np.arange(400) * (NS / 55)).astype(np.int64))
    assert np.array_equal(data[10], [1010.0, 2010.0, -3010.0, 7.0])
    first = items[0]
    assert isinstance(first, Event)
    assert first.start == PHONE
    assert first.detail["format"] == "Polar Sensor Logger"
    assert first.detail["channels"] == ["ppg0", "ppg1", "ppg2", "ambient"]
    assert first.detail["rate"] == pytest.approx(55, abs=1e-3)


def test_a_start_past_the_end_of_a_recording_of_unknown_length(tmp_path: Path) -> None:
    device = open_recording(write(tmp_path / "a.txt", polar()), {"from": "8"})
    with pytest.raises(Refused, match="from=8 is past its end"):
        list(device.items())


@pytest.mark.parametrize("channel", ["ppg1", "1", "channel 1", "PPG1"])
def test_one_channel_can_be_chosen(tmp_path: Path, channel: str) -> None:
    device = open_recording(write(tmp_path / "a.txt", polar()), {"channel": channel})
    chunk = next(item for item in device.items() if isinstance(item, Chunk))
    assert chunk.channels == ("ppg1",)
    assert chunk.data[3, 0] == 2003


def test_rows_that_cannot_be_read_are_skipped_counted_and_reported(tmp_path: Path) -> None:
    lines = polar()
    lines[5] = "garbage"
    lines[50] = lines[50].replace(";1049;", ";10x49;")
    lines[51] = lines[51].replace(";1050;", ";nan;")
    lines[52] = lines[52].replace(";1051;", ";;")
    lines[60], lines[61] = lines[61], lines[60]
    lines[70] = lines[69]
    items = list(open_recording(write(tmp_path / "a.txt", lines), {}).items())
    times, data = joined(items)
    assert len(times) == 398
    assert np.isnan(data[:, 0]).sum() == 2
    # Times that go backward or stand still are the pipeline's to judge.
    assert (np.diff(times) < 0).sum() == 1
    assert (np.diff(times) == 0).sum() == 1
    assert notices(items) == [
        "a.txt: 2 of 400 rows could not be read and were skipped (the first is row 5)"
    ]


@pytest.mark.parametrize(
    ("name", "cell", "anchor"),
    [
        ("time", lambda s: f"{s:.3f}", NO_DATE),
        ("t", lambda s: f"{s * 1000:.0f}", NO_DATE),
        ("Time [s]", lambda s: f"{s:.3f}", NO_DATE),
        ("time_ms", lambda s: f"{s * 1000:.1f}", NO_DATE),
        ("time (us)", lambda s: f"{s * 1e6:.0f}", NO_DATE),
        ("timestamp", lambda s: f"{1_700_000_000 + s:.3f}", 1_700_000_000 * NS),
        ("timestamp", lambda s: f"{1_700_000_000_000 + s * 1e3:.0f}", 1_700_000_000 * NS),
        ("timestamp", lambda s: f"{1_700_000_000_000_000 + s * 1e6:.0f}", 1_700_000_000 * NS),
        ("timestamp", lambda s: str(1_700_000_000 * NS + round(s * NS)), 1_700_000_000 * NS),
        ("date", lambda s: f"2023-11-14T22:13:{20 + s:06.3f}Z", 1_700_000_000 * NS),
        ("date", lambda s: f"2023/11/14 23:13:{20 + s:06.3f}+01:00", 1_700_000_000 * NS),
        ("time", lambda s: f"00:00:{s:06.3f}", NO_DATE),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_time_formats_of_a_table(
    tmp_path: Path, name: str, cell: Callable[[float], str], anchor: int, delimiter: str
) -> None:
    seconds = np.arange(500) * 0.01
    rows = [delimiter.join([name, "red", "note"])]
    rows += [delimiter.join([cell(s), f"{s:.2f}", "1"]) for s in seconds]
    device = open_recording(write(tmp_path / "a.csv", rows), {"site": "finger", "polarity": "1"})
    assert (device.polarity, device.site, device.recording.channels) == (1, "finger", ("red",))
    times, data = joined(device.items())
    assert np.abs(times - anchor - np.rint(seconds * NS)).max() < 1000
    assert np.allclose(data[:, 0], seconds)
    assert device.recording.rate == pytest.approx(100, rel=1e-4)


@pytest.mark.parametrize("rate", ["100", "62.5"])
def test_a_table_without_times_counts_all_rows(tmp_path: Path, rate: str) -> None:
    lines = [str(row) for row in range(300)]
    lines[7] = "?!"
    options = {"rate": rate, "channel": "0"}  # a counter is no light by its shape
    device = open_recording(write(tmp_path / "a.csv", lines), options)
    assert device.polarity == 0
    items = list(device.items())
    times, data = joined(items)
    assert np.array_equal(times, NO_DATE + np.rint(data[:, 0] * NS / float(rate)).astype(np.int64))
    assert len(times) == 299
    assert len(notices(items)) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ["# a comment", "# another", "Time;PPG", *(f"0,{i:03d};{i},5" for i in range(200))],
        ["sep=,", "Time,PPG", "s,mV", *(f"0.{i:03d},{i}.5" for i in range(200))],
        ["\ufefftime ppg", *(f"0.{i:03d}   {i}.5" for i in range(200))],
        ["", "", *(f"\t0.{i:03d}\t{i}.5".strip() for i in range(200))],
        ["index,time,PPG,", *(f"{i},0.{i:03d},{i}.5," for i in range(200))],
    ],
    ids=["decimal comma", "preamble and units", "blanks", "no header", "index"],
)
def test_layouts_of_a_table(tmp_path: Path, lines: list[str]) -> None:
    times, data = joined(open_recording(write(tmp_path / "a", lines), {}).items())
    assert np.array_equal(times - NO_DATE, np.arange(200) * (NS // 1000))
    assert np.allclose(data[:, 0], np.arange(200) + 0.5)


def test_empatica(tmp_path: Path) -> None:
    lines = ["1680686620.50", "64.000000", *(f"{row / 4:.2f}" for row in range(640))]
    device = open_recording(write(tmp_path / "BVP.csv", lines), {})
    assert (device.id, device.polarity, device.site) == ("replay-bvp", 1, "wrist")
    times, data = joined(device.items())
    assert np.array_equal(times, 1_680_686_620_500_000_000 + np.arange(640) * (NS // 64))
    assert np.array_equal(data[:, 0], np.arange(640) / 4)


def test_emotibit_joins_its_colours(tmp_path: Path) -> None:
    lines = ["1000,0,4,TX,1,100,TL,2025-06-27_09-57-00-250000,LC,6170.5,"]
    for packet in range(50):
        stamp = 2000 + 80 * packet
        one, two = 2 * packet, 2 * packet + 1
        lines.append(f"{stamp},{4 * packet},2,PI,1,100,{one},{two}")
        lines.append(f"{stamp + 1},{4 * packet + 1},2,PR,1,100,{one + 0.5},{two + 0.5}")
        if packet != 20:  # this one was lost on the way
            lines.append(f"{stamp},{4 * packet + 2},2,PG,1,100,{one + 0.25},{two + 0.25}")
        lines.append(f"{stamp},{4 * packet + 3},1,EA,1,100,0.97")
    device = open_recording(write(tmp_path / "raw.csv", lines), {})
    assert device.polarity == -1
    times, data = joined(device.items())
    kept = [row for row in range(100) if row not in (40, 41)]
    assert np.array_equal(data[:, 0], kept)
    assert np.array_equal(data - data[:, :1], [[0, 0.5, 0.25]] * 98)
    anchor = 1_751_018_220_250_000_000 - 1000 * 1_000_000
    assert np.array_equal(times - anchor, (1960 + 40 * np.array(kept)) * 1_000_000)


def test_a_record_carries_its_pressure_at_the_ppgs_time(tmp_path: Path) -> None:
    ppg = np.arange(5000, dtype=np.int16)
    ppg[100:110] = -32768
    device = open_recording(record(tmp_path / "r.npz", ppg=ppg), {})
    assert (device.polarity, device.site) == (1, "finger")
    items = list(device.items())
    times, data = joined(items)
    assert np.array_equal(times, NO_DATE + np.arange(5000) * (NS // 125))
    assert np.array_equal(np.flatnonzero(np.isnan(data[:, 0])), np.arange(100, 110))
    assert data[99, 0] == 49.5
    abp_times, abp = joined(items, "abp")
    assert np.array_equal(abp_times, NO_DATE + np.arange(4950) * (NS // 125) + 400_000_000)
    assert np.array_equal(abp[:, 0], np.arange(4950) / 4)
    first = items[0]
    assert isinstance(first, Event)
    assert first.detail["lag"] == 0.4
    assert first.detail["duration"] == 40.0


def test_the_lag_follows_drift_but_not_outliers(tmp_path: Path) -> None:
    windows = 400
    lag = np.linspace(0.50, 0.40, windows).astype(np.float32)
    lag[::7] = 1.2  # off by a beat
    good = np.arange(windows) % 5 > 0
    silent = np.zeros(windows * 1250, np.int16)
    path = record(
        tmp_path / "r.npz", len(silent), ppg=silent, abp=silent, win_good=good, win_lag=lag
    )
    times, _ = joined(open_recording(path, {}).items(), "abp")
    assert np.all(np.diff(times) > 0)
    moved = (times - NO_DATE) / NS - np.arange(len(times)) / 125
    assert np.abs(moved - np.linspace(0.5, 0.4, len(silent))[: len(moved)]).max() < 0.012
    times, _ = joined(open_recording(path, {"lag": "0.3"}).items(), "abp")
    assert np.all(times - NO_DATE == np.arange(len(times)) * (NS // 125) + 300_000_000)


@pytest.fixture(params=["polar", "record"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "record":
        return record(tmp_path / "r.npz")
    return write(tmp_path / "a.txt.gz", polar(3000))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seconds=st.floats(0.01, 100.0),
    begin=st.sampled_from([0.0, 0.5, 17.3]),
    length=st.sampled_from([0.3, 11.0, 1000.0]),
)
def test_any_cut_gives_the_same_samples(
    file: Path, seconds: float, begin: float, length: float
) -> None:
    whole = open_recording(file, {})
    low, high = (whole.recording.start + round(s * NS) for s in (begin, begin + length))
    options = {"from": str(begin), "to": str(begin + length)}
    items = list(open_recording(file, options, pace=Pace(1.0, seconds)).items())
    times, data = joined(whole.items())
    inside = (times >= low) & (times < high)
    assert np.array_equal(joined(items)[0], times[inside])
    assert np.array_equal(joined(items)[1], data[inside])
    if whole.recording.format == "record":
        last = times[inside][-1]
        times, data = joined(whole.items(), "abp")
        inside = (times >= low) & (times <= last)
        chunks = [i for i in items if isinstance(i, Chunk) and i.signal == "abp"]
        assert sum(map(len, chunks)) == inside.sum()
        if chunks:
            assert np.array_equal(joined(items, "abp")[0], times[inside])
            assert np.array_equal(joined(items, "abp")[1], data[inside])


@pytest.mark.parametrize("speed", [1.0, 20.0, math.inf])
async def test_any_pace_gives_the_same_items_in_their_time(file: Path, speed: float) -> None:
    clock = VirtualClock()
    began = clock.now()
    device = open_recording(file, {}, pace=Pace(speed))
    expected = list(device.items())
    async with device.open(clock=clock) as stream:
        count = 0
        async for item in stream:
            wanted = expected[count]
            count += 1
            if isinstance(item, Event) or isinstance(wanted, Event):
                assert item == wanted
                continue
            assert (item.signal, item.channels) == (wanted.signal, wanted.channels)
            assert np.array_equal(item.times, wanted.times)
            assert np.array_equal(item.data, wanted.data, equal_nan=True)
            if item.signal == "ppg":
                since = 0 if math.isinf(speed) else item.times[-1] - device.recording.start
                assert clock.now() - began == pytest.approx(since / speed, abs=2)
    assert count == len(expected)


async def test_leaving_early_closes_the_file(file: Path) -> None:
    async with open_recording(file, {}).open(clock=VirtualClock()) as stream:
        async for item in stream:
            if isinstance(item, Chunk):
                break
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


def test_a_reference_follows_the_samples_of_its_span(tmp_path: Path) -> None:
    last = NO_DATE
    for item in open_recording(record(tmp_path / "r.npz"), {}).items():
        if isinstance(item, Chunk) and item.signal == "abp":
            assert last - NS <= item.times[0]
            assert item.times[-1] <= last
        elif isinstance(item, Chunk):
            last = int(item.times[-1])


def test_a_long_file_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    def most(seconds: int) -> int:
        path = tmp_path / f"{seconds}.csv"
        path.write_text("\n".join(str(row % 97) for row in range(seconds * 100)))
        tracemalloc.start()
        for _ in open_recording(path, {"rate": "100", "channel": "0"}).items():
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(60)
    assert most(2000) < 1.2 * most(400)


def test_a_long_hole_divides_a_chunk_and_is_not_waited_out(tmp_path: Path) -> None:
    seconds = [*np.arange(0, 5, 0.01), *np.arange(7200, 7205, 0.01)]
    rows = ["time,ppg", *(f"{s:.2f},1" for s in seconds)]
    chunks = [
        item
        for item in open_recording(write(tmp_path / "a.csv", rows), {}, pace=Pace(1.0, 3.0)).items()
        if isinstance(item, Chunk)
    ]
    assert max(int(c.times[-1] - c.times[0]) for c in chunks) <= 3 * NS
    assert sum(map(len, chunks)) == len(seconds)


def test_a_truncated_file_yields_its_samples_and_then_an_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{i / 100:.2f},{rng.normal():.9f}" for i in range(40_000)]
    path = write(tmp_path / "a.csv.gz", ["time,ppg", *lines])
    path.write_bytes(path.read_bytes()[:-20_000])
    items = open_recording(path, {}).items()
    read: list[Chunk | Event] = []
    with pytest.raises(BadPacket, match=r"a\.csv\.gz: the compressed data is cut short"):
        read.extend(items)
    assert joined(read)[0][-1] > NO_DATE + 300 * NS
