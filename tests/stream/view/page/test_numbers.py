"""Numbers of the page: with their intervals, never older than they look, and inside their panel."""

from __future__ import annotations

import asyncio
import time

import pytest

from support.wards import HOP, OVERFLOW, RATE, text, ward

pytestmark = pytest.mark.slow  # Chromium


@pytest.mark.slow
async def test_an_invalid_beat_leaves_no_number_for_more_than_five_seconds() -> None:
    async with ward() as (ours, watched):
        await ours.stream(2)
        await watched.until("document.getElementById('sbp').textContent === '121'")
        last = time.monotonic()
        feeding = asyncio.create_task(ours.stream(8, valid=False, wave=False))
        await watched.until("document.getElementById('sbp').textContent === '—'", 7)
        assert time.monotonic() - last < 5 + HOP / RATE + 0.4
        assert await text(watched, "reason") == "moving"
        assert (await text(watched, "standing")).startswith("last 121/75")
        assert await text(watched, "map-interval") == ""
        await feeding


@pytest.mark.parametrize("width", [360, 1440, 2560])
async def test_three_digit_numbers_fit(width: int) -> None:
    async with ward(width=width, height=1000) as (ours, watched):
        ours.hop(sbp=188.0)
        await watched.until("document.getElementById('sbp').textContent === '188'")
        await watched.page.evaluate("document.getElementById('dbp').textContent = '104'")
        assert await watched.page.evaluate(OVERFLOW) == []
        boxes = [await watched.page.locator(f"#{name}").bounding_box() for name in ("sbp", "dbp")]
        panel = await watched.page.locator("#pressure").bounding_box()
        assert panel is not None
        assert boxes[0] is not None
        assert boxes[1] is not None
        assert boxes[0]["x"] >= panel["x"]
        assert boxes[1]["x"] + boxes[1]["width"] <= panel["x"] + panel["width"]
        wide = await watched.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width


async def test_a_number_without_a_cuff_reading_is_hollow_and_its_interval_comes_first() -> None:
    async with ward() as (ours, watched):
        ours.hop(calibration={"state": "none", "age_s": None, "sbp": None, "dbp": None})
        await watched.until("document.getElementById('sbp').textContent === '121'")
        assert "not calibrated" in await text(watched, "standing")
        assert await watched.page.evaluate(HOLLOW) == [True, True, True]
        assert await watched.page.evaluate(ABOVE) == [True, True]
        ours.hop()
        await watched.until("document.getElementById('standing').textContent === '90 % interval'")
        assert await watched.page.evaluate(HOLLOW) == [False, False, False]
        assert await watched.page.evaluate(ABOVE) == [False, False]


HOLLOW = """['sbp', 'dbp', 'map'].map(id => {
    const {color, webkitTextStrokeWidth} = getComputedStyle(document.getElementById(id));
    return color === 'rgba(0, 0, 0, 0)' && webkitTextStrokeWidth !== '0px';
})"""
ABOVE = """['sbp', 'dbp'].map(id => {
    const [interval, value] = [`${id}-interval`, id].map(
        one => document.getElementById(one).getBoundingClientRect());
    return interval.bottom <= value.top + 2;
})"""
"""Whether each interval lies above its number."""


@pytest.mark.parametrize(
    "fields", [{"delay_ms": 70_000, "late": True}, {"delay_ms": 2600, "queued_ms": 600_000}]
)
async def test_a_beat_that_comes_late_is_no_number_of_now(fields: dict[str, object]) -> None:
    async with ward() as (ours, watched):
        ours.hop(**fields)
        await watched.until("innpar.shown?.usable != null")
        await watched.until("document.getElementById('standing').textContent.includes('ago')")
        assert (await text(watched, "standing")).startswith("last 121/75")
        assert await text(watched, "sbp") == "—"
        assert await text(watched, "hr") == "—"
        assert await text(watched, "reason") == "beats arrive late"
        assert (await text(watched, "beat-title")).startswith("Last usable beat, ")


async def test_the_state_line_counts_the_samples_that_were_lost() -> None:
    async with ward() as (ours, watched):
        ours.hop()
        ours.board.take("demo", "meta", {"detail": {"rate": 1000}})
        ours.event("gap", why="packets lost", lost=12)
        ours.event("gap", why="packets lost", lost=9, signal="acc")
        await watched.until("document.getElementById('state').textContent.includes('12 of')")
        assert "12 of about 1,024 samples lost" in await text(watched, "state")
