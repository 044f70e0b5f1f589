"""Arrays in every container come back as written."""

from __future__ import annotations

import bz2
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from innpar.devices import NS, Refused
from innpar.devices.base import shown_source
from innpar.devices.files.recording import NO_DATE
from innpar.devices.replay import open_recording
from support.sessions import MAX, samples

RATE = 100
T = np.arange(12 * RATE) / RATE
PULSE: npt.NDArray[np.float64] = 500 + 90 * np.sin(7.5 * T) + 30 * np.sin(15 * T + 1)
COUNTER = (np.arange(len(T)) % 256).astype(float)


def npy(path: Path) -> dict[str, str]:
    with path.open("wb") as stream:
        np.save(stream, PULSE)
    return {"rate": "100"}


def npz(path: Path) -> dict[str, str]:
    with path.open("wb") as stream:
        np.savez(stream, seq=COUNTER, ppg=PULSE, fs=RATE)
    return {}


def mat(path: Path) -> dict[str, str]:
    scipy = pytest.importorskip("scipy.io")
    scipy.savemat(path, {"data": {"PPG": PULSE, "HR": 70 + COUNTER, "fs": RATE}}, appendmat=False)
    return {}


def hdf5(path: Path) -> dict[str, str]:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        file["subject/ppg"] = PULSE
        file["subject/ppg"].attrs["fs"] = RATE
        file["subject/seq"] = COUNTER
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file")
    return {}


def parquet(path: Path) -> dict[str, str]:
    pa = pytest.importorskip("pyarrow")
    writer = pytest.importorskip("pyarrow.parquet")
    times = pa.array((T * NS).astype(np.int64) + NO_DATE).cast(pa.timestamp("ns", tz="UTC"))
    writer.write_table(pa.table({"time": times, "seq": COUNTER, "ppg": PULSE}), path)
    return {}


def feather(path: Path) -> dict[str, str]:
    pa = pytest.importorskip("pyarrow")
    writer = pytest.importorskip("pyarrow.feather")
    writer.write_feather(pa.table({"t_ms": T * 1000, "ppg": PULSE}), str(path))
    return {}


def json_lines(path: Path) -> dict[str, str]:
    rows = zip(T.tolist(), PULSE.tolist(), strict=True)
    path.write_text("".join(json.dumps({"t": t, "ir": v, "note": "x"}) + "\n" for t, v in rows))
    return {}


def avro(path: Path) -> dict[str, str]:
    fastavro = pytest.importorskip("fastavro")
    series = {"timestampStart": NO_DATE // 1000, "samplingFrequency": float(RATE)}
    fields = [
        {"name": "timestampStart", "type": "long"},
        {"name": "samplingFrequency", "type": "float"},
        {"name": "values", "type": {"type": "array", "items": "double"}},
    ]
    bvp = {"type": "record", "name": "Bvp", "fields": fields}
    raw = {"type": "record", "name": "Raw", "fields": [{"name": "bvp", "type": bvp}]}
    schema = {"type": "record", "name": "Top", "fields": [{"name": "rawData", "type": raw}]}
    with path.open("wb") as stream:
        content = [{"rawData": {"bvp": {**series, "values": PULSE.tolist()}}}]
        fastavro.writer(stream, fastavro.parse_schema(schema), content)
    return {}


def bzip2(path: Path) -> dict[str, str]:
    rows = [f"{t:.2f},{v:.12f}" for t, v in zip(T, PULSE, strict=True)]
    path.write_bytes(bz2.compress("\n".join(["time,ppg", *rows, ""]).encode()))
    return {}


def zipped(path: Path) -> dict[str, str]:
    rows = [f"{t:.2f},{v:.12f}" for t, v in zip(T, PULSE, strict=True)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/a.csv", "\n".join(["time,ppg", *rows, ""]))
        archive.writestr("__MACOSX/._a.csv", "x")
    return {}


WRITERS = [npy, npz, mat, hdf5, parquet, feather, json_lines, avro, bzip2, zipped]


@pytest.mark.parametrize("write", WRITERS)
def test_samples_and_times_come_back(
    write: Callable[[Path], dict[str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "recording"
    device = open_recording(path, write(path), pace=MAX)
    times, data = samples(list(device.items()))
    assert np.abs(data[:, 0] - PULSE).max() < 1e-9
    assert data.shape[1] == 1
    assert np.abs(times - NO_DATE - T * NS).max() < 1000
    assert device.recording.rate == pytest.approx(RATE, rel=1e-6)


def test_a_rate_is_needed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ppg=PULSE)
    with pytest.raises(Refused, match=r"without a sampling rate; add \?rate=HZ"):
        open_recording(tmp_path / "a.npz", {})


def test_one_record_of_many(tmp_path: Path) -> None:
    """As in the UCI collection: a cell array of matrices with three rows each."""
    scipy = pytest.importorskip("scipy.io")
    cells = np.empty(3, object)
    for n in range(3):
        cells[n] = np.stack([PULSE + n, 90 + 0.1 * PULSE, 0.01 * PULSE])
    scipy.savemat(tmp_path / "p.mat", {"p": cells})
    with pytest.raises(Refused, match=r"which trace is the PPG.*p 0, p 1, p 2"):
        open_recording(tmp_path / "p.mat", {"rate": "125"})
    options = {"rate": "125", "record": "2", "channel": "p 0", "reference": "p 1"}
    items = list(open_recording(tmp_path / "p.mat", options, pace=MAX).items())
    assert np.array_equal(samples(items)[1][:, 0], PULSE + 2)
    assert np.array_equal(samples(items, "abp")[1][:, 0], 90 + 0.1 * PULSE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"GDF 2.10" + bytes(300), "convert it to EDF"),
        (b"SQLite format 3\0", "export its table"),
        (b"\xd0\xcf\x11\xe0" + bytes(300), "save it as CSV"),
        (b'{"a": 1}\n[1, 2]\n', "line 2 is no object"),
        (b"MATLAB 5.0" + bytes(300), "damaged .mat"),
        (b"\x93NUMPY" + bytes(300), "damaged .npy"),
    ],
)
def test_formats_left_out_or_damaged_say_so(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with pytest.raises((Refused, ValueError), match=words):
        open_recording(path, {})


def test_a_zip_of_several_files(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("b.csv", "1")
    with pytest.raises(Refused, match=r"a zip of 2 files \(a.csv, b.csv\); unzip it"):
        open_recording(path, {})


def test_simulated_lines_stay_simulated(tmp_path: Path) -> None:
    rows = [{"t": t, "ppg": v, "source": "simulated"} for t, v in zip(T, PULSE, strict=True)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert shown_source(open_recording(path, {})) == "simulated"
