"""The latency table: a row a device, mode and message, with the parts of each."""

from __future__ import annotations

import asyncio

import pytest

from innpar.stream.errors import ConfigError
from innpar.stream.evaluation.latency import HEADER, PARTS, bench_latency, measured
from support.harness import shipped
from support.sessions import demo


def test_every_mode_has_its_rows() -> None:
    lines = asyncio.run(measured(shipped(), 30, lambda: [demo(40, seed=3)]))
    assert [line.split()[:3] for line in lines] == [
        ["demo", "normal", "beat"],
        ["demo", "low", "beat"],
        ["demo", "low", "early"],
    ]
    normal, low, early = (dict(zip(HEADER.split(), line.split(), strict=True)) for line in lines)
    assert (normal["guard"], low["guard"], early["guard"]) == ("192", "64", "64")
    assert int(early["beat"]) < int(low["beat"]) / 2
    assert int(low["hop"]) < int(normal["hop"]) / 2
    for row in (normal, low, early):
        assert int(row["count"]) > 10
        assert int(row["total"]) == pytest.approx(sum(int(row[part]) for part in PARTS), rel=0.25)


def test_a_device_without_beats_says_so() -> None:
    lines = asyncio.run(measured(shipped(), 4, lambda: [demo(4, seed=3)]))
    assert all("no valid beat" in line for line in lines)


def test_too_short_a_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 20 seconds"):
        bench_latency(5)
