"""One model for every wearer: ready windows of all streams go through the network together.

Whoever has windows asks and waits; what is waiting when the network becomes free makes the next
batch. A batch never waits to be filled, so one wearer alone has no extra latency, and the network
gives the same result in any company (tested), so nobody's numbers depend on who else is connected.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from innpar.models.predictor import Predictor
from innpar.stream.calibration.types import Question
from innpar.stream.pipeline.prepare import Prepared

BATCH = 16
"""Windows at most in one call: beyond 32 every torch route becomes slower a window."""


@dataclass(frozen=True, slots=True, eq=False)
class Reconstructed:
    """What the network makes of a window.

    Attributes:
        abp: (window,) reconstructed pressure, mmHg.
        consistency: As of `Prediction`.
        reverse: As of `Prediction`; 0 for a `Question`, of which only the pressure is wanted, and
            of a model that has no limit for it.
        ms: What the call cost.
    """

    abp: npt.NDArray[np.float32]
    consistency: float
    reverse: float
    ms: float


class Engine:
    """Collect windows, ask the network, hand the answers back.

    Attributes:
        predictor: The network.
        windows: Asked so far.
        calls: Batches so far.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.windows: int = 0
        self.calls: int = 0
        self._entries = predictor.manifest.context_entries
        # Bounded by the wearers: each waits for its answers before it asks again.
        self._waiting: deque[tuple[Prepared | Question, asyncio.Future[Reconstructed]]] = deque()
        self._wake = asyncio.Event()

    async def reconstruct(self, windows: Sequence[Prepared | Question]) -> list[Reconstructed]:
        """Return the reconstruction of each window, in order."""
        loop = asyncio.get_running_loop()
        futures = []
        for window in windows:
            future: asyncio.Future[Reconstructed] = loop.create_future()
            self._waiting.append((window, future))
            futures.append(future)
        self._wake.set()
        return list(await asyncio.gather(*futures))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Engine]:
        """Serve while inside."""
        with ThreadPoolExecutor(1, thread_name_prefix="model") as pool:
            task = asyncio.create_task(self._serve(pool), name="engine")
            try:
                yield self
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _serve(self, pool: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if not self._waiting:
                self._wake.clear()
            if not batch:
                continue
            try:
                answers = await loop.run_in_executor(pool, self._ask, [w for w, _ in batch])
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    def _ask(self, windows: list[Prepared | Question]) -> list[Reconstructed]:
        began = time.perf_counter()
        ppg = np.stack([window.ppg for window in windows])
        context = np.zeros((len(windows), self._entries), np.float32)
        for row, window in enumerate(windows):
            if window.context is not None:
                context[row] = window.context
        limited = "reverse" in self.predictor.manifest.confidence
        wanted = np.array([limited and isinstance(window, Prepared) for window in windows])
        found = self.predictor(ppg, context, reverse=wanted)
        self.windows += len(windows)
        self.calls += 1
        took = 1e3 * (time.perf_counter() - began)
        return [
            Reconstructed(row, consistency, reverse, took)
            for row, consistency, reverse in zip(
                found.abp, found.consistency.tolist(), found.reverse.tolist(), strict=True
            )
        ]
