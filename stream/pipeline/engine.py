"""One network shared by all wearers, which takes the ready windows of all streams together.

The compiled kernel costs a window the same in any batch, and less than the way to another thread
and back: a stream calls it at once. Any other network runs in a thread. There a stream submits its
windows and awaits the answers; the windows that wait when the network becomes free make the next
batch. A batch never waits to be filled, so a single wearer has no extra latency, and the network
gives the same result whatever else is in the batch (tested), so the results of one wearer do not
depend on the others.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from innpar.models.predictor import Predictor
from innpar.stream.calibration.types import Question
from innpar.stream.pipeline.overload import ProcessLoad
from innpar.stream.pipeline.prepare import Prepared

BATCH = 16
"""Largest batch, windows; the compiled kernel holds the event loop for some 8 ms with these."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkOutput:
    """The network's output for one input.

    Attributes:
        abp: (window,) reconstructed pressure, mmHg.
        consistency: See `Prediction`.
        reverse: See `Prediction`; 0 for a `Question`, which needs only the pressure, and for a
            model without a limit for it.
        ms: Duration of the call, ms.
    """

    abp: npt.NDArray[np.float32]
    consistency: float
    reverse: float
    ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Reconstructed:
    """The network's output for one window and for the questions beside it.

    Attributes:
        output: For the window itself.
        asides: (window,) mmHg each, one for each of `Prepared.asides`, in their order.
    """

    output: NetworkOutput
    asides: tuple[npt.NDArray[np.float32], ...]


class Engine:
    """Batches of windows through the network.

    Attributes:
        predictor: The network.
        windows: Inputs so far, questions included.
        calls: Batches so far.
        seconds: Duration of these calls.
        load: Of this process.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.windows: int = 0
        self.calls: int = 0
        self.seconds: float = 0.0
        self.load = ProcessLoad()
        self._entries = predictor.manifest.context_entries
        # Bounded by the wearers: each awaits its answers before it submits again.
        self._waiting: deque[tuple[Prepared | Question, asyncio.Future[NetworkOutput]]] = deque()
        self._wake = asyncio.Event()
        self._turns = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Inputs that wait for the network."""
        return len(self._waiting)

    def turn(self, in_real_time: bool) -> AbstractAsyncContextManager[object]:
        """Return a context that streams in real time enter one at a time, in order.

        So a pass of the event loop computes one window, and radio and broker are served between
        two, however many wait. A network in a thread takes the windows of all streams together.
        """
        is_here = self.predictor.backend == "native"
        return self._turns if in_real_time and is_here else nullcontext()

    async def reconstruct(self, windows: Sequence[Prepared]) -> list[Reconstructed]:
        """Return one result for each window, in order, with the answers to its questions."""
        if not windows:
            return []
        if self.predictor.backend == "native":
            return await self._at_once(windows)
        submitted = [
            (self._submit(window), [self._submit(question) for question in window.asides])
            for window in windows
        ]
        self._wake.set()
        await asyncio.gather(*(one for own, asides in submitted for one in (own, *asides)))
        return [
            Reconstructed(own.result(), tuple(aside.result().abp for aside in asides))
            for own, asides in submitted
        ]

    async def _at_once(self, windows: Sequence[Prepared]) -> list[Reconstructed]:
        """Run the network here; other streams have a turn between two batches."""
        inputs = list[Prepared | Question]()
        for window in windows:
            inputs += (window, *window.asides)
        outputs = self._outputs(inputs[:BATCH])
        for first in range(BATCH, len(inputs), BATCH):
            await asyncio.sleep(0)
            outputs += self._outputs(inputs[first : first + BATCH])
        coming = iter(outputs)
        return [
            Reconstructed(next(coming), tuple(next(coming).abp for _ in window.asides))
            for window in windows
        ]

    def _submit(self, window: Prepared | Question) -> asyncio.Future[NetworkOutput]:
        output: asyncio.Future[NetworkOutput] = asyncio.get_running_loop().create_future()
        self._waiting.append((window, output))
        return output

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Engine]:
        """Run the network while the context is open."""
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
            windows = [window for window, _ in batch]
            try:
                outputs = await loop.run_in_executor(pool, self._outputs, windows)
            except Exception as error:
                if len(batch) > 1:  # one by one, so that only its own wearer meets the error
                    for window, future in batch:
                        await self._alone(loop, pool, window, future)
                elif not batch[0][1].done():
                    batch[0][1].set_exception(error)
                continue
            for (_, future), output in zip(batch, outputs, strict=True):
                if not future.done():
                    future.set_result(output)

    async def _alone(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: ThreadPoolExecutor,
        window: Prepared | Question,
        future: asyncio.Future[NetworkOutput],
    ) -> None:
        """Run one window of a batch that failed."""
        try:
            (output,) = await loop.run_in_executor(pool, self._outputs, [window])
        except Exception as error:
            if not future.done():
                future.set_exception(error)
            return
        if not future.done():
            future.set_result(output)

    def _outputs(self, windows: Sequence[Prepared | Question]) -> list[NetworkOutput]:
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
        spent = time.perf_counter() - began
        self.seconds += spent
        return [
            NetworkOutput(row, consistency, reverse, 1e3 * spent)
            for row, consistency, reverse in zip(
                found.abp, found.consistency.tolist(), found.reverse.tolist(), strict=True
            )
        ]
