"""Every real recording of a wearable gives estimates, or an honest reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from innpar.devices import DeviceError
from innpar.devices.registry import create
from support.harness import DATA, estimates, need_data, stream_all
from support.sessions import MAX

FOLDER = DATA / "wearable"
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file()) if FOLDER.is_dir() else []
OPTIONS = {"berrymed_100Hz.csv.gz": "?rate=100"}
"""Options for properties that a file does not contain."""
NOT = {
    "berrymed_100Hz.csv.gz": r"no time column; add \?rate=HZ",
    "ACC.csv.gz": r"not of the PPG; choose BVP\.csv",
    "LICENSE": "not a table of numbers",
}
"""Files that cannot be played unchanged → the reason."""


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("path", FILES or [FOLDER], ids=lambda path: path.name)
def test_estimates_or_an_honest_reason(path: Path) -> None:
    need_data()
    if path.name in NOT:
        with pytest.raises(DeviceError, match=NOT[path.name]) as refused:
            create(f"replay:{path}", pace=MAX)
        assert str(refused.value).startswith(f"{path}: ")
        assert "\n" not in str(refused.value)
    if path.name in NOT and path.name not in OPTIONS:
        return
    device = create(f"replay:{path}{OPTIONS.get(path.name, '')}", pace=MAX)
    found = estimates(stream_all([device])[0])
    usable = [beat for beat in found if beat.valid]
    assert len(usable) > 30
    assert all(beat.reasons for beat in found if not beat.valid)
    assert all(beat.sbp is None for beat in found if not beat.valid)
