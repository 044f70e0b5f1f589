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

from innpar.models.network.folding import Floats, FoldedWeights, fold_weights
from innpar.models.network.kernel import (
    NativeNetwork,
    Network,
    NumpyNetwork,
    best_instructions,
    checked,
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


ARM_COMPILER, ARM_RUNNER = "aarch64-linux-gnu-g++", "qemu-aarch64"
DRIVER = r"""
#include "kernel.cpp"
#include <cstdio>
#include <vector>
static FILE *in;
template <class T> std::vector<T> part() {  // a count, then the values
    int64_t n;
    if (std::fread(&n, 8, 1, in) != 1) std::exit(2);
    std::vector<T> values(n);
    if (std::fread(values.data(), sizeof(T), n, in) != size_t(n)) std::exit(2);
    return values;
}
int main(int, char **argv) {
    in = std::fopen(argv[1], "rb");
    FILE *out = std::fopen(argv[2], "wb");
    auto shape = part<int32_t>();
    auto clamp = part<float>();
    std::vector<std::vector<float>> arrays;
    for (int k = 0; k < 10; k++) arrays.push_back(part<float>());
    auto x = part<float>(), shift = part<float>();
    Net net{shape[0], shape[1], shape[2], shape[3], shape[4], clamp[0]};
    const float **to = &net.mixing;
    for (int k = 0; k < 10; k++) to[k] = arrays[k].data();
    int64_t batch = shape[5], frames = shape[6];
    std::vector<float> y(x.size()), back(x.size());
    const char *set = innpar_kernel_set();
    if (innpar_kernel(set, &net, 0, batch, frames, x.data(), shift.data(), y.data())) return 3;
    if (innpar_kernel(set, &net, 1, batch, frames, y.data(), shift.data(), back.data())) return 3;
    std::fwrite(y.data(), 4, y.size(), out);
    std::fwrite(back.data(), 4, back.size(), out);
    std::fclose(out);
    std::puts(set);
}
"""


def run_on_arm(folder: Path, weights: FoldedWeights, x: Floats, context: Floats) -> list[Floats]:
    """Return the kernel's forward outputs on an emulated aarch64 processor, and their inverse."""
    values, shift = checked(weights, x, context)
    assert shift is not None
    names = ("mixing", "unmixing", "entry", "entry_bias", "kernel", "bias")
    names += ("left", "left_bias", "right", "right_bias")
    shape = [weights.blocks, weights.channels, weights.margin, weights.taps, weights.edge]
    parts = [np.array([*shape, len(values), values.shape[2] // 4], np.int32)]
    parts += [np.array([weights.clamp], np.float32), *(getattr(weights, name) for name in names)]
    parts += [values, shift]
    source, result = folder / "in", folder / "out"
    source.write_bytes(b"".join(np.int64(one.size).tobytes() + one.tobytes() for one in parts))
    command = [ARM_RUNNER, folder / "driver", source, result]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=110)
    assert done.stdout == "neon\n"
    found = np.frombuffer(result.read_bytes(), np.float32).reshape(2, *values.shape)
    return [found[0], found[1]]


@pytest.mark.slow
def test_neon_gives_the_network_under_emulation(tmp_path: Path) -> None:
    for tool in (ARM_COMPILER, ARM_RUNNER):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}: apt-get install g++-aarch64-linux-gnu qemu-user")
    (tmp_path / "driver.cpp").write_text(DRIVER)
    flags = ["-O3", "-std=c++17", "-ffp-contract=fast", "-static", "-Wall", "-Werror"]
    include = ["-I", str(ROOT / "models/network"), "-o", str(tmp_path / "driver")]
    subprocess.run([ARM_COMPILER, *flags, *include, tmp_path / "driver.cpp"], check=True)
    weights, rng = shipped(), np.random.default_rng(0)
    for length in (64, 100, 640):
        x = rng.standard_normal((3, 2, length)).astype(np.float32)
        context = rng.standard_normal((3, 42)).astype(np.float32)
        forward, inverse = run_on_arm(tmp_path, weights, x, context)
        expected = NumpyNetwork(weights).forward(x, context)
        scale = np.abs(expected).max()
        assert np.abs(forward - expected).max() <= 1e-5 * scale
        assert np.abs(inverse - x).max() <= 1e-4 * scale
        alone = run_on_arm(tmp_path, weights, x[1:2], context[1:2])
        assert [one.tobytes() for one in alone] == [forward[1].tobytes(), inverse[1].tobytes()]
