"""Waveforms in Chromium: what is drawn is what was sent."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from support.wards import HOP, RATE, text, ward


@pytest.mark.slow
async def test_what_is_drawn_is_what_was_sent() -> None:
    """The buffer within a sample, the pixels within one pixel, at 20 random times."""
    async with ward() as (ours, watched):
        await ours.stream(7)
        await watched.until("innpar.shown && innpar.shown.beats.length >= 6")
        seed = np.random.default_rng(1)
        end = ours.t["demo"] - 2.5
        for t in seed.uniform(end - 3, end, 20):
            start, samples = next(one for one in reversed(ours.sent["demo"]) if one[0] <= t)
            k = min(HOP - 1, round((t - start) * RATE))
            shown, y, ink = await watched.page.evaluate(PIXEL, start + k / RATE)
            assert abs(shown - samples[k]) <= 0.06
            assert ink is not None, "nothing is drawn there"
            assert ink[0] - 1.5 <= y <= ink[1] + 1.5
        assert await text(watched, "sbp") == "121"
        assert await text(watched, "sbp-interval") == "112–130"
        assert "Research software, not an alarm system" in await watched.page.inner_text("header")


PIXEL = """t => {
    const sweep = innpar.sweeps.abp, canvas = sweep.layers[1].canvas, ratio = sweep.ratio;
    const x = Math.round((sweep.x(t) + sweep.gutter) * ratio);
    const {data} = sweep.layers[1].getImageData(x, 0, 1, canvas.height);
    const rows = [];
    for (let y = 0; y < canvas.height; y++) if (data[4 * y + 3] > 60) rows.push(y / ratio);
    const value = innpar.shown.traces.abp.at(t);
    return [value, sweep.y(value), rows.length ? [rows[0], rows.at(-1)] : null];
}"""


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
        drawn = [(await watched.page.evaluate(PIXEL, t))[2] for t in inside]
        assert drawn == [None] * len(inside)
        assert (await watched.page.evaluate(PIXEL, before - 0.2))[2] is not None
