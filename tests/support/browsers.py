"""The system's Chromium, driven by playwright."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Page

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
)


def need_chromium() -> str:
    """Return the path of Chromium; skip where it or playwright is missing, fail in CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        import playwright  # noqa: F401
    except ImportError:
        found = None
    if found is None:
        message = "chromium or playwright is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


class Watched:
    """A page in Chromium, and everything about it that must not happen.

    Attributes:
        page: Of playwright.
        troubles: Console messages, errors, and requests to another host.
    """

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.troubles: list[str] = []
        page.on("console", lambda one: self._printed(f"{one.type}: {one.text}"))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))

        def requested(url: str) -> None:
            if url.split("://")[1].split("/")[0] != origin:
                self.troubles.append(f"request to {url}")

        page.on("request", lambda one: requested(one.url))
        page.on("websocket", lambda one: requested(one.url))

    def _printed(self, text: str) -> None:
        if "willReadFrequently" not in text:  # it is the test that reads the canvas
            self.troubles.append(text)

    async def until(self, condition: str, seconds: float = 20) -> None:
        """Wait until a JavaScript expression holds."""
        async with asyncio.timeout(seconds):
            while not await self.page.evaluate(condition):  # noqa: ASYNC110 (as below)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def chromium(url: str, width: int = 1440, height: int = 860) -> AsyncIterator[Watched]:
    """Open a page in Chromium."""
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=need_chromium(), args=list(ARGUMENTS)
        )
        try:
            page = await browser.new_page(
                viewport={"width": width, "height": height}, color_scheme="dark"
            )
            watched = Watched(page, url.split("://")[1].split("/")[0])
            await page.goto(url)
            yield watched
        finally:
            await browser.close()


async def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (a browser has no event to wait for)
            await asyncio.sleep(0.02)


DRAWN = """([kind, times]) => {
    const sweep = innpar.sweeps[kind], layer = sweep.layers[1], {height} = layer.canvas;
    return times.map(t => {
        const trace = innpar.shown.traces[kind], chunk = trace.chunks[trace.first(t - 0.5 / 125)];
        const k = Math.max(0, Math.round((t - chunk.t) * chunk.rate));
        const value = trace.at(t), low = sweep.range[0];
        const x = Math.round((sweep.x(t) + sweep.gutter) * sweep.ratio);
        const {data} = layer.getImageData(x, 0, 1, height);
        const rows = [...Array(height).keys()].filter(y => data[4 * y + 3] > 60);
        return {
            time: chunk.t + k / chunk.rate,
            value: isNaN(value) ? null : value,
            unit: sweep.y(low) - sweep.y(low + 1),
            y: sweep.y(value),
            ink: rows.length ? [rows[0] / sweep.ratio, rows.at(-1) / sweep.ratio] : null,
        };
    });
}"""
"""For each time: time and value of the nearest sample in the buffer, pixels a unit, the height
where it belongs, and the extent of what is drawn in its column."""
