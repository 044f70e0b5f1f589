"""The page as a whole, for everyone: axe, keyboard, contrast, colour vision, sizes."""

from __future__ import annotations

import asyncio
import io
import itertools
import json

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.image import imread

from support.browsers import Watched, need_chromium
from support.wards import ward

Pixel = npt.NDArray[np.float64]


@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_every_text_has_enough_contrast(theme: str) -> None:
    async with ward() as (ours, watched):
        ours.hop()
        await watched.until("document.getElementById('sbp').textContent === '121'")
        await watched.page.evaluate(f"innpar.controls.setTheme('{theme}')")
        ratios = json.loads(await watched.page.evaluate(CONTRAST))
        assert len(ratios) == 2 * 6
        assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}


CONTRAST = """() => {
    const style = getComputedStyle(document.documentElement);
    const light = name => {
        const hex = style.getPropertyValue('--' + name).trim().slice(1);
        const part = k => parseInt(hex.slice(k, k + 2), 16) / 255;
        const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        return 0.2126 * linear(part(0)) + 0.7152 * linear(part(2)) + 0.0722 * linear(part(4));
    };
    const found = {};
    for (const back of ['panel', 'control']) {
        for (const ink of ['text', 'dim', 'abp', 'ppg', 'hr', 'cuff']) {
            const [a, b] = [light(back), light(ink)].sort((x, y) => y - x);
            found[`${ink} on ${back}`] = (a + 0.05) / (b + 0.05);
        }
    }
    return JSON.stringify(found);
}"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1440, 2560])
async def test_axe_finds_nothing(width: int) -> None:
    need_chromium()
    reason = "axe-playwright-python is not installed: scripts/setup dev"
    axe = pytest.importorskip("axe_playwright_python.async_playwright", reason=reason).Axe()
    async with ward(width=width, height=900) as (ours, watched):
        for _ in range(4):
            ours.hop()
            ours.hop("two", calibration={"state": "none"})
        ours.event("cuff", ago=3, sbp=128, dbp=79)
        await watched.until("document.getElementById('sbp').textContent === '121'")
        for theme in ("dark", "light"):
            await watched.page.evaluate(f"innpar.controls.setTheme('{theme}')")
            for keys in ("", "w", "w?"):
                for key in keys:
                    await watched.page.keyboard.press(key)
                ours.hop()
                ours.hop("two", calibration={"state": "none"})
                await asyncio.sleep(0.3)
                found = await axe.run(watched.page)
                assert found.response["violations"] == []
                wide = await watched.page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width
            await watched.page.keyboard.press("Escape")


async def test_every_control_is_reached_by_keyboard_and_seen_to_be() -> None:
    async with ward() as (ours, watched):
        ours.hop()
        ours.event("cuff", sbp=128, dbp=79)
        await watched.until("!document.getElementById('cuff-undo').hidden")
        controls = await watched.page.evaluate(CONTROLS)
        reached = set()
        for _ in range(len(controls) + 5):
            await watched.page.keyboard.press("Tab")
            name, outline = await watched.page.evaluate(FOCUS)
            if name:
                reached.add(name)
                assert outline >= 2, f"{name} does not show that it has the focus"
        assert reached >= set(controls)
        await watched.page.evaluate("document.activeElement.blur()")
        await watched.page.keyboard.press("?")
        await watched.until("document.getElementById('keys').open")
        await watched.page.keyboard.press("Escape")
        await watched.page.keyboard.press("w")
        await watched.until("document.querySelector('.tile') && innpar.wall")
        await watched.page.focus(".tile")
        await watched.page.keyboard.press("Enter")
        await watched.until("!innpar.wall")


CONTROLS = """[...document.querySelectorAll('button, input, select, summary')]
    .filter(one => one.checkVisibility() && !one.disabled).map(one => one.id || one.textContent)"""
FOCUS = """(one => [
    one === document.body ? '' : one.id || one.textContent,
    parseFloat(getComputedStyle(one).outlineWidth)
])(document.activeElement)"""


@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_traces_and_numbers_are_told_apart_without_red_or_green(theme: str) -> None:
    """Distance of any two colours as drawn (CIE 1976), with Chromium's simulation."""
    async with ward() as (ours, watched):
        await watched.page.evaluate(f"innpar.controls.setTheme('{theme}')")
        cdp = await watched.page.context.new_cdp_session(watched.page)
        for deficiency in ("none", "protanopia", "deuteranopia"):
            await cdp.send("Emulation.setEmulatedVisionDeficiency", {"type": deficiency})
            ours.hop()
            await watched.until("document.getElementById('sbp').textContent === '121'")
            await asyncio.sleep(0.3)
            seen = {name: await ink(watched, name) for name in ("#sbp", "#hr")}
            ours.event("cuff", sbp=128, dbp=79)
            seen |= {name: await ink(watched, name) for name in ("#ppg-title b", "#cuff-title")}
            apart = {
                (one, other): float(np.linalg.norm(lab(seen[one]) - lab(seen[other])))
                for one, other in itertools.combinations(seen, 2)
            }
            assert min(apart.values()) >= 15, (deficiency, apart)


async def ink(watched: Watched, selector: str) -> Pixel:
    """Return the colour of an element's text as drawn, RGB from 0 to 1."""
    image = imread(io.BytesIO(await watched.page.locator(selector).screenshot()))
    pixels = image[..., :3].reshape(-1, 3)
    found: Pixel = pixels[((pixels - pixels[0]) ** 2).sum(axis=1).argmax()].astype(float)
    return found


def lab(rgb: Pixel) -> Pixel:
    """Return a colour of sRGB in CIELAB."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
