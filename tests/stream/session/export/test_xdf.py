"""A session as XDF, read by pyxdf."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from innpar.devices import NS, Chunk, Event
from innpar.stream.results import Item
from support.exports import exported
from support.harness import estimates
from support.sessions import played, samples


def test_xdf_is_read_by_pyxdf_sample_for_sample(
    session: tuple[Path, list[Item]], tmp_path: Path
) -> None:
    pyxdf = pytest.importorskip("pyxdf")
    path, live = session
    out = exported(path, "xdf", tmp_path / "xdf")
    # As everybody reads it: with the clocks made one, and samples evened out.
    streams, header = pyxdf.load_xdf(str(out / "session.xdf"))
    by = {stream["info"]["name"][0]: stream for stream in streams}
    items = played(path)
    gaps = [i for i in items if isinstance(i, Event) and i.kind == "gap"]
    assert gaps
    for signal in ("ppg", "acc", "abp"):
        times, data = samples(items, signal)
        got = by[f"demo {signal}"]
        assert (got["time_series"] == data).all()
        zero = round((times[0] / NS - got["time_stamps"][0]) * 1e6) * 1000
        allowed = 2_000 if signal == "ppg" else 2_000_000
        assert np.abs(np.rint(got["time_stamps"] * NS) + zero - times).max() <= allowed
        stated = float(got["info"]["nominal_srate"][0])
        assert stated == (0 if signal != "abp" else next(_rates(items, "abp")))
    beats = estimates(live)
    told = by["demo beats"]["time_series"]
    assert len(told) == len(beats)
    sbp = np.array([np.nan if b.sbp is None else b.sbp for b in beats])
    assert np.nanmax(np.abs(told[:, 0] - sbp)) <= 0.051
    assert len(by["demo estimate"]["time_series"]) == sum(len(b.abp) for b in beats)
    labels = by["demo ppg"]["info"]["desc"][0]["channels"][0]["channel"]
    assert [label["label"][0] for label in labels] == ["ppg0", "ppg1", "ppg2", "ambient"]
    assert by["demo ppg"]["footer"]["info"]["sample_count"] == [str(len(samples(items)[0]))]
    assert header["info"]["version"] == ["1.0"]


def _rates(items: list[Any], signal: str) -> Any:
    return (i.rate for i in items if isinstance(i, Chunk) and i.signal == signal)
