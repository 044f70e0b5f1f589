"""`innpar.open_session`: a recorded session as arrays, beats, events, a table, a device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import innpar
from innpar.devices import Event, NotFound, Refused
from innpar.stream.messages.beat import beat_payload
from innpar.stream.results import Item
from support.harness import estimates, shipped
from support.sessions import demo, keys, played, record, samples

SECONDS = 60


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Item]]:
    path = tmp_path_factory.mktemp("session") / "night.mcap"
    return path, record(path, demo(SECONDS, id="a"), demo(20, id="b", seed=2))


@pytest.fixture
def night(recorded: tuple[Path, list[Item]]) -> Iterator[innpar.Session]:
    with innpar.open_session(str(recorded[0])) as session:
        yield session


def test_devices_and_samples(night: innpar.Session) -> None:
    assert night.devices == ("a", "b")
    assert "a, b" in repr(night)
    for device, signal in (("a", "ppg"), ("a", "acc"), ("b", "abp")):
        chunk = night.samples(device, signal)  # type: ignore[arg-type]
        times, data = samples(played(night.path, device=device), signal)
        assert chunk.times.tobytes() == times.tobytes()
        assert chunk.data.tobytes() == data.tobytes()


def test_a_part_of_the_samples(night: innpar.Session) -> None:
    whole, part = night.samples("a"), night.samples("a", begin=10, end=20)
    since = (part.times - whole.times[0]) / 1e9
    assert since.min() == pytest.approx(10, abs=0.02)
    assert since.max() < 20
    assert len(part) > 500


def test_beats_are_those_that_were_published(
    night: innpar.Session, recorded: tuple[Path, list[Item]]
) -> None:
    published = [beat_payload(beat) for beat in estimates(recorded[1], "a")]
    assert len(published) > 40
    assert [beat_payload(beat) for beat in night.beats("a")] == published


def test_a_part_of_the_beats(night: innpar.Session) -> None:
    first = night.samples("a").times[0]
    every = night.beats("a")
    part = night.beats("a", begin=20, end=30)
    inside = [b.seq for b in every if 20 <= (b.peak - first) / 1e9 < 30]
    assert [beat.seq for beat in part] == inside
    assert len(inside) > 5


def test_events(night: innpar.Session) -> None:
    expected = [i for i in played(night.path, device="a") if isinstance(i, Event)]
    assert keys([*night.events("a")]) == keys([*expected])
    assert {"connected", "cuff"} <= {event.kind for event in expected}


def test_pandas(night: innpar.Session) -> None:
    frame = night.to_pandas("a", begin=20, end=30)
    assert 1200 < len(frame) <= 1260
    assert {"PPG", "ABP", "Marker"} <= set(frame.columns)
    assert frame["ABP"].notna().mean() > 0.5


async def test_a_replay_is_a_device(night: innpar.Session) -> None:
    async with innpar.live(night.replay("b"), model=shipped()) as beats:
        again = [beat async for beat in beats]
    then = [beat_payload(beat) for beat in night.beats("b")]
    named = [replace(beat, source="simulated") for beat in again]
    ours = [beat_payload(beat) for beat in named]
    for key in ("t", "sbp", "dbp", "map", "reasons"):
        assert [beat[key] for beat in ours] == [beat[key] for beat in then]


def test_several_devices_need_a_name(night: innpar.Session) -> None:
    with pytest.raises(Refused, match="several devices"):
        night.samples()
    with pytest.raises(NotFound, match="'c'"):
        night.beats("c")


def test_what_was_not_recorded(night: innpar.Session) -> None:
    with pytest.raises(Refused, match="past its end"):
        night.samples("b", begin=1000)


def test_no_session(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        innpar.open_session(tmp_path / "none.mcap")
    other = tmp_path / "other.mcap"
    np.savetxt(other, np.arange(100))
    with pytest.raises(Refused, match="not a session file"):
        innpar.open_session(other)


def test_a_closed_session_reads_no_more(recorded: tuple[Path, list[Item]]) -> None:
    with innpar.open_session(recorded[0]) as session:
        pass
    with pytest.raises((OSError, ValueError)):
        session.beats("a")
