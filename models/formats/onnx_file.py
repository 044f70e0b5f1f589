"""ONNX files (``.onnx``): the folded network for other runtimes; needs the extra ``onnx``."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from innpar.models.errors import ModelError
from innpar.models.network.fold import Folded

Network = Callable[[Tensor, Tensor | None], Tensor]


def to_onnx(folded: Folded, x: Tensor, context: Tensor | None) -> bytes:
    """Export for any batch of windows as long as those of `x`; return the file's content.

    Args:
        folded: Folded with ``portable=True``.
        x: (batch, 2, window), at least two windows, as an example.
        context: (batch, entries); None for a network without context.

    Raises:
        ModelError: The extra ``onnx`` is not installed, or the export failed.
    """
    batch = torch.export.Dim("batch", min=1, max=4096)
    arguments = (x[:2].clone(),) if context is None else (x[:2].clone(), context[:2].clone())
    names = ["x", "context"][: len(arguments)]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        target = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(
                folded,
                arguments,
                target,
                input_names=names,
                output_names=["y"],
                dynamic_shapes=tuple({0: batch} for _ in arguments),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except ImportError as error:
            raise _missing(error) from None
        except torch.onnx.errors.OnnxExporterError as error:
            raise ModelError(f"the export to ONNX failed: {str(error).splitlines()[0]}") from error
        return target.read_bytes()


def load_onnx(content: bytes) -> Network:
    """Load an ONNX network; it runs on one CPU thread.

    Raises:
        ModelError: The extra ``onnx`` is not installed.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise _missing(error) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def network(x: Tensor, context: Tensor | None) -> Tensor:
        feed = {"x": np.ascontiguousarray(x.numpy())}
        if context is not None:
            feed["context"] = np.ascontiguousarray(context.numpy())
        return torch.from_numpy(session.run(None, feed)[0])

    return network


def _missing(error: ImportError) -> ModelError:
    return ModelError(f"{error.name} is not installed: scripts/setup onnx")
