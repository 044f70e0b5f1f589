"""Tables in which something else could be taken for light, or for a true pressure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from innpar.devices import NS, Chunk, Refused
from innpar.devices.replay import open_recording
from support.sessions import MAX, samples

T = np.arange(2000) / 100
PULSE = 500 + 90 * np.sin(7.5 * T) + 30 * np.sin(15 * T + 1)
COUNTER = np.arange(2000) % 256
AXES = {"ax": 0.6 + 0.1 * np.sin(11 * T), "ay": 0.1 * np.cos(11 * T), "az": 0.8 + 0 * T}


def table(path: Path, columns: Mapping[str, Sequence[float]], delimiter: str = ",") -> Path:
    rows = zip(*columns.values(), strict=True)
    lines = [delimiter.join(columns), *(delimiter.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "others",
    [
        {"seq": COUNTER},
        {"packet": COUNTER, "x": COUNTER * 0.5},
        {"hr": np.repeat(60 + np.arange(20) % 7, 100)},
        {"SpO2": 97 + (np.arange(2000) // 300 % 2), "temp": 33 + 0.001 * T},
        {"flag": np.arange(2000) // 250 % 2, "abp": 80 + 0.2 * PULSE},
        {"a": np.full(2000, np.nan), "b": np.where(np.arange(2000) % 10, np.nan, PULSE)},
        {"ppg_quality": 0.5 + 0.4 * np.sin(T), "ppg_hr": 70 + np.sin(T)},
        AXES,
    ],
    ids=lambda others: "-".join(others),
)
@pytest.mark.parametrize("name", ["ppg", "y"])
def test_only_the_light_is_light(
    name: str, others: Mapping[str, Sequence[float]], tmp_path: Path
) -> None:
    path = table(tmp_path / "a.csv", {"time": T, **others, name: PULSE})
    device = open_recording(path, {}, pace=MAX)
    assert device.recording.channels == (name,)
    items = list(device.items())
    assert np.allclose(samples(items)[1][:, 0], PULSE)
    assert not [i for i in items if isinstance(i, Chunk) and i.signal == "abp"]
    with pytest.raises(Refused, match="no column is light"):
        open_recording(table(tmp_path / "b.csv", {"time": T, **others}), {})


def test_acceleration_is_passed_on_in_g(tmp_path: Path) -> None:
    raw = {name: 9.81 * np.asarray(axis) for name, axis in AXES.items()}
    path = table(tmp_path / "a.csv", {"time": T, **raw, "ppg": PULSE})
    times, data = samples(list(open_recording(path, {}, pace=MAX).items()), "acc")
    assert len(times) == len(T)
    assert np.allclose(data, np.stack(list(AXES.values()), axis=1))


def test_a_pressure_is_a_reference_only_where_it_was_measured(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", {"time": T, "ppg": PULSE, "abp": 80 + 0.2 * PULSE})
    device = open_recording(path, {"reference": "abp"}, pace=MAX)
    assert np.allclose(samples(list(device.items()), "abp")[1][:, 0], 80 + 0.2 * PULSE)


@pytest.mark.parametrize("delimiter", ["|", ";", "\t", ","])
def test_two_rows_of_dates_and_times(delimiter: str, tmp_path: Path) -> None:
    clock = [f"9:{int(t) // 60:02d}:{t % 60:06.3f} PM" for t in T]
    days = ["25.04.2026"] * len(T)
    columns = {"Date": days, "Time": clock, "BVP": PULSE, "activity": ["rest"] * len(T)}
    device = open_recording(table(tmp_path / "a.csv", columns, delimiter), {}, pace=MAX)  # type: ignore[arg-type]
    times, _ = samples(list(device.items()))
    assert times[0] == 1_777_150_800 * NS  # 2026-04-25T21:00:00Z
    assert np.abs(times - times[0] - T * NS).max() < 1000


@pytest.mark.parametrize("step", [1.0, 0.25])
def test_rows_that_share_a_stamp_are_spread(step: float, tmp_path: Path) -> None:
    stamps = np.floor((T + 0.4) / step) * step + 1_700_000_000
    path = table(tmp_path / "a.csv", {"timestamp": stamps, "ppg": PULSE})
    device = open_recording(path, {}, pace=MAX)
    assert device.recording.rate == pytest.approx(100, rel=1e-3)
    times, data = samples(list(device.items()))
    assert len(data) == len(T)
    assert np.abs(np.diff(times) - NS / 100).max() < 0.01 * NS / 100
