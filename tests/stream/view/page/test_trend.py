"""Cuff readings on the trend, the waveforms and in the history, in force or withdrawn."""

from __future__ import annotations

import pytest

from support.browsers import Watched
from support.wards import Ward, ward

pytestmark = pytest.mark.slow  # Chromium
CUFF = {"sbp": 128, "dbp": 79}
AMBER = """() => [innpar.trend.layers[0], innpar.sweeps.abp.layers[2]].map(layer => {
    const ink = innpar.trend.paint('cuff').slice(1).match(/../g).map(part => parseInt(part, 16));
    const {data} = layer.getImageData(0, 0, layer.canvas.width, layer.canvas.height);
    let found = 0;
    for (let k = 0; k < data.length; k += 4)
        if (data[k + 3] === 255 && ink.every((value, i) => value === data[k + i])) found++;
    return found > 60;
})"""
"""Whether a bar of the cuff's colour is on the trend and on the pressure waveform."""


async def shown_after(ours: Ward, watched: Watched, mark: str) -> None:
    """Wait until the events so far are on the page."""
    ours.event("marker", text=mark, ago=0.2)
    await watched.until(f"document.getElementById('events').textContent.includes('{mark}')")


async def test_a_withdrawn_reading_is_not_drawn_as_one_in_force() -> None:
    async with ward() as (ours, watched):
        for _ in range(4):
            ours.hop()
        ours.event("cuff", ago=2.0, **CUFF)
        await shown_after(ours, watched, "first")
        await watched.until(f"({AMBER})()[0] && ({AMBER})()[1]")
        assert await watched.page.is_visible("#cuff-undo")
        ours.event("cuff_undone", ago=0.1, **CUFF)
        await shown_after(ours, watched, "second")
        await watched.until(f"!({AMBER})()[0] && !({AMBER})()[1]")
        history = await watched.page.inner_text("#cuff-history")
        assert history.endswith("cuff 128/79, withdrawn")
        assert not await watched.page.is_visible("#cuff-undo")


async def test_a_withdrawal_is_of_the_newest_reading_with_its_pressures() -> None:
    async with ward() as (ours, watched):
        for _ in range(4):
            ours.hop()
        ours.event("cuff", ago=3.0, **CUFF)
        ours.event("cuff", ago=2.0, sbp=140, dbp=90)
        ours.event("cuff", ago=1.0, **CUFF)
        ours.event("cuff_undone", ago=0.5, **CUFF)
        await shown_after(ours, watched, "end")
        withdrawn = await watched.page.evaluate(
            "innpar.shown.readings.map(one => Boolean(one.withdrawn))"
        )
        assert withdrawn == [False, False, True]


async def test_a_reading_kept_from_the_last_run_stands_where_it_was_taken() -> None:
    async with ward() as (ours, watched):
        for _ in range(4):
            ours.hop()
        ours.event("cuff", ago=2.0, remembered={"age_s": 7200}, **CUFF)
        await shown_after(ours, watched, "end")
        assert await watched.page.evaluate(AMBER) == [False, False]
