"""The published network: golden vectors, invertibility, gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.models import InnPar, ModelError, from_published
from innpar.models.network.innpar import gradient, joint, squeeze, unsqueeze
from support.checkpoints import renamed
from support.networks import golden, golden_state, network, off, windows


@torch.inference_mode()
def test_forward_and_inverse_reproduce_the_golden_vectors() -> None:
    vectors = {k: torch.from_numpy(v) for k, v in golden().items()}
    model = from_published(golden_state())
    assert off(model(vectors["x"]), vectors["y"]) <= 1e-5
    assert off(model.inverse(vectors["u"]), vectors["inverse_of_u"]) <= 1e-5


@torch.inference_mode()
def test_a_window_goes_through_gradient_and_padding_as_published() -> None:
    vectors = {k: torch.from_numpy(v) for k, v in golden().items()}
    x = torch.nn.functional.pad(joint(vectors["ppg"]), [0, 3])
    assert torch.equal(x, vectors["ppg_input"])
    assert off(from_published(golden_state())(x), vectors["ppg_output"]) <= 1e-5


def test_the_defaults_are_the_published_size() -> None:
    assert sum(p.numel() for p in InnPar().parameters()) == 372_340


@pytest.mark.parametrize(("blocks", "length"), [(4, 628), (8, 640), (4, 456), (1, 4)])
@pytest.mark.parametrize("context", [0, 7])
@torch.inference_mode()
def test_the_inverse_returns_the_input(blocks: int, length: int, context: int) -> None:
    model = network(blocks, context=context)
    x = joint(torch.from_numpy(windows(3, length)))
    contexts = torch.randn(3, context) if context else None
    assert off(model.inverse(model(x, contexts), contexts), x) <= 1e-4
    y = torch.randn_like(x)
    assert off(model(model.inverse(y, contexts), contexts), y) <= 1e-4


@torch.inference_mode()
def test_a_fresh_context_changes_nothing_and_a_trained_one_does() -> None:
    fresh, trained = InnPar(2, context=3).eval(), network(context=3)
    x, contexts = joint(torch.from_numpy(windows(2))), torch.ones(2, 3)
    assert torch.equal(fresh(x, contexts), fresh(x, None))
    assert not torch.allclose(trained(x, contexts), trained(x, None))
    assert torch.equal(trained(x, torch.zeros(2, 3)), trained(x, None))


@pytest.mark.parametrize("context", [0, 3])
@torch.inference_mode()
def test_the_network_scripts(context: int) -> None:
    from innpar.models.formats.torchscript import scripted

    model = network(context=context)
    script = scripted(model)
    x, contexts = torch.randn(2, 2, 44), torch.randn(2, context) if context else None
    assert off(script(x, contexts), model(x, contexts)) <= 1e-6
    assert off(script.inverse(x, contexts), model.inverse(x, contexts)) <= 1e-6


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=40))
@settings(deadline=None)
def test_the_gradient_is_a_correlation_with_zeros_beyond_the_ends(values: list[float]) -> None:
    signal = np.array(values, dtype=np.float32)
    expected = np.correlate(np.pad(signal, 1), np.array([-1, 0, 1], dtype=np.float32), "valid")
    np.testing.assert_array_equal(gradient(torch.from_numpy(signal)).numpy(), expected)


def test_squeezing_puts_channel_c_phase_p_at_2c_plus_p() -> None:
    x = torch.arange(12.0).view(1, 2, 6)
    assert squeeze(x)[0].tolist() == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]
    assert torch.equal(unsqueeze(squeeze(x)), x)


@pytest.mark.parametrize("shape", [(1, 2, 6), (2, 8), (1, 3, 8), (1, 2, 0)])
def test_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        network()(torch.zeros(shape))


def test_a_wrong_context_is_refused() -> None:
    x = torch.zeros(2, 2, 8)
    with pytest.raises(ValueError, match="takes no context"):
        network()(x, torch.zeros(2, 1))
    with pytest.raises(ValueError, match=r"context of \(2, 3\)"):
        network(context=3)(x, torch.zeros(2, 4))


@pytest.mark.parametrize("size", [{"blocks": 0}, {"kernel": 4}, {"features": 0}, {"context": -1}])
def test_a_network_that_cannot_be_is_refused(size: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one block"):
        InnPar(**size)


@pytest.mark.parametrize(("blocks", "features", "kernel"), [(1, 4, 3), (3, 8, 5)])
def test_a_published_checkpoint_tells_its_own_sizes(
    blocks: int, features: int, kernel: int
) -> None:
    model = network(blocks, features, kernel)
    found = from_published(renamed(model))
    assert (len(found.blocks), found.features, found.kernel) == (blocks, features, kernel)
    x = torch.randn(1, 2, 32)
    assert torch.equal(found(x), model(x))


def test_an_unfit_checkpoint_is_refused_by_name() -> None:
    state = renamed(network(1, 4))
    shape, name = torch.zeros(3), "operations.0.G.main.3.bias"
    with pytest.raises(ModelError, match=r"unknown operations\.0\.extra"):
        from_published({**state, "operations.0.extra": shape})
    with pytest.raises(ModelError, match=r"lack operations\.0\.G\.main\.3\.bias"):
        from_published({k: v for k, v in state.items() if k != name})
    with pytest.raises(
        ModelError, match=r"^operations\.0\.G\.main\.3\.bias has shape \[3\], expected \[16\]"
    ):
        from_published({**state, name: shape})
    with pytest.raises(ModelError, match="NaN or infinity"):
        from_published({**state, name: torch.full_like(state[name], torch.nan)})
    none = {**state, "operations.0.F.input_proj.0.weight": torch.zeros(0, 1, 5)}
    with pytest.raises(ModelError, match="1 blocks of 0 features with 5 taps"):
        from_published(none)
    with pytest.raises(ModelError, match=r"input_proj\.0\.weight is missing"):
        from_published({})
