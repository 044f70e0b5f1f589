"""Draw page.png and wall.png in docs/pictures from a run of the demo.

.venv/bin/python scripts/picture_page.py

Four simulated wearers run at their own speed, one of them without a cuff reading; the page is
opened in Chromium and photographed as it is.
Requires the extra `dev` and Chromium.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from playwright.async_api import async_playwright

PICTURES = Path(__file__).resolve().parents[1] / "docs/pictures"
WEARERS = (
    "demo",
    "demo?id=demo-2&seed=2",
    "demo?id=demo-3&seed=3&cuff=off",
    "demo?id=demo-4&seed=4",
)
RUN = (
    *(word for wearer in WEARERS for word in ("--device", wearer)),
    *("--broker", "embedded", "--no-remember", "--view", "127.0.0.1:0"),
)
SECONDS = 75.0
"""s of the run before the picture."""
WIDTH, HEIGHT = 1440, 900


SWEPT = """() => new Promise(done => {
    const sweep = innpar.sweeps.abp;
    const part = () => (sweep.drawn % sweep.span) / sweep.span;
    const usable = () => innpar.shown.beats.slice(-8).every(beat => beat.valid);
    const look = () => part() > 0.93 && usable() ? done() : requestAnimationFrame(look);
    look();
})"""


async def photograph(url: str) -> None:
    """Save a picture of the page after `SECONDS`."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = await browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark"
        )
        await page.goto(url)
        await page.wait_for_function("innpar.wearers.has('demo')")
        await page.evaluate("innpar.show('demo')")
        await asyncio.sleep(SECONDS)
        # Just before the sweep begins again, after eight beats with pressures.
        await page.evaluate(SWEPT)
        PICTURES.mkdir(exist_ok=True)
        await page.screenshot(path=PICTURES / "page.png")
        await page.keyboard.press("w")
        await asyncio.sleep(6)
        await page.screenshot(path=PICTURES / "wall.png")
        await browser.close()


async def main() -> None:
    command = (sys.executable, "-m", "innpar", *RUN)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            if found := re.search(r"live page: (\S+)", line.decode()):
                drawing = asyncio.create_task(photograph(found[1]))
                break
        else:
            sys.exit("the run ended without a page")
        reading = asyncio.create_task(process.stdout.read())
        await drawing
    finally:
        process.terminate()
    await reading
    await process.wait()


if __name__ == "__main__":
    asyncio.run(main())
