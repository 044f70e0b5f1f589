"""Words of the page: events, and text from outside."""

from __future__ import annotations

from typing import Any

import pytest

from support.wards import text, ward

pytestmark = pytest.mark.slow  # Chromium
HOSTILE = "<img src=x onerror=alert(1)>"


async def test_hostile_names_are_text() -> None:
    async with ward() as (ours, watched):
        ours.hop(HOSTILE)
        ours.event("marker", HOSTILE, ago=0.5, text=HOSTILE)
        ours.board.take(HOSTILE, "meta", {"detail": {"model": HOSTILE}, "model": HOSTILE})
        await watched.until("document.getElementById('events').textContent.includes('<img')")
        assert await text(watched, "device") == HOSTILE
        await watched.page.keyboard.press("w")
        await watched.until("document.querySelector('.tile b').textContent.includes('<img')")
        assert await watched.page.query_selector("img") is None


EVIDENCE = {"beats": 40, "median": 61.2, "extreme": 58.0, "interval": [50.1, 72.4], "sure": 0.1}


EVENTS: list[tuple[str, dict[str, Any], str | None]] = [
    ("cuff", {"sbp": 128, "dbp": 79}, "cuff 128/79"),
    (
        "cuff",
        {"sbp": 128, "dbp": 79, "check": {"sbp": -6.4, "dbp": 3.0}},
        "cuff 128/79, ours off by −6/+3",
    ),
    (
        "cuff",
        {"sbp": 128, "dbp": 79, "remembered": {"age_s": 7200}},
        "cuff 128/79, kept from 2.0 h before",
    ),
    ("cuff_undone", {"sbp": 140, "dbp": 90}, "cuff reading 140/90 withdrawn"),
    (
        "alarm",
        {"state": "on", "rule": "map<65@60", "evidence": EVIDENCE},
        "alarm event on: map<65@60, median 61 (50–72) (research only)",
    ),
    (
        "alarm",
        {"state": "off", "rule": "map<65@60", "why": "cleared"},
        "alarm event off: map<65@60, cleared (research only)",
    ),
    ("gap", {"why": "packets lost", "lost": 3}, "gap: packets lost"),
    ("gap", {"why": "packets lost", "signal": "acc"}, None),
    ("posture", {"wrist_height": -12.0}, "sensor at −12 cm from heart height"),
    ("wear", {"worn": False}, "not worn"),
    ("battery", {"percent": 50}, None),
]
"""Kind and detail of an event, and its words; None where it is of no interest to a viewer."""


async def test_events_in_words() -> None:
    async with ward() as (ours, watched):
        ours.hop()
        for kind, detail, _ in EVENTS:
            ours.event(kind, **detail)
        ours.event("marker", text="end")
        await watched.until("document.getElementById('events').textContent.includes('mark: end')")
        shown = await watched.page.eval_on_selector_all(
            "#events li", "all => all.map(one => one.textContent.slice(9)).reverse()"
        )
        assert shown == [*(words for *_, words in EVENTS if words), "mark: end"]
