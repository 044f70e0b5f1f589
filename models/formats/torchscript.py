"""TorchScript: compile, write and read.

Deprecated since torch 2.11 and not available on Python 3.14, where `SUPPORTED` is False.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

SUPPORTED = sys.version_info < (3, 14)


@contextmanager
def _no_deprecation_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"`?torch\.jit\.\w+`? is", category=DeprecationWarning
        )
        yield


def scripted(model: nn.Module) -> torch.jit.ScriptModule:
    """Script and freeze a module in evaluation mode; keep its method `inverse`."""
    with _no_deprecation_warnings():
        result: torch.jit.ScriptModule = torch.jit.freeze(
            torch.jit.script(model.eval()), preserved_attrs=["inverse"]
        )
    return result


def to_bytes(module: torch.jit.ScriptModule) -> bytes:
    """Return the content of a ``.pt`` file."""
    buffer = io.BytesIO()
    with _no_deprecation_warnings():
        torch.jit.save(module, buffer)
    return buffer.getvalue()


def from_bytes(content: bytes, device: str = "cpu") -> torch.jit.ScriptModule:
    """Load a module. It can execute code: pass only the content of a verified file."""
    with _no_deprecation_warnings():
        module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]  # torch has no types here
            io.BytesIO(content), map_location=device
        )
    return module
