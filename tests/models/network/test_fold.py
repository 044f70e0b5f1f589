"""The fold is the network: outputs, ends, gradients, scripts, and any company in a batch."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.models import from_published
from innpar.models.formats.torchscript import scripted
from innpar.models.network.collapse import collapse
from innpar.models.network.fold import fold
from innpar.models.network.folded_training import Collapse, folded_forward
from innpar.models.network.innpar import joint
from support.networks import golden, golden_state, network, off, windows


@pytest.mark.parametrize(("blocks", "context"), [(4, 0), (8, 0), (4, 20), (8, 5)])
@pytest.mark.parametrize("length", [32, 36, 456, 628, 640])
@torch.inference_mode()
def test_folded_equals_the_reference_ends_included(blocks: int, context: int, length: int) -> None:
    model = network(blocks, context=context)
    folded = fold(model)
    contexts = torch.randn(3, context) if context else None
    for x in (torch.randn(3, 2, length), joint(torch.from_numpy(windows(3, length)))):
        y = model(x, contexts)
        assert off(folded(x, contexts), y) <= 1e-4
        assert off(folded.inverse(y, contexts), x) <= 1e-4


@torch.inference_mode()
def test_folded_reproduces_the_golden_vectors() -> None:
    vectors = {k: torch.from_numpy(v) for k, v in golden().items()}
    folded = fold(from_published(golden_state()))
    assert off(folded(vectors["x"]), vectors["y"]) <= 1e-5
    assert off(folded.inverse(vectors["u"]), vectors["inverse_of_u"]) <= 1e-5


@pytest.mark.parametrize(("features", "kernel"), [(4, 1), (8, 3), (3, 7), (2, 9)])
@pytest.mark.parametrize("portable", [False, True])
@torch.inference_mode()
def test_other_sizes_fold_too(features: int, kernel: int, portable: bool) -> None:
    model = network(2, features, kernel)
    folded = fold(model, portable=portable)
    for length in (folded.shortest, folded.shortest + 4, 160):
        x = torch.randn(2, 2, length)
        assert off(folded(x), model(x)) <= 1e-5


@torch.inference_mode()
def test_the_fold_is_closer_to_float64_than_the_convolutions() -> None:
    model = network(4)
    x = torch.randn(4, 2, 640)
    exact = network(4).double()(x.double())
    assert off(fold(model)(x).double(), exact) < off(model(x).double(), exact)


def test_without_the_edge_corrections_only_the_ends_differ() -> None:
    """So that the test above could fail: the corrections are no small matter."""
    model = network(1).double()
    x = torch.randn(2, 2, 640, dtype=torch.float64)
    wrong = (folded_forward(model, x, edges=False) - model(x)).abs().amax(dim=(0, 1))
    assert wrong[:60].max() > 1e-2
    assert wrong[-60:].max() > 1e-2
    assert wrong[60:-60].max() < 1e-12


@pytest.mark.parametrize("context", [0, 6])
@torch.inference_mode()
def test_the_script_equals_the_module(context: int) -> None:
    folded = fold(network(context=context))
    script = scripted(folded)
    contexts = torch.randn(3, context) if context else None
    for length in (36, 640):
        x = torch.randn(3, 2, length)
        assert off(script(x, contexts), folded(x, contexts)) <= 1e-5
        assert off(script.inverse(x, contexts), folded.inverse(x, contexts)) <= 1e-5


@pytest.mark.parametrize("shape", [(1, 2, 6), (2, 40), (1, 3, 40), (1, 2, 28)])
def test_a_length_that_cannot_be_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiple of 4 and at least 32"):
        fold(network(1))(torch.zeros(shape))


@pytest.mark.parametrize("context", [0, 5])
@pytest.mark.parametrize("edges", [False, True])
def test_training_through_the_fold_has_the_networks_gradients(context: int, edges: bool) -> None:
    model = network(2, 4, context=context).double()
    x = torch.randn(19, 2, 176, dtype=torch.float64, requires_grad=True)
    contexts = torch.randn(19, context, dtype=torch.float64) if context else None
    weight = torch.randn_like(x)
    if not edges:  # the ends are not part of the loss; two blocks reach 2·(18 + 23) samples
        weight[..., :84] = 0
        weight[..., -84:] = 0
    inputs = [x, *model.parameters()]
    slow = (model(x, contexts) * weight).sum()
    fast = (folded_forward(model, x, contexts, edges=edges) * weight).sum()
    expected = torch.autograd.grad(slow, inputs)
    found = torch.autograd.grad(fast, inputs)
    for ours, theirs in zip(found, expected, strict=True):
        assert off(ours, theirs) <= 1e-9


@pytest.mark.parametrize("context", [0, 5])
def test_the_inverse_through_the_fold_has_the_networks_gradients(context: int) -> None:
    model = network(2, 4, context=context).double()
    y = torch.randn(5, 2, 64, dtype=torch.float64, requires_grad=True)
    contexts = torch.randn(5, context, dtype=torch.float64) if context else None
    inputs, weight = [y, *model.parameters()], torch.randn_like(y)
    slow, fast = model.inverse(y, contexts), Collapse(model).inverse(y, contexts)
    assert off(fast, slow) <= 1e-12
    expected = torch.autograd.grad((slow * weight).sum(), inputs)
    for ours, theirs in zip(
        torch.autograd.grad((fast * weight).sum(), inputs), expected, strict=True
    ):
        assert off(ours, theirs) <= 1e-9


def test_more_edge_frames_than_needed_change_nothing() -> None:
    model = network(1, 4).double()
    needed, more = collapse(model), collapse(model, edge=6)
    before = needed.left.view(3, 4, 16, 4, 4)
    assert off(more.left.view(3, 6, 16, 6, 4)[:, :4, :, :4], before) <= 1e-12
    assert more.left.view(3, 6, 16, 6, 4)[:, 4:].abs().max() <= 1e-12


LENGTHS = (640, 628, 456)


@functools.cache
def batch_of_windows(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return 32 windows and their contexts."""
    contexts = torch.randn(32, 4, generator=torch.Generator().manual_seed(length))
    return joint(torch.from_numpy(windows(32, length))), contexts


@functools.cache
def script_with_context() -> torch.jit.ScriptModule:
    return scripted(fold(network(4, context=4)))


@given(st.sampled_from(LENGTHS), st.integers(0, 31), st.integers(1, 32), st.integers(0, 31))
@settings(deadline=None, max_examples=60)
def test_a_window_gives_the_same_bits_in_any_company(
    length: int, window: int, batch: int, place: int
) -> None:
    (x, contexts), script = batch_of_windows(length), script_with_context()
    order = torch.arange(window - place % batch, window - place % batch + batch) % 32
    with torch.inference_mode():
        alone = script(x[window : window + 1], contexts[window : window + 1])
        together = script(x[order], contexts[order])
    assert torch.equal(together[place % batch], alone[0])
