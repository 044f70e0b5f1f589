"""Networks that wrap others: the same bits in any batch, and an inverse from elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from innpar.models.manifest import Manifest
from innpar.models.network.folding import Floats
from innpar.models.network.kernel import Network

log: logging.Logger = logging.getLogger(__name__)

MICRO_BATCH = 8
"""Windows that go through the network together; more do not fit in a core's cache."""

Run = Callable[[Floats, Floats | None], Floats]


class ExactBatches:
    """A network called with small batches that give each window the bits it has alone.

    Every size up to `MICRO_BATCH` is tried at the start, both ways; where a size rounds
    differently, windows run one at a time.

    Args:
        network: The network.
        manifest: Description of its input.
    """

    def __init__(self, network: Network, manifest: Manifest) -> None:
        self._network = network
        rng = np.random.default_rng(0)
        x = rng.standard_normal((MICRO_BATCH, 2, manifest.window), np.float32)
        c = rng.standard_normal((MICRO_BATCH, manifest.context_entries), np.float32)
        context = c if manifest.context_entries else None
        self.size = MICRO_BATCH
        if not all(batch_invariant(run, x, context) for run in (network.forward, network.inverse)):
            log.warning("batches round differently on this processor: one window at a time")
            self.size = 1

    def forward(self, x: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        return self._parts(self._network.forward, x, context)

    def inverse(self, y: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        return self._parts(self._network.inverse, y, context)

    def _parts(self, run: Run, x: npt.ArrayLike, context: npt.ArrayLike | None) -> Floats:
        values = np.asarray(x, np.float32)
        given = None if context is None else np.asarray(context, np.float32)
        out = np.empty_like(values)
        for start in range(0, len(values), self.size):
            rows = slice(start, start + self.size)
            out[rows] = run(values[rows], None if given is None else given[rows])
        return out


class OneWay:
    """The forward function of one network and the inverse of another."""

    def __init__(self, forward: Network, inverse: Network) -> None:
        self.forward, self.inverse = forward.forward, inverse.inverse


def batch_invariant(run: Run, x: Floats, context: Floats | None) -> bool:
    """Return whether a window gives the same bits alone and in any batch.

    Args:
        run: Forward or inverse.
        x: (batch, 2, window), the windows to try.
        context: (batch, entries); None for a network without context.
    """
    for _ in range(2):  # a script's first run only records
        alone = [
            run(x[i : i + 1], None if context is None else context[i : i + 1])
            for i in range(len(x))
        ]
    each = np.concatenate(alone)
    return all(
        np.array_equal(run(x[:size], None if context is None else context[:size]), each[:size])
        for size in range(2, len(x) + 1)
    )
