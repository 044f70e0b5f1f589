"""The shared network: every window gets the answers to its own questions."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from innpar.stream.calibration.types import Guidance, Question
from innpar.stream.pipeline.engine import BATCH, Engine, Reconstructed
from innpar.stream.pipeline.prepare import Prepared
from innpar.stream.results import CalibrationStatus
from innpar.stream.windows.quality import Quality
from innpar.stream.windows.window import Window
from support.harness import shipped


def prepared(seed: int, anchors: int) -> Prepared:
    """Return a window of noise; with anchors it also has a context and a question of its own."""
    generator, manifest = np.random.default_rng(seed), shipped().manifest
    shape = manifest.window + 2 * manifest.guard
    ppg = generator.standard_normal((1 + anchors, manifest.window)).astype(np.float32)
    context = generator.standard_normal(manifest.context_entries).astype(np.float32)
    guidance = Guidance(
        context if anchors else None,
        CalibrationStatus(),
        None,
        anchor=tuple(Question(one, context) for one in ppg[1:]),
    )
    window = Window(0, seed * 128, np.zeros((shape, 1)), 0)
    return Prepared(window, ppg[0], guidance, Quality(1.0, (), 0.0), False, 0.0)


async def reconstructed(engine: Engine, windows: list[Prepared]) -> list[Reconstructed]:
    async with engine.running():
        return await engine.reconstruct(windows)


def same(one: Reconstructed, other: Reconstructed) -> bool:
    waves = zip((one.output.abp, *one.asides), (other.output.abp, *other.asides), strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in waves)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_each_window_gets_its_own_answers(order: tuple[int, ...]) -> None:
    windows = [prepared(0, 0), prepared(1, 8), prepared(2, 3)]
    alone = [asyncio.run(reconstructed(Engine(shipped()), [one]))[0] for one in windows]
    engine = Engine(shipped())
    found = asyncio.run(reconstructed(engine, [windows[k] for k in order]))
    assert [len(one.asides) for one in alone] == [0, 17, 7]
    assert all(same(one, alone[k]) for one, k in zip(found, order, strict=True))
    assert engine.windows == 1 + 18 + 8
    assert engine.calls == -(-engine.windows // BATCH)


def test_no_windows_need_no_network() -> None:
    engine = Engine(shipped())
    assert asyncio.run(reconstructed(engine, [])) == []
    assert engine.calls == 0
