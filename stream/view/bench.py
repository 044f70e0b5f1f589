"""Speed of the live page in Chromium: frames, main thread, delay to the screen, hidden, crowded."""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import os
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from innpar.stream.errors import ConfigError
from innpar.stream.view.board import Board
from innpar.stream.view.ward import simulated_ward

if TYPE_CHECKING:
    from playwright.async_api import CDPSession, Page

CROWD = 20
"""Viewers at once."""
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
SHOWN = """() => {
    window.delays = [];
    let seen = null;
    const look = () => {
        const beat = innpar.shown?.newest;
        if (beat && beat !== seen) window.delays.push(Date.now() - 1000 * beat.t);
        seen = beat;
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""
"""Note the time from the publication of each beat, which is its `t`, to the frame that shows it."""
HIDEABLE = """
    const frame = window.requestAnimationFrame.bind(window);
    let held = null;
    window.requestAnimationFrame = work => held ? held.push(work) : frame(work);
    window.hide = () => { held = []; };
    window.unhide = () => { const works = held; held = null; works.forEach(work => frame(work)); };
"""
"""Withhold frames, as a browser does from a hidden page; Chromium without a window hides none."""


@dataclass(frozen=True, slots=True)
class PageLoad:
    """Measurements of one view.

    Attributes:
        frames: Frames per second.
        thread: Processor time of the page's main thread, as a share of the time, 0 to 1.
        delay: From publication to the frame that shows it, ms, median and 95th percentile.
        server: Share of a core of the server and of the simulated wearers, 0 to 1.
    """

    frames: float
    thread: float
    delay: tuple[float, float]
    server: float

    def line(self, name: str) -> str:
        """Return a line of the table."""
        middle, most = self.delay
        return (
            f"{name:<24}{self.frames:>9.0f}{self.thread:>13.0%}"
            f"{f'{middle:.0f} ms ({most:.0f})':>20}{self.server:>9.1%}"
        )


def bench_view(seconds: float, hidden: float) -> int:
    """Print the speed of the page on this computer.

    Args:
        seconds: Length of each measurement.
        hidden: Time for which the page is hidden, s.

    Raises:
        ConfigError: playwright or Chromium is missing.
    """
    asyncio.run(_bench(seconds, hidden))
    return 0


async def _bench(seconds: float, hidden: float) -> None:
    async with _browser() as open_page:
        load = os.getloadavg()[0]
        print(f"live page on {os.cpu_count()} cores, {seconds:g} s each, load {load:.1f}")
        print(f"{'':24}{'frames/s':>9}{'main thread':>13}{'published → drawn':>20}{'server':>9}")
        for wearers, name in ((1, "one wearer, two traces"), (4, "wall of 4"), (64, "wall of 64")):
            async with simulated_ward(wearers) as (url, _):
                page, cdp = await open_page(url)
                if wearers > 1:
                    await page.keyboard.press("w")
                await asyncio.sleep(3)
                print((await _measured(page, cdp, seconds)).line(name), flush=True)
                await page.close()
        async with simulated_ward(1) as (url, board):
            page, cdp = await open_page(url)
            print(await _hidden(page, cdp, board, hidden), flush=True)
            await page.close()
        print(await _crowded(seconds), flush=True)


@asynccontextmanager
async def _browser() -> AsyncIterator[Any]:
    """Start Chromium; yield a function that opens a page and returns it and its debugger."""
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        raise ConfigError(
            "bench --view drives Chromium by playwright: install the extra dev (scripts/setup dev)"
        ) from None
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise ConfigError("bench --view needs Chromium: install the package chromium")
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=found, args=list(ARGUMENTS))

        async def open_page(url: str) -> tuple[Page, CDPSession]:
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            await page.add_init_script(HIDEABLE)
            await page.goto(url)
            cdp = await page.context.new_cdp_session(page)
            await cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
            await page.evaluate(SHOWN)
            return page, cdp

        try:
            yield open_page
        finally:
            await browser.close()


async def _measured(page: Page, cdp: CDPSession, seconds: float) -> PageLoad:
    await page.evaluate("window.delays.length = 0")
    before, spent, began = await _counts(page, cdp), time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    passed, used = time.monotonic() - began, time.process_time() - spent
    after = await _counts(page, cdp)
    delays = await page.evaluate("window.delays") or [math.nan]
    middle, most = np.percentile(delays, [50, 95]).tolist()
    return PageLoad(
        (after[0] - before[0]) / passed,
        (after[1] - before[1]) / passed,
        (middle, most),
        used / passed,
    )


async def _counts(page: Page, cdp: CDPSession) -> tuple[float, float]:
    """Return frames so far, and seconds of processor time of the main thread."""
    metrics = (await cdp.send("Performance.getMetrics"))["metrics"]
    (busy,) = (one["value"] for one in metrics if one["name"] == "TaskDuration")
    return await page.evaluate("innpar.frames"), busy


async def _hidden(page: Page, cdp: CDPSession, board: Board, seconds: float) -> str:
    """Return what a hidden page costs, and how soon it is right on return."""
    await asyncio.sleep(5)
    heap, held = await _heap(cdp), board.size
    frames = await page.evaluate("(hide(), innpar.frames)")
    await asyncio.sleep(seconds)
    drawn = await page.evaluate("innpar.frames") - frames
    took = await page.evaluate(RETURN)
    grown, server = (await _heap(cdp) - heap) / 1e6, (board.size - held) / 1e6
    return (
        f"hidden for {seconds:g} s: {drawn} frames, page {grown:+.1f} MB, server {server:+.2f} MB; "
        f"right {took:.0f} ms after its return"
    )


RETURN = """() => new Promise(done => {
    const began = performance.now(), since = Date.now();
    unhide();
    const look = () => {
        const beat = innpar.shown?.newest, standing = document.getElementById('sbp').textContent;
        const right = beat && 1000 * beat.t > since - 1500 && standing !== '—';
        right ? done(performance.now() - began) : requestAnimationFrame(look);
    };
    look();
})"""
"""Time until the newest beat is that of now and its number stands, ms."""


async def _heap(cdp: CDPSession) -> float:
    await cdp.send("HeapProfiler.collectGarbage")
    used: float = (await cdp.send("Runtime.getHeapUsage"))["usedSize"]
    return used


async def _crowded(seconds: float) -> str:
    """Return the delay of a run's event loop without viewers and with `CROWD` and a silent one."""
    found = []
    for viewers in (0, CROWD):
        async with simulated_ward(4) as (url, _):
            context = multiprocessing.get_context("spawn")
            crowd = context.Process(target=watch, args=(url, viewers), daemon=True)
            crowd.start()
            await asyncio.sleep(4)
            middle, most = np.percentile(await _lateness(seconds), [50, 95])
            found.append(f"{middle:.1f} ms (95th percentile {most:.1f})")
            crowd.kill()
            await asyncio.to_thread(crowd.join)
    return (
        f"{CROWD} viewers and a silent one: the run's loop is late by {found[1]}; alone {found[0]}"
    )


async def _lateness(seconds: float) -> Sequence[float]:
    """Return how much later than due the event loop goes on, ms."""
    late, end = [], time.monotonic() + seconds
    while (due := time.monotonic() + 0.02) < end:
        await asyncio.sleep(0.02)
        late.append(1000 * (time.monotonic() - due))
    return late


def watch(url: str, viewers: int) -> None:
    """Ask as `viewers` pages do, and connect once more without ever asking; until killed."""
    asyncio.run(_watch(url, viewers))


async def _watch(url: str, viewers: int) -> None:
    from websockets.asyncio.client import connect

    origin, _, query = url.partition("/?token=")
    socket = f"{origin.replace('http', 'ws', 1)}/live"
    headers = {"Authorization": f"Bearer {query}"}

    async def ask() -> None:
        async with connect(socket, additional_headers=headers, max_size=None) as link:
            epoch, last = "", 0
            while True:
                await link.send(json.dumps({"epoch": epoch, "after": last}))
                answer = json.loads(await link.recv())
                epoch, last = answer["epoch"], answer["last"]

    async with connect(socket, additional_headers=headers):
        await asyncio.gather(*(ask() for _ in range(viewers)), asyncio.Event().wait())
