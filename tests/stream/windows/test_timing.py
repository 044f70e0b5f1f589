"""Low latency: shorter distances between the stages, and what they do not change."""

from __future__ import annotations

import itertools
from statistics import median

from innpar.devices import Event
from innpar.stream.pipeline.reports import FIT_WINDOWS
from innpar.stream.results import Waveform
from innpar.stream.windows.timing import HOP, NORMAL, SHORT_GUARD, SHORT_HOP, LatencyMode
from support.harness import estimates, shipped, stream_all
from support.sessions import demo

LOW = LatencyMode("low")
PERIOD = 8_000_000
"""Of the grid, ns."""


def test_normal_latency_leaves_the_manifest_alone() -> None:
    manifest = shipped().manifest
    assert NORMAL.applied(manifest) is manifest
    assert NORMAL.hop == HOP
    assert not NORMAL.recorded
    assert LOW.applied(manifest).guard == SHORT_GUARD < manifest.guard
    assert LOW.hop == SHORT_HOP
    assert LOW.recorded == {"latency": "low", "early": False}


def test_low_latency_publishes_the_same_beats_sooner() -> None:
    runs = {mode: stream_all([demo(40, seed=3)], mode=mode)[0] for mode in (NORMAL, LOW)}
    usual, low = ([b for b in estimates(items) if b.valid] for items in runs.values())
    pairs = [(a, b) for a in usual for b in low if abs(a.peak - b.peak) <= 3 * PERIOD]
    assert len(pairs) >= 0.9 * len(usual)
    changes = [abs((b.sbp or 0) - (a.sbp or 0)) for a, b in pairs]
    assert median(changes) < 3
    manifest, ms = shipped().manifest, PERIOD / 1e6
    assert {b.latency.guard for b in low} == {SHORT_GUARD * ms}
    assert {b.latency.lookahead for b in low} == {manifest.drop * ms}
    # The first upstrokes of a stretch are decided together.
    assert max(b.latency.hop for b in low[10:]) < SHORT_HOP * ms
    assert max(b.latency.hop for b in usual[10:]) > SHORT_HOP * ms


def test_waveforms_are_as_long_as_a_hop_and_join() -> None:
    items, _, _ = stream_all([demo(30, seed=3)], mode=LOW)
    waves = [one for one in items if isinstance(one, Waveform) and one.kind == "ppg"]
    assert {len(one.samples) for one in waves[1:]} == {SHORT_HOP}
    for one, after in itertools.pairwise(waves):
        assert after.start == one.start + len(one.samples) * PERIOD


def test_the_fit_check_covers_as_many_seconds() -> None:
    fits = []
    for mode in (NORMAL, LOW):
        items, _, _ = stream_all([demo(20, seed=3)], mode=mode)
        fits += [
            one for one in items if isinstance(one, Event) and one.detail.get("code") == "fit_check"
        ]
    normal, low = fits
    assert abs(low.start - normal.start) <= FIT_WINDOWS * HOP * PERIOD // 8
    assert low.detail["text"] == normal.detail["text"]
