"""Files that are not recordings, damaged recordings, and real ones."""

import contextlib
import gzip
import io
import math
import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from innpar.devices import NS, BadPacket, Chunk, DeviceError, NotFound, Refused
from innpar.devices.registry import create
from innpar.devices.replay import open_recording
from support.paths import SHARED

DATA = SHARED / "data"
TABLE = b"time,ppg,abp\n" + b"".join(b"0.%02d,%d,80\n" % (i, i) for i in range(100))


def record() -> dict[str, object]:
    codes = np.arange(2000, dtype=np.int16)
    return {"ppg": codes, "abp": codes, "ppg_scale": 1.0, "abp_scale": 1.0, "fs": 125.0}


NOISE = random.Random(5).randbytes(5000)

BROKEN = {
    "empty": (b"", Refused, "empty"),
    "empty, packed": (gzip.compress(b""), Refused, "empty"),
    "garbage": (NOISE, Refused, "neither text nor"),
    "garbage, packed": (gzip.compress(NOISE), Refused, "neither text nor"),
    "cut short": (gzip.compress(NOISE)[:3000], BadPacket, "cut short or damaged"),
    "damaged": (gzip.compress(TABLE)[:40] + b"\0" * 40, BadPacket, "cut short or damaged"),
    "zip": (b"PK\x03\x04" + NOISE, Refused, "damaged .npz"),
    "prose": (
        b"Dear diary,\ntoday my heart\nwas beating.\n" * 9,
        Refused,
        "not a table of numbers",
    ),
    "comments": (b"# nothing\n# at all\n", Refused, "contains only comments"),
    "blank lines": (b"\n \n\n", Refused, "contains only comments"),
    "one row": (b"time,ppg\n0.01,5\n", Refused, "fewer than two rows"),
    "only a header": (b"time,ppg\n", Refused, "not a table of numbers"),
    "no times": (b"ppg\n1\n2\n3\n4\n", Refused, r"no time column; add \?rate=HZ"),
    "which column": (b"time,a,b\n0.01,1,2\n0.02,1,2\n0.03,1,2\n", Refused, r"\?channel=NAME.*a, b"),
    "row numbers": (b"1;5\n2;6\n3;7\n4;8\n5;9\n", Refused, r"no time column; add \?rate=HZ"),
    "a counter": (b"".join(b"%d\n" % (i % 256) for i in range(900)), Refused, "time column"),
    "time stands still": (b"time,ppg\n" + b"5.0,5\n" * 50, Refused, "unit of 'time' is unclear"),
    "one sample an hour": (
        b"time,ppg\n" + b"".join(b"2024-01-01T%02d:00,5\n" % h for h in range(24)),
        Refused,
        "rate of .* Hz; add",
    ),
    "polar acceleration": (
        b"Phone timestamp;sensor timestamp [ns];X [mg];Y [mg];Z [mg]\n",
        Refused,
        "a Polar log of X .mg., Y .mg., Z .mg.",
    ),
    "polar, no rows": (
        b"Phone timestamp;sensor timestamp [ns];channel 0;ambient\n",
        Refused,
        "without samples",
    ),
    "empatica acceleration": (
        b"1680686620.0, 1680686620.0, 1680686620.0\n32.0, 32.0, 32.0\n1,2,3\n",
        Refused,
        "BVP.csv",
    ),
    "empatica temperature": (b"1680686620.0\n4.0\n33.1\n33.2\n", Refused, "BVP.csv"),
    "emotibit without light": (b"100,1,1,EA,1,100,0.9\n" * 9, Refused, "without light"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_other_files_are_refused_in_one_line(tmp_path: Path, what: str) -> None:
    content, error, message = BROKEN[what]
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        open_recording(path, {})
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no such file"):
        create(f"replay:{tmp_path}/none.csv")
    with pytest.raises(Refused, match="this is a folder"):
        create(f"replay:{tmp_path}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("chanel=ppg", "did you mean channel"),
        ("rate=55", "no option 'rate'"),
        ("channel=ppg7", "no column 'ppg7' for channel; there are: ppg0, ambient"),
        ("polarity=2", "polarity must be one of 1, -1"),
        ("site=toe", "site must be one of"),
        ("from=-1", "from must be a number from 0"),
        ("from=10&to=5", "to=5 must be greater than from=10"),
    ],
)
def test_invalid_options_of_a_polar_log(tmp_path: Path, options: str, message: str) -> None:
    path = tmp_path / "a.txt"
    row = "2025-06-10T09:27:15.031;{};5;6;\n"
    path.write_text(
        "Phone timestamp;sensor timestamp [ns];channel 0;ambient\n"
        + "".join(row.format(i * 18_181_818) for i in range(99))
    )
    with pytest.raises(Refused, match=message):
        create(f"replay:{path}?{options}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": "0"}, "rate must be a number from 1"),
        ({"unit": "days"}, "unit must be one of s, ms, us, ns, min, h"),
        ({"unit": "ns"}, "rate of .* Hz; add"),
        ({"time": "none"}, "no column 'none' for time"),
    ],
)
def test_invalid_options_of_a_table(tmp_path: Path, options: dict[str, str], message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TABLE)
    with pytest.raises(Refused, match=message):
        open_recording(path, options)


@pytest.mark.parametrize(
    "changed",
    [
        {"fs": None},
        {"fs": math.nan},
        {"fs": np.ones(3)},
        {"ppg": None},
        {"ppg": np.zeros(1000, np.int16)},
        {"ppg": np.zeros(2000)},
        {"abp": np.zeros((2000, 2), np.int16)},
        {"abp": np.array([object()])},
        {"ppg_scale": "much"},
        {"win_lag": np.zeros(3), "win_good": np.ones(4, bool)},
    ],
)
def test_a_record_of_another_layout_is_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    arrays = {k: v for k, v in (record() | changed).items() if v is not None}
    np.savez(tmp_path / "r.npz", **arrays)
    with pytest.raises(Refused, match=r"r\.npz"):
        open_recording(tmp_path / "r.npz", {})


def test_a_start_past_the_end_of_a_recording(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", **record())
    with pytest.raises(Refused, match="less than its 16 s"):
        open_recording(tmp_path / "r.npz", {"from": "16"})


def sound() -> dict[str, bytes]:
    packed = io.BytesIO()
    np.savez_compressed(packed, **record())
    return {"table": TABLE, "packed table": gzip.compress(TABLE), "record": packed.getvalue()}


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    what=st.sampled_from(sorted(sound())),
    damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
    keep=st.floats(0.0, 1.0),
)
def test_no_damage_gives_a_traceback(
    tmp_path: Path, what: str, damage: list[tuple[float, int]], keep: float
) -> None:
    content = bytearray(sound()[what])
    for where, byte in damage:
        content[min(int(where * len(content)), len(content) - 1)] = byte
    path = tmp_path / "file"
    path.write_bytes(content[: max(1, round(keep * len(content)))])
    # Anything but a device's error is a traceback, and fails.
    with contextlib.suppress(DeviceError):
        for item in open_recording(path, {"channel": "1"} if "table" in what else {}).items():
            assert not isinstance(item, Chunk) or len(item)


def recordings(pattern: str) -> list[Path]:
    return sorted(DATA.glob(pattern))


def play(path: Path, **options: str) -> tuple[list[Chunk], float]:
    began = time.process_time()
    chunks = [i for i in open_recording(path, options).items() if isinstance(i, Chunk)]
    signal = sum(len(c) / c.rate for c in chunks if c.signal == "ppg")
    return chunks, signal / (time.process_time() - began)


@pytest.mark.real
@pytest.mark.skipif(not DATA.exists(), reason="the recordings in ../shared/data are not here")
def test_real_wristband_recordings_play() -> None:
    paths = recordings("wearable/polar_verity_sense/*_PPG.txt.gz")
    assert len(paths) == 6
    for path in paths:
        chunks, speed = play(path)
        times = np.concatenate([c.times for c in chunks])
        rows = gzip.decompress(path.read_bytes()).count(b"\n") - 1
        assert len(times) == rows
        assert 54.7 < (len(times) - 1) * NS / (times[-1] - times[0]) < 55.0
        assert np.all(np.diff(times) < 1.5 * NS / 55)
        assert NS * 1_749_000_000 < times[0] < NS * 1_751_000_000
        assert speed > 1000


@pytest.mark.real
@pytest.mark.skipif(not DATA.exists(), reason="the recordings in ../shared/data are not here")
@pytest.mark.parametrize(
    ("name", "options", "rate", "samples"),
    [
        ("empatica_e4/BVP.csv.gz", {}, 64.0, 234_311),
        ("emotibit/emotibit_raw.csv.gz", {}, 25.0, 1_829),
        ("berrymed/berrymed_100Hz.csv.gz", {"rate": "100"}, 100.0, 88_836),
    ],
)
def test_other_real_wearables_play(
    name: str, options: dict[str, str], rate: float, samples: int
) -> None:
    chunks, speed = play(DATA / "wearable" / name, **options)
    assert sum(map(len, chunks)) == samples
    assert chunks[0].rate == pytest.approx(rate, rel=1e-3)
    assert speed > 500


@pytest.mark.real
@pytest.mark.skipif(not DATA.exists(), reason="the recordings in ../shared/data are not here")
def test_a_real_records_pressure_beats_in_time_with_its_ppg() -> None:
    paths = recordings("abp/bidmc_125hz/*.npz") + recordings("abp/mimic3_125hz/*.npz")[:4]
    records = 0
    for path in paths:
        with np.load(path) as arrays:
            good = np.flatnonzero(arrays["win_good"])
        likeness = [likeness_at_shifts(path, w) for w in good[:: max(1, len(good) // 10)]]
        if likeness:
            early, aligned, late = np.nanmean(likeness, axis=0)
            assert aligned > 0.6, path.name
            assert aligned > early + 0.2, path.name
            assert aligned > late + 0.2, path.name
            records += 1
    assert records >= 10


def likeness_at_shifts(path: Path, window: int) -> list[float]:
    """Correlate PPG with the pressure 0.12 s earlier, at the same time, and 0.12 s later."""
    chunks, _ = play(path, **{"from": str(window * 10), "to": str(window * 10 + 10)})
    (times, ppg), (abp_times, abp) = (
        (
            np.concatenate([c.times for c in chunks if c.signal == signal]),
            np.concatenate([c.data[:, 0] for c in chunks if c.signal == signal]),
        )
        for signal in ("ppg", "abp")
    )
    inner = slice(60, -60)
    shifts = (-NS * 12 // 100, 0, NS * 12 // 100)
    moved = [np.interp(times + shift, abp_times, abp)[inner] for shift in shifts]
    return [float(np.corrcoef(ppg[inner], pressure)[0, 1]) for pressure in moved]
