"""The model that comes with the package keeps the laws, not only networks made for tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from innpar.models import InnPar, Predictor
from innpar.models.formats.network_file import load_network
from innpar.models.formats.torchscript import from_bytes
from innpar.models.network.fold import fold
from innpar.models.network.innpar import joint
from innpar.models.predictor import SHIPPED
from support.networks import off, windows


@pytest.fixture(scope="module")
def shipped() -> tuple[InnPar, torch.Tensor, torch.Tensor]:
    """The network, windows, as many of white noise, and contexts, some of them empty."""
    network, _ = load_network(SHIPPED)
    generator = torch.Generator().manual_seed(0)
    contexts = torch.randn(32, network.context, generator=generator)
    contexts[::4] = 0.0
    smooth = torch.from_numpy(windows(16))
    rough = torch.randn(smooth.shape, generator=generator)
    return network, joint(torch.cat([smooth, rough])), contexts


@torch.inference_mode()
def test_it_inverts(shipped: tuple[InnPar, torch.Tensor, torch.Tensor]) -> None:
    network, x, contexts = shipped
    assert off(network.inverse(network(x, contexts), contexts), x) <= 1e-4


@torch.inference_mode()
def test_its_fold_and_its_script_are_the_network(
    shipped: tuple[InnPar, torch.Tensor, torch.Tensor],
) -> None:
    network, x, contexts = shipped
    _, manifest = load_network(SHIPPED)
    folded, name = fold(network), manifest.file("torchscript")
    assert name is not None
    script = from_bytes((SHIPPED / name).read_bytes())
    y = folded(x, contexts)
    assert off(y, network(x, contexts)) <= 1e-4
    assert off(script(x, contexts), y) <= 1e-5
    assert off(script.inverse(y, contexts), x) <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["native", "torchscript"])
def test_a_window_gives_the_same_bits_in_any_company(backend: str) -> None:
    predictor = Predictor.load(backend=backend)
    ppg = windows(32, predictor.manifest.window)
    contexts = np.random.default_rng(0).standard_normal((32, predictor.manifest.context_entries))
    alone = [predictor(ppg[i : i + 1], contexts[i : i + 1], reverse=True) for i in range(32)]
    for batch in range(2, 33):
        for first in {0, (32 - batch) // 2, 32 - batch}:
            rows = slice(first, first + batch)
            found = predictor(ppg[rows], contexts[rows], reverse=True)
            for name in ("abp", "gradient", "consistency", "reverse"):
                each = [getattr(one, name)[0] for one in alone[rows]]
                np.testing.assert_array_equal(getattr(found, name), np.stack(each))


def test_the_manifest_says_what_a_user_must_know() -> None:
    manifest = Predictor.load().manifest
    assert "CC BY-NC-SA" in manifest.licence
    assert manifest.training
    assert manifest.code_version
    assert {"inverse", "folded", "torchscript"} <= manifest.verified.keys()
