"""Exports imported again: samples, times, gaps, and what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from innpar.devices import NS, Chunk, Refused
from innpar.devices.base import shown_source
from innpar.devices.files.device import Replay
from innpar.devices.replay import open_recording
from innpar.devices.session.device import open_session
from innpar.stream.cli.main import main
from innpar.stream.results import Item
from innpar.stream.session.export.formats import FORMATS as ALL_FORMATS
from support.exports import exported
from support.sessions import MAX, played, samples

FORMATS = {"csv": "", "parquet": "pyarrow", "xdf": "pyxdf", "edf": "edfio", "wfdb": "wfdb"}


def opened(format_: str, out: Path, signal: str, **options: str) -> list[Replay]:
    """Open the files of one signal of the device ``demo``; XDF holds all signals in one."""
    names = {
        "csv": "demo-{}.csv",
        "parquet": "demo-{}.parquet",
        "xdf": "session.xdf",
        "edf": "demo-{}-*.?df",
    }
    pattern = names.get(format_, "demo-{}-[0-9]*.hea").format(signal)
    return [open_recording(path, options, pace=MAX) for path in sorted(out.glob(pattern))]


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_comes_back_and_stays_simulated(
    format_: str, session: tuple[Path, list[Item]], tmp_path: Path
) -> None:
    if FORMATS[format_]:
        pytest.importorskip(FORMATS[format_])
    path, _ = session
    out = exported(path, format_, tmp_path / format_)
    items = [i for device in opened(format_, out, "ppg") for i in device.items()]
    times, data = samples(items)
    wanted_times, wanted = samples(played(path))
    assert len(times) == len(wanted_times)
    exact = format_ in ("csv", "parquet", "xdf")
    assert np.abs(times - wanted_times).max() < (2_000 if exact else 1_000_000)
    width = data.shape[1]
    assert np.abs(data - wanted[:, :width]).max() <= 1e-3 * np.ptp(wanted)
    gaps = np.flatnonzero(np.diff(wanted_times) > NS)
    assert np.array_equal(np.flatnonzero(np.diff(times) > NS), gaps)
    for device in opened(format_, out, "ppg"):
        assert shown_source(device) == "simulated"


def test_every_format_is_imported_again_or_says_why_not(
    session: tuple[Path, list[Item]], tmp_path: Path
) -> None:
    assert set(ALL_FORMATS) == {*FORMATS, "fhir"}
    out = exported(session[0], "fhir", tmp_path / "fhir")
    with pytest.raises(Refused, match=r"FHIR bundle.*without samples of light; play the session"):
        open_recording(out / "demo.json", {})


def test_the_joint_header_of_a_wfdb_export_has_its_gaps(
    session: tuple[Path, list[Item]], tmp_path: Path
) -> None:
    pytest.importorskip("wfdb")
    path, _ = session
    out = exported(path, "wfdb", tmp_path / "wfdb")
    device = open_recording(out / "demo-ppg.hea", {}, pace=MAX)
    times, data = samples(list(device.items()))
    wanted_times, wanted = samples(played(path))
    there = np.isfinite(data).all(axis=1)
    assert there.sum() == len(wanted_times)
    assert np.array_equal(data[there], wanted[:, : data.shape[1]])
    assert np.abs(times[there] - wanted_times).max() < 2 * NS / device.recording.rate
    assert shown_source(device) == "simulated"


def test_a_session_cut_to_its_whole_length_is_the_session(
    session: tuple[Path, list[Item]], tmp_path: Path
) -> None:
    path, _ = session
    out = tmp_path / "copy.mcap"
    assert main(["session", "cut", str(path), str(out), "--from", "0", "--to", "1000"]) == 0
    for signal in ("ppg", "acc", "abp"):
        (times, data), (copied, again) = samples(played(path), signal), samples(played(out), signal)
        assert np.array_equal(times, copied)
        assert np.array_equal(data, again)
    assert shown_source(open_session(out, {}, pace=MAX)) == "simulated"


@pytest.mark.parametrize("format_", FORMATS)
def test_our_own_estimate_is_neither_light_nor_reference(
    format_: str, session: tuple[Path, list[Item]], tmp_path: Path
) -> None:
    if FORMATS[format_]:
        pytest.importorskip(FORMATS[format_])
    path, _ = session
    out = exported(path, format_, tmp_path / format_)
    if format_ == "xdf":
        (device,) = opened(format_, out, "ppg")
        true = samples(list(device.items()), "abp")[1]
        assert len(true)  # the simulation's own pressure, which the session recorded
        recorded = samples(played(path), "abp")[1]
        assert np.array_equal(true, recorded[: len(true)])
        device = open_recording(out / "session.xdf", {"reference": "off"}, pace=MAX)
        assert not [i for i in device.items() if isinstance(i, Chunk) and i.signal == "abp"]
        return
    with pytest.raises(Refused, match="estimate"):
        opened(format_, out, "estimate")
