"""A session as a DataFrame, processed by NeuroKit2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from innpar.devices import NS
from innpar.stream.results import Item
from support.harness import estimates


def test_a_frame_is_what_neurokit_takes(session: tuple[Path, list[Item]]) -> None:
    nk = pytest.importorskip("neurokit2")
    from innpar.stream.session.export.dataframe import dataframe

    path, live = session
    frame = dataframe(path, begin=0, end=60)
    rate = frame.attrs["sampling_rate"]
    assert (rate, frame.attrs["source"], frame.attrs["device"]) == (125.0, "simulated", "demo")
    assert {"PPG", "PPG_ppg0", "PPG_ambient", "ABP", "ABP_true", "Marker"} == {*frame.columns} - {
        "PPG_ppg1",
        "PPG_ppg2",
    }
    steps = np.diff(frame.index.as_unit("ns").asi8)
    assert (steps == 8_000_000).all()
    piece = frame["PPG"].dropna().iloc[: int(20 * rate)].to_numpy()
    signals, info = nk.ppg_process(piece, sampling_rate=rate)
    found = float(np.median(signals["PPG_Rate"]))
    begin = frame.index[0].value
    wanted = [b.hr for b in estimates(live) if b.hr and b.peak < begin + 25 * NS]
    assert abs(found - float(np.median(wanted))) < 4
    assert len(info["PPG_Peaks"]) > 15
    # Upright: the rising edge of a pulse is the steep one.
    slope = np.diff(piece)
    assert np.mean((slope - slope.mean()) ** 3) > 0
    beat = next(b for b in estimates(live) if b.valid and b.abp_start > begin)
    rows = frame.loc[frame.index.as_unit("ns").asi8 >= beat.abp_start - 1, "ABP"]
    assert np.abs(rows.to_numpy()[: len(beat.abp) - 1] - beat.abp[:-1]).max() <= 0.051
