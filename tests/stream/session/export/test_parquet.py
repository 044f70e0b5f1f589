"""A session as Parquet, read by pandas."""

from __future__ import annotations

from pathlib import Path

import pytest

from innpar.stream.results import Item
from support.exports import exported
from support.harness import estimates
from support.sessions import played, samples


def test_parquet_holds_every_number(session: tuple[Path, list[Item]], tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    path, live = session
    out = exported(path, "parquet", tmp_path / "parquet")
    for signal in ("ppg", "acc", "abp"):
        times, data = samples(played(path), signal)
        frame = pd.read_parquet(out / f"demo-{signal}.parquet")
        assert set(frame["source"]) == {"simulated"}
        assert (frame["time"].astype("int64").to_numpy() == times).all()
        assert (frame.drop(columns=["time", "source"]).to_numpy() == data).all()
    frame = pd.read_parquet(out / "demo-beats.parquet")
    assert frame["seq"].tolist() == [beat.seq for beat in estimates(live)]
    assert frame["valid"].dtype == bool
    assert str(frame["time"].dtype) == "datetime64[ns, UTC]"
