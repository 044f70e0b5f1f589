"""The live page in Chromium: what is drawn is what was sent."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from innpar.stream.messages.commands import Calibrate, Command, Mark, Record, Undo
from innpar.stream.view.access import PageAddress
from innpar.stream.view.board import Board
from innpar.stream.view.server import serving
from innpar.stream.view.steering import PageCommands
from support.browsers import Watched, chromium, eventually, need_chromium

RATE = 125.0
HOP = 128
HOSTILE = "<img src=x onerror=alert(1)>"


class Ward:
    """A board with a simulated stream: one hop and one beat a call."""

    def __init__(self) -> None:
        self.board = Board()
        self.commands = PageCommands()
        self.got: list[Command] = []
        self.refuse: str | None = None
        self.doubts = False
        self.url = ""
        self.t: dict[str, float] = {}
        self.sent: dict[str, list[tuple[float, np.ndarray[Any, Any]]]] = {}

    def hop(
        self, device: str = "demo", valid: bool = True, wave: bool = True, sbp: float = 121.4
    ) -> None:
        """Send a hop of both waveforms and a beat in its middle."""
        start = self.t.setdefault(device, 1_795_000_000.0)
        self.t[device] = start + HOP / RATE
        phase = np.arange(HOP) / HOP
        abp = 75 + (sbp - 75) * np.exp(-(((phase - 0.3) / 0.12) ** 2))
        common = {"session": "A", "source": "simulated", "t": start, "rate": RATE, "seq": 1}
        self.sent.setdefault(device, []).append((start, abp))
        self.board.take(device, "ppg", {**common, "samples": list(np.round(abp / 40 - 2.4, 3))})
        if wave:
            self.board.take(device, "abp", {**common, "samples": list(np.round(abp, 1))})
        values = {"sbp": sbp, "dbp": 75.2, "map": 91.0}
        around = {name: [value - 9, value + 9] for name, value in values.items()}
        beat = {
            **common,
            "t": start + 0.3 * HOP / RATE,
            **(values if valid else dict.fromkeys(values)),
            "hr": 58.6,
            "interval": {"level": 0.9, **around} if valid else None,
            "quality": 0.93 if valid else 0.2,
            "valid": valid,
            "reasons": [] if valid else ["motion"],
            "calibration": {"state": "ok", "age_s": 60, "sbp": 128, "dbp": 79},
            "latency_ms": {"total": 2600},
            "abp": {"start": start, "rate": RATE, "samples": list(abp) if valid else []},
        }
        self.board.take(device, "beats", beat)

    async def stream(self, seconds: float, **options: Any) -> None:
        """Send in real time."""
        for _ in range(round(seconds * RATE / HOP)):
            self.hop(**options)
            await asyncio.sleep(HOP / RATE)

    async def obey(self) -> None:
        """Answer every command."""
        async for command in self.commands.commands():
            self.got.append(command)
            self.commands.answer(command, self.refuse, confirm=self.doubts)


@asynccontextmanager
async def ward(**size: int) -> AsyncIterator[tuple[Ward, Watched]]:
    need_chromium()
    ours = Ward()
    answering = asyncio.create_task(ours.obey())
    address = PageAddress(port=0, fixed=True)
    try:
        async with (
            serving(address, ours.board, ours.commands) as ours.url,
            chromium(ours.url, **size) as watched,
        ):
            yield ours, watched
            assert watched.troubles == []
    finally:
        answering.cancel()


async def text(watched: Watched, name: str) -> str:
    return await watched.page.inner_text(f"#{name}")


@pytest.mark.slow
async def test_what_is_drawn_is_what_was_sent() -> None:
    """The buffer within a sample, the pixels within one pixel, at 20 random times."""
    async with ward() as (ours, watched):
        await ours.stream(7)
        await watched.until("innpar.shown && innpar.shown.beats.length >= 6")
        seed = np.random.default_rng(1)
        end = ours.t["demo"] - 2.5
        for t in seed.uniform(end - 3, end, 20):
            start, samples = next(one for one in reversed(ours.sent["demo"]) if one[0] <= t)
            k = min(HOP - 1, round((t - start) * RATE))
            shown, y, ink = await watched.page.evaluate(PIXEL, start + k / RATE)
            assert abs(shown - samples[k]) <= 0.06
            assert ink is not None, "nothing is drawn there"
            assert ink[0] - 1.5 <= y <= ink[1] + 1.5
        assert await text(watched, "sbp") == "121"
        assert await text(watched, "sbp-interval") == "112–130"
        assert "Research software, not an alarm system" in await watched.page.inner_text("header")


PIXEL = """t => {
    const sweep = innpar.sweeps.abp, canvas = sweep.layers[1].canvas, ratio = sweep.ratio;
    const x = Math.round((sweep.x(t) + sweep.gutter) * ratio);
    const {data} = sweep.layers[1].getImageData(x, 0, 1, canvas.height);
    const rows = [];
    for (let y = 0; y < canvas.height; y++) if (data[4 * y + 3] > 60) rows.push(y / ratio);
    const value = innpar.shown.traces.abp.at(t);
    return [value, sweep.y(value), rows.length ? [rows[0], rows.at(-1)] : null];
}"""


@pytest.mark.slow
async def test_a_gap_is_empty() -> None:
    async with ward() as (ours, watched):
        await ours.stream(3.2)
        before = ours.t["demo"]
        ours.t["demo"] += 3
        await asyncio.sleep(3)
        await ours.stream(3.2)
        await watched.until("innpar.sweeps.abp.drawn > innpar.shown.playhead.end - 1.2")
        inside = [before + k / 10 for k in range(2, 29)]
        drawn = [(await watched.page.evaluate(PIXEL, t))[2] for t in inside]
        assert drawn == [None] * len(inside)
        assert (await watched.page.evaluate(PIXEL, before - 0.2))[2] is not None


@pytest.mark.slow
async def test_an_invalid_beat_leaves_no_number_for_more_than_five_seconds() -> None:
    async with ward() as (ours, watched):
        await ours.stream(2)
        await watched.until("document.getElementById('sbp').textContent === '121'")
        last = time.monotonic()
        feeding = asyncio.create_task(ours.stream(8, valid=False, wave=False))
        await watched.until("document.getElementById('sbp').textContent === '—'", 7)
        assert time.monotonic() - last < 5 + HOP / RATE + 0.4
        assert await text(watched, "reason") == "moving"
        assert (await text(watched, "standing")).startswith("last 121/75")
        assert await text(watched, "map-interval") == ""
        await feeding


@pytest.mark.slow
async def test_a_run_that_ends_is_reported_and_one_that_returns_is_shown() -> None:
    need_chromium()
    ours = Ward()
    async with serving(PageAddress(port=0, fixed=True), ours.board, None) as url:
        port = int(url.split(":")[2].split("/")[0])
        context = chromium(url)
        watched = await context.__aenter__()
        ours.hop()
        await watched.until("document.getElementById('sbp').textContent === '121'")
    try:
        await watched.until("!document.getElementById('trouble').hidden", 2.5)
        again = Ward()
        async with serving(PageAddress(port=port, fixed=True), again.board, None):
            again.hop(sbp=133.0)
            await watched.until("document.getElementById('sbp').textContent === '133'", 6)
            assert not await watched.page.is_visible("#trouble")
    finally:
        await context.__aexit__(None, None, None)


async def test_commands_go_the_way_of_those_from_mqtt() -> None:
    async with ward() as (ours, watched):
        ours.hop()
        await watched.until("document.getElementById('sbp').textContent === '121'")
        await watched.page.keyboard.press("c")
        await watched.page.keyboard.type("128")
        await watched.page.keyboard.press("Tab")
        await watched.page.keyboard.type("79")
        await watched.page.keyboard.press("Enter")
        await eventually(lambda: len(ours.got) == 1)
        assert ours.got == [Calibrate("demo", 128.0, 79.0)]
        await watched.until("document.getElementById('cuff-answer').textContent !== ''")
        await watched.page.evaluate("document.activeElement.blur()")
        await watched.page.keyboard.press("m")
        await eventually(lambda: len(ours.got) == 2)
        assert isinstance(ours.got[1], Mark)
        ours.refuse = "there is no room; try again"
        await watched.page.keyboard.press("m")
        await watched.until(
            "document.getElementById('cuff-answer').textContent.includes('no room')"
        )


async def test_a_doubtful_reading_is_entered_only_once_confirmed() -> None:
    async with ward() as (ours, watched):
        ours.hop()
        await watched.until("document.getElementById('sbp').textContent === '121'")
        ours.refuse, ours.doubts = "182/79 is far from 121/75", True
        await watched.page.fill("#cuff-sbp", "182")
        await watched.page.fill("#cuff-dbp", "79")
        await watched.page.click("#cuff-form button[type=submit]")
        await watched.until(
            "document.getElementById('cuff-answer').textContent.includes('really 182/79?')"
        )
        assert "ours says 121/75" in await text(watched, "cuff-answer")
        assert ours.got == [Calibrate("demo", 182.0, 79.0)]
        ours.refuse, ours.doubts = None, False
        await watched.page.click("#cuff-answer button")
        await eventually(lambda: len(ours.got) == 2)
        assert ours.got[1] == Calibrate("demo", 182.0, 79.0, confirm=True)
        await watched.until("document.getElementById('cuff-answer').textContent.includes('force')")


async def test_buttons_record_and_withdraw() -> None:
    async with ward() as (ours, watched):
        ours.hop()
        cuff = {"kind": "cuff", "t": ours.t["demo"], "detail": {"sbp": 128, "dbp": 79}}
        ours.board.take("demo", "events", cuff)
        await watched.until("!document.getElementById('cuff-undo').hidden")
        await watched.page.click("#cuff-undo")
        await eventually(lambda: len(ours.got) == 1)
        await watched.until(
            "document.getElementById('cuff-answer').textContent.includes('withdrawn')"
        )
        await watched.page.click("#record")
        await eventually(lambda: len(ours.got) == 2)
        assert ours.got[0] == Undo("demo")
        assert isinstance(ours.got[1], Record)
        assert ours.got[1].record


async def test_without_the_token_the_page_only_looks_on() -> None:
    async with ward() as (ours, watched):
        ours.hop()
        await watched.page.context.clear_cookies()
        await watched.page.goto(ours.url.split("?")[0])
        await watched.until("document.getElementById('sbp').textContent === '121'")
        assert await watched.page.is_disabled("#mark")
        refused = await watched.page.evaluate(
            "innpar.connection.command('mark', 'demo', {text: 'x'})"
        )
        assert refused["ok"] is False
        assert "token" in refused["error"]
        assert ours.got == []


async def test_hostile_names_are_text() -> None:
    async with ward() as (ours, watched):
        ours.hop(HOSTILE)
        detail = {"text": HOSTILE}
        event = {"kind": "marker", "t": ours.t[HOSTILE] - 0.5, "end": 0, "detail": detail}
        ours.board.take(HOSTILE, "events", event)
        ours.board.take(HOSTILE, "meta", {"detail": {"model": HOSTILE}, "model": HOSTILE})
        await watched.until("document.getElementById('events').textContent.includes('<img')")
        assert await text(watched, "device") == HOSTILE
        await watched.page.keyboard.press("w")
        await watched.until("document.querySelector('.tile b').textContent.includes('<img')")
        assert await watched.page.query_selector("img") is None


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
        pale = await watched.page.eval_on_selector_all(
            ".tile.pale b", "all => all.map(one => one.textContent)"
        )
        assert pale == [names[1]]
        assert await watched.page.evaluate(OVERFLOW) == []
        await watched.page.click(".tile >> nth=2")
        await watched.until(f"document.getElementById('device').textContent === '{names[2]}'")


OVERFLOW = """() => [...document.querySelectorAll('output, .interval, .tile .numbers span, button')]
    .filter(one => one.offsetParent && one.scrollWidth > one.clientWidth + 1
        && getComputedStyle(one).display !== 'inline' && !one.classList.contains('tile'))
    .map(one => one.id || one.className || one.textContent)"""


@pytest.mark.parametrize("width", [360, 1440, 2560])
async def test_three_digit_numbers_fit(width: int) -> None:
    async with ward(width=width, height=1000) as (ours, watched):
        ours.hop(sbp=188.0)
        await watched.until("document.getElementById('sbp').textContent === '188'")
        await watched.page.evaluate("document.getElementById('dbp').textContent = '104'")
        assert await watched.page.evaluate(OVERFLOW) == []
        boxes = [await watched.page.locator(f"#{name}").bounding_box() for name in ("sbp", "dbp")]
        panel = await watched.page.locator("#pressure").bounding_box()
        assert panel is not None
        assert boxes[0] is not None
        assert boxes[1] is not None
        assert boxes[0]["x"] >= panel["x"]
        assert boxes[1]["x"] + boxes[1]["width"] <= panel["x"] + panel["width"]
        wide = await watched.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width


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
