"""Files of research devices, written by their own libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from innpar.devices import NS
from innpar.devices.replay import open_recording
from support.sessions import MAX, samples

START = 1_700_000_000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # vitaldb's
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_vital_file_with_a_measured_pressure_and_numerics(tmp_path: Path) -> None:
    vitaldb = pytest.importorskip("vitaldb")
    seconds = np.arange(1200) / 100
    pulse = 500 + 90 * np.sin(7.5 * seconds)
    file = vitaldb.VitalFile()
    for name, values in (("SNUADC/PLETH", pulse), ("SNUADC/ART", 80 + 0.2 * pulse)):
        parts = [
            {"dt": START + k, "val": values[k * 100 : (k + 1) * 100].astype(np.float32)}
            for k in range(12)
        ]
        file.add_track(name, parts, srate=100, unit="")
    rates = [{"dt": START + k, "val": 72.0} for k in range(12)]
    file.add_track("Solar8000/HR", rates, unit="/min")
    file.to_vital(str(tmp_path / "a.vital"))
    device = open_recording(tmp_path / "a.vital", {}, pace=MAX)
    items = list(device.items())
    times, data = samples(items)
    assert times[0] == START * NS
    assert device.recording.channels == ("SNUADC/PLETH",)
    assert np.abs(data[:, 0] - pulse[: len(data)]).max() < 1e-3
    assert len(samples(items, "abp")[0]) >= 1190
