"""``innpar-stream bench --model``: speed of the network on this computer, as ratios.

The load of a computer varies from second to second. In each round a backend therefore takes turns
with the published network and with a large matrix product, which measures the peak of the core;
medians over the rounds are printed, a line a backend and batch as they are measured. One thread.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from innpar.models.errors import ModelError
from innpar.models.formats.backends import NAMES
from innpar.models.formats.weights_file import open_model, read_weights
from innpar.models.manifest import SHIPPED, Architecture
from innpar.models.network.folding import PHASES, FoldedWeights, fold_weights
from innpar.models.predictor import Predictor

BATCHES = (1, 2, 8, 16, 64, 256)
ROUNDS = 9
CALLS = 240
"""Windows in all rounds together, at least a call a round: the 99th percentile needs many calls."""
PEAK = 512
"""Size of the square matrices whose product measures the peak of the core."""
HEADER = (
    f"{'backend':30} {'batch':>5}  {'forward: p50':>12} {'p99':>7} {'CPU':>7} {'ratio':>6} "
    f"{'of peak':>7}  {'and reverse: p50':>16} {'p99':>7} {'CPU':>7}"
)

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Spent:
    """Time of calls, ms a window.

    Attributes:
        median: By the clock on the wall, as `worst`, the 99th percentile.
        cpu: CPU time of this process.
    """

    median: float
    worst: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Row:
    """Speed of one backend at one batch size.

    Attributes:
        name: Name of the backend.
        batch: Windows per call.
        forward: Time of the forward pass.
        both: Time of the forward pass and the reverse check; None for the published network.
        ratio: Speed of the forward pass relative to the published network run eagerly, by CPU
            time, median over the rounds; NaN without torch.
        share: Share of the peak of matrix products, counting the variant's own multiplications.
    """

    name: str
    batch: int
    forward: Spent
    both: Spent | None
    ratio: float
    share: float

    @property
    def line(self) -> str:
        """The printed line."""
        one, two = self.forward, self.both
        both = f"{two.median:16.3f} {two.worst:7.3f} {two.cpu:7.3f}" if two else ""
        ratio = "-" if np.isnan(self.ratio) else f"{self.ratio:.1f}"
        return (
            f"{self.name:30} {self.batch:5d}  {one.median:12.3f} {one.worst:7.3f} {one.cpu:7.3f} "
            f"{ratio:>6} {self.share:7.1%}  {both}"
        ).rstrip()


def bench_model(path: Path | None = None, *, batches: Sequence[int] = BATCHES) -> int:
    """Measure every backend that can run a model and print the table.

    Args:
        path: A ``manifest.json`` or its folder; None for the model that comes with the package.
        batches: Windows per call.

    Raises:
        ModelError: The model cannot be loaded.
    """
    folder, manifest = open_model(SHIPPED if path is None else path)
    print(f"{manifest.id}: ms a window, one thread; ratio to the published network, eager")
    print(HEADER, flush=True)
    for name in NAMES:
        try:
            predictor = Predictor.load(folder, backend=name, threads=1)
        except ModelError as error:
            print(f"{name}: {error}", flush=True)
            continue
        for row in measure(folder, predictor, batches=batches, with_published=name == NAMES[0]):
            print(row.line, flush=True)
    return 0


def measure(
    folder: Path,
    predictor: Predictor,
    *,
    batches: Sequence[int] = BATCHES,
    rounds: int | None = None,
    with_published: bool = False,
) -> Iterator[Row]:
    """Yield a row a batch size.

    Args:
        folder: Folder of the model.
        predictor: The model with the backend to measure.
        batches: Windows per call.
        rounds: Number of rounds; None for `ROUNDS`, fewer for large batches.
        with_published: Also yield the rows of the published network.
    """
    architecture, window = predictor.manifest.architecture, predictor.manifest.window
    weights = fold_weights(read_weights(folder, predictor.manifest), architecture.clamp)
    published = _published(folder, window)
    left = np.random.default_rng(0).standard_normal((2, PEAK, PEAK)).astype(np.float32)
    slow, fast = published_products(architecture, window), folded_products(weights, window)
    for batch in batches:
        ppg = np.random.default_rng(batch).standard_normal((batch, window)).astype(np.float32)
        calls: list[Call] = [
            lambda: left[0] @ left[1],
            lambda ppg=ppg: predictor(ppg),  # type: ignore[misc]
            lambda ppg=ppg: predictor(ppg, reverse=True),  # type: ignore[misc]
        ]
        if published is not None:
            calls.append(published(batch))
        turns = rounds or max(3, min(ROUNDS, 128 // batch))
        repeats = [1, *(2 * [max(1, CALLS // turns // batch)]), 1]
        wall, cpu = _interleaved(calls, repeats, turns)
        per_second = 2.0 * PEAK**3 / statistics.median(cpu[0])
        own = [_spent(w, c, batch) for w, c in zip(wall[1:], cpu[1:], strict=True)]
        ratio = float("nan")
        if published is not None:
            ratio = statistics.median(a / b for a, b in zip(cpu[3], cpu[1], strict=True))
            if with_published:
                share = 2e3 * slow / own[2].cpu / per_second
                yield Row("published, eager", batch, own[2], None, 1.0, share)
        share = 2e3 * fast / own[0].cpu / per_second
        yield Row(predictor.runs_on, batch, own[0], own[1], ratio, share)


def _published(folder: Path, window: int) -> Callable[[int], Call] | None:
    """Return calls of the published network by batch size; None without torch."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    from innpar.models.formats.network_file import load_network
    from innpar.models.network.innpar import joint

    torch.set_num_threads(1)
    network, _ = load_network(folder)

    def of(batch: int) -> Call:
        x = joint(torch.randn(batch, window, generator=torch.Generator().manual_seed(0)))
        context = torch.zeros(batch, network.context) if network.context else None

        def call() -> object:
            with torch.inference_mode():
                return network(x, context)

        return call

    return of


def _interleaved(
    calls: Sequence[Call], repeats: Sequence[int], rounds: int
) -> tuple[list[list[float]], list[list[float]]]:
    """Return, per call, the wall time of every call and the mean CPU time of every round, s."""
    wall: list[list[float]] = [[] for _ in calls]
    cpu: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
        call()
    for _ in range(rounds):
        for i, call in enumerate(calls):
            began = time.process_time()
            for _ in range(repeats[i]):
                start = time.perf_counter()
                call()
                wall[i].append(time.perf_counter() - start)
            cpu[i].append((time.process_time() - began) / repeats[i])
    return wall, cpu


def _spent(wall: list[float], cpu: list[float], batch: int) -> Spent:
    scale = 1e3 / batch
    worst = float(np.percentile(wall, 99))
    return Spent(statistics.median(wall) * scale, worst * scale, statistics.median(cpu) * scale)


def published_products(architecture: Architecture, window: int) -> float:
    """Return the multiplications per window of the published network's convolutions."""
    f, k = architecture.features, architecture.kernel
    per_sample = k * (2 * f + 2 * (2 * f) ** 2 / 2 + (4 * f) ** 2 / 4)
    return 3 * architecture.blocks * window * per_sample


def folded_products(weights: FoldedWeights, window: int) -> float:
    """Return the multiplications per window of the folded network, ends included."""
    channels, edge = weights.channels, weights.edge
    per_frame = channels * ((PHASES + 2 * weights.margin) + PHASES * weights.taps)
    ends = 2 * edge * channels * PHASES * edge
    return 3 * weights.blocks * (window / PHASES * per_frame + ends)
