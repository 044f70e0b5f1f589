"""The live page of a true run: what is drawn is what was published, and its form calibrates."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.connection import connect
from support.browsers import chromium, need_chromium

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.slow


async def test_the_demo_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_chromium()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    run = (
        "--device",
        "demo?cuff=off",
        "--broker",
        "embedded",
        "--no-remember",
        "--view",
        "127.0.0.1:0",
    )
    command = (sys.executable, "-m", "innpar.stream.cli.main", *run)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    assert process.stdout is not None
    port = int((await line_with(process.stdout, r"broker on \S+:(\d+)"))[1])
    url = (await line_with(process.stdout, r"live page: (\S+)"))[1]
    draining = asyncio.create_task(process.stdout.read())
    published: list[tuple[float, list[float | None]]] = []
    listening = asyncio.create_task(listen(port, published))
    try:
        async with chromium(url) as watched:
            await watched.until("innpar.shown?.usable != null", 40)
            await watched.until("document.getElementById('source').innerText !== ''", 20)
            assert await watched.page.inner_text("#source") == "SIMULATED"
            assert "not calibrated" in await watched.page.inner_text("#standing")
            await watched.page.fill("#cuff-sbp", "128")
            await watched.page.fill("#cuff-dbp", "79")
            await watched.page.press("#cuff-dbp", "Enter")
            title = "document.getElementById('cuff-title').textContent"
            await watched.until(f"{title} === 'Cuff 128/79'", 20)
            await asyncio.sleep(6)
            await compare(watched.page, published)
            assert watched.troubles == []
    finally:
        listening.cancel()
        process.terminate()
        await asyncio.gather(draining, listening, return_exceptions=True)
        await process.wait()


async def line_with(stream: asyncio.StreamReader, pattern: str) -> re.Match[str]:
    """Return the match in the first line that has one."""
    async with asyncio.timeout(60):
        async for line in stream:
            if found := re.search(pattern, line.decode()):
                return found
    raise AssertionError(f"no line with {pattern}")


async def listen(port: int, published: list[tuple[float, list[float | None]]]) -> None:
    """Collect the published pressure waveform."""
    async with connect(Address("127.0.0.1", port)) as link:
        await link.listen("bp/devices/demo/abp")
        async for message in link.received():
            wave = json.loads(message.payload)
            published.append((wave["t"], wave["samples"]))


async def compare(page: Page, published: list[tuple[float, list[float | None]]]) -> None:
    """Compare the page's buffer with MQTT at 20 random samples of the last hops."""
    seed = np.random.default_rng(7)
    hops = published[-5:-1]
    for _ in range(20):
        t, samples = hops[seed.integers(len(hops))]
        k = int(seed.integers(len(samples)))
        shown = await page.evaluate("t => innpar.shown.traces.abp.at(t)", t + k / 125)
        assert shown == pytest.approx(samples[k], abs=0.06)
