"""ONNX files (``.onnx``): the folded network for other runtimes; needs the extra ``onnx``."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from innpar.models.errors import ModelError
from innpar.models.formats.batches import OneWay
from innpar.models.manifest import Manifest, verified_bytes
from innpar.models.network.folding import Floats
from innpar.models.network.kernel import Network

if TYPE_CHECKING:
    from torch import Tensor

    from innpar.models.network.fold import Folded, FoldedInverse


def to_onnx(folded: Folded | FoldedInverse, x: Tensor, context: Tensor | None) -> bytes:
    """Export for any batch of windows as long as those of `x`; return the file's content.

    Args:
        folded: Folded with ``portable=True``.
        x: (batch, 2, window), at least two windows, as an example.
        context: (batch, entries); None for a network without context.

    Raises:
        ModelError: The extra ``onnx`` is not installed, or the export failed.
    """
    import torch

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


class OnnxNetwork:
    """Sessions of ONNX Runtime as a network; each runs on one CPU thread.

    Args:
        forward: Content of the forward file.
        inverse: Content of the inverse's file; None to give it the forward function.

    Raises:
        ModelError: The extra ``onnx`` is not installed.
    """

    def __init__(self, forward: bytes, inverse: bytes | None = None) -> None:
        self._forward = _session(forward)
        self._inverse = self._forward if inverse is None else _session(inverse)

    def forward(self, x: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        return self._run(self._forward, x, context)

    def inverse(self, y: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        return self._run(self._inverse, y, context)

    def _run(self, session: Any, x: npt.ArrayLike, context: npt.ArrayLike | None) -> Floats:
        feed = {"x": np.ascontiguousarray(x, np.float32)}
        if context is not None:
            feed["context"] = np.ascontiguousarray(context, np.float32)
        found: Floats = session.run(None, feed)[0]
        return found


def load_onnx(folder: Path, manifest: Manifest, inverse: Network) -> Network:
    """Load the model's ONNX files; `inverse` serves a model without an inverse in ONNX.

    Raises:
        ModelError: There are none, or the extra ``onnx`` is not installed.
    """
    content = verified_bytes(folder, manifest, manifest.file_for("onnx"))
    if (name := manifest.file("onnx_inverse")) is None:
        return OneWay(OnnxNetwork(content), inverse)
    return OnnxNetwork(content, verified_bytes(folder, manifest, name))


def instructions() -> str:
    """Return the version of ONNX Runtime."""
    import onnxruntime  # type: ignore[import-untyped]

    return f"onnxruntime {onnxruntime.__version__}"


def _session(content: bytes) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing(error) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _missing(error: ImportError) -> ModelError:
    return ModelError(f"{error.name} is not installed: scripts/setup onnx")
