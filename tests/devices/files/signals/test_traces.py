"""XDF, EDF, BDF and WFDB as replay sources: samples come back as they were written."""

from __future__ import annotations

import gzip
import struct
from datetime import date, time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from innpar.devices import NS, Chunk, DeviceError, Event, Refused
from innpar.devices.replay import open_recording
from innpar.devices.session.writer import MAGIC
from innpar.devices.simulated.circulation import RATE as FINE
from innpar.devices.simulated.circulation import circulation
from innpar.devices.timing.pace import VirtualClock
from innpar.stream.cli.main import main
from innpar.stream.session.recorder import Recorder
from support.harness import estimates, stream_all
from support.sessions import MAX, demo, samples

START = 1_700_000_000 * NS
RATE = 100


def pulse(seconds: float = 20, rate: int = RATE) -> Any:
    t = np.arange(int(seconds * rate)) / rate
    return 1000 * np.sin(2 * np.pi * 1.2 * t) + 200 * np.sin(2 * np.pi * 2.4 * t + 1)


def replayed(path: Path, **options: str) -> Any:
    device = open_recording(path, options, pace=MAX)
    return device, list(device.items())


def chunk(tag: int, content: bytes) -> bytes:
    body = struct.pack("<H", tag) + content
    return b"\x04" + struct.pack("<I", len(body)) + body


def xdf(path: Path, times: Any, streams: dict[int, tuple[str, list[str], Any]]) -> Path:
    """Write an XDF file by its specification."""
    head = b"<?xml version='1.0'?><info><version>1.0</version>"
    head += b"<datetime>2023-11-14T22:13:20+0000</datetime></info>"
    data = b"XDF:" + chunk(1, head)
    for number, (kind, labels, values) in streams.items():
        channels = "".join(f"<channel><label>{label}</label></channel>" for label in labels)
        about = (
            f"<?xml version='1.0'?><info><name>s{number}</name><type>{kind}</type>"
            f"<channel_count>{len(labels)}</channel_count><nominal_srate>{RATE}</nominal_srate>"
            f"<channel_format>double64</channel_format><created_at>0</created_at>"
            f"<desc><channels>{channels}</channels></desc></info>"
        )
        identity = struct.pack("<I", number)
        data += chunk(2, identity + about.encode())
        rows = b"".join(
            b"\x08" + struct.pack("<d", when) + row.astype("<f8").tobytes()
            for when, row in zip(times, values, strict=True)
        )
        data += chunk(3, identity + b"\x04" + struct.pack("<I", len(values)) + rows)
        data += chunk(6, identity + b"<?xml version='1.0'?><info></info>")
    path.write_bytes(data)
    return path


def test_xdf(tmp_path: Path) -> None:
    pytest.importorskip("pyxdf")
    wave = pulse()
    times = 5000 + np.arange(len(wave)) / RATE
    both = np.stack([wave, -wave], axis=1)
    path = xdf(
        tmp_path / "lab.bin",
        times,
        {1: ("EEG", ["Cz", "Pz"], both * 0.1), 2: ("PPG", ["green", "ambient"], both)},
    )
    device, items = replayed(path)
    assert device.recording.format == "XDF"
    got, data = samples(items)
    assert np.abs(data[:, 0] - wave).max() == 0
    assert device.recording.channels == ("PPG green", "PPG ambient")
    assert abs(got[0] - START) < NS
    assert np.abs(np.diff(got) - NS / RATE).max() < 20_000
    _, items = replayed(path, channel="EEG Cz", id="x")
    assert np.abs(samples(items)[1][:, 0] - wave * 0.1).max() < 1e-9


def test_edf_with_a_true_pressure(tmp_path: Path) -> None:
    edfio = pytest.importorskip("edfio")
    wave = pulse()
    pressure = 95 + 20 * np.sin(2 * np.pi * 1.2 * np.arange(20 * 200) / 200)
    path = tmp_path / "night.rec"
    edfio.Edf(
        [
            edfio.EdfSignal(wave * 0, RATE, label="EEG C3-M2", physical_range=(-1, 1)),
            edfio.EdfSignal(wave, RATE, label="Pleth", physical_range=(-1500, 1500)),
            edfio.EdfSignal(pressure, 200, label="ART", physical_range=(0, 200)),
        ],
        recording=edfio.Recording(startdate=date(2023, 11, 14)),
        starttime=time(22, 13, 20, 500_000),
        annotations=[edfio.EdfAnnotation(1, None, "lights off")],
    ).write(path)
    _, items = replayed(path)
    times, data = samples(items)
    assert times[0] == START + NS // 2
    assert np.abs(data[:, 0] - wave).max() <= 3000 / 65535
    true = samples(items, "abp")
    # The pressure is given out as far as the pulse has come.
    assert len(true[0]) == len(pressure) - 1
    assert np.abs(true[1][:, 0] - pressure[:-1]).max() <= 200 / 65535
    connected = next(item for item in items if isinstance(item, Event))
    assert connected.detail["reference"] is True
    with pytest.raises(Refused, match="no column"):
        replayed(path, channel="Plethh")


def test_an_exported_session_comes_back(tmp_path: Path) -> None:
    """Counts that need 24 bits go out as BDF+ and come back exactly."""
    pytest.importorskip("edfio")
    path, out = tmp_path / "s.mcap", tmp_path / "out"
    recorder = Recorder(path, VirtualClock(START), {})
    device = demo(20, motion=False, dropouts=False)
    recorder.enrol(device, "s")
    items = list(device.items(START))
    large = [
        Chunk(i.device, i.signal, i.channels, i.rate, i.times, np.rint(i.data * 10))
        if isinstance(i, Chunk) and i.signal == "ppg"
        else i
        for i in items
    ]
    for item in large:
        recorder.take(item)
    recorder.close()
    assert main(["session", "export", str(path), str(out), "--format", "edf"]) == 0
    (file,) = out.glob("demo-ppg-*.bdf")
    _, again = replayed(file)
    times, data = samples(large)
    got, values = samples(again)
    assert (values == data[:, :3]).all()  # the ambient light's name is no pulse's
    assert np.abs(got - times).max() < 1000


def test_wfdb(tmp_path: Path) -> None:
    wfdb = pytest.importorskip("wfdb")
    volumes, pressures = [], []
    for stretch in circulation(1):
        volumes.append(np.asarray(stretch.volume))
        pressures.append(np.asarray(stretch.abp))
        if sum(map(len, pressures)) > 40 * 500:
            break
    step = round(FINE / 125)
    pressure = np.concatenate(pressures)[::step]
    wave = np.concatenate(volumes)[::step][: len(pressure)]
    wfdb.wrsamp(
        "r1",
        fs=125,
        units=["NU", "mmHg"],
        sig_name=["PLETH", "ABP"],
        p_signal=np.stack([wave, pressure], axis=1),
        fmt=["16", "16"],
        write_dir=str(tmp_path),
    )
    device, items = replayed(tmp_path / "r1.hea")
    assert device.recording.format == "WFDB"
    _, data = samples(items)
    assert np.abs(data[:, 0] - wave).max() <= np.ptp(wave) / 65000
    assert np.abs(samples(items, "abp")[1][:, 0] - pressure).max() <= np.ptp(pressure) / 65000
    assert len(estimates(stream_all([device])[0])) > 15


def written(kind: str, folder: Path, wave: Any) -> Path:
    """Write a pulse as a file of some format."""
    edfio = pytest.importorskip("edfio")
    wfdb = pytest.importorskip("wfdb")
    pytest.importorskip("pyxdf")
    if kind == "xdf":
        times = 5000 + np.arange(len(wave)) / RATE
        return xdf(folder / "a.xdf", times, {1: ("PPG", ["green"], wave[:, None])})
    if kind == "edf":
        signal = edfio.EdfSignal(wave, RATE, label="PPG", physical_range=(-1500, 1500))
        edfio.Edf([signal]).write(folder / "a.edf")
        return folder / "a.edf"
    wfdb.wrsamp("a", RATE, ["NU"], ["PPG"], wave[:, None], fmt=["16"], write_dir=str(folder))
    return folder / "a.hea"


@pytest.mark.parametrize("kind", ["xdf", "edf"])
def test_compressed_with_gzip(kind: str, tmp_path: Path) -> None:
    path = written(kind, tmp_path, pulse())
    plain = samples(replayed(path)[1])
    packed = tmp_path / "packed.bin"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    device, items = replayed(packed)
    times, data = samples(items)
    assert device.id == "replay-packed.bin"
    assert times.tobytes() == plain[0].tobytes()
    assert data.tobytes() == plain[1].tobytes()
    packed.write_bytes(packed.read_bytes()[:-400])
    with pytest.raises(DeviceError, match="cut short"):
        replayed(packed)


def test_files_to_be_unpacked_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = tmp_path / "s.mcap.gz"
    session.write_bytes(gzip.compress(MAGIC + bytes(100)))
    record = tmp_path / "a.hea.gz"
    record.write_bytes(gzip.compress(written("wfdb", tmp_path, pulse()).read_bytes()))
    commands = [["replay", str(session)], ["session", "info", str(session)]]
    for command in (*commands, ["replay", str(record)]):
        assert main(command) == 2
        assert f"unpack it first: gunzip {command[-1]}" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["xdf", "edf"])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_truncated_file_yields_a_notice(
    kind: str, share: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Report it in one line of ours, without output of the library."""
    path = written(kind, tmp_path, pulse())
    assert not [i for i in replayed(path)[1] if isinstance(i, Event) and i.kind == "notice"]
    data = path.read_bytes()
    if kind == "xdf":  # its samples are one chunk: without the footer, or with a part of it
        footer = len(chunk(6, b"1234<?xml version='1.0'?><info></info>"))
        path.write_bytes(data[: len(data) - round(footer * (1.3 - share))])
    else:
        path.write_bytes(data[: int(len(data) * share)])
    _, items = replayed(path)
    (notice,) = [i for i in items if isinstance(i, Event) and i.kind == "notice"]
    times, _ = samples(items)
    assert f"ends early or is damaged; {(times[-1] - times[0]) / NS:.1f} s" in str(notice.detail)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["xdf", "edf", "wfdb"])
def test_truncated_or_damaged(kind: str, tmp_path: Path) -> None:
    """Expect one line that names the file, or part of the samples."""
    wave = pulse()
    path = written(kind, tmp_path, wave)
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.7, 0.95):
        path.write_bytes(data[: int(len(data) * share)])
        try:
            _, items = replayed(path)
        except DeviceError as error:
            message = str(error)
            assert message.startswith(f"{path}: ")
            assert "\n" not in message
            continue
        _, got = samples(items)
        assert len(got) <= len(wave)
        assert np.abs(got[:, 0] - np.ravel(wave)[: len(got)]).max() <= 3000 / 65000
