"""Wall of all wearers."""

from __future__ import annotations

import asyncio

import pytest

from support.wards import OVERFLOW, ward

pytestmark = pytest.mark.slow  # Chromium


@pytest.mark.parametrize("wearers", [4, 16, 64])
async def test_the_wall_shows_everyone_in_a_stable_order(wearers: int) -> None:
    names = [f"wearer-{k:02}" for k in range(wearers)]
    async with ward() as (ours, watched):
        for name in names:
            ours.hop(name, valid=name != names[1])
        await watched.until(f"innpar.wearers.size === {wearers}")
        await watched.page.keyboard.press("w")
        await watched.until("document.querySelectorAll('.tile').length > 0")
        await asyncio.sleep(0.3)
        tiles = await watched.page.eval_on_selector_all(
            ".tile b", "all => all.map(one => one.textContent)"
        )
        assert tiles == names
        assert "lost" not in await watched.page.inner_text("#state"), "no wearer's line"
        assert await watched.page.title() == f"{wearers} wearers"
        pale = await watched.page.eval_on_selector_all(
            ".tile.pale b", "all => all.map(one => one.textContent)"
        )
        assert pale == [names[1]]
        assert await watched.page.evaluate(OVERFLOW) == []
        await watched.page.click(".tile >> nth=2")
        await watched.until(f"document.getElementById('device').textContent === '{names[2]}'")


async def test_a_tile_shows_the_wider_side_of_the_interval() -> None:
    lopsided = {"level": 0.9, "sbp": [118, 140], "dbp": [60, 76], "map": [80, 99]}
    async with ward() as (ours, watched):
        ours.hop("one", interval=lopsided)
        ours.hop("two", interval=None)
        stale = {"state": "stale", "age_s": 99999, "sbp": 128, "dbp": 79}
        ours.hop("three", calibration=stale)
        await watched.until("innpar.wearers.size === 3")
        await watched.page.keyboard.press("w")
        await watched.until("document.querySelector('.tile small')?.textContent")
        await asyncio.sleep(0.2)
        shown = await watched.page.eval_on_selector_all(
            ".tile small", "all => all.map(one => one.textContent)"
        )
        assert [one.split(" · ")[0] for one in shown] == ["±19/±15", "±?/±?", "±9/±9"]
        assert "cuff reading out of date" in shown[2]


@pytest.mark.parametrize("width", [360, 1440])
async def test_that_a_wearer_is_not_calibrated_is_never_cut_off(width: int) -> None:
    async with ward(width=width, height=900) as (ours, watched):
        for k in range(16):
            ours.hop(f"wearer-{k:02}", calibration={"state": "none"})
        await watched.until("innpar.wearers.size === 16")
        await watched.page.keyboard.press("w")
        await watched.until("document.querySelector('.tile small')?.textContent")
        await asyncio.sleep(0.3)
        cut = """[...document.querySelectorAll('.tile small')].filter(
            one => !one.textContent.includes('not calibrated')
                || one.scrollWidth > one.clientWidth).length"""
        assert await watched.page.evaluate(cut) == 0
