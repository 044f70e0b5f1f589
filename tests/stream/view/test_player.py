"""A recording on the page: play, pause, speed and seek."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from innpar.devices import NS
from innpar.stream.pipeline.engine import Engine
from innpar.stream.view.board import Board
from innpar.stream.view.player import Player, PlayerClock
from support.browsers import eventually
from support.harness import shipped


async def test_the_clock_stands_still_while_paused() -> None:
    clock = PlayerClock()
    clock.change(playing=False, speed=1.0)
    before = clock.now()
    waiting = asyncio.create_task(clock.sleep_until(before + NS // 10))
    await asyncio.sleep(0.2)
    assert clock.now() == before
    assert not waiting.done()
    clock.change(playing=True, speed=10.0)
    await asyncio.wait_for(waiting, 1)
    assert clock.now() >= before + NS // 10


def table(folder: Path, seconds: int = 40) -> str:
    """Return a recording of a pulse at 100 Hz."""
    import numpy as np

    t = np.arange(seconds * 100) / 100
    pulse = np.sin(2 * np.pi * 1.1 * t) + 0.4 * np.sin(4 * np.pi * 1.1 * t + 0.6)
    lines = ["time,ppg", *(f"{a:.2f},{1000 + 50 * b:.3f}" for a, b in zip(t, pulse, strict=True))]
    path = folder / "pulse.csv"
    path.write_text("\n".join(lines) + "\n")
    return f"{path}?unit=s&channel=ppg"


def times(answer: str) -> list[float]:
    wearers = json.loads(answer)["wearers"]
    return [item["t"] for one in wearers for item in one["items"] if item["kind"] == "ppg"]


async def test_a_viewer_seeks_and_nothing_of_before_stays(tmp_path: Path) -> None:
    board = Board()
    player = Player(table(tmp_path), board, Engine(shipped()))
    assert await player.execute("player", "", b'{"speed": 20}') is None
    playing = asyncio.create_task(player.play())
    try:
        answer = ""

        async def arrived() -> bool:
            nonlocal answer
            answer = await board.answer("", 0, 0.01)
            return len(times(answer)) > 2

        async with asyncio.timeout(20):
            while not await arrived():  # noqa: ASYNC110 (a board has no event for a test)
                await asyncio.sleep(0.02)
        first = min(times(answer))
        epoch = json.loads(answer)["epoch"]
        assert await player.execute("player", "", b'{"seek": 25}') is None
        await eventually(lambda: player.status()["player"]["begin"] == 25)
        async with asyncio.timeout(20):
            while json.loads(await board.answer(epoch, 10**9, 0.01))["epoch"] == epoch:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            while not await arrived():  # noqa: ASYNC110 (as above)
                await asyncio.sleep(0.02)
        assert min(times(answer)) >= first + 20
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)


@pytest.mark.parametrize(
    "body",
    [
        b'{"seek": -1}', b'{"seek": "x"}', b'{"speed": 0}', b'{"speed": 1e9}',
        b'{"speed": true}', b'{"playing": 1}', b"[]", b'{"seek": NaN}',
    ],
)  # fmt: skip
async def test_another_request_is_refused(tmp_path: Path, body: bytes) -> None:
    player = Player(table(tmp_path, 20), Board(), Engine(shipped()))
    assert await player.execute("player", "", body) is not None
    assert player.status()["player"]["begin"] == 0
    assert player.status()["player"]["speed"] == 1


async def test_a_recording_takes_no_cuff_reading(tmp_path: Path) -> None:
    player = Player(table(tmp_path, 20), Board(), Engine(shipped()))
    refusal = await player.execute("calibrate", "x", b'{"sbp":128,"dbp":79}')
    assert refusal is not None
