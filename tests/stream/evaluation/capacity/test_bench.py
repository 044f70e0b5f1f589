"""The capacity benchmark: its search, and a trial from frames to a real broker."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from innpar.stream.cli.main import main
from innpar.stream.evaluation.capacity.bench import CLOSE, CapacityRow, search
from innpar.stream.evaluation.capacity.picture import added_cost
from innpar.stream.evaluation.capacity.trial import Trial
from support.brokers import Broker

ONE = Trial(1, 0.01, 10.0, 3.0, 4.0, 5.0, 20, 4.2, 0, 0, 70.0, 0.1, 1.0, 20.0, 45.0)


def row(wearers: int, limit: int) -> CapacityRow:
    late = 5.0 if wearers <= limit else 500.0
    return CapacityRow(replace(ONE, wearers=wearers, p99_ms=late, core=0.01 * wearers), None, None)


@pytest.mark.parametrize("limit", [1, 7, 10, 99, 100, 137, 1999])
def test_the_search_encloses_the_limit(limit: int) -> None:
    rows = list(search(lambda count: row(count, limit)))
    served = max(one.trial.wearers for one in rows if one.served)
    late = min(one.trial.wearers for one in rows if not one.served)
    assert served <= limit < late
    assert late <= math.ceil(CLOSE * served) or late == served + 1
    assert len({one.trial.wearers for one in rows}) == len(rows)


def test_a_computer_that_serves_none_ends_the_search() -> None:
    assert [one.trial.wearers for one in search(lambda count: row(count, 0))] == [1]


def test_a_trial_that_left_out_or_lost_anything_has_not_served() -> None:
    good = CapacityRow(ONE, None, None)
    assert good.served
    for changed in ({"shed": 1}, {"lost": 1}, {"p99_ms": 100.0}, {"p99_ms": math.nan}):
        assert not replace(good, trial=replace(ONE, **changed)).served


def test_the_cost_of_an_added_wearer_is_the_slope() -> None:
    assert added_cost([row(1, 9), row(11, 9)]) == [(6.0, pytest.approx(10.0))]


@pytest.mark.slow
def test_frames_become_messages(
    mosquitto: Broker, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broker = mosquitto()
    picture = tmp_path / "wearers.png"
    command = ["bench", "--wearers", "2", "--seconds", "5", "--broker", broker.url, "--json"]
    assert main([*command, "--picture", str(picture)]) == 0
    one, two = json.loads(capsys.readouterr().out)
    assert (one["wearers"], two["wearers"]) == (1, 2)
    for found in (one, two):
        # 60 to 75 beats a minute; two topics a beat, two waveforms a window, summaries
        assert 4 <= found["beats"] / found["wearers"] <= 8
        assert found["messages"] / found["wearers"] > 3
        assert found["seconds"] == pytest.approx(5, abs=0.5)
        assert 0 < found["p50_ms"] <= found["p99_ms"]
        assert found["cpu_ms"] == pytest.approx(1e3 * found["core"] / found["wearers"], rel=1e-6)
    assert picture.stat().st_size > 10_000


def test_a_picture_of_another_kind_is_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--wearers", "1", "--picture", "wearers.txt"]) == 2
    assert "ends with .png" in capsys.readouterr().err
