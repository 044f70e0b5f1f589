"""AOTInductor: the folded network compiled for this kind of processor (`.pt2`).

Making one needs a C++ compiler; running one does not.
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
from innpar.models.network.fold import Folded

LARGEST_BATCH = 4096

Network = Callable[[Tensor, Tensor | None], Tensor]


def processor() -> str:
    """What a compiled file is bound to: torch, system, architecture, vector instructions."""
    capability = torch.backends.cpu.get_cpu_capability()
    version = torch.__version__.partition("+")[0]
    return f"torch {version} {platform.system()} {platform.machine()} {capability}"


def compiled(folded: Folded, x: Tensor, context: Tensor | None) -> bytes:
    """Compile for windows of x's length and any batch; return the file's content.

    Raises:
        ModelError: There is no compiler, or it failed.
    """
    from torch._inductor import aoti_compile_and_package

    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    arguments = (x[:2].clone(), None if context is None else context[:2].clone())
    shapes = ({0: batch}, None if context is None else {0: batch})
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the compiler's, about itself
        target = str(Path(folder) / "model.pt2")
        try:
            program = torch.export.export(folded, arguments, dynamic_shapes=shapes)
            made = aoti_compile_and_package(
                program, package_path=target, inductor_configs={"freezing": True}
            )
        except Exception as error:  # the compiler's own many kinds
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"could not compile ({first}); is a C++ compiler installed?"
            ) from error
        return Path(made).read_bytes()


def run_compiled(content: bytes) -> Network:
    """Load a compiled network, which runs its code: only from a file whose hash was checked."""
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
        ModelError: It differs from its hash, or was built for another kind of processor.
    """
    if (built := manifest.built_for.get(name)) != processor():
        raise ModelError(f"{name} was built for {built}, this is {processor()}; export it here")
    return run_compiled(verified_bytes(folder, manifest, name))
