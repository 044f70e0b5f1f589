"""Waveforms in Chromium: what is drawn is what was sent."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from support.browsers import DRAWN
from support.wards import HOP, RATE, text, ward

pytestmark = pytest.mark.slow  # Chromium


@pytest.mark.slow
async def test_what_is_drawn_is_what_was_sent() -> None:
    """The buffer within a sample, the pixels within one pixel, at 20 random times."""
    async with ward() as (ours, watched):
        await ours.stream(7)
        await watched.until("innpar.shown && innpar.shown.beats.length >= 6")
        seed = np.random.default_rng(1)
        end = ours.t["demo"] - 2.5
        times, values = [], []
        for t in seed.uniform(end - 3, end, 20):
            start, samples = next(one for one in reversed(ours.sent["demo"]) if one[0] <= t)
            k = min(HOP - 1, round((t - start) * RATE))
            times.append(start + k / RATE)
            values.append(samples[k])
        found = await watched.page.evaluate(DRAWN, ["abp", times])
        for t, value, drawn in zip(times, values, found, strict=True):
            assert abs(drawn["time"] - t) < 0.5 / RATE
            assert abs(drawn["value"] - value) <= 0.06
            assert drawn["ink"] is not None, "nothing is drawn there"
            assert drawn["ink"][0] - 1.5 <= drawn["y"] <= drawn["ink"][1] + 1.5
        assert await text(watched, "sbp") == "121"
        assert await text(watched, "sbp-interval") == "112–130"
        assert "Research software, not an alarm system" in await watched.page.inner_text("header")


@pytest.mark.slow
async def test_a_gap_is_empty() -> None:
    async with ward() as (ours, watched):
        await ours.stream(3.2)
        before = ours.t["demo"]
        ours.t["demo"] += 3
        await asyncio.sleep(3)
        await ours.stream(3.2)
        await watched.until("innpar.sweeps.abp.drawn > innpar.shown.playhead.end - 1.2")
        inside = [before + k / 10 for k in range(2, 29)]
        found = await watched.page.evaluate(DRAWN, ["abp", [*inside, before - 0.2]])
        assert [one["ink"] for one in found[:-1]] == [None] * len(inside)
        assert found[-1]["ink"] is not None
