"""History of a wearer: what a viewer gets, and how little of it is kept."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.stream.view.history import MISSING, SCALE, WearerHistory, encoded

LIMIT = 100_000
"""Bytes of a wearer."""


def wave(t: float, kind: str = "abp", session: str = "A", n: int = 128) -> dict[str, Any]:
    samples = [80.0 + k % 40 for k in range(n)]
    return {"session": session, "t": t, "rate": 125, "samples": samples, "kind": kind}


def beat(t: float, session: str = "A") -> dict[str, Any]:
    return {
        "session": session, "source": "simulated", "seq": int(t), "t": t, "sbp": 121.4, "dbp": 74.9,
        "map": 91.2, "hr": 66.0, "quality": 0.9, "valid": True, "reasons": [],
        "interval": {"level": 0.9, "sbp": [110, 130], "dbp": [70, 80], "map": [80, 99]},
        "calibration": {"state": "ok", "age_s": 31, "sbp": 128, "dbp": 79},
        "latency_ms": dict.fromkeys(("sensor", "guard", "lookahead", "hop", "beat", "compute"), 9),
        "abp": {"start": t - 0.2, "rate": 125, "samples": [80.5] * 190},
    }  # fmt: skip


def items(answer: str | None) -> list[dict[str, Any]]:
    return [] if answer is None else json.loads(answer)["items"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.none() | st.floats(-40, 320), max_size=64))
def test_samples_come_back_within_a_hundredth(samples: list[float | None]) -> None:
    whole = np.frombuffer(base64.b64decode(encoded(samples, SCALE["abp"])), "<i2")
    for value, given_ in zip(whole, samples, strict=True):
        if given_ is None:
            assert value == MISSING
        else:
            assert abs(value / SCALE["abp"] - given_) <= 0.0051


def test_a_viewer_gets_each_message_once_and_in_order() -> None:
    history, got, last = WearerHistory("x"), [], 0
    for n in range(1, 60):
        history.take("beats" if n % 3 == 0 else "abp", beat(n) if n % 3 == 0 else wave(n), n, 0.0)
        if n % 5 == 0:
            got += [item["n"] for item in items(history.after(last))]
            last = n
    assert got == list(range(1, 56))


def test_a_viewer_that_was_away_too_long_starts_afresh() -> None:
    history = WearerHistory("x")
    for n in range(1, 400):
        history.take("ppg" if n % 2 else "abp", wave(n // 2), n, 0.0)
    answer = json.loads(history.after(5) or "")
    assert answer["fresh"] is True
    assert answer["items"][-1]["n"] == 399
    assert answer["items"][0]["t"] <= 199 - 31  # the longest sweep


@pytest.mark.parametrize("kind", ["abp", "beats", "events", "meta"])
def test_a_flood_of_large_messages_costs_no_more(kind: str) -> None:
    history = WearerHistory("x")
    huge = {"samples": [1e9] * 9000, "start": 0.0, "rate": 125}
    body = {**beat(0), **huge, "abp": huge, "detail": {str(k): "y" * 999 for k in range(99)}}
    for n in range(1, 300):
        history.take(kind, {**body, "t": float(n), "reasons": ["z" * 999] * 99}, n, 0.0)
    assert history.size < LIMIT


def test_another_session_leaves_nothing_of_the_last() -> None:
    history = WearerHistory("x")
    history.take("abp", wave(100), 1, 0.0)
    history.take("abp", wave(5, session="B"), 2, 0.0)
    answer = json.loads(history.after(1) or "")
    assert answer["fresh"] is True
    assert [item["t"] for item in answer["items"]] == [5]


def test_a_wearer_costs_at_most_100_kb() -> None:
    history, n = WearerHistory("x" * 60), 0
    detail = {"text": "<b>" * 900, "why": "x" * 900}
    for second in range(600):
        for kind, payload in (
            ("ppg", wave(second, "ppg")),
            ("abp", wave(second)),
            ("beats", beat(second)),
            ("beats", beat(second + 0.5)),
            ("events", {"kind": "notice", "t": second, "end": second, "detail": detail}),
            ("meta", {"detail": {"model": "y" * 2000}}),
        ):
            n += 1
            history.take(kind, payload, n, float(second))
        if second < 9:
            cuff = {"kind": "cuff", "t": second, "end": second, "detail": {"sbp": 128, "dbp": 79}}
            history.take("events", cuff, (n := n + 1), float(second))
    assert 60_000 < history.size < LIMIT
    kept = [item for item in items(history.after(0)) if item.get("event") == "cuff"]
    assert len(kept) == 9, "cuff readings stay, whatever else happens"
    assert len(items(history.after(0))) > 100


def test_lost_samples_stay_counted_however_many_events_there_are() -> None:
    history = WearerHistory("x")
    history.take("ppg", wave(1000, "ppg"), 1, 0.0)
    detail = {"why": "packets lost " * 20, "lost": 3}
    for n in range(2, 402):
        gap = {"kind": "gap", "t": float(n), "end": n + 0.5, "detail": detail}
        history.take("events", gap, n, 0.0)
        acceleration = {**gap, "detail": {"signal": "acc", "lost": 7}}
        history.take("events", acceleration, n, 0.0)
    unknown = {"kind": "gap", "t": 1.0, "end": 2.0, "detail": {"why": "link lost", "lost": None}}
    history.take("events", unknown, 500, 0.0)
    answer = json.loads(history.after(0) or "")
    assert len(answer["items"]) < 100
    assert answer["lost"] == [3 * 400, 1, 1000.0]
    history.take("ppg", wave(5, "ppg", session="B"), 501, 0.0)
    assert json.loads(history.after(0) or "")["lost"] == [0, 0, 5.0]
