"""AOTInductor files (``.pt2``): the folded network compiled for one kind of processor.

Compiling needs a C++ compiler; running does not.
"""

from __future__ import annotations

import platform
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from innpar.models.errors import ModelError
from innpar.models.manifest import Manifest, verified_bytes
from innpar.models.network.fold import Folded, FoldedInverse

LARGEST_BATCH = 4096

Network = Callable[[Tensor, Tensor | None], Tensor]


def processor() -> str:
    """Return what a compiled file depends on: torch, system, architecture, vector instructions."""
    capability = torch.backends.cpu.get_cpu_capability()
    version = torch.__version__.partition("+")[0]
    return f"torch {version} {platform.system()} {platform.machine()} {capability}"


def compiled(folded: Folded | FoldedInverse, x: Tensor, context: Tensor | None) -> bytes:
    """Compile for any batch of windows as long as those of `x`; return the file's content.

    Args:
        folded: Folded with ``portable=True``.
        x: (batch, 2, window), at least two windows, as an example.
        context: (batch, entries); None for a network without context.

    Raises:
        ModelError: There is no compiler, or it failed.
    """
    from torch._inductor import aoti_compile_and_package

    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    arguments = (x[:2].clone(), None if context is None else context[:2].clone())
    shapes = ({0: batch}, None if context is None else {0: batch})
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # from the compiler, about its own code
        target = str(Path(folder) / "model.pt2")
        try:
            program = torch.export.export(folded, arguments, dynamic_shapes=shapes)
            made = aoti_compile_and_package(
                program, package_path=target, inductor_configs={"freezing": True}
            )
        except Exception as error:  # the compiler raises many types
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"compilation failed ({first}); is a C++ compiler installed?"
            ) from error
        return Path(made).read_bytes()


def run_compiled(content: bytes) -> Network:
    """Load a compiled network. It is native code: pass only the content of a verified file."""
    from torch._inductor import aoti_load_package

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt2"
        path.write_bytes(content)
        package = aoti_load_package(str(path))

    def network(x: Tensor, context: Tensor | None) -> Tensor:
        result: Tensor = package(x) if context is None else package(x, context)
        return result

    return network


def load_compiled(folder: Path, manifest: Manifest, name: str) -> Network:
    """Load a model's compiled file.

    Raises:
        ModelError: The file does not match its hash, or was compiled for another processor.
    """
    if (built := manifest.built_for.get(name)) != processor():
        raise ModelError(
            f"{name} was compiled for {built}, this is {processor()}; export the model here"
        )
    return run_compiled(verified_bytes(folder, manifest, name))
