"""Golden windows: every backend must reproduce the numpy network's pressures on them."""

from __future__ import annotations

import numpy as np

from innpar.models.errors import ModelError
from innpar.models.manifest import Manifest
from innpar.models.network.folding import Floats
from innpar.models.network.kernel import Network, NumpyNetwork, with_gradient

TOLERANCE = 0.01
"""Largest accepted deviation on a CPU, mmHg."""
GPU_TOLERANCE = 1e-4
"""Largest accepted deviation on a GPU, relative to the output's scale."""
_PULSES = ((0.9, 0.4, 1.0), (1.2, 0.6, 0.6), (1.6, 0.2, 1.6), (2.4, 0.1, 2.2))
"""Beats a second; strength and phase of the second harmonic."""


def golden_windows(manifest: Manifest) -> tuple[Floats, Floats | None]:
    """Return pulse waves (4, 2, window) of unit SD, and contexts (4, entries), the first zero."""
    time = np.arange(manifest.window) / manifest.rate
    rows = []
    for beats, strength, phase in _PULSES:
        turn = 2 * np.pi * beats * time
        wave = np.sin(turn) + strength * np.sin(2 * turn + phase)
        rows.append((wave - wave.mean()) / wave.std())
    entries = manifest.context_entries
    context = np.sin(np.arange(len(rows) * entries)).reshape(len(rows), entries)
    context[:1] = 0.0
    x = with_gradient(np.array(rows, np.float32))
    return x, np.asarray(context, np.float32) if entries else None


def check_golden(network: Network, reference: NumpyNetwork, manifest: Manifest, name: str) -> None:
    """Refuse a backend that deviates from the numpy network on the golden windows.

    Args:
        network: The backend's network, forward and inverse.
        reference: The same network in numpy.
        manifest: Description of the model.
        name: Backend and device, for the message; begins with ``cuda`` for a GPU.

    Raises:
        ModelError: It deviates too far.
    """
    x, context = golden_windows(manifest)
    scale = manifest.abp_scale  # mmHg a network unit; an SD of PPG counts as one
    expected = reference.forward(x, context)
    back = with_gradient(expected[:, 0])
    deviation = scale * max(
        _largest(network.forward(x, context) - expected),
        _rms(network.inverse(back, context) - reference.inverse(back, context)),
    )
    limit = TOLERANCE
    if name.startswith("cuda"):
        limit = GPU_TOLERANCE * scale * _largest(expected)
    if not deviation <= limit:
        raise ModelError(
            f"{name} deviates by {deviation:.2g} mmHg on the golden windows, more than "
            f"{limit:.2g}; use --backend numpy"
        )


def _largest(values: Floats) -> float:
    return float(np.abs(values).max())


def _rms(values: Floats) -> float:
    """Return the largest RMS of any window, as `Prediction.reverse` measures it."""
    return float(np.sqrt(np.square(values[:, 0]).mean(axis=1)).max())
