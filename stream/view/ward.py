"""Simulated wearers on a page of their own, for its benchmark."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from innpar.stream.view.access import PageAddress
from innpar.stream.view.board import Board
from innpar.stream.view.server import serving

RATE, HOP = 125.0, 128
"""Hz and samples of a waveform message, as a run publishes them."""


@asynccontextmanager
async def simulated_ward(wearers: int) -> AsyncIterator[tuple[str, Board]]:
    """Serve a page of simulated wearers, each with a hop and a beat every 1.024 s."""
    board = Board()
    feeds = [asyncio.create_task(_feed(board, k, wearers)) for k in range(wearers)]
    try:
        async with serving(PageAddress(port=0, fixed=True), board, None) as url:
            yield url, board
    finally:
        for feed in feeds:
            feed.cancel()
        await asyncio.gather(*feeds, return_exceptions=True)


async def _feed(board: Board, k: int, wearers: int) -> None:
    """Publish a wearer; the time of a beat is that of its publication."""
    device, hop = f"wearer-{k:02}", HOP / RATE
    shape = np.exp(-(((np.arange(HOP) / HOP - 0.3) / 0.12) ** 2))
    waves = {"ppg": np.round(shape, 3).tolist(), "abp": np.round(75 + 46 * shape, 1).tolist()}
    begin = time.time() + hop * k / wearers
    values: dict[str, Any] = {"sbp": 121.0, "dbp": 75.0, "map": 91.0}
    interval = {"level": 0.9} | {name: [value - 9, value + 9] for name, value in values.items()}
    for n in itertools.count():
        await asyncio.sleep(max(0.0, begin + n * hop - time.time()))
        common = {"session": "bench", "source": "simulated", "seq": n, "t": begin + n * hop}
        for kind, samples in waves.items():
            board.take(device, kind, {**common, "rate": RATE, "samples": samples})
        beat = values | {"hr": 58.6, "quality": 0.9, "valid": True, "reasons": []}
        abp = {"start": common["t"], "rate": RATE, "samples": waves["abp"]}
        status = {"state": "ok", "age_s": 60, "sbp": 128, "dbp": 79}
        detail = {"interval": interval, "calibration": status, "abp": abp, "t": time.time()}
        board.take(device, "beats", common | beat | detail)
