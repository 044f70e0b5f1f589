"""Target band on the trend, and the time in it."""

from __future__ import annotations

import asyncio

import pytest

from support.wards import text, ward

pytestmark = pytest.mark.slow  # Chromium


async def test_time_in_target_counts_the_estimates_and_their_whole_intervals() -> None:
    async with ward(width=360, height=900) as (ours, watched):
        for k in range(40):  # intervals are ±9 mmHg: 10 of 40 beats lie wholly inside 110–130
            ours.hop(sbp=120.0 if k < 10 else 128.0 if k < 20 else 150.0)
        await watched.until("innpar.shown?.trend['15 min']?.rows.length >= 9")
        assert await text(watched, "target") == ""
        await watched.page.click("#target-menu summary")
        for name in ("name", "low", "high", "none"):
            box = await watched.page.locator(f"#target-{name}").bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
        await watched.page.fill("#target-low", "110")
        await watched.page.fill("#target-high", "130")
        await watched.page.press("#target-high", "Enter")
        await watched.until("document.getElementById('target').textContent !== ''")
        shown = await text(watched, "target")
        rows = await watched.page.evaluate("innpar.trend.visible(innpar.shown).rows")
        inside = [row for row in rows if row[1] <= 130]
        sure = [row for row in inside if row[5] <= 130]
        assert 0 < len(sure) < len(inside) < len(rows)
        assert shown == (
            f"SBP in 110–130: {round(100 * len(inside) / len(rows))} % of {4 * len(rows)} s, "
            f"with its whole interval {round(100 * len(sure) / len(rows))} %"
        )
        await watched.page.reload()
        await watched.until("document.getElementById('target')?.textContent.startsWith('SBP in')")
        await watched.page.click("#target-menu summary")
        await watched.page.click("#target-none")
        await asyncio.sleep(0.3)
        assert await text(watched, "target") == ""
