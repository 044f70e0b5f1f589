"""Early beats: the numbers of the beats to come, and none that does not come again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.devices.session.device import open_session
from innpar.stream.app.replayed import latency_mode
from innpar.stream.app.settings import load
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.messages.beat import beat_payload
from innpar.stream.messages.early import early_payload
from innpar.stream.results import Beat, EarlyBeat, Item, Summary
from innpar.stream.windows.timing import NORMAL, LatencyMode
from support.harness import estimates, same, stream_all
from support.sessions import MAX, demo, record

LOW = LatencyMode("low", early=True)
EARLY = LatencyMode("normal", early=True)


def pairs(items: Sequence[Item]) -> list[tuple[EarlyBeat, Beat]]:
    """Return each early beat with the beat of its number, which must come later."""
    early: dict[int, EarlyBeat] = {}
    found: list[tuple[EarlyBeat, Beat]] = []
    for item in items:
        if isinstance(item, EarlyBeat):
            assert item.seq not in early
            early[item.seq] = item
        elif isinstance(item, Beat) and item.seq in early:
            found.append((early[item.seq], item))
    assert len(found) == len(early)
    return found


def agree(early: EarlyBeat, beat: Beat) -> None:
    """Check that a beat is that of an early one: the same numbers, or none."""
    assert early.peak == beat.peak
    assert early.calibration == beat.calibration
    assert early.quality >= beat.quality
    if beat.valid:
        assert (early.sbp, early.dbp) == (beat.sbp, beat.dbp)
        sent, later = early_payload(early), beat_payload(beat)
        assert [sent[name] for name in ("sbp", "dbp", "time")] == [
            later[name] for name in ("sbp", "dbp", "time")
        ]
        for name in ("level", "sbp", "dbp"):
            assert sent["interval"][name] == later["interval"][name]
    else:
        assert (beat.sbp, beat.dbp) == (None, None)


@pytest.mark.slow
@settings(deadline=None, max_examples=8)
@given(
    seed=st.integers(0, 50), mode=st.sampled_from([LOW, EARLY]), cuff=st.none() | st.floats(8, 25)
)
def test_an_early_beat_is_the_beat_to_come(
    seed: int, mode: LatencyMode, cuff: float | None
) -> None:
    """With motion, lost packets, and a reading that starts a new waveform."""
    cuffs = () if cuff is None else (PlannedCuff(128.0, 79.0, seconds=cuff),)
    items, _, _ = stream_all([demo(40, seed=seed)], cuffs=cuffs, mode=mode)
    for early, beat in pairs(items):
        agree(early, beat)
    assert [beat.seq for beat in estimates(items)] == list(range(len(estimates(items))))


def test_it_comes_most_of_a_beat_sooner() -> None:
    items, _, _ = stream_all([demo(60, seed=3)], mode=LOW)
    found = [(early, beat) for early, beat in pairs(items) if beat.valid]
    assert len(found) > 0.9 * sum(beat.valid for beat in estimates(items))
    assert median(early.latency.beat for early, _ in found) == pytest.approx(248, abs=24)
    assert median(beat.latency.beat for _, beat in found) > 700


def test_an_interrupted_beat_comes_without_numbers() -> None:
    """At the end of the stream, and where a cuff reading starts a new waveform."""
    cuff = PlannedCuff(128.0, 79.0, seconds=10.0)
    items, _, _ = stream_all([demo(45, seed=1)], cuffs=[cuff], mode=LOW)
    lost = [beat for _, beat in pairs(items) if beat.reasons == ("gap",)]
    assert len(lost) >= 2
    for beat in lost:
        assert not beat.valid
        assert not len(beat.abp)
    without, _, _ = stream_all([demo(45, seed=1)], cuffs=[cuff], mode=LatencyMode("low"))
    kept = [beat for beat in estimates(items) if beat not in lost]
    assert [(b.peak, b.sbp, b.reasons) for b in kept] == [
        (b.peak, b.sbp, b.reasons) for b in estimates(without)
    ]


def test_there_is_none_unless_wanted() -> None:
    items, _, _ = stream_all([demo(30, seed=3)], mode=LatencyMode("low"))
    assert not [item for item in items if isinstance(item, EarlyBeat)]


def test_there_is_none_before_a_reading_that_is_required() -> None:
    items, _, _ = stream_all([demo(30, seed=3, cuff=False)], mode=EARLY, require_calibration=True)
    assert not [item for item in items if isinstance(item, EarlyBeat)]


def test_it_is_not_summarised() -> None:
    runs = [stream_all([demo(50, seed=3)], mode=mode)[0] for mode in (NORMAL, EARLY)]
    usual, with_early = ([i for i in items if isinstance(i, Summary)] for items in runs)
    first, second = (
        [(one.start, one.medians, one.valid) for one in summaries]
        for summaries in (usual, with_early)
    )
    assert first == second


def test_a_replay_has_the_beats_of_its_recording(tmp_path: Path) -> None:
    path = tmp_path / "early.mcap"
    live = estimates(record(path, demo(40, seed=1), mode=LOW))
    assert ("gap",) in [beat.reasons for beat in live]
    device = open_session(path, {}, pace=MAX)
    mode = latency_mode(load({}, None, {}), device)
    assert mode == LOW
    assert same(live, estimates(stream_all([device], mode=mode)[0]))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, NORMAL),
        ({"latency": "low"}, LOW),
        ({"latency": "low", "early": False}, LatencyMode("low")),
        ({"early": True}, EARLY),
        ({"latency": "normal"}, NORMAL),
    ],
)
def test_low_latency_has_early_beats_unless_set(
    flags: dict[str, object], expected: LatencyMode
) -> None:
    assert latency_mode(load(flags, None, {}), demo()) == expected


def test_a_setting_overrides_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "low.mcap"
    record(path, demo(10), mode=LOW)
    device = open_session(path, {}, pace=MAX)
    assert latency_mode(load({"latency": "normal"}, None, {}), device) == NORMAL
    assert latency_mode(load({"early": False}, None, {}), device) == LatencyMode("low")
