"""Cuff form, marks and recordings of the page."""

from __future__ import annotations

import pytest

from innpar.stream.messages.commands import Calibrate, Mark, Record, Undo
from support.browsers import eventually
from support.wards import text, ward

pytestmark = pytest.mark.slow  # Chromium


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


async def test_a_pause_ends_with_what_was_paused() -> None:
    """Another wearer, and a stream that begins anew, as after a seek, run on."""
    async with ward() as (ours, watched):
        for _ in range(3):
            ours.hop()
            ours.hop("two")
        button = "document.getElementById('pause').textContent"
        await watched.until("innpar.wearers.size === 2 && innpar.shown.playhead.head > 0")
        await watched.page.keyboard.press("p")
        await watched.until(f"innpar.paused !== null && {button}.startsWith('Go on')")
        await watched.page.evaluate("innpar.show('two')")
        await watched.until(f"innpar.paused === null && {button}.startsWith('Pause')")
        await watched.page.keyboard.press("p")
        await watched.until("innpar.paused !== null")
        ours.board.clear()
        ours.hop("two")
        await watched.until(f"innpar.paused === null && {button}.startsWith('Pause')")
        assert await watched.page.evaluate("innpar.sweeps.abp.mode") == "sweep"
