"""The kernel and its numpy twin: the network's outputs, both ways, the same bits in any batch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from innpar.models.network.folding import FoldedWeights, fold_weights
from innpar.models.network.kernel import (
    NativeNetwork,
    Network,
    NumpyNetwork,
    best_instructions,
)
from innpar.models.predictor import SHIPPED
from support.networks import network as trained
from support.paths import ROOT

torch = pytest.importorskip("torch")


def instruction_sets() -> list[str]:
    try:
        best = best_instructions()
    except OSError:
        return []
    return {"avx512": ["avx512", "avx2", "plain"], "avx2": ["avx2", "plain"]}.get(best, [best])


Make = Callable[[FoldedWeights], Network]
WAYS: dict[str, Make] = {"numpy": NumpyNetwork}
for name in instruction_sets():
    WAYS[name] = lambda weights, name=name: NativeNetwork(weights, name)


@pytest.fixture(params=WAYS)
def make(request: pytest.FixtureRequest) -> Make:
    return WAYS[request.param]


def test_the_kernel_was_built() -> None:
    assert instruction_sets() or shutil.which("g++") is None


def shipped() -> FoldedWeights:
    (file,) = SHIPPED.glob("*.safetensors")
    return fold_weights(load_file(file), 0.8)


@pytest.mark.parametrize("features", [1, 3, 16, 20])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("context", [0, 5])
def test_it_is_the_network(make: Make, features: int, kernel: int, context: int) -> None:
    model = trained(blocks=2, features=features, kernel=kernel, context=context).double()
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    network = make(fold_weights(state, model.clamp))
    rng = np.random.default_rng(features)
    for length in (64, 68, 320, 640):
        x = rng.standard_normal((3, 2, length))
        c = rng.standard_normal((3, context)) if context else None
        with torch.inference_mode():
            told = None if c is None else torch.from_numpy(c)
            expected = model(torch.from_numpy(x), told).numpy()
        scale = np.abs(expected).max()
        assert np.abs(network.forward(x, c) - expected).max() <= 1e-5 * scale
        assert np.abs(network.inverse(expected, c) - x).max() <= 1e-4 * scale


@given(
    batch=st.integers(1, 6), place=st.integers(0, 5), length=st.sampled_from([64, 100, 352, 640])
)
@settings(max_examples=15)
def test_company_changes_no_bit(batch: int, place: int, length: int) -> None:
    weights, rng = shipped(), np.random.default_rng(batch)
    x = rng.standard_normal((batch, 2, length)).astype(np.float32)
    c = rng.standard_normal((batch, 42)).astype(np.float32)
    one = place % batch
    for way in WAYS.values():
        network = way(weights)
        for run in (network.forward, network.inverse):
            alone = run(x[one : one + 1], c[one : one + 1])[0]
            assert alone.tobytes() == run(x, c)[one].tobytes()


def test_the_last_352_samples_give_the_published_128_bit_for_bit() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 640)).astype(np.float32)
    weights = shipped()
    for name, way in WAYS.items():
        whole, part = way(weights).forward(x), way(weights).forward(x[:, :, -352:])
        inside = slice(-188, -60)
        if name == "numpy":  # BLAS rounds by the number of rows
            np.testing.assert_allclose(part[0, 0, inside], whole[0, 0, inside], atol=1e-5)
        else:
            assert part[0, 0, inside].tobytes() == whole[0, 0, inside].tobytes()


def test_the_inverse_undoes_the_shipped_network(make: Make) -> None:
    rng = np.random.default_rng(1)
    x, c = rng.standard_normal((4, 2, 640)), rng.standard_normal((4, 42))
    network = make(shipped())
    y = network.forward(x, c)
    assert np.abs(network.inverse(y, c) - x).max() <= 1e-4 * np.abs(y).max()


@pytest.mark.parametrize("shape", [(2, 640), (1, 1, 640), (1, 2, 642), (1, 2, 28), (1, 2, 0)])
def test_a_wrong_shape_is_refused(make: Make, shape: tuple[int, ...]) -> None:
    network = make(shipped())
    for run in (network.forward, network.inverse):
        with pytest.raises(ValueError, match="expected"):
            run(np.zeros(shape))
        with pytest.raises(ValueError, match="context"):
            run(np.zeros((1, 2, 640)), np.zeros((2, 42)))


def test_a_wide_kernel_is_refused() -> None:
    state = {k: v.numpy() for k, v in trained(blocks=1, features=2, kernel=7).state_dict().items()}
    with pytest.raises(ValueError, match="7 taps"):
        fold_weights(state, 0.8)


CHECKED = """
import sys, ctypes, numpy as np
sys.path[:] = sys.argv[2].split(":")
from innpar.models.network import kernel
from pathlib import Path
library = ctypes.CDLL(sys.argv[1])
real = kernel._library()
library.innpar_kernel.argtypes = real.innpar_kernel.argtypes
library.innpar_kernel_set.restype = ctypes.c_char_p
kernel._library = lambda: library
from safetensors.numpy import load_file
from innpar.models.network.folding import fold_weights
weights = fold_weights(load_file(sys.argv[3]), 0.8)
rng = np.random.default_rng(0)
for name in sys.argv[4].split(","):
    for length in (64, 68, 100, 320, 640):
        network = kernel.NativeNetwork(weights, name)
        y = network.forward(rng.standard_normal((2, 2, length)), rng.standard_normal((2, 42)))
        network.inverse(y)
print("clean")
"""


@pytest.mark.slow
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    if shutil.which("g++") is None or not instruction_sets():
        pytest.skip("no compiler, no kernel")
    library = tmp_path / "kernel.so"
    flags = ["-O1", "-g", "-std=c++17", "-fPIC", "-shared", "-ffp-contract=fast"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    source = ROOT / "models/network/kernel.cpp"
    subprocess.run(["g++", *flags, "-o", library, source], check=True)
    asan = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (weights,) = SHIPPED.glob("*.safetensors")
    command = [sys.executable, "-c", CHECKED, str(library), ":".join(sys.path), str(weights)]
    result = subprocess.run(
        [*command, ",".join(instruction_sets())],
        env={**os.environ, "LD_PRELOAD": asan, "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "clean\n"
