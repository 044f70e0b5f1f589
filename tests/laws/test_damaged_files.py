"""Every replayable format, truncated or damaged: it is read in part, or one line says why."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from innpar.devices import NS, Chunk, DeviceError
from innpar.devices.registry import create
from innpar.devices.timing.pace import VirtualClock
from innpar.stream.cli.main import main
from innpar.stream.session.recorder import Recorder
from support.sessions import MAX, demo

START = 1_700_000_000 * NS
FILES = {
    "session": "demo.mcap",
    "edf": "edf/demo-ppg-001.edf",
    "bdf": "bdf/wide-ppg-001.bdf",
    "wfdb": "wfdb/demo-ppg-0001.hea",
    "xdf": "xdf/session.xdf",
    "csv": "csv/demo-ppg.csv",
    "polar": "polar.txt",
    "empatica": "BVP.csv",
    "emotibit": "emotibit.csv",
    "npz": "record.npz",
}
OPTIONS = {"csv": "channel=ppg1", "edf": "channel=ppg1", "bdf": "channel=ppg1"}


def recorded(path: Path, scale: float, name: str) -> None:
    recorder = Recorder(path, VirtualClock(START), {})
    device = demo(20, id=name, motion=False, dropouts=False)
    recorder.enrol(device, "s")
    for item in device.items(START):
        if isinstance(item, Chunk) and item.signal == "ppg":
            data = np.rint(item.data * scale)
            item = Chunk(name, "ppg", item.channels, item.rate, item.times, data)
        recorder.take(item)
    recorder.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole file of every format."""
    for package in ("edfio", "wfdb", "pyxdf"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("sound")
    recorded(folder / "demo.mcap", 1, "demo")
    recorded(folder / "wide.mcap", 200, "wide")
    for format_ in ("edf", "wfdb", "xdf", "csv"):
        words = ["session", "export", str(folder / "demo.mcap"), str(folder / format_)]
        assert main([*words, "--format", format_]) == 0
    words = ["session", "export", str(folder / "wide.mcap"), str(folder / "bdf")]
    assert main([*words, "--format", "edf"]) == 0
    wave = np.rint(4000 * np.sin(np.arange(1200) / 8)).astype(int).tolist()
    rows = [f"2025-06-10T09:27:{n / 55:06.3f};{n * 18_181_818};{v};7;" for n, v in enumerate(wave)]
    head = "Phone timestamp;sensor timestamp [ns];channel 0;ambient"
    (folder / "polar.txt").write_text("\n".join([head, *rows, ""]))
    (folder / "BVP.csv").write_text("\n".join(["1680686620.0", "64.0", *map(str, wave), ""]))
    packets = [
        f"{40 * n + 120},{n},4,{tag},1,100," + ",".join(str(v) for v in wave[n : n + 4])
        for n in range(0, 1196, 4)
        for tag in ("PI", "PR", "PG")
    ]
    (folder / "emotibit.csv").write_text("\n".join([*packets, ""]))
    codes = np.array(wave, dtype=np.int16)
    np.savez(folder / "record.npz", ppg=codes, abp=codes, ppg_scale=1.0, abp_scale=0.02, fs=125.0)
    return folder


def play(path: Path, kind: str) -> int:
    """Return the number of samples in a file."""
    tail = f"?{OPTIONS[kind]}" if kind in OPTIONS else ""
    device = create(f"replay:{path}{tail}", pace=MAX)
    items = list(device.items())  # type: ignore[attr-defined]
    return sum(len(item) for item in items if isinstance(item, Chunk) and item.signal == "ppg")


@pytest.mark.parametrize("kind", FILES)
def test_whole_it_plays(kind: str, sound: Path) -> None:
    assert play(sound / FILES[kind], kind) >= 1000


@pytest.mark.parametrize("kind", FILES)
def test_empty_and_foreign(kind: str, sound: Path, tmp_path: Path) -> None:
    path = tmp_path / Path(FILES[kind]).name
    others = [sound / FILES[other] for other in ("edf", "xdf", "session") if other != kind]
    for content in (b"", b"\0" * 4000, b"GIF89a" + bytes(range(256)) * 20):
        path.write_bytes(content)
        with pytest.raises(DeviceError) as caught:
            play(path, kind)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    for other in others:  # whatever its name, the content says what it is
        path.write_bytes(other.read_bytes())
        device = create(f"replay:{path}{'?channel=ppg1' if 'mcap' not in other.name else ''}")
        assert device.source == "replay"


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
    keep=st.one_of(st.just(1.0), st.floats(0.0, 1.0)),
)
def test_damaged_anywhere_there_is_no_traceback(
    kind: str, sound: Path, tmp_path: Path, damage: list[tuple[float, int]], keep: float
) -> None:
    original = sound / FILES[kind]
    if kind == "wfdb":
        shutil.copy(original.with_suffix(".dat"), tmp_path)
    content = bytearray(original.read_bytes())
    for where, byte in damage:
        content[min(int(where * len(content)), len(content) - 1)] = byte
    path = tmp_path / original.name
    path.write_bytes(content[: max(1, round(keep * len(content)))])
    said = str(path)
    try:
        play(path, kind)
    except DeviceError as error:
        said = str(error)
    assert str(path) in said
    assert "\n" not in said


def test_a_table_without_the_named_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "commented.csv"
    rows = "\n".join(f"{n / 100:.2f},{n % 7}" for n in range(500))
    path.write_text(f"#ime,ppg1\n{rows}\n")
    with pytest.raises(DeviceError) as caught:
        play(path, "csv")
    assert str(caught.value).startswith(f"{path}: no column 'ppg1' for channel; there are: ")
