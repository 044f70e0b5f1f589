"""A session as WFDB records, read by wfdb."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from innpar.devices import NS, Chunk, Event
from innpar.stream.results import Item
from support.exports import epoch, exported, stretches
from support.harness import estimates


@pytest.mark.parametrize("signal", ["ppg", "acc", "abp"])
def test_wfdb_holds_the_samples_within_what_it_states(
    signal: str, marked: tuple[Path, list[Chunk | Event]], tmp_path: Path
) -> None:
    wfdb = pytest.importorskip("wfdb")
    path, items = marked
    out = exported(path, "wfdb", tmp_path / "wfdb")
    parts = stretches(items, signal)
    assert len(list(out.glob(f"demo-{signal}-0*.hea"))) == len(parts)
    for number, (times, data) in enumerate(parts, 1):
        told = wfdb.rdrecord(str(out / f"demo-{signal}-{number:04d}"))
        stated = {c.partition(": ")[0]: c.partition(": ")[2] for c in told.comments}
        steps = [float(s.split()[-1]) for s in stated["resolution of a value"].split(", ")]
        assert (np.abs(told.p_signal - data) <= np.array(steps) * 0.51).all()
        if signal == "ppg":
            assert (told.p_signal == data).all()
        began = round((told.base_datetime - epoch()).total_seconds() * 1e6) * 1000
        grid = began + np.arange(len(times)) * (NS / told.fs)
        late = float(stated["resolution of a time"].split()[0])
        assert np.abs(grid - times).max() <= (late + 0.002) * 1e6
    if len(parts) > 1:
        whole = wfdb.rdrecord(str(out / f"demo-{signal}"))
        assert np.isfinite(whole.p_signal[:, 0]).sum() == sum(len(t) for t, _ in parts)
        assert not np.isfinite(whole.p_signal[:, 0]).all()


def test_wfdb_annotates_the_beats(session: tuple[Path, list[Item]], tmp_path: Path) -> None:
    wfdb = pytest.importorskip("wfdb")
    out = exported(session[0], "wfdb", tmp_path / "wfdb")
    symbols = []
    for path in sorted(out.glob("demo-abp-*.atr")):
        symbols += wfdb.rdann(str(path.with_suffix("")), "atr").symbol
    beats = estimates(session[1])
    assert abs(symbols.count("N") - sum(beat.valid for beat in beats)) <= 1
    assert symbols.count("Q") <= sum(not beat.valid for beat in beats)
