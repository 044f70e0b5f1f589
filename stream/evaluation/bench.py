"""``innpar-stream bench --model``: speed of the network on this computer, as ratios.

The load of a computer varies from second to second. The variants therefore take turns, each turn is
compared with the published network's turn in the same round, and medians over the rounds are
printed. Time is the CPU time of this process on one thread; the peak of the core is measured with a
large matrix product in the same rounds.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from innpar.models.errors import ModelError
from innpar.models.formats.aot_file import compiled, run_compiled
from innpar.models.formats.network_file import load_network
from innpar.models.formats.torchscript import SUPPORTED, scripted
from innpar.models.network.collapse import reach
from innpar.models.network.fold import fold
from innpar.models.network.innpar import InnPar, joint
from innpar.models.predictor import SHIPPED, Predictor

BATCHES = (1, 16)
ROUNDS = 25
TURN_S = 0.02
PEAK = 512
"""Size of the square matrices whose product measures the peak of the core."""

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Row:
    """Speed of one variant of the network at one batch size.

    Attributes:
        name: Name of the variant.
        batch: Windows per call.
        windows: Windows per second of CPU time, median over the rounds.
        ratio: Speed relative to the published network run eagerly, median over the rounds.
        share: Share of the peak of matrix products, counting the variant's own multiplications.
    """

    name: str
    batch: int
    windows: float
    ratio: float
    share: float


@dataclass(frozen=True, slots=True)
class _Variant:
    name: str
    batch: int
    operations: float  # floating-point operations a window
    call: Call


def bench_model(path: Path | None = None) -> int:
    """Measure a model and print the table.

    Args:
        path: A ``manifest.json`` or its folder; None for the model that comes with the package.

    Raises:
        ModelError: The model cannot be loaded.
    """
    torch.set_num_threads(1)
    network, _ = load_network(SHIPPED if path is None else path)
    predictor = Predictor.load(path)
    print(f"{predictor.id}: one thread, {torch.backends.cpu.get_cpu_capability()}")
    rows, peak = measure(network, predictor, _compiled(network, predictor))
    print(f"peak of matrix products: {peak / 1e9:.0f} GFLOP/s")
    print(
        f"{'':34} {'batch':>5} {'windows/CPU-s':>13} {'ms/window':>9} {'ratio':>6} {'of peak':>7}"
    )
    for row in rows:
        print(
            f"{row.name:34} {row.batch:5d} {row.windows:13.0f} {1e3 / row.windows:9.3f} "
            f"{row.ratio:6.2f} {row.share:7.1%}"
        )
    return 0


def measure(
    network: InnPar,
    predictor: Predictor,
    compiled_network: Callable[[Tensor, Tensor | None], Tensor] | None,
    *,
    batches: tuple[int, ...] = BATCHES,
    rounds: int | None = None,
    turn_s: float = TURN_S,
) -> tuple[list[Row], float]:
    """Return one row per variant and batch size, and the peak of the core in FLOP/s.

    Args:
        network: The unfolded network.
        predictor: The same network as a model file.
        compiled_network: The folded network compiled by AOTInductor; None to omit it.
        batches: Windows per call.
        rounds: Number of rounds; None for `ROUNDS`.
        turn_s: Approximate CPU time of a turn, s.
    """
    variants = [v for b in batches for v in _variants(network, predictor, compiled_network, b)]
    left, right = torch.randn(PEAK, PEAK), torch.randn(PEAK, PEAK)
    calls: list[Call] = [lambda: torch.mm(left, right), *(v.call for v in variants)]
    with torch.inference_mode():
        times = _interleaved(calls, rounds or ROUNDS, turn_s)
    peak = 2.0 * PEAK**3 / statistics.median(times[0])
    published = {v.batch: t for v, t in zip(variants, times[1:], strict=True) if v.name == EAGER}
    return [
        _row(v, t, published[v.batch], peak) for v, t in zip(variants, times[1:], strict=True)
    ], peak


EAGER = "published, eager"


def _variants(
    network: InnPar,
    predictor: Predictor,
    compiled_network: Callable[[Tensor, Tensor | None], Tensor] | None,
    batch: int,
) -> list[_Variant]:
    window = predictor.manifest.window
    ppg = torch.randn(batch, window, generator=torch.Generator().manual_seed(0))
    x, samples = joint(ppg), ppg.numpy()
    context = torch.zeros(batch, network.context) if network.context else None
    slow, fast = (2.0 * f(network, window) for f in (published_products, folded_products))
    found = [_Variant(EAGER, batch, slow, lambda: network(x, context))]
    if SUPPORTED:
        unfolded, folded = scripted(network), scripted(fold(network))
        found += [
            _Variant("published, TorchScript", batch, slow, lambda: unfolded(x, context)),
            _Variant("folded, TorchScript", batch, fast, lambda: folded(x, context)),
        ]
    if compiled_network is not None:
        found.append(
            _Variant("folded, AOTInductor", batch, fast, lambda: compiled_network(x, context))
        )
    name = f"predictor ({predictor.backend}), in mmHg"
    found.append(_Variant(name, batch, fast, lambda: predictor(samples)))
    return found


def _compiled(
    network: InnPar, predictor: Predictor
) -> Callable[[Tensor, Tensor | None], Tensor] | None:
    if shutil.which("g++") is None:
        print("no C++ compiler: AOTInductor is omitted")
        return None
    print("compiling for AOTInductor; this takes a minute …", flush=True)
    x = torch.randn(2, 2, predictor.manifest.window)
    context = torch.zeros(2, network.context) if network.context else None
    try:
        return run_compiled(compiled(fold(network, portable=True), x, context))
    except ModelError as error:
        print(f"AOTInductor is omitted: {error}")
        return None


def _interleaved(calls: list[Call], rounds: int, turn_s: float) -> list[list[float]]:
    """Return the CPU time of each call in every round, s."""
    repeats = []
    for call in calls:
        for _ in range(3):
            call()
        repeats.append(max(1, round(turn_s / max(_cpu_seconds(call, 2), 1e-6))))
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for own, call, count in zip(times, calls, repeats, strict=True):
            own.append(_cpu_seconds(call, count))
    return times


def _cpu_seconds(call: Call, count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - began) / count


def _row(variant: _Variant, times: list[float], published: list[float], peak: float) -> Row:
    windows = variant.batch / statistics.median(times)
    ratios = [slow / own for slow, own in zip(published, times, strict=True)]
    return Row(
        variant.name,
        variant.batch,
        windows,
        statistics.median(ratios),
        windows * variant.operations / peak,
    )


def published_products(network: InnPar, window: int) -> float:
    """Return the multiplications per window of the published network's convolutions."""
    f, k = network.features, network.kernel
    per_sample = k * (2 * f + 2 * (2 * f) ** 2 / 2 + (4 * f) ** 2 / 4)
    return 3 * len(network.blocks) * window * per_sample


def folded_products(network: InnPar, window: int) -> float:
    """Return the multiplications per window of the folded network, ends included."""
    sizes, channels = reach(network.kernel), 4 * network.features
    per_frame = channels * ((4 + 2 * sizes.margin) + 4 * sizes.taps)
    ends = 2 * sizes.edge * channels * 4 * sizes.edge
    return 3 * len(network.blocks) * (window / 4 * per_frame + ends)
