"""`innpar-stream view`: a recording with a gap, seek, and the messages of a mosquitto."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from support.brokers import Mosquitto
from support.browsers import DRAWN, Watched, chromium, need_chromium
from support.programs import line_with, program

pytestmark = pytest.mark.slow

GAP = (40.0, 43.0)
"""s without samples."""


def recording(folder: Path) -> Path:
    """Write a pulse at 125 Hz with a gap of 3 s."""
    t = np.arange(90 * 125) / 125
    t = t[(t <= GAP[0]) | (t >= GAP[1])]
    phase = 2 * np.pi * 1.1 * t
    pulse = np.sin(phase) + 0.4 * np.sin(2 * phase + 0.6) + 0.1 * np.sin(3 * phase)
    lines = [f"{a:.3f},{1000 + 50 * b:.3f}" for a, b in zip(t, pulse, strict=True)]
    path = folder / "pulse.csv"
    path.write_text("\n".join(["time,ppg", *lines]) + "\n")
    return path


async def seek(watched: Watched, seconds: float) -> None:
    await watched.page.evaluate(
        f"document.getElementById('seek').value = {seconds};"
        "document.getElementById('seek').dispatchEvent(new Event('change'))"
    )


async def test_a_recording_plays_seeks_and_has_its_gap(tmp_path: Path) -> None:
    need_chromium()
    spec = f"{recording(tmp_path)}?unit=s&channel=ppg"
    async with program("view", spec, "--view", "127.0.0.1:0") as output:
        url = (await line_with(output, r"live page: (\S+)"))[1]
        async with chromium(url) as watched:
            await watched.until("innpar.shown?.traces.ppg.chunks.length > 2", 40)
            begin = await watched.page.evaluate("innpar.shown.traces.ppg.chunks[0].t")
            await watched.page.evaluate("innpar.controls.span(16)")
            await seek(watched, 28)
            await watched.until(f"innpar.shown?.traces.ppg.chunks[0]?.t > {begin + 20}", 20)
            assert "REPLAY" in await watched.page.inner_text("#source")
            await watched.page.select_option("#speed", "5")
            await watched.until(f"innpar.sweeps.ppg.drawn > {begin + GAP[1] + 2}", 40)
            await watched.page.select_option("#speed", "0.5")
            inside = [begin + s for s in np.linspace(GAP[0] + 0.1, GAP[1] - 0.1, 20)]
            around = [begin + GAP[0] - 2.0, begin + GAP[1] + 0.5]
            found = await watched.page.evaluate(DRAWN, ["ppg", [*inside, *around]])
            assert [one["ink"] for one in found[:-2]] == [None] * 20
            assert None not in [one["ink"] for one in found[-2:]]

            await seek(watched, 5)
            await watched.until(f"innpar.shown?.traces.ppg.end < {begin + 25}", 20)
            kept = "Math.max(...innpar.shown.traces.ppg.chunks.map(one => one.t))"
            assert await watched.page.evaluate(kept) < begin + 25, "traces of before are cleared"
            await watched.page.click("#play")
            await watched.until("document.getElementById('play').textContent === 'Play'", 5)
            await asyncio.sleep(1.5)
            end = await watched.page.evaluate("innpar.shown.traces.ppg.end")
            await asyncio.sleep(1.5)
            assert await watched.page.evaluate("innpar.shown.traces.ppg.end") == end
            assert watched.troubles == []


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path, ())
    mosquitto.start()
    yield mosquitto
    mosquitto.kill()


async def test_what_others_publish_is_shown(broker: Mosquitto) -> None:
    need_chromium()
    run = ("--device", "demo?cuff=off&motion=off&dropouts=off", "--no-remember")
    async with program("view", "--broker", broker.url, "--view", "127.0.0.1:0") as output:
        url = (await line_with(output, r"live page: (\S+)"))[1]
        async with (
            program(*run, "--broker", broker.url) as published,
            chromium(url) as watched,
        ):
            draining = asyncio.create_task(published.read())
            await watched.until("innpar.shown?.usable != null", 60)
            await watched.until("document.getElementById('sbp').textContent !== '—'", 10)
            assert await watched.page.inner_text("#source") == "SIMULATED"
            assert await watched.page.is_disabled("#mark"), "it only shows"
            state = "document.getElementById('state').textContent"
            await watched.until(f"{state}.includes('broker connected')", 10)
            broker.kill()
            await watched.until(f"{state}.includes('broker away')", 20)
            await watched.until("document.getElementById('sbp').textContent === '—'", 10)
            broker.start()
            await watched.until("document.getElementById('sbp').textContent !== '—'", 60)
            assert watched.troubles == []
            draining.cancel()
