"""The live page of a true run: what is drawn is what was published, and its form calibrates."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest

from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.connection import connect
from support.brokers import free_port
from support.browsers import DRAWN, Watched, chromium, need_chromium
from support.programs import line_with, program

pytestmark = pytest.mark.slow

RATE = 125
"""Hz of the published waveform."""
RUN = ("--broker", "embedded", "--no-remember", "--view", "127.0.0.1:0")
Published = list[tuple[float, list[float | None]]]
"""Time of the first sample of each message, s since the Unix epoch, and its samples, mmHg."""


async def test_the_demo_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_chromium()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with program("--device", "demo?cuff=off&dropouts=off&motion=off", *RUN) as output:
        port = int((await line_with(output, r"broker on \S+:(\d+)"))[1])
        url = (await line_with(output, r"live page: (\S+)"))[1]
        draining = asyncio.create_task(output.read())
        published: Published = []
        listening = asyncio.create_task(listen(port, published))
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
            await compare(watched, published)
            assert watched.troubles == []
        listening.cancel()
        draining.cancel()
        await asyncio.gather(draining, listening, return_exceptions=True)


async def listen(port: int, published: Published) -> None:
    """Collect the published pressure waveform."""
    async with connect(Address("127.0.0.1", port)) as link:
        await link.listen("bp/devices/demo/abp")
        async for message in link.received():
            wave = json.loads(message.payload)
            published.append((wave["t"], wave["samples"]))


async def compare(watched: Watched, published: Published) -> None:
    """Compare buffer and canvas with MQTT at 20 random samples of the last hops.

    The time is right within a sample, the pressure within a pixel.
    """
    seed = np.random.default_rng(7)
    hops = published[-5:-1]
    end = hops[-1][0] + len(hops[-1][1]) / RATE
    await watched.until(f"innpar.sweeps.abp.drawn >= {end}", 10)
    chosen = [(hop, int(seed.integers(4, len(hop[1]) - 4))) for hop in hops * 5]
    times = [hop[0] + k / RATE for hop, k in chosen]
    known = 0
    found = await watched.page.evaluate(DRAWN, ["abp", times])
    for (hop, k), t, drawn in zip(chosen, times, found, strict=True):
        value = hop[1][k]
        assert abs(drawn["time"] - t) <= 1 / RATE
        if value is None:
            assert drawn["value"] is None
            continue
        known += 1
        assert abs(drawn["value"] - value) * drawn["unit"] <= 1
        assert drawn["ink"] is not None
        assert drawn["ink"][0] - 1.5 <= drawn["y"] <= drawn["ink"][1] + 1.5
    assert known >= 10


async def test_a_run_killed_and_started_again_comes_back_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_chromium()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    port = free_port()
    run = ("--device", "demo", "--broker", "embedded", "--no-remember")
    view = ("--view", f"127.0.0.1:{port}")
    async with AsyncExitStack() as stack:
        async with program(*run, *view) as output:
            url = (await line_with(output, r"live page: (\S+)"))[1]
            watched = await stack.enter_async_context(chromium(url))
            await watched.until("document.getElementById('sbp').textContent !== '—'", 60)
        await watched.until("!document.getElementById('trouble').hidden", 2)
        await watched.until("document.getElementById('sbp').textContent === '—'", 7)
        async with program(*run, *view) as output:
            await line_with(output, r"live page: (\S+)")
            await watched.until("document.getElementById('trouble').hidden", 10)
            await watched.until("document.getElementById('sbp').textContent !== '—'", 60)
